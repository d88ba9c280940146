-- What people ask a tenant's administrators for who cannot sign in.
CREATE TABLE help_requests (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    email TEXT NOT NULL,
    message TEXT NOT NULL,
    -- Whether the address was a member's when it was asked.
    known INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'resolved', 'rejected')),
    note TEXT NOT NULL,
    settled_by TEXT,
    settled_at INTEGER,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE INDEX help_requests_by_tenant ON help_requests (tenant_id, status, known, created_at);
