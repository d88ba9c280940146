-- What was asked of organisational units at the edge, for who administers them: told by gateways, kept for a while.
CREATE TABLE access_log (
    request_id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    ou_id UUID NOT NULL,
    at BIGINT NOT NULL,
    subject TEXT NOT NULL,
    user_id UUID,
    ip TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    status BIGINT NOT NULL,
    user_agent TEXT,
    latency_us BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (ou_id, tenant_id) REFERENCES org_units (id, tenant_id) ON DELETE CASCADE
);
CREATE INDEX access_log_by_unit ON access_log (tenant_id, ou_id, at, request_id);
CREATE INDEX access_log_by_time ON access_log (at);

-- How much each unit asked for in each day of UTC (2028-02-29), as gateways count it: of each counter (a gateway from its
-- start to its end) the highest it told, which only grows. It outlives its unit.
CREATE TABLE unit_usage (
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    ou_id UUID NOT NULL,
    day TEXT NOT NULL,
    counter UUID NOT NULL,
    requests BIGINT NOT NULL CHECK (requests >= 0),
    bytes_received BIGINT NOT NULL CHECK (bytes_received >= 0),
    bytes_sent BIGINT NOT NULL CHECK (bytes_sent >= 0),
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, ou_id, day, counter),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
);
CREATE INDEX unit_usage_by_end ON unit_usage (ends_at);

ALTER TABLE access_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE access_log FORCE ROW LEVEL SECURITY;
CREATE POLICY access_log_scope ON access_log USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE unit_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE unit_usage FORCE ROW LEVEL SECURITY;
CREATE POLICY unit_usage_scope ON unit_usage USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON access_log, unit_usage TO portcullis_runtime;
    END IF;
END $$;
