-- Who is let in at the edge and how much at once, and which pages of other origins may call. NULL for no rules.
ALTER TABLE tenants ADD COLUMN principal_rate_limit JSONB;
ALTER TABLE tenants ADD COLUMN admission JSONB;
ALTER TABLE hostnames ADD COLUMN admission JSONB;
ALTER TABLE hostnames ADD COLUMN cors JSONB;
