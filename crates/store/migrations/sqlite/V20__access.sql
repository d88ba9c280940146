-- What was asked of organisational units at the edge, for who administers them: told by gateways, kept for a while.
CREATE TABLE access_log (
    request_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    ou_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT,
    ip TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    status INTEGER NOT NULL,
    user_agent TEXT,
    latency_us INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (ou_id, tenant_id) REFERENCES org_units (id, tenant_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX access_log_by_unit ON access_log (tenant_id, ou_id, at, request_id);
CREATE INDEX access_log_by_time ON access_log (at);

-- How much each unit asked for in each day of UTC (2028-02-29), as gateways count it: of each counter (a gateway from its
-- start to its end) the highest it told, which only grows. It outlives its unit.
CREATE TABLE unit_usage (
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    ou_id TEXT NOT NULL,
    day TEXT NOT NULL,
    counter TEXT NOT NULL,
    requests INTEGER NOT NULL CHECK (requests >= 0),
    bytes_received INTEGER NOT NULL CHECK (bytes_received >= 0),
    bytes_sent INTEGER NOT NULL CHECK (bytes_sent >= 0),
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, ou_id, day, counter),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX unit_usage_by_end ON unit_usage (ends_at);
