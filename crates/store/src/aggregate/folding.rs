//! Folded names of rows that an older release wrote. SQL folds what the database's locale says, so it is done here: while others
//! are served, in batches, from where it was left.
//!
//! Until a row is folded, lists find it by its name in the lower case of the database, and sort it before all that are. How far a
//! table is done stands in `foldings`: rows without a name are looked at once, not each time. What a replica of an older
//! release still writes has a later id, and is found by the next look, or an id that it was given, and is found when all is
//! looked at anew.

use uuid::Uuid;

use super::list::folded;
use crate::{
    Store, StoreError, View,
    value::{Row, Value, values},
};

/// Tables whose `name_fold` is of these columns, joined by a space. Each has its row in `foldings`.
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
    /// Has all tables looked at from the beginning by what folds next.
    ///
    /// # Errors
    /// Of the database.
    pub async fn fold_anew(&self) -> Result<(), StoreError> {
        let view = self.begin_state().await?;
        view.execute("UPDATE foldings SET folded_to = $1", values![Uuid::nil()]).await?;
        view.commit().await
    }

    /// Folds some of what is not folded, in one short transaction, and says how many rows that were: 0 when nothing is left, by
    /// one look at each table.
    ///
    /// # Errors
    /// Of the database. What was folded before stays.
    pub async fn fold_names(&self) -> Result<usize, StoreError> {
        let mut attempt = 0;
        loop {
            let view = self.begin_state().await?;
            let outcome = match batch(&view).await {
                Ok(rows) => view.commit().await.map(|()| rows),
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if view.conflicted() => self.again(&mut attempt, error).await?,
                settled => return settled,
            }
        }
    }
}

/// The next rows of the first table that has any.
async fn batch(view: &View) -> Result<usize, StoreError> {
    for (table, columns) in NAMED {
        // Held, so that replicas that fold at once take turns, and go on where the other left it.
        let sql = view.locking("SELECT folded_to FROM foldings WHERE kind = $1");
        let after = view.first(&sql, values![table], |row| row.at::<Uuid>("folded_to")).await?;
        let after = after.ok_or_else(|| StoreError::corrupt("foldings", table))?;
        let rows = unfolded(view, (table, columns), after).await?;
        let Some((last, _)) = rows.last() else { continue };
        fold(view, table, &rows).await?;
        view.execute("UPDATE foldings SET folded_to = $2 WHERE kind = $1", values![table, *last]).await?;
        return Ok(rows.len());
    }
    Ok(0)
}

/// Folds a batch, in one statement.
async fn fold(view: &View, table: &str, rows: &[(Uuid, String)]) -> Result<(), StoreError> {
    let (mut all, mut cases, mut ids) = (Vec::new(), String::new(), Vec::new());
    for (id, name) in rows.iter().filter(|(_, name)| !name.trim().is_empty()) {
        all.extend([Value::from(*id), folded(name)]);
        let (id, name) = (all.len() - 1, all.len());
        cases.push_str(&format!(" WHEN ${id} THEN ${name}"));
        ids.push(format!("${id}"));
    }
    if ids.is_empty() {
        return Ok(());
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
    // Held: nobody renames what is being folded.
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
