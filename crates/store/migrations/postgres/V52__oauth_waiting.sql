-- How many sign-ins wait for identity providers in a project: no fewer than this many. Each that is begun adds one; what there is is
-- counted anew where that reaches the bound.
CREATE TABLE oauth_waiting (
    project_id UUID PRIMARY KEY REFERENCES projects (id),
    counted BIGINT NOT NULL,
    recounted_at BIGINT NOT NULL
);
CREATE INDEX oauth_states_by_project ON oauth_states (project_id, expires_at);

ALTER TABLE oauth_waiting ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_waiting FORCE ROW LEVEL SECURITY;
CREATE POLICY oauth_waiting_scope ON oauth_waiting USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) = 'project')
);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON oauth_waiting TO portcullis_runtime;
    END IF;
END $$;
