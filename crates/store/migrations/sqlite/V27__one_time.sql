-- What is sent to addresses and shown once: links by the hash of their token, codes by an HMAC whose key is sealed.
CREATE TABLE one_time_tokens (
    hash BLOB PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,
    -- Of whom; none where there is no account yet.
    user_id TEXT,
    email TEXT NOT NULL,
    email_fold TEXT NOT NULL,
    payload TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX one_time_tokens_by_end ON one_time_tokens (expires_at);
CREATE INDEX one_time_tokens_by_user ON one_time_tokens (user_id, kind) WHERE user_id IS NOT NULL;

-- One for each address and kind. The row outlives its code: it counts wrong ones.
CREATE TABLE one_time_codes (
    project_id TEXT NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    hash BLOB,
    pepper_enc BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    locked_until INTEGER,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (project_id, kind, subject)
) STRICT;
CREATE INDEX one_time_codes_by_end ON one_time_codes (expires_at);

-- When something of a kind was last asked to be sent to an address, and how often within a day: whether or not it was sent.
CREATE TABLE mail_requests (
    project_id TEXT NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,
    email_fold TEXT NOT NULL,
    last_at INTEGER NOT NULL,
    day_began INTEGER NOT NULL,
    in_day INTEGER NOT NULL,
    PRIMARY KEY (project_id, kind, email_fold)
) STRICT;
CREATE INDEX mail_requests_by_age ON mail_requests (last_at);

-- Hashes of passwords somebody had, so that they do not come back.
CREATE TABLE password_history (
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    hash TEXT NOT NULL,
    replaced_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, hash),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX password_history_by_project ON password_history (project_id);

-- How people sign in to a tenant. Without a row, as the platform says.
CREATE TABLE login_policies (
    tenant_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    body TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
) STRICT;
