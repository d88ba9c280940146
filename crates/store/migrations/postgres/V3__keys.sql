-- Signing keys that come and go by themselves, and key sets of external issuers that are fetched.

ALTER TABLE signing_keys ADD COLUMN source TEXT NOT NULL DEFAULT 'made'
    CHECK (source IN ('made', 'schedule', 'file'));
ALTER TABLE signing_keys ADD COLUMN signer TEXT NOT NULL DEFAULT 'local' CHECK (signer IN ('local', 'kms_aws'));
ALTER TABLE signing_keys ADD COLUMN not_before BIGINT;
ALTER TABLE signing_keys ADD COLUMN expires_at BIGINT;
-- Of several replicas that find a key due, one makes its successor.
CREATE UNIQUE INDEX signing_keys_one_successor ON signing_keys (project_id, purpose)
    WHERE state = 'pending' AND source = 'schedule';

-- One row for each issuer with a URL. Who sets `attempted_at` fetches, and nobody else for a while: the row is the lease.
CREATE TABLE issuer_fetches (
    issuer_id UUID PRIMARY KEY REFERENCES issuers (id) ON DELETE CASCADE,
    due_at BIGINT NOT NULL,
    attempted_at BIGINT,
    fetched_at BIGINT,
    epoch BIGINT NOT NULL,
    asked BOOLEAN NOT NULL,
    idle BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    error TEXT
);
CREATE INDEX issuer_fetches_due ON issuer_fetches (due_at);
INSERT INTO issuer_fetches (issuer_id, due_at, epoch, asked, idle, failures)
    SELECT id, 0, 0, FALSE, 0, 0 FROM issuers WHERE jwks_url IS NOT NULL;

ALTER TABLE issuer_fetches ENABLE ROW LEVEL SECURITY;
ALTER TABLE issuer_fetches FORCE ROW LEVEL SECURITY;
CREATE POLICY issuer_fetches_scope ON issuer_fetches USING (current_setting('app.scope', true) = 'platform');

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON issuer_fetches TO portcullis_runtime;
    END IF;
END $$;
