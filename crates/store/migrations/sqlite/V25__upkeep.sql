-- What is looked after by itself: purges that are announced and may fail, deliveries that are made beside the tick, an
-- outbox in which tenants take turns.

-- When a tenant was told that it will be purged, when that is tried next, when it was begun, and how often it failed. Who moves `purge_at` on
-- purges, and nobody else for a while.
ALTER TABLE tenants ADD COLUMN purge_announced_at INTEGER;
ALTER TABLE tenants ADD COLUMN purge_at INTEGER;
ALTER TABLE tenants ADD COLUMN purge_begun_at INTEGER;
ALTER TABLE tenants ADD COLUMN purge_failures INTEGER NOT NULL DEFAULT 0;
CREATE INDEX released_slugs_by_time ON released_slugs (at);
-- A purge finds what is the tenant's.
CREATE INDEX webhook_deliveries_by_tenant ON webhook_deliveries (tenant_id);
CREATE INDEX sessions_by_tenant ON sessions (tenant_id);
CREATE INDEX refresh_tokens_by_tenant ON refresh_tokens (tenant_id);

-- How far the tenant's chain was announced to a webhook. NULL: from where the chain is when it is looked next.
ALTER TABLE webhooks ADD COLUMN announced_seq INTEGER;
UPDATE webhooks SET announced_seq =
    COALESCE((SELECT seq FROM audit_chains WHERE chain = CAST(webhooks.tenant_id AS TEXT)), 0);

-- Whose turn it is: the tenant, or the project, or nobody.
ALTER TABLE outbox_events ADD COLUMN owner TEXT NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
UPDATE outbox_events SET owner = COALESCE(tenant_id, project_id, owner);
CREATE INDEX outbox_events_by_owner ON outbox_events (kind, owner, next_at, id) WHERE failed_at IS NULL;
DROP INDEX outbox_events_due;

-- Heads that were never sealed: a release before V22 made them, and nothing has been sealed since. The start that brings the
-- schema here puts the list under the master key; emptied when all of them are sealed.
CREATE TABLE unsealed_heads (chain TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
INSERT INTO unsealed_heads (chain, seq, hash)
    SELECT chain, seq, hash FROM audit_chains WHERE NOT EXISTS (SELECT 1 FROM audit_chains WHERE proof_enc IS NOT NULL);
CREATE TABLE unsealed_heads_proof (id INTEGER PRIMARY KEY CHECK (id = 1), proof_enc BLOB NOT NULL) STRICT;

-- Jobs that one replica does for all: who moves `next_at` on has the turn.
CREATE TABLE turns (job TEXT PRIMARY KEY, next_at INTEGER NOT NULL) STRICT;
