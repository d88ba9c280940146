-- Domains of email addresses: who has a proven address in a verified one belongs to its tenant. As with hostnames several
-- may claim one, and `verified_at` says who holds it, in each project.
CREATE TABLE email_domains (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    domain TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'verified', 'failed')),
    verified_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT email_domains_verified_holds CHECK (state <> 'verified' OR verified_at IS NOT NULL),
    UNIQUE (tenant_id, domain),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX email_domains_one_holder ON email_domains (project_id, domain) WHERE verified_at IS NOT NULL;

CREATE TABLE email_domain_proofs (
    id UUID PRIMARY KEY REFERENCES email_domains (id) ON DELETE CASCADE,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    challenge TEXT NOT NULL,
    due_at BIGINT,
    checked_at BIGINT,
    lost_at BIGINT,
    failed_at BIGINT,
    failure TEXT,
    epoch BIGINT NOT NULL
);
CREATE INDEX email_domain_proofs_by_due ON email_domain_proofs (due_at) WHERE due_at IS NOT NULL;

-- Who was taken out of a tenant by somebody: they do not come back by the domain of their address.
CREATE TABLE left_memberships (
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX left_memberships_by_user ON left_memberships (user_id);

ALTER TABLE email_domains ENABLE ROW LEVEL SECURITY;
ALTER TABLE email_domains FORCE ROW LEVEL SECURITY;
CREATE POLICY email_domains_scope ON email_domains USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE email_domain_proofs ENABLE ROW LEVEL SECURITY;
ALTER TABLE email_domain_proofs FORCE ROW LEVEL SECURITY;
CREATE POLICY email_domain_proofs_scope ON email_domain_proofs USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE left_memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE left_memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY left_memberships_scope ON left_memberships USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON email_domains, email_domain_proofs, left_memberships TO portcullis_runtime;
    END IF;
END $$;
