-- Who changes an issuer has seen it.
ALTER TABLE issuers ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

-- What lists are sorted by since then, compared byte by byte as all that is.
ALTER TABLE customer_artifacts ALTER COLUMN kind TYPE TEXT COLLATE "C";
ALTER TABLE enrolments ALTER COLUMN fleet TYPE TEXT COLLATE "C";
ALTER TABLE enrolments ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE gateways ALTER COLUMN fleet TYPE TEXT COLLATE "C";
ALTER TABLE gateways ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE menus ALTER COLUMN key TYPE TEXT COLLATE "C";

-- What a tenant said of locks before there were bounds held for its whole project: it says as much as it may say now.
-- (Policies bind the owner too.)
SELECT set_config('app.scope', 'platform', TRUE);
UPDATE login_policies SET lock_after = 3, body = jsonb_set(body, '{lock_after}', '3') WHERE lock_after < 3;
UPDATE login_policies SET lock_s = 3600, body = jsonb_set(body, '{lock_s}', '3600') WHERE lock_s > 3600;
