-- Whether a tenant's people showed who they are, and how they came to the state they are in.
CREATE TABLE identity_verifications (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'in_review', 'approved', 'rejected', 'expired')),
    reason TEXT NOT NULL,
    -- Until when it waits, or counts.
    ends_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX identity_verifications_by_user ON identity_verifications (tenant_id, user_id, state);
CREATE INDEX identity_verifications_by_state ON identity_verifications (tenant_id, state, created_at);
CREATE INDEX identity_verifications_by_end ON identity_verifications (ends_at) WHERE state IN ('pending', 'in_review', 'approved');

CREATE TABLE identity_steps (
    verification_id TEXT NOT NULL REFERENCES identity_verifications (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    before TEXT,
    after TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    -- Of whoever verifies: each counts once.
    event_id TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (verification_id, number),
    UNIQUE (verification_id, event_id)
) STRICT;
CREATE INDEX identity_steps_by_tenant ON identity_steps (tenant_id);
