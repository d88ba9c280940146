-- How often anything was sent to an address within a day that strangers may ask for, whatever project it is of. The address is not kept,
-- its digest is: nobody owns these rows, and nobody but the pace of letters reads them.
CREATE TABLE mail_addresses (
    address_digest BLOB PRIMARY KEY,
    day_began INTEGER NOT NULL,
    in_day INTEGER NOT NULL
) STRICT;
CREATE INDEX mail_addresses_by_day ON mail_addresses (day_began);
