-- Who changes an issuer has seen it.
ALTER TABLE issuers ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

-- What a tenant said of locks before there were bounds held for its whole project: it says as much as it may say now.
UPDATE login_policies SET lock_after = 3, body = json_set(body, '$.lock_after', 3) WHERE lock_after < 3;
UPDATE login_policies SET lock_s = 3600, body = json_set(body, '$.lock_s', 3600) WHERE lock_s > 3600;
