-- What people ask a tenant's administrators for who cannot sign in.
CREATE TABLE help_requests (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    email TEXT NOT NULL,
    message TEXT NOT NULL,
    -- Whether the address was a member's when it was asked.
    known BOOLEAN NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'resolved', 'rejected')),
    note TEXT NOT NULL,
    settled_by UUID,
    settled_at BIGINT,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE INDEX help_requests_by_tenant ON help_requests (tenant_id, status, known, created_at);

ALTER TABLE help_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE help_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY help_requests_scope ON help_requests USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON help_requests TO portcullis_runtime;
    END IF;
END $$;
