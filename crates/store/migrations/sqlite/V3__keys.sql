-- Signing keys that come and go by themselves, and key sets of external issuers that are fetched.

ALTER TABLE signing_keys ADD COLUMN source TEXT NOT NULL DEFAULT 'made'
    CHECK (source IN ('made', 'schedule', 'file'));
ALTER TABLE signing_keys ADD COLUMN signer TEXT NOT NULL DEFAULT 'local' CHECK (signer IN ('local', 'kms_aws'));
ALTER TABLE signing_keys ADD COLUMN not_before INTEGER;
ALTER TABLE signing_keys ADD COLUMN expires_at INTEGER;
-- Of several replicas that find a key due, one makes its successor.
CREATE UNIQUE INDEX signing_keys_one_successor ON signing_keys (project_id, purpose)
    WHERE state = 'pending' AND source = 'schedule';

-- One row for each issuer with a URL. Who sets `attempted_at` fetches, and nobody else for a while: the row is the lease.
CREATE TABLE issuer_fetches (
    issuer_id TEXT PRIMARY KEY REFERENCES issuers (id) ON DELETE CASCADE,
    due_at INTEGER NOT NULL,
    attempted_at INTEGER,
    fetched_at INTEGER,
    epoch INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    error TEXT
) STRICT;
CREATE INDEX issuer_fetches_due ON issuer_fetches (due_at);
INSERT INTO issuer_fetches (issuer_id, due_at, epoch, asked, idle, failures)
    SELECT id, 0, 0, FALSE, 0, 0 FROM issuers WHERE jwks_url IS NOT NULL;
