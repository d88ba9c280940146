//! SQLite's migrations, and the copy of the file that is made before one runs.

use std::path::{Path, PathBuf};

use super::convert;
use crate::{StoreError, undo};

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Migrates forward. A file that already holds a schema is copied beside itself first, as
/// `{file}.before-v{new version}`.
pub(super) fn forward(connection: &mut rusqlite::Connection, path: &Path) -> Result<(), StoreError> {
    let found = version(connection)?;
    let known = known_version();
    if found > 0 && found != known {
        copy(connection, path, &format!("before-v{known}"))?;
    }
    // Also with nothing to do: one that is missing in the middle is an error, not passed over.
    embedded::migrations::runner().run(connection).map_err(|e| StoreError::Migration(e.into()))?;
    Ok(())
}

/// Takes all of it away, in one transaction. The file is copied beside itself first, as `{file}.before-down`.
pub(super) fn down(connection: &mut rusqlite::Connection, path: &Path) -> Result<(), StoreError> {
    if version(connection)? == 0 {
        return Ok(());
    }
    copy(connection, path, "before-down")?;
    let drops = undo::tables(embedded::migrations::runner().get_migrations());
    let drops: String = drops.iter().map(|table| format!("DROP TABLE IF EXISTS {table};")).collect();
    // What refers goes with what is referred to.
    connection.pragma_update(None, "foreign_keys", false).map_err(convert::error)?;
    let dropped = drop_all(connection, &drops);
    connection.pragma_update(None, "foreign_keys", true).map_err(convert::error)?;
    dropped.map_err(convert::error)
}

fn drop_all(connection: &mut rusqlite::Connection, drops: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(drops)?;
    transaction.commit()
}

fn copy(connection: &rusqlite::Connection, path: &Path, when: &str) -> Result<(), StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{when}"));
    let copied = connection.backup("main", PathBuf::from(name), None::<fn(rusqlite::backup::Progress)>);
    copied.map_err(convert::error)
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

#[cfg(test)]
mod tests {
    use refinery::Target;

    use super::*;

    #[test]
    fn credentials_of_projects_outlive_the_table_they_were_in() {
        let mut connection = rusqlite::Connection::open_in_memory().unwrap();
        embedded::migrations::runner().set_target(Target::Version(48)).run(&mut connection).unwrap();
        // Whose they are does not matter here.
        connection.pragma_update(None, "foreign_keys", false).unwrap();
        let sql = "INSERT INTO project_credentials (id, project_id, kind, name, name_fold, public_id, secret_hash, created_at,
                       last_used_at, revoked_at)
                   VALUES ('a', 'p', 'publishable', 'A', 'a', 'pa', NULL, 1, 2, NULL),
                          ('b', 'p', 'secret', 'B', 'b', 'pb', x'07', 3, NULL, 4)";
        connection.execute_batch(sql).unwrap();
        let read = |connection: &rusqlite::Connection| -> String {
            let sql =
                "SELECT group_concat(concat_ws('|', id, project_id, kind, name, name_fold, public_id, hex(secret_hash),
                           created_at, ifnull(last_used_at, '-'), ifnull(revoked_at, '-')), ' ')
                       FROM (SELECT * FROM project_credentials ORDER BY id)";
            connection.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        let before = read(&connection);
        assert_eq!(before, "a|p|publishable|A|a|pa||1|2|- b|p|secret|B|b|pb|07|3|-|4");
        embedded::migrations::runner().run(&mut connection).unwrap();
        assert_eq!(read(&connection), before);
        for wrong in [
            "'mtls', 'C', 'c', 'pc', NULL, NULL, NULL, 1",
            "'mtls', 'C', 'c', 'pc', x'07', x'07', 9, 1",
            "'mtls', 'C', 'c', 'pc', NULL, x'07', NULL, 1",
            "'secret', 'C', 'c', 'pc', x'07', x'07', 9, 1",
            "'publishable', 'C', 'c', 'pa', NULL, NULL, NULL, 1",
        ] {
            let sql = format!(
                "INSERT INTO project_credentials (id, project_id, kind, name, name_fold, public_id, secret_hash,
                     certificate_sha256, not_after, created_at) VALUES ('c', 'p', {wrong})"
            );
            assert!(connection.execute_batch(&sql).is_err(), "{wrong}");
        }
    }
}
