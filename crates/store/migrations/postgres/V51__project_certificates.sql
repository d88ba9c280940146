-- What reads a project's directory by a certificate: on connections alone whose client has proven the one of this SHA-256. That is
-- unique nowhere, and nothing is looked up by it: it is public, and whoever names somebody else's takes nothing from them.
ALTER TABLE project_credentials ADD COLUMN certificate_sha256 BYTEA;
ALTER TABLE project_credentials ADD COLUMN not_after BIGINT;
ALTER TABLE project_credentials DROP CONSTRAINT project_credentials_kind_check;
ALTER TABLE project_credentials DROP CONSTRAINT project_credentials_secret;
ALTER TABLE project_credentials ADD CONSTRAINT project_credentials_kind
    CHECK (kind IN ('publishable', 'secret', 'directory_reader', 'mtls'));
ALTER TABLE project_credentials ADD CONSTRAINT project_credentials_secret
    CHECK ((kind IN ('publishable', 'mtls')) = (secret_hash IS NULL));
ALTER TABLE project_credentials ADD CONSTRAINT project_credentials_certificate
    CHECK ((kind = 'mtls') = (certificate_sha256 IS NOT NULL) AND (kind = 'mtls') = (not_after IS NOT NULL));
