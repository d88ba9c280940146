-- How a hostname's responses differ from its upstreams', and its largest request body.
ALTER TABLE hostnames ADD COLUMN response JSONB;
ALTER TABLE hostnames ADD COLUMN max_body JSONB;
