-- Sign-ins that one device asks for and another, signed in, approves. The asking one alone knows the secret, of which the
-- hash is kept.
CREATE TABLE qr_logins (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    tenant_id TEXT,
    poll_hash BLOB NOT NULL,
    code TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'consumed')),
    ip TEXT,
    user_agent TEXT,
    user_id TEXT,
    sid TEXT,
    user_generation INTEGER,
    tenant_generation INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CHECK (state IN ('pending', 'rejected') OR (tenant_id IS NOT NULL AND user_id IS NOT NULL AND sid IS NOT NULL
        AND user_generation IS NOT NULL AND tenant_generation IS NOT NULL)),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX qr_logins_by_expiry ON qr_logins (expires_at);
CREATE INDEX qr_logins_by_project ON qr_logins (project_id);
CREATE INDEX qr_logins_by_tenant ON qr_logins (tenant_id);
CREATE INDEX qr_logins_by_user ON qr_logins (user_id);
