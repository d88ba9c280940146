-- Several tenants may claim a hostname; one of them holds it: who proved it last. `verified_at` says who: it is set while a
-- claim holds the name, also after its proof was lost, and until another took the name over.
ALTER TABLE hostnames DROP CONSTRAINT hostnames_hostname_key;
CREATE UNIQUE INDEX hostnames_one_holder ON hostnames (hostname) WHERE verified_at IS NOT NULL;
CREATE UNIQUE INDEX hostnames_one_claim ON hostnames (hostname, project_id, tenant_id);
CREATE UNIQUE INDEX hostnames_one_claim_of_a_project ON hostnames (hostname, project_id) WHERE tenant_id IS NULL;
ALTER TABLE hostnames ADD CONSTRAINT hostnames_verified_holds
    CHECK (verify_state <> 'verified' OR verified_at IS NOT NULL);

-- Proofs by DNS of custom hostnames: what has to be found, what was, and when it is looked for next (NULL: when somebody
-- asks). Who moves `epoch` looks.
CREATE TABLE hostname_proofs (
    id UUID PRIMARY KEY REFERENCES hostnames (id) ON DELETE CASCADE,
    project_id UUID NOT NULL REFERENCES projects (id),
    tenant_id UUID,
    challenge TEXT NOT NULL,
    due_at BIGINT,
    checked_at BIGINT,
    lost_at BIGINT,
    failed_at BIGINT,
    failure TEXT,
    epoch BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id)
);
CREATE INDEX hostname_proofs_by_due ON hostname_proofs (due_at) WHERE due_at IS NOT NULL;

-- Custom hostnames that are there are proven when somebody asks, and looked after from then on.
INSERT INTO hostname_proofs (id, project_id, tenant_id, challenge, epoch)
    SELECT id, project_id, tenant_id,
        'portcullis-verify=' || replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 0
    FROM hostnames WHERE kind = 'custom';

-- Names that were given up: until then nobody else gets them. Rows outlive whose they were.
CREATE TABLE released_hostnames (
    hostname TEXT PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID,
    until BIGINT NOT NULL
);

ALTER TABLE hostname_proofs ENABLE ROW LEVEL SECURITY;
ALTER TABLE hostname_proofs FORCE ROW LEVEL SECURITY;
CREATE POLICY hostname_proofs_scope ON hostname_proofs USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

ALTER TABLE released_hostnames ENABLE ROW LEVEL SECURITY;
ALTER TABLE released_hostnames FORCE ROW LEVEL SECURITY;
CREATE POLICY released_hostnames_scope ON released_hostnames USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON hostname_proofs, released_hostnames TO portcullis_runtime;
    END IF;
END $$;
