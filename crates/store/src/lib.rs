//! Store traits over PostgreSQL and SQLite.
