-- Whose client certificates a hostname believes, and as whom their holders act.
ALTER TABLE hostnames ADD COLUMN client_certificates TEXT;

CREATE TABLE certificate_bindings (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    hostname_id TEXT NOT NULL REFERENCES hostnames (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('uri', 'dns', 'email', 'subject', 'sha256')),
    value TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    -- One name is one person.
    UNIQUE (hostname_id, kind, value),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE INDEX certificate_bindings_by_user ON certificate_bindings (user_id);
