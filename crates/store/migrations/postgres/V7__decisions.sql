-- What gateways decided, for who asks why. Kept for a while only, and of each tenant only so many. Without a tenant: what
-- was refused before one was known, which is the platform's alone.
CREATE TABLE decisions (
    request_id UUID PRIMARY KEY,
    project_id UUID,
    tenant_id UUID REFERENCES tenants (id) ON DELETE CASCADE,
    gateway TEXT NOT NULL,
    fleet TEXT NOT NULL,
    body JSONB NOT NULL,
    received BIGINT NOT NULL
);
CREATE INDEX decisions_by_tenant ON decisions (tenant_id, received, request_id);
CREATE INDEX decisions_by_time ON decisions (received, tenant_id);

ALTER TABLE decisions ENABLE ROW LEVEL SECURITY;
ALTER TABLE decisions FORCE ROW LEVEL SECURITY;
CREATE POLICY decisions_scope ON decisions USING (
    current_setting('app.scope', true) = 'platform'
    OR (tenant_id IS NOT NULL AND project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON decisions TO portcullis_runtime;
    END IF;
END $$;
