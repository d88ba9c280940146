-- How often anything was sent to an address within a day that strangers may ask for, whatever project it is of. The address is not kept,
-- its digest is: nobody owns these rows, and nobody but the pace of letters reads them.
CREATE TABLE mail_addresses (
    address_digest BYTEA PRIMARY KEY,
    day_began BIGINT NOT NULL,
    in_day BIGINT NOT NULL
);
CREATE INDEX mail_addresses_by_day ON mail_addresses (day_began);

DO $$
BEGIN
    IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'portcullis_runtime') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON mail_addresses TO portcullis_runtime;
    END IF;
END $$;
