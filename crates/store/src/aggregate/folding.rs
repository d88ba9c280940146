//! Folded names of rows that an older release wrote. SQL folds what the database's locale says, so it is done here: at a
//! start, in batches, from where it was left when it was cut off.

use uuid::Uuid;

use super::list::folded;
use crate::{
    Store, StoreError, View,
    value::{Row, Value, values},
};

/// Tables whose `name_fold` is of these columns, joined by a space.
const NAMED: [(&str, &[&str]); 8] = [
    ("api_keys", &["name"]),
    ("customers", &["name"]),
    ("org_units", &["name"]),
    ("products", &["name"]),
    ("roles", &["name"]),
    ("tenants", &["name"]),
    ("user_groups", &["name"]),
    ("users", &["first_name", "last_name"]),
];

/// Rows of one transaction.
const BATCH: u32 = 500;

impl Store {
    /// Folds what is not folded. Nothing to do, one look at each table.
    pub(crate) async fn fold_names(&self) -> Result<(), StoreError> {
        for (table, columns) in NAMED {
            let mut after = Uuid::nil();
            loop {
                let view = self.begin_state().await?;
                let rows = unfolded(&view, (table, columns), after).await?;
                if !rows.is_empty() {
                    fold(&view, table, &rows).await?;
                }
                view.commit().await?;
                match rows.last() {
                    Some((last, _)) => after = *last,
                    None => break,
                }
            }
        }
        Ok(())
    }
}

/// Folds a batch, in one statement.
async fn fold(view: &View, table: &str, rows: &[(Uuid, String)]) -> Result<(), StoreError> {
    let (mut all, mut cases, mut ids) = (Vec::new(), String::new(), Vec::new());
    for (id, name) in rows {
        all.extend([Value::from(*id), folded(name)]);
        let (id, name) = (all.len() - 1, all.len());
        cases.push_str(&format!(" WHEN ${id} THEN ${name}"));
        ids.push(format!("${id}"));
    }
    let sql = format!("UPDATE {table} SET name_fold = CASE id{cases} END WHERE id IN ({})", ids.join(", "));
    view.execute(&sql, all).await.map(|_| ())
}

/// The next rows that are not folded, with what is to be.
async fn unfolded(
    view: &View,
    (table, columns): (&str, &[&str]),
    after: Uuid,
) -> Result<Vec<(Uuid, String)>, StoreError> {
    // Held, so that replicas that start at once take turns, and find folded what another folded.
    let sql = view.locking(&format!(
        "SELECT id, {} FROM {table} WHERE name_fold = '' AND id > $1 ORDER BY id LIMIT {BATCH}",
        columns.join(", ")
    ));
    let name = |row: &Row| {
        let parts: Result<Vec<String>, StoreError> = columns.iter().map(|column| row.at(column)).collect();
        Ok((row.at("id")?, parts?.join(" ")))
    };
    view.all(&sql, values![after], name).await
}
