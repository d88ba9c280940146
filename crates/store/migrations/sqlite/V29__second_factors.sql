-- A user's authenticator (RFC 6238): the secret that its codes are made of and the key that recovery codes are hashed with,
-- both sealed. While `confirmed_at` is missing it is being set up and no sign-in asks for it.
CREATE TABLE totp_secrets (
    user_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    secret_enc BLOB NOT NULL,
    pepper_enc BLOB NOT NULL,
    last_step INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    confirmed_at INTEGER,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX totp_secrets_by_project ON totp_secrets (project_id);

-- What gets somebody in who has lost the authenticator, each once.
CREATE TABLE recovery_codes (
    user_id TEXT NOT NULL REFERENCES totp_secrets (user_id) ON DELETE CASCADE,
    project_id TEXT NOT NULL,
    code_hash BLOB NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (user_id, code_hash)
) STRICT;
CREATE INDEX recovery_codes_by_project ON recovery_codes (project_id);

-- Sign-ins whose first factor was shown and that wait for the second. They are deleted when they are used.
CREATE TABLE login_challenges (
    hash BLOB PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    is_system INTEGER NOT NULL,
    method TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('verify', 'enrol')),
    user_generation INTEGER NOT NULL,
    tenant_generation INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX login_challenges_by_user ON login_challenges (user_id, created_at);
CREATE INDEX login_challenges_by_tenant ON login_challenges (tenant_id);
CREATE INDEX login_challenges_by_expiry ON login_challenges (expires_at);

-- What a session's user showed, as words of RFC 8176 with a space between; missing for what `method` says alone.
ALTER TABLE sessions ADD COLUMN amr TEXT;
