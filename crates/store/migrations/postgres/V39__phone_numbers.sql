-- Numbers that somebody showed to read, each one account's in a project.
CREATE TABLE phone_numbers (
    user_id UUID PRIMARY KEY,
    project_id UUID NOT NULL,
    number TEXT NOT NULL,
    verified_at BIGINT NOT NULL,
    UNIQUE (project_id, number),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
);

ALTER TABLE phone_numbers ENABLE ROW LEVEL SECURITY;
ALTER TABLE phone_numbers FORCE ROW LEVEL SECURITY;
CREATE POLICY phone_numbers_scope ON phone_numbers USING (
    current_setting('app.scope', true) = 'platform'
    OR (project_id = NULLIF(current_setting('app.project_id', true), '')::uuid AND current_setting('app.scope', true) IN ('project', 'tenant'))
);

-- How many texts were sent of late, by what they are counted by: a number, its beginning, a user, a project, all. What that is is not
-- kept, its digest is: nobody owns these rows, and nobody but the pace of texts reads them.
CREATE TABLE text_counts (
    digest BYTEA PRIMARY KEY,
    ends_at BIGINT NOT NULL,
    counted BIGINT NOT NULL,
    told BOOLEAN NOT NULL
);
CREATE INDEX text_counts_by_end ON text_counts (ends_at);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON phone_numbers, text_counts TO portcullis_runtime;
    END IF;
END $$;
