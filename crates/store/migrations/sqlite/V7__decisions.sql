-- What gateways decided, for who asks why. Kept for a while only, and of each tenant only so many. Without a tenant: what
-- was refused before one was known, which is the platform's alone.
CREATE TABLE decisions (
    request_id TEXT PRIMARY KEY,
    project_id TEXT,
    tenant_id TEXT REFERENCES tenants (id) ON DELETE CASCADE,
    gateway TEXT NOT NULL,
    fleet TEXT NOT NULL,
    body TEXT NOT NULL,
    received INTEGER NOT NULL
) STRICT;
CREATE INDEX decisions_by_tenant ON decisions (tenant_id, received, request_id);
CREATE INDEX decisions_by_time ON decisions (received, tenant_id);
