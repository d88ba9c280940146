-- What is sent to addresses and shown once: links by the hash of their token, codes by an HMAC whose key is sealed.
CREATE TABLE one_time_tokens (
    hash BYTEA PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,
    -- Of whom; none where there is no account yet.
    user_id UUID,
    email TEXT NOT NULL,
    email_fold TEXT NOT NULL,
    payload JSONB NOT NULL,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX one_time_tokens_by_end ON one_time_tokens (expires_at);
CREATE INDEX one_time_tokens_by_user ON one_time_tokens (user_id, kind) WHERE user_id IS NOT NULL;

-- One for each address and kind. The row outlives its code: it counts wrong ones.
CREATE TABLE one_time_codes (
    project_id UUID NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    hash BYTEA,
    pepper_enc BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    locked_until BIGINT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, kind, subject)
);
CREATE INDEX one_time_codes_by_end ON one_time_codes (expires_at);

-- When something of a kind was last asked to be sent to an address, and how often within a day: whether or not it was sent.
CREATE TABLE mail_requests (
    project_id UUID NOT NULL REFERENCES projects (id),
    kind TEXT NOT NULL,
    email_fold TEXT NOT NULL,
    last_at BIGINT NOT NULL,
    day_began BIGINT NOT NULL,
    in_day BIGINT NOT NULL,
    PRIMARY KEY (project_id, kind, email_fold)
);
CREATE INDEX mail_requests_by_age ON mail_requests (last_at);

-- Hashes of passwords somebody had, so that they do not come back.
CREATE TABLE password_history (
    user_id UUID NOT NULL,
    project_id UUID NOT NULL,
    hash TEXT NOT NULL,
    replaced_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, hash),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX password_history_by_project ON password_history (project_id);

-- How people sign in to a tenant. Without a row, as the platform says.
CREATE TABLE login_policies (
    tenant_id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    body JSONB NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id) ON DELETE CASCADE
);

ALTER TABLE one_time_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE one_time_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY one_time_tokens_scope ON one_time_tokens USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE one_time_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE one_time_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY one_time_codes_scope ON one_time_codes USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE mail_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE mail_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY mail_requests_scope ON mail_requests USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE password_history ENABLE ROW LEVEL SECURITY;
ALTER TABLE password_history FORCE ROW LEVEL SECURITY;
CREATE POLICY password_history_scope ON password_history USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

ALTER TABLE login_policies ENABLE ROW LEVEL SECURITY;
ALTER TABLE login_policies FORCE ROW LEVEL SECURITY;
CREATE POLICY login_policies_scope ON login_policies USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON one_time_tokens, one_time_codes, mail_requests, password_history, login_policies TO portcullis_runtime;
    END IF;
END $$;
