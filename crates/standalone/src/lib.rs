//! Gateway, control API and SQLite in one process: the portcullis command.
