-- Whose client certificates a hostname believes, and as whom their holders act.
ALTER TABLE hostnames ADD COLUMN client_certificates JSONB;

CREATE TABLE certificate_bindings (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    hostname_id UUID NOT NULL REFERENCES hostnames (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('uri', 'dns', 'email', 'subject', 'sha256')),
    value TEXT NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    -- One name is one person.
    UNIQUE (hostname_id, kind, value),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE INDEX certificate_bindings_by_user ON certificate_bindings (user_id);

ALTER TABLE certificate_bindings ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificate_bindings FORCE ROW LEVEL SECURITY;
CREATE POLICY certificate_bindings_scope ON certificate_bindings USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON certificate_bindings TO portcullis_runtime;
    END IF;
END $$;
