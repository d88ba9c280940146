-- Accounts whose people asked that they be deleted: done when it is due, unless they sign in before.
CREATE TABLE account_deletions (
    user_id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    asked_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    -- After a failure, when it is tried again.
    next_at BIGINT NOT NULL,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);
CREATE INDEX account_deletions_by_due ON account_deletions (next_at);
CREATE INDEX account_deletions_by_project ON account_deletions (project_id);

ALTER TABLE account_deletions ENABLE ROW LEVEL SECURITY;
ALTER TABLE account_deletions FORCE ROW LEVEL SECURITY;
CREATE POLICY account_deletions_scope ON account_deletions USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON account_deletions TO portcullis_runtime;
    END IF;
END $$;
