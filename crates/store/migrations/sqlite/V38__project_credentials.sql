-- What names a project where no hostname does, and who may read its directory. Of a secret part the hash is kept.
CREATE TABLE project_credentials (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL CHECK (kind IN ('publishable', 'secret', 'directory_reader')),
    name TEXT NOT NULL,
    name_fold TEXT NOT NULL,
    public_id TEXT NOT NULL UNIQUE,
    secret_hash BLOB,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    CONSTRAINT project_credentials_secret CHECK ((kind = 'publishable') = (secret_hash IS NULL))
) STRICT;
CREATE INDEX project_credentials_by_project ON project_credentials (project_id);
