-- The first schema. Ids are UUIDs, instants milliseconds since the epoch, closed choices text, structure JSON.

CREATE TABLE customers (
    id UUID PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('company', 'person')),
    tenancy TEXT NOT NULL CHECK (tenancy IN ('dedicated', 'shared')),
    address JSONB,
    contact JSONB,
    tax_ids JSONB NOT NULL,
    kyc TEXT NOT NULL CHECK (kyc IN ('none', 'pending', 'partial', 'completed', 'due_rekyc')),
    kyc_kind TEXT NOT NULL CHECK (kyc_kind IN ('kyc', 'kyb')),
    payment TEXT NOT NULL CHECK (payment IN ('ok', 'overdue', 'blocked')),
    is_root BOOLEAN NOT NULL,
    break_glass_user_id UUID,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX customers_one_root ON customers (is_root) WHERE is_root;

CREATE TABLE projects (
    id UUID PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('root', 'dedicated', 'shared')),
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    issuer TEXT NOT NULL UNIQUE,
    audiences JSONB NOT NULL,
    config JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX projects_one_root ON projects (kind) WHERE kind = 'root';

CREATE TABLE tenants (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    customer_id UUID NOT NULL REFERENCES customers (id),
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('trial', 'active', 'frozen', 'suspended', 'deleted')),
    resume_status TEXT CHECK (resume_status IN ('trial', 'active', 'frozen')),
    claim_state TEXT NOT NULL CHECK (claim_state IN ('latent', 'claimed')),
    plan TEXT,
    trial_ends_at BIGINT,
    rate_limit JSONB,
    generation BIGINT NOT NULL,
    deleted_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (id, project_id)
);
CREATE INDEX tenants_by_project ON tenants (project_id);
CREATE INDEX tenants_by_customer ON tenants (customer_id);

CREATE TABLE certificates (
    id UUID PRIMARY KEY,
    project_id UUID REFERENCES projects (id),
    names JSONB NOT NULL,
    chain_pem TEXT NOT NULL,
    key_enc BYTEA NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('upload', 'acme', 'development')),
    fingerprint TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX certificates_by_project ON certificates (project_id);

CREATE TABLE upstreams (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    assertion TEXT NOT NULL CHECK (assertion IN ('hmac', 'eddsa', 'off')),
    assertion_key_enc BYTEA NOT NULL,
    assertion_kid TEXT NOT NULL,
    spec JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE services (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    upstream_id UUID NOT NULL REFERENCES upstreams (id),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);

CREATE TABLE hostnames (
    id UUID PRIMARY KEY,
    hostname TEXT NOT NULL UNIQUE,
    project_id UUID NOT NULL REFERENCES projects (id),
    tenant_id UUID,
    purpose TEXT NOT NULL CHECK (purpose IN ('app', 'auth', 'api')),
    kind TEXT NOT NULL CHECK (kind IN ('platform', 'custom')),
    is_primary BOOLEAN NOT NULL,
    verify_state TEXT NOT NULL CHECK (verify_state IN ('pending', 'verified', 'failed')),
    verified_at BIGINT,
    tls_mode TEXT NOT NULL CHECK (tls_mode IN ('manual', 'acme', 'wildcard')),
    certificate_id UUID REFERENCES certificates (id),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE UNIQUE INDEX hostnames_one_primary ON hostnames (project_id, purpose) WHERE is_primary;
CREATE INDEX hostnames_by_tenant ON hostnames (tenant_id);
CREATE INDEX hostnames_by_certificate ON hostnames (certificate_id);

CREATE TABLE hostname_services (
    hostname_id UUID NOT NULL REFERENCES hostnames (id) ON DELETE CASCADE,
    service_id UUID NOT NULL REFERENCES services (id),
    place BIGINT NOT NULL,
    PRIMARY KEY (hostname_id, service_id)
);
CREATE INDEX hostname_services_by_service ON hostname_services (service_id);

-- A route belongs to a service or to one hostname; the latter's project and tenant are the route's.
CREATE TABLE routes (
    id UUID PRIMARY KEY,
    service_id UUID REFERENCES services (id) ON DELETE CASCADE,
    hostname_id UUID REFERENCES hostnames (id) ON DELETE CASCADE,
    project_id UUID,
    tenant_id UUID,
    upstream_id UUID REFERENCES upstreams (id),
    rule JSONB NOT NULL,
    enabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT routes_one_owner CHECK ((service_id IS NULL) <> (hostname_id IS NULL))
);
CREATE INDEX routes_by_service ON routes (service_id);
CREATE INDEX routes_by_hostname ON routes (hostname_id);

CREATE TABLE users (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    email TEXT,
    email_fold TEXT CONSTRAINT users_email_has_at CHECK (email_fold LIKE '%_@_%'),
    username TEXT,
    username_fold TEXT CONSTRAINT users_username_without_at CHECK (username_fold <> '' AND username_fold NOT LIKE '%@%'),
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    phone TEXT,
    external_id TEXT,
    status TEXT NOT NULL
        CHECK (status IN ('invited', 'active', 'disabled', 'locked', 'suspended', 'pending_deletion')),
    password_hash TEXT,
    password_changed_at BIGINT,
    must_change_password BOOLEAN NOT NULL,
    email_verified_at BIGINT,
    is_break_glass BOOLEAN NOT NULL,
    last_login_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (id, project_id),
    UNIQUE (project_id, email_fold),
    UNIQUE (project_id, username_fold),
    UNIQUE (project_id, external_id)
);

CREATE TABLE org_units (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    deleted_at BIGINT,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (id, tenant_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE UNIQUE INDEX org_units_by_name ON org_units (tenant_id, name) WHERE deleted_at IS NULL;

CREATE TABLE memberships (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    user_id UUID NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('domain', 'invited', 'added', 'bootstrap')),
    status TEXT NOT NULL CHECK (status IN ('active', 'pending', 'inactive')),
    default_ou_id UUID,
    created_at BIGINT NOT NULL,
    UNIQUE (tenant_id, user_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (default_ou_id, tenant_id) REFERENCES org_units (id, tenant_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id);

CREATE TABLE roles (
    id UUID PRIMARY KEY,
    project_id UUID,
    tenant_id UUID,
    scope TEXT NOT NULL CHECK (scope IN ('platform', 'tenant', 'ou')),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    permissions JSONB NOT NULL,
    admin BOOLEAN NOT NULL,
    super_admin BOOLEAN NOT NULL,
    builtin BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT roles_super_admin_is_platform CHECK (NOT super_admin OR (scope = 'platform' AND tenant_id IS NULL)),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE UNIQUE INDEX roles_by_name ON roles (tenant_id, scope, name) WHERE tenant_id IS NOT NULL;
CREATE UNIQUE INDEX roles_builtin_by_name ON roles (scope, name) WHERE tenant_id IS NULL;

CREATE TABLE role_bindings (
    id UUID PRIMARY KEY,
    role_id UUID NOT NULL REFERENCES roles (id),
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('user', 'group', 'api_key')),
    subject_id UUID NOT NULL,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    ou_id UUID,
    created_at BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (ou_id, tenant_id) REFERENCES org_units (id, tenant_id)
);
CREATE UNIQUE INDEX role_bindings_once ON role_bindings (tenant_id, subject_kind, subject_id, role_id)
    WHERE ou_id IS NULL;
CREATE UNIQUE INDEX role_bindings_once_in_unit ON role_bindings (tenant_id, subject_kind, subject_id, role_id, ou_id)
    WHERE ou_id IS NOT NULL;
CREATE INDEX role_bindings_by_role ON role_bindings (role_id);

CREATE TABLE user_generations (
    tenant_id UUID NOT NULL,
    user_id UUID NOT NULL,
    project_id UUID NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);

CREATE TABLE sessions (
    sid UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    user_id UUID NOT NULL,
    is_system BOOLEAN NOT NULL,
    method TEXT NOT NULL,
    auth_time BIGINT NOT NULL,
    ip TEXT,
    user_agent TEXT,
    user_generation BIGINT NOT NULL,
    tenant_generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    token_exp BIGINT NOT NULL,
    ended_at BIGINT,
    end_reason TEXT,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    hash BYTEA PRIMARY KEY,
    sid UUID NOT NULL REFERENCES sessions (sid) ON DELETE CASCADE,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    jti UUID NOT NULL,
    jti_exp BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    consumed_at BIGINT,
    replaced_by BYTEA
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (sid);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

-- Counted for names nobody has, too: `subject` is a user's id or a folded name.
CREATE TABLE login_failures (
    project_id UUID NOT NULL REFERENCES projects (id),
    subject TEXT NOT NULL,
    failures BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    locked_until BIGINT,
    PRIMARY KEY (project_id, subject)
);

CREATE TABLE signing_keys (
    kid UUID PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    purpose TEXT NOT NULL CHECK (purpose IN ('tokens', 'assertions')),
    algorithm TEXT NOT NULL CHECK (algorithm IN ('ES256', 'RS256', 'EdDSA')),
    private_enc BYTEA NOT NULL,
    public_jwk JSONB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'retiring', 'retired')),
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (project_id, purpose) WHERE state = 'active';

CREATE TABLE issuers (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    issuer TEXT NOT NULL,
    audiences JSONB NOT NULL,
    algorithms JSONB NOT NULL,
    binding JSONB NOT NULL,
    jwks JSONB NOT NULL,
    jwks_url TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX issuers_by_issuer ON issuers (issuer);

-- Who did what. `chain` is the tenant's id or `platform` and outlives the tenant.
CREATE TABLE audit_events (
    id UUID PRIMARY KEY,
    chain TEXT NOT NULL,
    project_id UUID,
    tenant_id UUID REFERENCES tenants (id) ON DELETE SET NULL,
    action TEXT NOT NULL,
    crud TEXT NOT NULL CHECK (crud IN ('c', 'r', 'u', 'd')),
    target JSONB NOT NULL,
    actor JSONB NOT NULL,
    origin JSONB NOT NULL,
    is_failure BOOLEAN NOT NULL,
    fields JSONB NOT NULL,
    received BIGINT NOT NULL,
    chain_seq BIGINT,
    prev_hash TEXT,
    hash TEXT,
    UNIQUE (chain, chain_seq)
);
CREATE INDEX audit_events_by_time ON audit_events (received, id);
CREATE INDEX audit_events_by_tenant ON audit_events (tenant_id, received, id);
CREATE INDEX audit_events_unchained ON audit_events (received, id) WHERE chain_seq IS NULL;

CREATE TABLE audit_chains (
    chain TEXT PRIMARY KEY,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);

-- The log. One row says how far everything is numbered; whoever numbers locks it first.
CREATE TABLE log_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    seq BIGINT NOT NULL,
    tag BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    min_revision BIGINT NOT NULL,
    -- Tombstones up to this revision are gone: who is older needs the whole snapshot.
    forgotten_revision BIGINT NOT NULL
);
INSERT INTO log_head (id, seq, tag, revision, min_revision, forgotten_revision) VALUES (1, 0, 0, 0, 0, 0);

CREATE TABLE facts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seq BIGINT UNIQUE,
    tag BIGINT NOT NULL,
    body JSONB NOT NULL,
    at BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX facts_unnumbered ON facts (id) WHERE seq IS NULL;

-- Entities as writers leave them, until the tick gives them a revision and moves them to the change log.
CREATE TABLE pending_changes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tag BIGINT NOT NULL,
    kind TEXT NOT NULL,
    entity_id UUID NOT NULL,
    min_reader BIGINT NOT NULL,
    narrows BOOLEAN NOT NULL,
    body JSONB,
    sealed BYTEA,
    revision BIGINT
);

CREATE TABLE change_log (
    kind TEXT NOT NULL,
    entity_id UUID NOT NULL,
    revision BIGINT NOT NULL UNIQUE,
    min_reader BIGINT NOT NULL,
    body JSONB,
    sealed BYTEA,
    at BIGINT NOT NULL,
    PRIMARY KEY (kind, entity_id)
);

-- Which revision carries a commit's changes.
CREATE TABLE commits (
    tag BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL,
    at BIGINT NOT NULL
);

CREATE TABLE gateways (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    fleet TEXT NOT NULL,
    revision BIGINT NOT NULL,
    applied BIGINT NOT NULL,
    reader BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    last_seen BIGINT NOT NULL
);

CREATE TABLE idempotency_keys (
    principal TEXT NOT NULL,
    path TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BYTEA NOT NULL,
    status BIGINT NOT NULL,
    response_enc BYTEA NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (principal, path, key)
);

-- The second wall: row level security. A transaction says what it may see in `app.scope` ('platform', 'project' or
-- 'tenant'), `app.project_id` and `app.tenant_id`; what it does not say is nothing.

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_scope ON tenants USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE org_units ENABLE ROW LEVEL SECURITY;
ALTER TABLE org_units FORCE ROW LEVEL SECURITY;
CREATE POLICY org_units_scope ON org_units USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY memberships_scope ON memberships USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE role_bindings ENABLE ROW LEVEL SECURITY;
ALTER TABLE role_bindings FORCE ROW LEVEL SECURITY;
CREATE POLICY role_bindings_scope ON role_bindings USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE user_generations ENABLE ROW LEVEL SECURITY;
ALTER TABLE user_generations FORCE ROW LEVEL SECURITY;
CREATE POLICY user_generations_scope ON user_generations USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY sessions_scope ON sessions USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE refresh_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY refresh_tokens_scope ON refresh_tokens USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE hostnames ENABLE ROW LEVEL SECURITY;
ALTER TABLE hostnames FORCE ROW LEVEL SECURITY;
CREATE POLICY hostnames_scope ON hostnames USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY users_scope ON users USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE login_failures ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_failures FORCE ROW LEVEL SECURITY;
CREATE POLICY login_failures_scope ON login_failures USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE signing_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE signing_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY signing_keys_scope ON signing_keys USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE issuers ENABLE ROW LEVEL SECURITY;
ALTER TABLE issuers FORCE ROW LEVEL SECURITY;
CREATE POLICY issuers_scope ON issuers USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

-- Rows of nobody (built-in roles, routes of shared services, the platform's certificates) are everybody's to read.

ALTER TABLE roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE roles FORCE ROW LEVEL SECURITY;
CREATE POLICY roles_scope ON roles USING (
    tenant_id IS NULL
    OR current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
) WITH CHECK (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE routes ENABLE ROW LEVEL SECURITY;
ALTER TABLE routes FORCE ROW LEVEL SECURITY;
CREATE POLICY routes_scope ON routes USING (
    service_id IS NOT NULL
    OR current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
) WITH CHECK (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE certificates ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificates FORCE ROW LEVEL SECURITY;
CREATE POLICY certificates_scope ON certificates USING (
    project_id IS NULL
    OR current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
) WITH CHECK (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

-- Events are appended from any scope (a failed sign-in names no tenant) and read from their own.

ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_events FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_events_scope ON audit_events USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
) WITH CHECK (
    true
);

-- The role that runtime transactions take: it owns nothing and cannot bypass the policies. Who may not create roles has
-- its administrator create it, and grant it, beforehand.
DO $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        CREATE ROLE portcullis_runtime NOLOGIN NOBYPASSRLS;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL;
END $$;
-- Membership is of the whole server: another database of ours may be granting it at the same time.
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime')
        AND NOT pg_has_role(current_user, 'portcullis_runtime', 'MEMBER') THEN
        EXECUTE format('GRANT portcullis_runtime TO %I', current_user);
    END IF;
EXCEPTION
    WHEN unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE WARNING 'role portcullis_runtime could not be granted to %', current_user;
END $$;
DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO portcullis_runtime', current_schema());
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO portcullis_runtime',
            current_schema());
        EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO portcullis_runtime', current_schema());
        REVOKE ALL ON refinery_schema_history FROM portcullis_runtime;
    END IF;
END $$;
