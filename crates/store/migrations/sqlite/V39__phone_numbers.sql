-- Numbers that somebody showed to read, each one account's in a project.
CREATE TABLE phone_numbers (
    user_id TEXT PRIMARY KEY,
    project_id TEXT NOT NULL,
    number TEXT NOT NULL,
    verified_at INTEGER NOT NULL,
    UNIQUE (project_id, number),
    FOREIGN KEY (user_id, project_id) REFERENCES users (id, project_id) ON DELETE CASCADE
) STRICT;

-- How many texts were sent of late, by what they are counted by: a number, its beginning, a user, a project, all. What that is is not
-- kept, its digest is: nobody owns these rows, and nobody but the pace of texts reads them.
CREATE TABLE text_counts (
    digest BLOB PRIMARY KEY,
    ends_at INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    told INTEGER NOT NULL
) STRICT;
CREATE INDEX text_counts_by_end ON text_counts (ends_at);
