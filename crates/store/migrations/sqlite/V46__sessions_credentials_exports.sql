-- Who has what is kept of them handed out is found by these, however many invitations a tenant has.
CREATE INDEX invitations_by_address ON invitations (project_id, email_fold, id);
CREATE INDEX invitations_by_sender ON invitations (invited_by, id);

-- When a program last named a project by it; noted once in a while, not each time.
ALTER TABLE project_credentials ADD COLUMN last_used_at INTEGER;

-- Whether all that a session knows of its user was shown to the one that approved it.
ALTER TABLE sessions ADD COLUMN lent INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET lent = TRUE WHERE method = 'qr';
