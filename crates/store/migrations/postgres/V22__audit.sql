-- The trail: what others report, commitments to personal data, so that it can be erased, and a seal on each chain's head.
ALTER TABLE audit_events ADD COLUMN report JSONB;
ALTER TABLE audit_events ADD COLUMN reporter TEXT;
ALTER TABLE audit_events ADD COLUMN external_id TEXT;
-- How the row's hash was made: 1 covers its columns themselves, 2 covers salted digests of what may be personal.
ALTER TABLE audit_events ADD COLUMN form BIGINT NOT NULL DEFAULT 1;
ALTER TABLE audit_events ADD COLUMN actor_salt TEXT;
ALTER TABLE audit_events ADD COLUMN actor_digest TEXT;
ALTER TABLE audit_events ADD COLUMN target_salt TEXT;
ALTER TABLE audit_events ADD COLUMN target_digest TEXT;
ALTER TABLE audit_events ADD COLUMN erased_at BIGINT;
CREATE UNIQUE INDEX audit_events_external ON audit_events (chain, reporter, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX audit_events_by_actor ON audit_events ((actor ->> 'id'), received, id);
CREATE INDEX audit_events_by_target ON audit_events ((target ->> 'id'), received, id);

-- Sequence number and hash under the master key: who writes to the database alone cannot make another head.
ALTER TABLE audit_chains ADD COLUMN proof_enc BYTEA;

-- Where a chain begins whose older rows are gone.
CREATE TABLE audit_checkpoints (
    chain TEXT PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL,
    removed BIGINT NOT NULL,
    cut_at BIGINT NOT NULL,
    proof_enc BYTEA NOT NULL
);

-- Whose personal data is to be taken out of the trail, and whether it was.
CREATE TABLE audit_erasures (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL UNIQUE,
    erased BIGINT NOT NULL,
    requested_at BIGINT NOT NULL,
    done_at BIGINT
);
-- What was erased, under the master key: of each row its number and a digest of what is left of it.
CREATE TABLE audit_attestations (
    event_id UUID PRIMARY KEY,
    chain TEXT NOT NULL,
    proof_enc BYTEA NOT NULL
);
CREATE INDEX audit_attestations_by_chain ON audit_attestations (chain);
CREATE INDEX audit_erasures_open ON audit_erasures (requested_at, id) WHERE done_at IS NULL;

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON audit_checkpoints, audit_erasures, audit_attestations TO portcullis_runtime;
    END IF;
END $$;
