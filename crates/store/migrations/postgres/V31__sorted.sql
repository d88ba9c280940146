-- What lists are sorted by is compared byte by byte, in whatever locale the database was made: in the order, in the cursor and
-- in the indexes, which are made anew by this. (SQLite compares so.)
ALTER TABLE customers ALTER COLUMN code TYPE TEXT COLLATE "C";
ALTER TABLE email_domains ALTER COLUMN domain TYPE TEXT COLLATE "C";
ALTER TABLE hostnames ALTER COLUMN hostname TYPE TEXT COLLATE "C";
ALTER TABLE issuers ALTER COLUMN issuer TYPE TEXT COLLATE "C";
ALTER TABLE products ALTER COLUMN key TYPE TEXT COLLATE "C";
ALTER TABLE projects ALTER COLUMN slug TYPE TEXT COLLATE "C";
ALTER TABLE services ALTER COLUMN name TYPE TEXT COLLATE "C";
ALTER TABLE tenants ALTER COLUMN slug TYPE TEXT COLLATE "C";
ALTER TABLE upstreams ALTER COLUMN name TYPE TEXT COLLATE "C";

-- (What is few in its tenant or project is sorted without.)
CREATE INDEX certificates_sorted_by_creation ON certificates (created_at, id);
CREATE INDEX certificates_sorted_by_end ON certificates (not_after, id);
CREATE INDEX hostnames_sorted_by_name ON hostnames (hostname, id);
CREATE INDEX memberships_sorted_by_creation ON memberships (tenant_id, created_at, id);
CREATE INDEX product_requests_sorted_by_creation ON product_requests (created_at, id);

-- The strictest lock of a project is looked up at each failed sign-in: by one row of an index each.
-- (Policies bind the owner too.)
SELECT set_config('app.scope', 'platform', TRUE);
ALTER TABLE login_policies ADD COLUMN lock_after BIGINT;
ALTER TABLE login_policies ADD COLUMN lock_s BIGINT;
UPDATE login_policies
    SET lock_after = CAST(body->>'lock_after' AS BIGINT), lock_s = CAST(body->>'lock_s' AS BIGINT);
CREATE INDEX login_policies_by_lock_after ON login_policies (project_id, lock_after);
CREATE INDEX login_policies_by_lock_s ON login_policies (project_id, lock_s);

-- How far names were folded of rows that an older release wrote: up to this id. Done while others are served.
CREATE TABLE foldings (kind TEXT PRIMARY KEY, folded_to UUID NOT NULL);
INSERT INTO foldings (kind, folded_to) VALUES
    ('api_keys', '00000000-0000-0000-0000-000000000000'),
    ('customers', '00000000-0000-0000-0000-000000000000'),
    ('org_units', '00000000-0000-0000-0000-000000000000'),
    ('products', '00000000-0000-0000-0000-000000000000'),
    ('roles', '00000000-0000-0000-0000-000000000000'),
    ('tenants', '00000000-0000-0000-0000-000000000000'),
    ('user_groups', '00000000-0000-0000-0000-000000000000'),
    ('users', '00000000-0000-0000-0000-000000000000');

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON foldings TO portcullis_runtime;
    END IF;
END $$;
