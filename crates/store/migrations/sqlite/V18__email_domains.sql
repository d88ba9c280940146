-- Domains of email addresses: who has a proven address in a verified one belongs to its tenant. As with hostnames several
-- may claim one, and `verified_at` says who holds it, in each project.
CREATE TABLE email_domains (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    domain TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'verified', 'failed')),
    verified_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    CONSTRAINT email_domains_verified_holds CHECK (state <> 'verified' OR verified_at IS NOT NULL),
    UNIQUE (tenant_id, domain),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX email_domains_one_holder ON email_domains (project_id, domain) WHERE verified_at IS NOT NULL;

CREATE TABLE email_domain_proofs (
    id TEXT PRIMARY KEY REFERENCES email_domains (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    challenge TEXT NOT NULL,
    due_at INTEGER,
    checked_at INTEGER,
    lost_at INTEGER,
    failed_at INTEGER,
    failure TEXT,
    epoch INTEGER NOT NULL
) STRICT;
CREATE INDEX email_domain_proofs_by_due ON email_domain_proofs (due_at) WHERE due_at IS NOT NULL;

-- Who was taken out of a tenant by somebody: they do not come back by the domain of their address.
CREATE TABLE left_memberships (
    project_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, user_id)
) STRICT;
CREATE INDEX left_memberships_by_user ON left_memberships (user_id);
