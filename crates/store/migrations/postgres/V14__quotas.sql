-- How much of a product a tenant may use: what the product says, and what an entitlement says instead. NULL for no quota,
-- and for what the product says.
ALTER TABLE products ADD COLUMN quota JSONB;
ALTER TABLE entitlements ADD COLUMN quota JSONB;

-- What tenants used, as gateways count it: of each counter (a gateway from its start to its end) the highest it told, which
-- only grows. A span is a day (2028-02-29) or a month (2028-02) of UTC.
CREATE TABLE product_usage (
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    product_id UUID NOT NULL REFERENCES products (id),
    span TEXT NOT NULL,
    counter UUID NOT NULL,
    used BIGINT NOT NULL CHECK (used >= 0),
    ends_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, product_id, span, counter)
);
CREATE INDEX product_usage_by_product ON product_usage (product_id);
CREATE INDEX product_usage_by_end ON product_usage (ends_at);

ALTER TABLE product_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE product_usage FORCE ROW LEVEL SECURITY;
CREATE POLICY product_usage_scope ON product_usage USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON product_usage TO portcullis_runtime;
    END IF;
END $$;
