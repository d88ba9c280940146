-- Who has what is kept of them handed out is found by these, however many invitations a tenant has.
CREATE INDEX invitations_by_address ON invitations (project_id, email_fold, id);
CREATE INDEX invitations_by_sender ON invitations (invited_by, id);

-- When a program last named a project by it; noted once in a while, not each time.
ALTER TABLE project_credentials ADD COLUMN last_used_at BIGINT;

-- Whether all that a session knows of its user was shown to the one that approved it.
ALTER TABLE sessions ADD COLUMN lent BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE sessions SET lent = TRUE WHERE method = 'qr';

-- A letter to the holder of an account is the project's, also where it is left by what happens in one of its tenants.
DROP POLICY outbox_events_scope ON outbox_events;
CREATE POLICY outbox_events_scope ON outbox_events USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant' AND tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid)))
) WITH CHECK (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid
        AND (current_setting('app.scope', true) = 'project' OR (current_setting('app.scope', true) = 'tenant'
            AND (tenant_id IS NULL OR tenant_id = NULLIF(current_setting('app.tenant_id', true), '')::uuid))))
);
