-- What is looked after by itself: purges that are announced and may fail, deliveries that are made beside the tick, an
-- outbox in which tenants take turns, and what an earlier migration could not see.

-- Policies bind the owner too.
SELECT set_config('app.scope', 'platform', TRUE);

-- When a tenant was told that it will be purged, when that is tried next, when it was begun, and how often it failed. Who moves `purge_at` on
-- purges, and nobody else for a while.
ALTER TABLE tenants ADD COLUMN purge_announced_at BIGINT;
ALTER TABLE tenants ADD COLUMN purge_at BIGINT;
ALTER TABLE tenants ADD COLUMN purge_begun_at BIGINT;
ALTER TABLE tenants ADD COLUMN purge_failures BIGINT NOT NULL DEFAULT 0;
CREATE INDEX released_slugs_by_time ON released_slugs (at);
-- A purge finds what is the tenant's.
CREATE INDEX webhook_deliveries_by_tenant ON webhook_deliveries (tenant_id);
CREATE INDEX sessions_by_tenant ON sessions (tenant_id);
CREATE INDEX refresh_tokens_by_tenant ON refresh_tokens (tenant_id);

-- How far the tenant's chain was announced to a webhook. NULL: from where the chain is when it is looked next.
ALTER TABLE webhooks ADD COLUMN announced_seq BIGINT;
UPDATE webhooks SET announced_seq =
    COALESCE((SELECT seq FROM audit_chains WHERE chain = CAST(webhooks.tenant_id AS TEXT)), 0);

-- Whose turn it is: the tenant, or the project, or nobody.
ALTER TABLE outbox_events ADD COLUMN owner UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
UPDATE outbox_events SET owner = COALESCE(tenant_id, project_id, owner);
CREATE INDEX outbox_events_by_owner ON outbox_events (kind, owner, next_at, id) WHERE failed_at IS NULL;
DROP INDEX outbox_events_due;

-- Heads that were never sealed: a release before V22 made them, and nothing has been sealed since. The start that brings the
-- schema here puts the list under the master key; emptied when all of them are sealed.
CREATE TABLE unsealed_heads (chain TEXT PRIMARY KEY, seq BIGINT NOT NULL, hash TEXT NOT NULL);
INSERT INTO unsealed_heads (chain, seq, hash)
    SELECT chain, seq, hash FROM audit_chains WHERE NOT EXISTS (SELECT 1 FROM audit_chains WHERE proof_enc IS NOT NULL);
CREATE TABLE unsealed_heads_proof (id BIGINT PRIMARY KEY CHECK (id = 1), proof_enc BYTEA NOT NULL);

-- Jobs that one replica does for all: who moves `next_at` on has the turn.
CREATE TABLE turns (job TEXT PRIMARY KEY, next_at BIGINT NOT NULL);

-- What V23 listed without seeing what belongs to tenants: policies hid it from an owner whom they bind.
INSERT INTO republish (kind, entity_id)
    SELECT DISTINCT 'tenant', tenant_id FROM org_units WHERE deleted_at IS NULL ON CONFLICT DO NOTHING;
INSERT INTO republish (kind, entity_id)
    SELECT DISTINCT 'hostname', hostname_id FROM routes
    WHERE hostname_id IS NOT NULL AND rule->>'ou_parameter' IS NOT NULL ON CONFLICT DO NOTHING;
-- And what V15 left alone.
UPDATE tenants SET left_alone_until = (EXTRACT(EPOCH FROM now()) * 1000)::bigint + 604800000
    WHERE status = 'trial' AND left_alone_until IS NULL AND trial_ends_at <= (EXTRACT(EPOCH FROM now()) * 1000)::bigint;

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON unsealed_heads, unsealed_heads_proof, turns TO portcullis_runtime;
    END IF;
END $$;
