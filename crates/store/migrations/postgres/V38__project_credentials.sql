-- What names a project where no hostname does, and who may read its directory. Of a secret part the hash is kept.
CREATE TABLE project_credentials (
    id UUID PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL CHECK (kind IN ('publishable', 'secret', 'directory_reader')),
    name TEXT NOT NULL,
    name_fold TEXT NOT NULL,
    public_id TEXT NOT NULL UNIQUE,
    secret_hash BYTEA,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    CONSTRAINT project_credentials_secret CHECK ((kind = 'publishable') = (secret_hash IS NULL))
);
CREATE INDEX project_credentials_by_project ON project_credentials (project_id);

ALTER TABLE project_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE project_credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY project_credentials_scope ON project_credentials USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) = 'project')
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON project_credentials TO portcullis_runtime;
    END IF;
END $$;
