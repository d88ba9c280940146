-- The first schema. Ids are UUIDs, instants milliseconds since the epoch, closed choices text, structure JSON.

CREATE TABLE customers (
    id TEXT PRIMARY KEY,
    code TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('company', 'person')),
    tenancy TEXT NOT NULL CHECK (tenancy IN ('dedicated', 'shared')),
    address TEXT,
    contact TEXT,
    tax_ids TEXT NOT NULL,
    kyc TEXT NOT NULL CHECK (kyc IN ('none', 'pending', 'partial', 'completed', 'due_rekyc')),
    kyc_kind TEXT NOT NULL CHECK (kyc_kind IN ('kyc', 'kyb')),
    payment TEXT NOT NULL CHECK (payment IN ('ok', 'overdue', 'blocked')),
    is_root INTEGER NOT NULL,
    break_glass_user_id TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX customers_one_root ON customers (is_root) WHERE is_root;

CREATE TABLE projects (
    id TEXT PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('root', 'dedicated', 'shared')),
    status TEXT NOT NULL CHECK (status IN ('active', 'suspended')),
    issuer TEXT NOT NULL UNIQUE,
    audiences TEXT NOT NULL,
    config TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX projects_one_root ON projects (kind) WHERE kind = 'root';

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    customer_id TEXT NOT NULL REFERENCES customers (id),
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('trial', 'active', 'frozen', 'suspended', 'deleted')),
    resume_status TEXT CHECK (resume_status IN ('trial', 'active', 'frozen')),
    claim_state TEXT NOT NULL CHECK (claim_state IN ('latent', 'claimed')),
    plan TEXT,
    trial_ends_at INTEGER,
    rate_limit TEXT,
    generation INTEGER NOT NULL,
    deleted_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (id, project_id)
) STRICT;
CREATE INDEX tenants_by_project ON tenants (project_id);
CREATE INDEX tenants_by_customer ON tenants (customer_id);

CREATE TABLE certificates (
    id TEXT PRIMARY KEY,
    project_id TEXT REFERENCES projects (id),
    names TEXT NOT NULL,
    chain_pem TEXT NOT NULL,
    key_enc BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('upload', 'acme', 'development')),
    fingerprint TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX certificates_by_project ON certificates (project_id);

CREATE TABLE upstreams (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    assertion TEXT NOT NULL CHECK (assertion IN ('hmac', 'eddsa', 'off')),
    assertion_key_enc BLOB NOT NULL,
    assertion_kid TEXT NOT NULL,
    spec TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE services (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    upstream_id TEXT NOT NULL REFERENCES upstreams (id),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT;

CREATE TABLE hostnames (
    id TEXT PRIMARY KEY,
    hostname TEXT NOT NULL UNIQUE,
    project_id TEXT NOT NULL REFERENCES projects (id),
    tenant_id TEXT,
    purpose TEXT NOT NULL CHECK (purpose IN ('app', 'auth', 'api')),
    kind TEXT NOT NULL CHECK (kind IN ('platform', 'custom')),
    is_primary INTEGER NOT NULL,
    verify_state TEXT NOT NULL CHECK (verify_state IN ('pending', 'verified', 'failed')),
    verified_at INTEGER,
    tls_mode TEXT NOT NULL CHECK (tls_mode IN ('manual', 'acme', 'wildcard')),
    certificate_id TEXT REFERENCES certificates (id),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE UNIQUE INDEX hostnames_one_primary ON hostnames (project_id, purpose) WHERE is_primary;
CREATE INDEX hostnames_by_tenant ON hostnames (tenant_id);
CREATE INDEX hostnames_by_certificate ON hostnames (certificate_id);

CREATE TABLE hostname_services (
    hostname_id TEXT NOT NULL REFERENCES hostnames (id) ON DELETE CASCADE,
    service_id TEXT NOT NULL REFERENCES services (id),
    place INTEGER NOT NULL,
    PRIMARY KEY (hostname_id, service_id)
) STRICT;
CREATE INDEX hostname_services_by_service ON hostname_services (service_id);

-- A route belongs to a service or to one hostname; the latter's project and tenant are the route's.
CREATE TABLE routes (
    id TEXT PRIMARY KEY,
    service_id TEXT REFERENCES services (id) ON DELETE CASCADE,
    hostname_id TEXT REFERENCES hostnames (id) ON DELETE CASCADE,
    project_id TEXT,
    tenant_id TEXT,
    upstream_id TEXT REFERENCES upstreams (id),
    rule TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT routes_one_owner CHECK ((service_id IS NULL) <> (hostname_id IS NULL))
) STRICT;
CREATE INDEX routes_by_service ON routes (service_id);
CREATE INDEX routes_by_hostname ON routes (hostname_id);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
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
    password_changed_at INTEGER,
    must_change_password INTEGER NOT NULL,
    email_verified_at INTEGER,
    is_break_glass INTEGER NOT NULL,
    last_login_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (id, project_id),
    UNIQUE (project_id, email_fold),
    UNIQUE (project_id, username_fold),
    UNIQUE (project_id, external_id)
) STRICT;

CREATE TABLE org_units (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    deleted_at INTEGER,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE (id, tenant_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE UNIQUE INDEX org_units_by_name ON org_units (tenant_id, name) WHERE deleted_at IS NULL;

CREATE TABLE memberships (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('domain', 'invited', 'added', 'bootstrap')),
    status TEXT NOT NULL CHECK (status IN ('active', 'pending', 'inactive')),
    default_ou_id TEXT,
    created_at INTEGER NOT NULL,
    UNIQUE (tenant_id, user_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE,
    FOREIGN KEY (default_ou_id, tenant_id) REFERENCES org_units (id, tenant_id)
) STRICT;
CREATE INDEX memberships_by_user ON memberships (user_id);

CREATE TABLE roles (
    id TEXT PRIMARY KEY,
    project_id TEXT,
    tenant_id TEXT,
    scope TEXT NOT NULL CHECK (scope IN ('platform', 'tenant', 'ou')),
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    permissions TEXT NOT NULL,
    admin INTEGER NOT NULL,
    super_admin INTEGER NOT NULL,
    builtin INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT roles_super_admin_is_platform CHECK (NOT super_admin OR (scope = 'platform' AND tenant_id IS NULL)),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE UNIQUE INDEX roles_by_name ON roles (tenant_id, scope, name) WHERE tenant_id IS NOT NULL;
CREATE UNIQUE INDEX roles_builtin_by_name ON roles (scope, name) WHERE tenant_id IS NULL;

CREATE TABLE role_bindings (
    id TEXT PRIMARY KEY,
    role_id TEXT NOT NULL REFERENCES roles (id),
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('user', 'group', 'api_key')),
    subject_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    ou_id TEXT,
    created_at INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (ou_id, tenant_id) REFERENCES org_units (id, tenant_id)
) STRICT;
CREATE UNIQUE INDEX role_bindings_once ON role_bindings (tenant_id, subject_kind, subject_id, role_id)
    WHERE ou_id IS NULL;
CREATE UNIQUE INDEX role_bindings_once_in_unit ON role_bindings (tenant_id, subject_kind, subject_id, role_id, ou_id)
    WHERE ou_id IS NOT NULL;
CREATE INDEX role_bindings_by_role ON role_bindings (role_id);

CREATE TABLE user_generations (
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    project_id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;

CREATE TABLE sessions (
    sid TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    is_system INTEGER NOT NULL,
    method TEXT NOT NULL,
    auth_time INTEGER NOT NULL,
    ip TEXT,
    user_agent TEXT,
    user_generation INTEGER NOT NULL,
    tenant_generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    token_exp INTEGER NOT NULL,
    ended_at INTEGER,
    end_reason TEXT,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id);

CREATE TABLE refresh_tokens (
    hash BLOB PRIMARY KEY,
    sid TEXT NOT NULL REFERENCES sessions (sid) ON DELETE CASCADE,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    jti TEXT NOT NULL,
    jti_exp INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    consumed_at INTEGER,
    replaced_by BLOB
) STRICT;
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (sid);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);

-- Counted for names nobody has, too: `subject` is a user's id or a folded name.
CREATE TABLE login_failures (
    project_id TEXT NOT NULL REFERENCES projects (id),
    subject TEXT NOT NULL,
    failures INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    locked_until INTEGER,
    PRIMARY KEY (project_id, subject)
) STRICT;

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    purpose TEXT NOT NULL CHECK (purpose IN ('tokens', 'assertions')),
    algorithm TEXT NOT NULL CHECK (algorithm IN ('ES256', 'RS256', 'EdDSA')),
    private_enc BLOB NOT NULL,
    public_jwk TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'active', 'retiring', 'retired')),
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (project_id, purpose) WHERE state = 'active';

CREATE TABLE issuers (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    issuer TEXT NOT NULL,
    audiences TEXT NOT NULL,
    algorithms TEXT NOT NULL,
    binding TEXT NOT NULL,
    jwks TEXT NOT NULL,
    jwks_url TEXT,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX issuers_by_issuer ON issuers (issuer);

-- Who did what. `chain` is the tenant's id or `platform` and outlives the tenant.
CREATE TABLE audit_events (
    id TEXT PRIMARY KEY,
    chain TEXT NOT NULL,
    project_id TEXT,
    tenant_id TEXT REFERENCES tenants (id) ON DELETE SET NULL,
    action TEXT NOT NULL,
    crud TEXT NOT NULL CHECK (crud IN ('c', 'r', 'u', 'd')),
    target TEXT NOT NULL,
    actor TEXT NOT NULL,
    origin TEXT NOT NULL,
    is_failure INTEGER NOT NULL,
    fields TEXT NOT NULL,
    received INTEGER NOT NULL,
    chain_seq INTEGER,
    prev_hash TEXT,
    hash TEXT,
    UNIQUE (chain, chain_seq)
) STRICT;
CREATE INDEX audit_events_by_time ON audit_events (received, id);
CREATE INDEX audit_events_by_tenant ON audit_events (tenant_id, received, id);
CREATE INDEX audit_events_unchained ON audit_events (received, id) WHERE chain_seq IS NULL;

CREATE TABLE audit_chains (
    chain TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    hash TEXT NOT NULL
) STRICT;

-- The log. One row says how far everything is numbered; whoever numbers locks it first.
CREATE TABLE log_head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    tag INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    min_revision INTEGER NOT NULL,
    -- Tombstones up to this revision are gone: who is older needs the whole snapshot.
    forgotten_revision INTEGER NOT NULL
) STRICT;
INSERT INTO log_head (id, seq, tag, revision, min_revision, forgotten_revision) VALUES (1, 0, 0, 0, 0, 0);

CREATE TABLE facts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    seq INTEGER UNIQUE,
    tag INTEGER NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX facts_unnumbered ON facts (id) WHERE seq IS NULL;

-- Entities as writers leave them, until the tick gives them a revision and moves them to the change log.
CREATE TABLE pending_changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tag INTEGER NOT NULL,
    kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    min_reader INTEGER NOT NULL,
    narrows INTEGER NOT NULL,
    body TEXT,
    sealed BLOB,
    revision INTEGER
) STRICT;

CREATE TABLE change_log (
    kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    revision INTEGER NOT NULL UNIQUE,
    min_reader INTEGER NOT NULL,
    body TEXT,
    sealed BLOB,
    at INTEGER NOT NULL,
    PRIMARY KEY (kind, entity_id)
) STRICT;

-- Which revision carries a commit's changes.
CREATE TABLE commits (
    tag INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE TABLE gateways (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    fleet TEXT NOT NULL,
    revision INTEGER NOT NULL,
    applied INTEGER NOT NULL,
    reader INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    last_seen INTEGER NOT NULL
) STRICT;

CREATE TABLE idempotency_keys (
    principal TEXT NOT NULL,
    path TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash BLOB NOT NULL,
    status INTEGER NOT NULL,
    response_enc BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (principal, path, key)
) STRICT;
