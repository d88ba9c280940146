-- Products, what entitles a tenant to them, and what tenants ask for.
CREATE TABLE products (
    id UUID PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    requestable BOOLEAN NOT NULL,
    trial_days BIGINT CHECK (trial_days BETWEEN 1 AND 365),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

-- One for each tenant and product, whatever became of it: who had a trial gets no second one.
CREATE TABLE entitlements (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    product_id UUID NOT NULL REFERENCES products (id),
    source TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    revoked_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (tenant_id, product_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE INDEX entitlements_by_product ON entitlements (product_id);

CREATE TABLE product_requests (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    product_id UUID NOT NULL REFERENCES products (id),
    kind TEXT NOT NULL,
    contact TEXT NOT NULL,
    note TEXT NOT NULL,
    status TEXT NOT NULL,
    requested_by UUID,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE INDEX product_requests_by_tenant ON product_requests (tenant_id);
CREATE INDEX product_requests_by_product ON product_requests (product_id);
-- A tenant asks once, and waits for the answer.
CREATE UNIQUE INDEX product_requests_open ON product_requests (tenant_id, product_id) WHERE status = 'open';

-- The catalog is everybody's to read and the platform's to write.
ALTER TABLE products ENABLE ROW LEVEL SECURITY;
ALTER TABLE products FORCE ROW LEVEL SECURITY;
CREATE POLICY products_scope ON products USING (true) WITH CHECK (current_setting('app.scope', true) = 'platform');

ALTER TABLE entitlements ENABLE ROW LEVEL SECURITY;
ALTER TABLE entitlements FORCE ROW LEVEL SECURITY;
CREATE POLICY entitlements_scope ON entitlements USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE product_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE product_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY product_requests_scope ON product_requests USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON products, entitlements, product_requests TO portcullis_runtime;
    END IF;
END $$;
