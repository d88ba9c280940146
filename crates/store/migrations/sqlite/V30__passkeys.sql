-- Keys of people's devices (WebAuthn): each is good at one hostname. Public keys and what was said of them; nothing secret.
CREATE TABLE passkeys (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    rp_id TEXT NOT NULL,
    credential_id BLOB NOT NULL,
    credential TEXT NOT NULL,
    name TEXT NOT NULL,
    sign_count INTEGER NOT NULL,
    backup_eligible INTEGER NOT NULL,
    backup_state INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    version INTEGER NOT NULL,
    UNIQUE (project_id, rp_id, credential_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX passkeys_by_user ON passkeys (user_id, id);

-- Challenges that were answered, until they would not be good any more. Those that were not are with their clients.
CREATE TABLE used_passkey_challenges (
    hash BLOB PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX used_passkey_challenges_by_expiry ON used_passkey_challenges (expires_at);
CREATE INDEX used_passkey_challenges_by_project ON used_passkey_challenges (project_id);
