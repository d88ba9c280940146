-- What customers were and became, the evidence that was looked at, what a tenant looks like, and what becomes of a new
-- tenant in the directory of its people.

-- Addresses, contacts and tax ids have a form from now on; what was given before in any form is kept aside, as it was.
ALTER TABLE customers ADD COLUMN unchecked TEXT;
UPDATE customers
    SET unchecked = json_object('address', json(address), 'contact', json(contact), 'tax_ids', json(tax_ids)),
        address = NULL, contact = NULL, tax_ids = '{}'
    WHERE address IS NOT NULL OR contact IS NOT NULL OR tax_ids <> '{}';

CREATE TABLE customer_changes (
    id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    reason TEXT,
    reference TEXT,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX customer_changes_by_customer ON customer_changes (customer_id, id);

-- Evidence stays as it was put: another one has another reference.
CREATE TABLE customer_artifacts (
    id TEXT PRIMARY KEY,
    customer_id TEXT NOT NULL REFERENCES customers (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    reference TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    actor TEXT NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (customer_id, kind, reference)
) STRICT;

ALTER TABLE tenants ADD COLUMN branding TEXT;
-- What was over before anybody looked is left alone for a while: trials for a week, deleted tenants for 30 days.
ALTER TABLE tenants ADD COLUMN left_alone_until INTEGER;
UPDATE tenants SET left_alone_until = CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 604800000 WHERE status = 'trial' AND trial_ends_at IS NOT NULL;
UPDATE tenants SET left_alone_until = CAST(strftime('%s', 'now') AS INTEGER) * 1000 + 2592000000 WHERE deleted_at IS NOT NULL;
CREATE INDEX tenants_on_trial ON tenants (trial_ends_at) WHERE status = 'trial' AND trial_ends_at IS NOT NULL;
CREATE INDEX tenants_on_hold ON tenants (deleted_at) WHERE deleted_at IS NOT NULL;

-- By what purged tenants were known: nobody else's gets it. Not a customer's row: it may be gone, too.
CREATE TABLE released_slugs (
    slug TEXT PRIMARY KEY,
    issuer TEXT,
    customer_id TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX released_slugs_by_issuer ON released_slugs (issuer);

-- One row for each tenant that a directory is told of. Who moves `next_at` on takes the steps, and nobody else for a while:
-- the row is the lease.
CREATE TABLE provisionings (
    tenant_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    steps TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE INDEX provisionings_due ON provisionings (next_at) WHERE next_at IS NOT NULL;
