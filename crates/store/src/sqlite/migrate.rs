//! SQLite's migrations, and the copy of the file that is made before one runs.

use std::path::{Path, PathBuf};

use super::convert;
use crate::StoreError;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Migrates forward. A file that already holds a schema is copied beside itself first, as
/// `{file}.before-v{new version}`.
pub(super) fn forward(connection: &mut rusqlite::Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(connection)?;
    let known = known_version();
    if found == known {
        return Ok(());
    }
    if found > 0 {
        connection
            .backup("main", copy_of(path, known), None::<fn(rusqlite::backup::Progress)>)
            .map_err(convert::error)?;
    }
    embedded::migrations::runner().run(connection).map_err(|e| StoreError::Migration(e.into()))?;
    Ok(())
}

fn copy_of(path: &Path, version: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-v{version}"));
    name.into()
}

pub(super) fn version(connection: &mut rusqlite::Connection) -> Result<u32, StoreError> {
    let migrated: bool = connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'refinery_schema_history')",
            [],
            |row| row.get(0),
        )
        .map_err(convert::error)?;
    if !migrated {
        return Ok(0);
    }
    connection
        .query_row("SELECT COALESCE(MAX(version), 0) FROM refinery_schema_history", [], |row| row.get(0))
        .map_err(convert::error)
}

pub(super) fn known_version() -> u32 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().filter_map(|m| u32::try_from(m.version()).ok()).max().unwrap_or(0)
}
