-- A user's authenticator (RFC 6238): the secret that its codes are made of and the key that recovery codes are hashed with,
-- both sealed. While `confirmed_at` is missing it is being set up and no sign-in asks for it.
CREATE TABLE totp_secrets (
    user_id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    secret_enc BYTEA NOT NULL,
    pepper_enc BYTEA NOT NULL,
    last_step BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    confirmed_at BIGINT,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX totp_secrets_by_project ON totp_secrets (project_id);

-- What gets somebody in who has lost the authenticator, each once.
CREATE TABLE recovery_codes (
    user_id UUID NOT NULL REFERENCES totp_secrets (user_id) ON DELETE CASCADE,
    project_id UUID NOT NULL,
    code_hash BYTEA NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (user_id, code_hash)
);
CREATE INDEX recovery_codes_by_project ON recovery_codes (project_id);

-- Sign-ins whose first factor was shown and that wait for the second. They are deleted when they are used.
CREATE TABLE login_challenges (
    hash BYTEA PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    user_id UUID NOT NULL,
    is_system BOOLEAN NOT NULL,
    method TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('verify', 'enrol')),
    user_generation BIGINT NOT NULL,
    tenant_generation BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX login_challenges_by_user ON login_challenges (user_id, created_at);
CREATE INDEX login_challenges_by_tenant ON login_challenges (tenant_id);
CREATE INDEX login_challenges_by_expiry ON login_challenges (expires_at);

-- What a session's user showed, as words of RFC 8176 with a space between; missing for what `method` says alone.
ALTER TABLE sessions ADD COLUMN amr TEXT;

ALTER TABLE totp_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE totp_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY totp_secrets_scope ON totp_secrets USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE recovery_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE recovery_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY recovery_codes_scope ON recovery_codes USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE login_challenges ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_challenges FORCE ROW LEVEL SECURITY;
CREATE POLICY login_challenges_scope ON login_challenges USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON totp_secrets, recovery_codes, login_challenges TO portcullis_runtime;
    END IF;
END $$;
