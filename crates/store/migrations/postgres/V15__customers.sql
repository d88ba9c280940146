-- What customers were and became, the evidence that was looked at, what a tenant looks like, and what becomes of a new
-- tenant in the directory of its people.

-- Addresses, contacts and tax ids have a form from now on; what was given before in any form is kept aside, as it was.
ALTER TABLE customers ADD COLUMN unchecked JSONB;
UPDATE customers SET unchecked = jsonb_build_object('address', address, 'contact', contact, 'tax_ids', tax_ids),
    address = NULL, contact = NULL, tax_ids = '{}'
    WHERE address IS NOT NULL OR contact IS NOT NULL OR tax_ids <> '{}';

CREATE TABLE customer_changes (
    id UUID PRIMARY KEY,
    customer_id UUID NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    before JSONB NOT NULL,
    after JSONB NOT NULL,
    reason TEXT,
    reference TEXT,
    actor JSONB NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX customer_changes_by_customer ON customer_changes (customer_id, id);

-- Evidence stays as it was put: another one has another reference.
CREATE TABLE customer_artifacts (
    id UUID PRIMARY KEY,
    customer_id UUID NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    reference TEXT NOT NULL,
    sha256 BYTEA NOT NULL,
    actor JSONB NOT NULL,
    at BIGINT NOT NULL,
    UNIQUE (customer_id, kind, reference)
);

ALTER TABLE tenants ADD COLUMN branding JSONB;
-- What was over before anybody looked is left alone for a while: trials for a week, deleted tenants for 30 days.
ALTER TABLE tenants ADD COLUMN left_alone_until BIGINT;
UPDATE tenants SET left_alone_until = (EXTRACT(EPOCH FROM now()) * 1000)::bigint + 604800000 WHERE status = 'trial' AND trial_ends_at IS NOT NULL;
UPDATE tenants SET left_alone_until = (EXTRACT(EPOCH FROM now()) * 1000)::bigint + 2592000000 WHERE deleted_at IS NOT NULL;
CREATE INDEX tenants_on_trial ON tenants (trial_ends_at) WHERE status = 'trial' AND trial_ends_at IS NOT NULL;
CREATE INDEX tenants_on_hold ON tenants (deleted_at) WHERE deleted_at IS NOT NULL;

-- By what purged tenants were known: nobody else's gets it. Not a customer's row: it may be gone, too.
CREATE TABLE released_slugs (
    slug TEXT PRIMARY KEY,
    issuer TEXT,
    customer_id UUID NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX released_slugs_by_issuer ON released_slugs (issuer);

-- One row for each tenant that a directory is told of. Who moves `next_at` on takes the steps, and nobody else for a while:
-- the row is the lease.
CREATE TABLE provisionings (
    tenant_id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    steps JSONB NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE INDEX provisionings_due ON provisionings (next_at) WHERE next_at IS NOT NULL;

ALTER TABLE provisionings ENABLE ROW LEVEL SECURITY;
ALTER TABLE provisionings FORCE ROW LEVEL SECURITY;
CREATE POLICY provisionings_scope ON provisionings USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON customer_changes, customer_artifacts, released_slugs, provisionings
            TO portcullis_runtime;
    END IF;
END $$;
