-- How much a program asked for in a minute that costs everybody: tokens, and their end.
ALTER TABLE machine_clients ADD COLUMN minute INTEGER NOT NULL DEFAULT 0;
ALTER TABLE machine_clients ADD COLUMN in_minute INTEGER NOT NULL DEFAULT 0;
