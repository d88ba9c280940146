-- What reads a project's directory by a certificate: on connections alone whose client has proven the one of this SHA-256. That is
-- unique nowhere, and nothing is looked up by it: it is public, and whoever names somebody else's takes nothing from them.
ALTER TABLE project_credentials RENAME TO project_credentials_before;
DROP INDEX project_credentials_by_project;
CREATE TABLE project_credentials (
    id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL CHECK (kind IN ('publishable', 'secret', 'directory_reader', 'mtls')),
    name TEXT NOT NULL,
    name_fold TEXT NOT NULL,
    public_id TEXT NOT NULL UNIQUE,
    secret_hash BLOB,
    certificate_sha256 BLOB,
    not_after INTEGER,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER,
    CONSTRAINT project_credentials_secret CHECK ((kind IN ('publishable', 'mtls')) = (secret_hash IS NULL)),
    CONSTRAINT project_credentials_certificate
        CHECK ((kind = 'mtls') = (certificate_sha256 IS NOT NULL) AND (kind = 'mtls') = (not_after IS NOT NULL))
) STRICT;
INSERT INTO project_credentials (id, project_id, kind, name, name_fold, public_id, secret_hash, created_at, last_used_at, revoked_at)
    SELECT id, project_id, kind, name, name_fold, public_id, secret_hash, created_at, last_used_at, revoked_at
    FROM project_credentials_before;
DROP TABLE project_credentials_before;
CREATE INDEX project_credentials_by_project ON project_credentials (project_id);
