-- Accounts whose people asked that they be deleted: done when it is due, unless they sign in before.
CREATE TABLE account_deletions (
    user_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    asked_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    -- After a failure, when it is tried again.
    next_at INTEGER NOT NULL,
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX account_deletions_by_due ON account_deletions (next_at);
CREATE INDEX account_deletions_by_project ON account_deletions (project_id);
