//! The database as the configuration names it.

use std::path::Path;

use domain::Secret;
use link::file::{SecretRef, SecretRefError};
use store::{PostgresConfig, Sealer, Store, StoreError};

use crate::config::DatabaseConfig;

/// Why the database cannot be opened.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum DatabaseError {
    #[error("the master key cannot be read")]
    Key(#[from] SecretRefError),
    #[error("a master key is 64 hexadecimal digits")]
    KeyForm,
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
    let current = config.master_key.as_ref().ok_or(DatabaseError::KeyForm)?;
    let older = config.older_master_keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let sealer = Sealer::new(&key(current)?, &older).map_err(StoreError::from)?;
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
    let text = reference.resolve(Path::new("."))?;
    let digits = text.expose().as_bytes();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.filter(|bytes| bytes.len() == store::seal::MASTER_KEY_BYTES).map(Secret::new).ok_or(DatabaseError::KeyForm)
}

#[test]
fn a_master_key_is_64_digits() {
    let folder = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        std::fs::write(folder.path().join("key"), text).unwrap();
        key(&SecretRef::File(folder.path().join("key")))
    };
    assert_eq!(read(&"0f".repeat(32)).unwrap().expose(), &vec![15; 32]);
    for wrong in ["0f".repeat(31), "zz".repeat(32), "0f".repeat(33), format!("{}f", "0f".repeat(31))] {
        assert!(read(&wrong).is_err(), "{wrong}");
    }
}
