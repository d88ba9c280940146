-- How much of a product a tenant may use: what the product says, and what an entitlement says instead. NULL for no quota,
-- and for what the product says.
ALTER TABLE products ADD COLUMN quota TEXT;
ALTER TABLE entitlements ADD COLUMN quota TEXT;

-- What tenants used, as gateways count it: of each counter (a gateway from its start to its end) the highest it told, which
-- only grows. A span is a day (2028-02-29) or a month (2028-02) of UTC.
CREATE TABLE product_usage (
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    product_id TEXT NOT NULL REFERENCES products (id),
    span TEXT NOT NULL,
    counter TEXT NOT NULL,
    used INTEGER NOT NULL CHECK (used >= 0),
    ends_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, product_id, span, counter)
) STRICT;
CREATE INDEX product_usage_by_product ON product_usage (product_id);
CREATE INDEX product_usage_by_end ON product_usage (ends_at);
