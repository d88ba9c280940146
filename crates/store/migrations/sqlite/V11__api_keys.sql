-- Keys that programs of a tenant act with. Of a bearer key only the hash of its text is kept; a signing key is sealed,
-- because signatures are checked with it. While one is rotated, the one before is accepted, too.
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL UNIQUE,
    secret_hash BLOB,
    secret_enc BLOB,
    previous_hash BLOB,
    previous_enc BLOB,
    previous_until INTEGER,
    scopes TEXT NOT NULL,
    networks TEXT NOT NULL,
    rate_limit TEXT,
    expires_at INTEGER,
    disabled_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT api_keys_one_secret CHECK ((secret_hash IS NULL) <> (secret_enc IS NULL)),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (owner_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id);
CREATE INDEX api_keys_by_owner ON api_keys (owner_id);
