//! The database as the configuration names it.

use std::{net::IpAddr, path::Path};

use domain::Secret;
use link::file::{SecretRef, SecretRefError};
use store::{
    PostgresConfig, Sealer, Store, StoreError,
    seal::{self, SealError},
};

use crate::config::DatabaseConfig;

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum DatabaseError {
    #[error("the master key cannot be read")]
    Key(#[from] SecretRefError),
    #[error("`database.master_key` is missing")]
    KeyMissing,
    #[error(transparent)]
    KeyForm(#[from] SealError),
    #[error("`{path}` cannot be read")]
    Ca { path: std::path::PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Opens the database. Nothing is migrated.
///
/// # Errors
/// [`DatabaseError`].
pub fn open(config: &DatabaseConfig) -> Result<Store, DatabaseError> {
    let current = config.master_key.as_ref().ok_or(DatabaseError::KeyMissing)?;
    let older = config.older_master_keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let sealer = Sealer::new(&key(current)?, &older)?;
    if let Some(path) = config.url.strip_prefix("sqlite:") {
        return Ok(Store::sqlite(Path::new(path), sealer)?);
    }
    let read = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).map_err(|source| DatabaseError::Ca { path: path.clone(), source })
    };
    let ca_pem = config.ca.as_ref().map(read).transpose()?;
    let connections = config.connections;
    let config = PostgresConfig { ca_pem, connections, ..PostgresConfig::new(Secret::new(config.url.clone())) };
    Ok(Store::postgres(config, sealer)?)
}

fn key(reference: &SecretRef) -> Result<Secret<Vec<u8>>, DatabaseError> {
    Ok(seal::read_master_key(&reference.resolve(Path::new("."))?)?)
}

/// The name of a database that is on this machine: a file's, as the address has it, or the PostgreSQL database's behind a
/// loopback address or a socket. None for any other, and for an address that says the host twice.
pub fn on_this_machine(url: &str) -> Option<&str> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return Some(path);
    }
    let (_, rest) = url.split_once("://")?;
    let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, name) = place.split_once('/')?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?.0,
        None => host.split(':').next()?,
    };
    let is_here = matches!(host, "" | "localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (is_here && !settings.contains("host") && !name.is_empty()).then_some(name)
}

#[test]
fn a_database_elsewhere_is_not_on_this_machine() {
    for (url, name) in [
        ("sqlite:portcullis.db", Some("portcullis.db")),
        ("postgres://localhost/dev", Some("dev")),
        ("postgresql://me:secret@127.0.0.1:5432/dev?sslmode=disable", Some("dev")),
        ("postgres://me@[::1]:5432/dev", Some("dev")),
        ("postgres:///dev", Some("dev")),
        ("postgres://db.internal/dev", None),
        ("postgres://localhost,db.internal/dev", None),
        ("postgres://localhost@db.internal/dev", None),
        ("postgres://localhost/dev?hostaddr=192.0.2.1", None),
        ("postgres://localhost/", None),
        ("postgres://localhost", None),
    ] {
        assert_eq!(on_this_machine(url), name, "{url}");
    }
}
