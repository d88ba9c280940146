-- Programs that get tokens of their own. Each acts as a user that was made for it; of its secret the hash is kept, and for
-- an overlap that of the secret before.
CREATE TABLE machine_clients (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_fold TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    previous_hash BLOB,
    previous_until INTEGER,
    session TEXT,
    last_used_at INTEGER,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (tenant_id, name_fold),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
