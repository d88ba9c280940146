-- Several tenants may claim a hostname; one of them holds it: who proved it last. `verified_at` says who: it is set while a
-- claim holds the name, also after its proof was lost, and until another took the name over.
--
-- SQLite drops no constraint: the table is made anew. What refers to it goes with the old one, and is put back.
CREATE TABLE kept_hostnames AS SELECT * FROM hostnames;
CREATE TABLE kept_services AS SELECT * FROM hostname_services;
CREATE TABLE kept_routes AS SELECT * FROM routes WHERE hostname_id IS NOT NULL;
CREATE TABLE kept_bindings AS SELECT * FROM certificate_bindings;
DROP TABLE hostnames;

CREATE TABLE hostnames (
    id TEXT PRIMARY KEY,
    hostname TEXT NOT NULL,
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
    fleet TEXT NOT NULL DEFAULT 'default',
    admission TEXT,
    cors TEXT,
    response TEXT,
    max_body TEXT,
    client_certificates TEXT,
    CONSTRAINT hostnames_verified_holds CHECK (verify_state <> 'verified' OR verified_at IS NOT NULL),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE UNIQUE INDEX hostnames_one_primary ON hostnames (project_id, purpose) WHERE is_primary;
CREATE INDEX hostnames_by_tenant ON hostnames (tenant_id);
CREATE INDEX hostnames_by_certificate ON hostnames (certificate_id);
CREATE INDEX hostnames_by_fleet ON hostnames (fleet);
CREATE UNIQUE INDEX hostnames_one_holder ON hostnames (hostname) WHERE verified_at IS NOT NULL;
CREATE UNIQUE INDEX hostnames_one_claim ON hostnames (hostname, project_id, tenant_id);
CREATE UNIQUE INDEX hostnames_one_claim_of_a_project ON hostnames (hostname, project_id) WHERE tenant_id IS NULL;

INSERT INTO hostnames (id, hostname, project_id, tenant_id, purpose, kind, is_primary, verify_state, verified_at, tls_mode,
        certificate_id, created_at, updated_at, version, fleet, admission, cors, response, max_body, client_certificates)
    SELECT id, hostname, project_id, tenant_id, purpose, kind, is_primary, verify_state, verified_at, tls_mode,
        certificate_id, created_at, updated_at, version, fleet, admission, cors, response, max_body, client_certificates
    FROM kept_hostnames;
INSERT INTO hostname_services SELECT * FROM kept_services;
INSERT INTO routes SELECT * FROM kept_routes;
INSERT INTO certificate_bindings SELECT * FROM kept_bindings;
DROP TABLE kept_hostnames;
DROP TABLE kept_services;
DROP TABLE kept_routes;
DROP TABLE kept_bindings;

-- Proofs by DNS of custom hostnames: what has to be found, what was, and when it is looked for next (NULL: when somebody
-- asks). Who moves `epoch` looks.
CREATE TABLE hostname_proofs (
    id TEXT PRIMARY KEY REFERENCES hostnames (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL REFERENCES projects (id),
    tenant_id TEXT,
    challenge TEXT NOT NULL,
    due_at INTEGER,
    checked_at INTEGER,
    lost_at INTEGER,
    failed_at INTEGER,
    failure TEXT,
    epoch INTEGER NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
) STRICT;
CREATE INDEX hostname_proofs_by_due ON hostname_proofs (due_at) WHERE due_at IS NOT NULL;

-- Custom hostnames that are there are proven when somebody asks, and looked after from then on.
INSERT INTO hostname_proofs (id, project_id, tenant_id, challenge, epoch)
    SELECT id, project_id, tenant_id, 'portcullis-verify=' || lower(hex(randomblob(32))), 0
    FROM hostnames WHERE kind = 'custom';

-- Names that were given up: until then nobody else gets them. Rows outlive whose they were.
CREATE TABLE released_hostnames (
    hostname TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT,
    until INTEGER NOT NULL
) STRICT;
