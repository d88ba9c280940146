-- Programs that get tokens of their own. Each acts as a user that was made for it; of its secret the hash is kept, and for
-- an overlap that of the secret before.
CREATE TABLE machine_clients (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    user_id UUID NOT NULL UNIQUE,
    name TEXT NOT NULL,
    name_fold TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    previous_hash BYTEA,
    previous_until BIGINT,
    session UUID,
    last_used_at BIGINT,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    UNIQUE (tenant_id, name_fold),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);

ALTER TABLE machine_clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE machine_clients FORCE ROW LEVEL SECURITY;
CREATE POLICY machine_clients_scope ON machine_clients USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON machine_clients TO portcullis_runtime;
    END IF;
END $$;
