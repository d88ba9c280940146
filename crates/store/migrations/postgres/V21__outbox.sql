-- What has to be done after a commit, left in the transaction of the change and done by a job: mail, provisioning. What it
-- says is sealed: mail carries one-time tokens. `next_at` is when it is due; who takes it on moves that ahead, so that a claim
-- is its own lease.
CREATE TABLE outbox_events (
    id UUID PRIMARY KEY,
    kind TEXT NOT NULL,
    project_id UUID,
    tenant_id UUID,
    payload_enc BYTEA NOT NULL,
    attempts BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    failed_at BIGINT,
    error TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX outbox_events_due ON outbox_events (kind, next_at, id) WHERE failed_at IS NULL;
CREATE INDEX outbox_events_by_tenant ON outbox_events (tenant_id);

-- Where a tenant wants to be told what happens, and about what.
CREATE TABLE webhooks (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    events JSONB NOT NULL,
    secret_enc BYTEA NOT NULL,
    previous_enc BYTEA,
    previous_until BIGINT,
    -- Since when every delivery has failed; none after one that was taken.
    failing_since BIGINT,
    disabled_at BIGINT,
    disabled_by TEXT CHECK (disabled_by IN ('failures', 'request')),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT webhooks_disabled_by CHECK ((disabled_at IS NULL) = (disabled_by IS NULL)),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id);

-- One event for one webhook: the queue while it is pending, the log afterwards. One that is delivered again keeps its row.
CREATE TABLE webhook_deliveries (
    id UUID PRIMARY KEY,
    webhook_id UUID NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    event_id UUID NOT NULL,
    action TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempts BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    -- Since when it is tried, this time.
    since BIGINT NOT NULL,
    attempted_at BIGINT,
    status BIGINT,
    error TEXT,
    created_at BIGINT NOT NULL,
    UNIQUE (webhook_id, event_id)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at, id) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at) WHERE state <> 'pending';

ALTER TABLE outbox_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox_events FORCE ROW LEVEL SECURITY;
CREATE POLICY outbox_events_scope ON outbox_events USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE webhooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks FORCE ROW LEVEL SECURITY;
CREATE POLICY webhooks_scope ON webhooks USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE webhook_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY webhook_deliveries_scope ON webhook_deliveries USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON outbox_events, webhooks, webhook_deliveries TO portcullis_runtime;
    END IF;
END $$;
