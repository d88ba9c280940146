-- Whether a tenant's people showed who they are, and how they came to the state they are in.
CREATE TABLE identity_verifications (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    user_id UUID NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'in_review', 'approved', 'rejected', 'expired')),
    reason TEXT NOT NULL,
    -- Until when it waits, or counts.
    ends_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX identity_verifications_by_user ON identity_verifications (tenant_id, user_id, state);
CREATE INDEX identity_verifications_by_state ON identity_verifications (tenant_id, state, created_at);
CREATE INDEX identity_verifications_by_end ON identity_verifications (ends_at) WHERE state IN ('pending', 'in_review', 'approved');

CREATE TABLE identity_steps (
    verification_id UUID NOT NULL REFERENCES identity_verifications (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    before TEXT,
    after TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor JSONB NOT NULL,
    -- Of whoever verifies: each counts once.
    event_id TEXT,
    at BIGINT NOT NULL,
    PRIMARY KEY (verification_id, number),
    UNIQUE (verification_id, event_id)
);
CREATE INDEX identity_steps_by_tenant ON identity_steps (tenant_id);

ALTER TABLE identity_verifications ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity_verifications FORCE ROW LEVEL SECURITY;
CREATE POLICY identity_verifications_scope ON identity_verifications USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);
ALTER TABLE identity_steps ENABLE ROW LEVEL SECURITY;
ALTER TABLE identity_steps FORCE ROW LEVEL SECURITY;
CREATE POLICY identity_steps_scope ON identity_steps USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON identity_verifications, identity_steps TO portcullis_runtime;
    END IF;
END $$;
