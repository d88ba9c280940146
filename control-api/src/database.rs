//! The database as the configuration names it.

use std::path::Path;

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
