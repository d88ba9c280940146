-- Products, what entitles a tenant to them, and what tenants ask for.
CREATE TABLE products (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    requestable INTEGER NOT NULL,
    trial_days INTEGER CHECK (trial_days BETWEEN 1 AND 365),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;

-- One for each tenant and product, whatever became of it: who had a trial gets no second one.
CREATE TABLE entitlements (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    product_id TEXT NOT NULL REFERENCES products (id),
    source TEXT NOT NULL,
    starts_at INTEGER NOT NULL,
    ends_at INTEGER,
    revoked_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (tenant_id, product_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE INDEX entitlements_by_product ON entitlements (product_id);

CREATE TABLE product_requests (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    product_id TEXT NOT NULL REFERENCES products (id),
    kind TEXT NOT NULL,
    contact TEXT NOT NULL,
    note TEXT NOT NULL,
    status TEXT NOT NULL,
    requested_by TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE INDEX product_requests_by_tenant ON product_requests (tenant_id);
CREATE INDEX product_requests_by_product ON product_requests (product_id);
-- A tenant asks once, and waits for the answer.
CREATE UNIQUE INDEX product_requests_open ON product_requests (tenant_id, product_id) WHERE status = 'open';
