-- Sign-ins that one device asks for and another, signed in, approves. The asking one alone knows the secret, of which the
-- hash is kept.
CREATE TABLE qr_logins (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    tenant_id UUID,
    poll_hash BYTEA NOT NULL,
    code TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'consumed')),
    ip TEXT,
    user_agent TEXT,
    user_id UUID,
    sid UUID,
    user_generation BIGINT,
    tenant_generation BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CHECK (state IN ('pending', 'rejected') OR (tenant_id IS NOT NULL AND user_id IS NOT NULL AND sid IS NOT NULL
        AND user_generation IS NOT NULL AND tenant_generation IS NOT NULL)),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX qr_logins_by_expiry ON qr_logins (expires_at);
CREATE INDEX qr_logins_by_project ON qr_logins (project_id);
CREATE INDEX qr_logins_by_tenant ON qr_logins (tenant_id);
CREATE INDEX qr_logins_by_user ON qr_logins (user_id);

ALTER TABLE qr_logins ENABLE ROW LEVEL SECURITY;
ALTER TABLE qr_logins FORCE ROW LEVEL SECURITY;
-- One that no tenant's hostname was asked for is the project's until somebody approves it in a tenant of theirs.
CREATE POLICY qr_logins_scope ON qr_logins USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant'
            AND (tenant_id IS NULL OR tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid))))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON qr_logins TO portcullis_runtime;
    END IF;
END $$;
