-- Who else vouches for people: identity providers of a tenant, or of a project, with the client secret sealed. One that is deleted
-- stays until its identities are gone, which is done some at a time.
CREATE TABLE identity_providers (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    tenant_id TEXT,
    key TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('google', 'microsoft', 'github', 'apple', 'oidc')),
    name TEXT NOT NULL,
    display_order INTEGER NOT NULL,
    enabled INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    secret_enc BLOB,
    options TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER,
    -- Sign-ins that were begun until then are not good any more: it serves others since, or nobody.
    ends_before INTEGER,
    version INTEGER NOT NULL,
    UNIQUE (id, project_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX identity_providers_of_tenant ON identity_providers (tenant_id, key)
    WHERE tenant_id IS NOT NULL AND deleted_at IS NULL;
CREATE UNIQUE INDEX identity_providers_of_project ON identity_providers (project_id, key)
    WHERE tenant_id IS NULL AND deleted_at IS NULL;
CREATE INDEX identity_providers_deleted ON identity_providers (deleted_at) WHERE deleted_at IS NOT NULL;

-- Whom of ours a provider knows. `tenant_id` is its provider's.
CREATE TABLE federated_identities (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT,
    provider_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL,
    email_at_link TEXT,
    linked_at INTEGER NOT NULL,
    last_used_at INTEGER,
    UNIQUE (provider_id, subject),
    FOREIGN KEY (provider_id, project_id) REFERENCES identity_providers (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX federated_identities_by_user ON federated_identities (user_id);
CREATE INDEX federated_identities_by_tenant ON federated_identities (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX federated_identities_by_project ON federated_identities (project_id);

-- Sign-ins that are under way with a provider, by the hash of their `state`. They are deleted when they are used.
CREATE TABLE oauth_states (
    hash BLOB PRIMARY KEY,
    browser BLOB NOT NULL,
    project_id TEXT NOT NULL,
    tenant_id TEXT,
    provider_id TEXT NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('redirect', 'headless', 'native', 'link', 'link_native')),
    user_id TEXT,
    redirect_uri TEXT NOT NULL,
    return_to TEXT,
    proofs_enc BLOB NOT NULL,
    -- Whether who has signed in there already was to do so again.
    anew INTEGER NOT NULL,
    begun_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    FOREIGN KEY (provider_id, project_id) REFERENCES identity_providers (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX oauth_states_by_browser ON oauth_states (browser, begun_at);
CREATE INDEX oauth_states_by_provider ON oauth_states (provider_id);
CREATE INDEX oauth_states_by_user ON oauth_states (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX oauth_states_by_tenant ON oauth_states (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX oauth_states_by_expiry ON oauth_states (expires_at);

-- What a browser that was known by a provider exchanges for a session, by the hash of the code. Deleted when it is used.
CREATE TABLE oauth_codes (
    hash BLOB PRIMARY KEY,
    browser BLOB NOT NULL,
    project_id TEXT NOT NULL,
    tenant_id TEXT,
    identity_id TEXT NOT NULL REFERENCES federated_identities (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL,
    -- When they signed in there.
    auth_time INTEGER NOT NULL,
    -- When the sign-in was begun.
    begun_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX oauth_codes_by_identity ON oauth_codes (identity_id);
CREATE INDEX oauth_codes_by_user ON oauth_codes (user_id);
CREATE INDEX oauth_codes_by_tenant ON oauth_codes (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX oauth_codes_by_expiry ON oauth_codes (expires_at);

-- Through which provider a session was opened, or a sign-in waits: it is good for no more than the provider is.
ALTER TABLE sessions ADD COLUMN provider_id TEXT;
ALTER TABLE login_challenges ADD COLUMN provider_id TEXT;
CREATE INDEX sessions_by_provider ON sessions (provider_id) WHERE provider_id IS NOT NULL AND ended_at IS NULL;
CREATE INDEX login_challenges_by_provider ON login_challenges (provider_id) WHERE provider_id IS NOT NULL;
