-- Keys that programs of a tenant act with. Of a bearer key only the hash of its text is kept; a signing key is sealed,
-- because signatures are checked with it. While one is rotated, the one before is accepted, too.
CREATE TABLE api_keys (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    owner_id UUID NOT NULL,
    name TEXT NOT NULL,
    prefix TEXT NOT NULL UNIQUE,
    secret_hash BYTEA,
    secret_enc BYTEA,
    previous_hash BYTEA,
    previous_enc BYTEA,
    previous_until BIGINT,
    scopes JSONB NOT NULL,
    networks JSONB NOT NULL,
    rate_limit JSONB,
    expires_at BIGINT,
    disabled_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    CONSTRAINT api_keys_one_secret CHECK ((secret_hash IS NULL) <> (secret_enc IS NULL)),
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (owner_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id);
CREATE INDEX api_keys_by_owner ON api_keys (owner_id);

ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY api_keys_scope ON api_keys USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON api_keys TO portcullis_runtime;
    END IF;
END $$;
