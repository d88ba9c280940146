//! PostgreSQL's migrations: run by the connecting role, which owns the tables. Forward only.

use tokio_postgres::Client;

use super::convert;
use crate::StoreError;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// Two replicas may start at once: the one that comes second fails where the first has made its tables, and finds the
/// schema it wanted.
pub(super) async fn forward(client: &mut Client) -> Result<(), StoreError> {
    match embedded::migrations::runner().run_async(client).await {
        Ok(_) => Ok(()),
        Err(_) if version(client).await? == known_version() => Ok(()),
        Err(error) => Err(StoreError::Migration(error.into())),
    }
}

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
