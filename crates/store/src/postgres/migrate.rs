//! PostgreSQL's migrations: run by the connecting role, which owns the tables. Forward only.

use std::{error::Error, time::Duration};

use tokio_postgres::{Client, error::SqlState};

use super::convert;
use crate::StoreError;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// How often a migration is tried that gets in another replica's way.
const ATTEMPTS: u32 = 40;

/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Replicas may start at once. Each migration is one transaction that also says that it was done, so of those that try
/// one at the same time one succeeds; the others begin again with what is left.
pub(super) async fn forward(client: &mut Client) -> Result<(), StoreError> {
    let mut attempt = 1;
    loop {
        match embedded::migrations::runner().run_async(client).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt < ATTEMPTS && collided(&error) => {
                tracing::info!(attempt, "another replica migrates the database");
                tokio::time::sleep(PAUSE).await;
                attempt += 1;
            }
            Err(error) => return Err(StoreError::Migration(error.into())),
        }
    }
}

/// Whether a migration failed for what another replica did meanwhile: made the same things, or has them locked.
fn collided(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code) {
            return COLLISIONS.contains(code);
        }
        cause = error.source();
    }
    false
}

/// `INTERNAL_ERROR` is how PostgreSQL says "tuple concurrently updated".
const COLLISIONS: [SqlState; 10] = [
    SqlState::UNIQUE_VIOLATION,
    SqlState::DUPLICATE_TABLE,
    SqlState::DUPLICATE_COLUMN,
    SqlState::DUPLICATE_OBJECT,
    SqlState::UNDEFINED_OBJECT,
    SqlState::DUPLICATE_FUNCTION,
    SqlState::DUPLICATE_SCHEMA,
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::INTERNAL_ERROR,
];

pub(super) async fn version(client: &Client) -> Result<u32, StoreError> {
    let migrated = client
        .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
        .await
        .and_then(|row| row.try_get::<_, bool>(0))
        .map_err(convert::error)?;
    if !migrated {
        return Ok(0);
    }
    let version = client
        .query_one("SELECT COALESCE(MAX(version), 0)::bigint FROM refinery_schema_history", &[])
        .await
        .and_then(|row| row.try_get::<_, i64>(0))
        .map_err(convert::error)?;
    u32::try_from(version).map_err(|e| StoreError::corrupt("version", e))
}

pub(super) fn known_version() -> u32 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().filter_map(|m| u32::try_from(m.version()).ok()).max().unwrap_or(0)
}
