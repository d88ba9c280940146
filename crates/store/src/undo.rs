//! What migrations have made, so that on a developer's machine it can be taken away again.
//!
//! Down is all the way: a schema half way down is one that no release knows. What is dropped is read off the migrations
//! themselves, so that nothing stands beside them that could differ, and nothing goes that they have not made.

use std::collections::BTreeSet;

use refinery::Migration;

/// Where it is kept which migrations have run.
const HISTORY: &str = "refinery_schema_history";

/// Tables that these migrations make, under whatever name they have at the end, and the history of migrations.
pub(crate) fn tables(migrations: &[Migration]) -> BTreeSet<String> {
    let made = migrations.iter().filter_map(Migration::sql).flat_map(made);
    made.chain([HISTORY]).map(str::to_owned).collect()
}

/// Names behind `CREATE TABLE` and `RENAME TO`, each at the beginning of its statement or clause.
fn made(sql: &str) -> impl Iterator<Item = &str> {
    let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--"));
    lines.flat_map(|line| ["CREATE TABLE ", "RENAME TO "].into_iter().filter_map(|words| behind(line, words)))
}

fn behind<'l>(line: &'l str, words: &str) -> Option<&'l str> {
    let (_, rest) = line.split_once(words)?;
    let rest = rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest);
    rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().filter(|name| !name.is_empty())
}

#[test]
fn tables_are_read_off_what_makes_them() {
    let sql = "-- CREATE TABLE none (id INTEGER);\nCREATE TABLE one (id INTEGER);\nCREATE TABLE IF NOT EXISTS two(id INTEGER);\n\
               ALTER TABLE two RENAME TO three;\nALTER TABLE one ADD COLUMN x INTEGER;";
    assert_eq!(made(sql).collect::<Vec<_>>(), ["one", "two", "three"]);
}
