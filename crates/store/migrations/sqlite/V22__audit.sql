-- The trail: what others report, commitments to personal data, so that it can be erased, and a seal on each chain's head.
ALTER TABLE audit_events ADD COLUMN report TEXT;
ALTER TABLE audit_events ADD COLUMN reporter TEXT;
ALTER TABLE audit_events ADD COLUMN external_id TEXT;
-- How the row's hash was made: 1 covers its columns themselves, 2 covers salted digests of what may be personal.
ALTER TABLE audit_events ADD COLUMN form INTEGER NOT NULL DEFAULT 1;
ALTER TABLE audit_events ADD COLUMN actor_salt TEXT;
ALTER TABLE audit_events ADD COLUMN actor_digest TEXT;
ALTER TABLE audit_events ADD COLUMN target_salt TEXT;
ALTER TABLE audit_events ADD COLUMN target_digest TEXT;
ALTER TABLE audit_events ADD COLUMN erased_at INTEGER;
CREATE UNIQUE INDEX audit_events_external ON audit_events (chain, reporter, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX audit_events_by_actor ON audit_events ((actor ->> 'id'), received, id);
CREATE INDEX audit_events_by_target ON audit_events ((target ->> 'id'), received, id);

-- Sequence number and hash under the master key: who writes to the database alone cannot make another head.
ALTER TABLE audit_chains ADD COLUMN proof_enc BLOB;

-- Where a chain begins whose older rows are gone.
CREATE TABLE audit_checkpoints (
    chain TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL,
    removed INTEGER NOT NULL,
    cut_at INTEGER NOT NULL,
    proof_enc BLOB NOT NULL
) STRICT;

-- Whose personal data is to be taken out of the trail, and whether it was.
CREATE TABLE audit_erasures (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL UNIQUE,
    erased INTEGER NOT NULL,
    requested_at INTEGER NOT NULL,
    done_at INTEGER
) STRICT;
-- What was erased, under the master key: of each row its number and a digest of what is left of it.
CREATE TABLE audit_attestations (
    event_id TEXT PRIMARY KEY,
    chain TEXT NOT NULL,
    proof_enc BLOB NOT NULL
) STRICT;
CREATE INDEX audit_attestations_by_chain ON audit_attestations (chain);
CREATE INDEX audit_erasures_open ON audit_erasures (requested_at, id) WHERE done_at IS NULL;
