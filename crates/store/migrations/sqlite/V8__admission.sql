-- Who is let in at the edge and how much at once, and which pages of other origins may call. NULL for no rules.
ALTER TABLE tenants ADD COLUMN principal_rate_limit TEXT;
ALTER TABLE tenants ADD COLUMN admission TEXT;
ALTER TABLE hostnames ADD COLUMN admission TEXT;
ALTER TABLE hostnames ADD COLUMN cors TEXT;
