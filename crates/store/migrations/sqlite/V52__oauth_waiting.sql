-- How many sign-ins wait for identity providers in a project: no fewer than this many. Each that is begun adds one; what there is is
-- counted anew where that reaches the bound.
CREATE TABLE oauth_waiting (
    project_id TEXT PRIMARY KEY REFERENCES projects (id),
    counted INTEGER NOT NULL,
    recounted_at INTEGER NOT NULL
) STRICT;
CREATE INDEX oauth_states_by_project ON oauth_states (project_id, expires_at);
