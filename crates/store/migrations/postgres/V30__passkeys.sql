-- Keys of people's devices (WebAuthn): each is good at one hostname. Public keys and what was said of them; nothing secret.
CREATE TABLE passkeys (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    user_id UUID NOT NULL,
    rp_id TEXT NOT NULL,
    credential_id BYTEA NOT NULL,
    credential JSONB NOT NULL,
    name TEXT NOT NULL,
    sign_count BIGINT NOT NULL,
    backup_eligible BOOLEAN NOT NULL,
    backup_state BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    version BIGINT NOT NULL,
    UNIQUE (project_id, rp_id, credential_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX passkeys_by_user ON passkeys (user_id, id);

-- Challenges that were answered, until they would not be good any more. Those that were not are with their clients.
CREATE TABLE used_passkey_challenges (
    hash BYTEA PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);
CREATE INDEX used_passkey_challenges_by_expiry ON used_passkey_challenges (expires_at);
CREATE INDEX used_passkey_challenges_by_project ON used_passkey_challenges (project_id);

ALTER TABLE passkeys ENABLE ROW LEVEL SECURITY;
ALTER TABLE passkeys FORCE ROW LEVEL SECURITY;
CREATE POLICY passkeys_scope ON passkeys USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE used_passkey_challenges ENABLE ROW LEVEL SECURITY;
ALTER TABLE used_passkey_challenges FORCE ROW LEVEL SECURITY;
CREATE POLICY used_passkey_challenges_scope ON used_passkey_challenges USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON passkeys, used_passkey_challenges TO portcullis_runtime;
    END IF;
END $$;
