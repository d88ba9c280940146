//! The declarative file.
