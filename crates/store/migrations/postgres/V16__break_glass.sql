-- Emergency administrators: one for each customer. The password is not the user's: it is good for this sign-in only.
CREATE TABLE break_glass (
    customer_id UUID PRIMARY KEY REFERENCES customers (id),
    user_id UUID NOT NULL UNIQUE,
    project_id UUID NOT NULL,
    tenant_id UUID NOT NULL,
    password_hash TEXT NOT NULL,
    totp_enc BYTEA NOT NULL,
    last_step BIGINT NOT NULL,
    disabled_at BIGINT,
    set_up_at BIGINT NOT NULL,
    last_login_at BIGINT,
    FOREIGN KEY (tenant_id, project_id) REFERENCES tenants (id, project_id),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id)
);
CREATE INDEX break_glass_by_tenant ON break_glass (tenant_id);

ALTER TABLE break_glass ENABLE ROW LEVEL SECURITY;
ALTER TABLE break_glass FORCE ROW LEVEL SECURITY;
CREATE POLICY break_glass_scope ON break_glass USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON break_glass TO portcullis_runtime;
    END IF;
END $$;
