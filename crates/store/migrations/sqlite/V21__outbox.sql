-- What has to be done after a commit, left in the transaction of the change and done by a job: mail, provisioning. What it
-- says is sealed: mail carries one-time tokens. `next_at` is when it is due; who takes it on moves that ahead, so that a claim
-- is its own lease.
CREATE TABLE outbox_events (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    project_id TEXT,
    tenant_id TEXT,
    payload_enc BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    failed_at INTEGER,
    error TEXT,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outbox_events_due ON outbox_events (kind, next_at, id) WHERE failed_at IS NULL;
CREATE INDEX outbox_events_by_tenant ON outbox_events (tenant_id);

-- Where a tenant wants to be told what happens, and about what.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events TEXT NOT NULL,
    secret_enc BLOB NOT NULL,
    previous_enc BLOB,
    previous_until INTEGER,
    -- Since when every delivery has failed; none after one that was taken.
    failing_since INTEGER,
    disabled_at INTEGER,
    disabled_by TEXT CHECK (disabled_by IN ('failures', 'request')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT webhooks_disabled_by CHECK ((disabled_at IS NULL) = (disabled_by IS NULL)),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id);

-- One event for one webhook: the queue while it is pending, the log afterwards. One that is delivered again keeps its row.
CREATE TABLE webhook_deliveries (
    id TEXT PRIMARY KEY,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    action TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    -- Since when it is tried, this time.
    since INTEGER NOT NULL,
    attempted_at INTEGER,
    status INTEGER,
    error TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (webhook_id, event_id)
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at, id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at) WHERE state <> 'pending';
