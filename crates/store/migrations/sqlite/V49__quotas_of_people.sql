-- What a user may keep in the applications behind the edge, in bytes; null where nothing is said of them.
ALTER TABLE users ADD COLUMN quota_bytes INTEGER CHECK (quota_bytes BETWEEN 0 AND 9007199254740991);

-- Requests for help that are old are found by these, whichever tenant they are of.
CREATE INDEX help_requests_by_age ON help_requests (created_at);
CREATE INDEX help_requests_by_answer ON help_requests (settled_at) WHERE settled_at IS NOT NULL;
