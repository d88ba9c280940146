//! Sealing everything anew under a new master key, batch by batch, while the store is in use.
//!
//! Each sealed value names the key it was sealed with ([`crate::seal`]), so what is left to do is asked of the rows
//! themselves: who stops in the middle goes on where they stopped, and two at once share the work. A value is replaced
//! only if it is still the one that was opened, so nothing that is written meanwhile is lost.

use crate::{
    Store, StoreError, View,
    aggregate::{
        api_key, break_glass, certificate, idempotency, identity_provider, oauth_flow, one_time_code, outbox,
        signing_key, totp, upstream, webhook,
    },
    log::{chain, erasure, feed, retention, unsealed},
    value::{Row, Value, values},
};

/// A column of sealed values.
pub(crate) struct SealedColumn {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    /// Columns that find the row again and that [`Self::place`] reads.
    pub(crate) key: &'static [&'static str],
    /// What a row's value is bound to.
    pub(crate) place: fn(&Row) -> Result<String, StoreError>,
}

/// All of them. A test looks for columns that are missing here.
const COLUMNS: [SealedColumn; 22] = [
    signing_key::SEALED,
    certificate::SEALED,
    upstream::SEALED_ACTIVE,
    upstream::SEALED_OTHER,
    idempotency::SEALED,
    api_key::SEALED,
    api_key::SEALED_PREVIOUS,
    break_glass::SEALED,
    outbox::SEALED,
    totp::SEALED_SECRET,
    totp::SEALED_PEPPER,
    one_time_code::SEALED,
    identity_provider::SEALED,
    oauth_flow::SEALED,
    webhook::SEALED,
    webhook::SEALED_PREVIOUS,
    feed::SEALED_PENDING,
    feed::SEALED_CHANGES,
    chain::SEALED,
    unsealed::SEALED,
    retention::SEALED,
    erasure::SEALED,
];

/// Table and column of everything that is sealed.
pub fn sealed_columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    COLUMNS.iter().map(|it| (it.table, it.column))
}

impl Store {
    /// Seals up to `limit` values anew that are sealed with an older master key; answers how many there were. Called
    /// until it answers 0.
    ///
    /// # Errors
    /// [`StoreError::Seal`] for a value that no key we were given opens; what was sealed anew before it stays.
    pub async fn reseal(&self, limit: u32) -> Result<u64, StoreError> {
        for column in &COLUMNS {
            let view = self.begin_state().await?;
            let found = column.older(&view, limit).await?;
            if found.is_empty() {
                continue;
            }
            for row in &found {
                column.renew(&view, row).await?;
            }
            view.commit().await?;
            return Ok(u64::try_from(found.len()).unwrap_or(u64::MAX));
        }
        Ok(0)
    }

    /// How many values are still sealed with an older master key.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sealed_with_older_keys(&self) -> Result<u64, StoreError> {
        let view = self.view().await?;
        let mut left = 0;
        for SealedColumn { table, column, .. } in &COLUMNS {
            let sql = format!("SELECT COUNT(*) AS older FROM {table} WHERE {}", older(column));
            let key = view.sealer().key_id().to_vec();
            left += view.first(&sql, values![key], |row| row.at::<u64>("older")).await?.unwrap_or(0);
        }
        Ok(left)
    }
}

/// Whether a value names another key than `$1`: its first byte is its form, the four after it the key's id.
fn older(column: &str) -> String {
    format!("{column} IS NOT NULL AND substr({column}, 2, 4) <> $1")
}

impl SealedColumn {
    async fn older(&self, view: &View, limit: u32) -> Result<Vec<Row>, StoreError> {
        let Self { table, column, key, .. } = self;
        let sql = format!("SELECT {}, {column} FROM {table} WHERE {} LIMIT $2", key.join(", "), older(column));
        view.query(&sql, values![view.sealer().key_id().to_vec(), limit]).await
    }

    async fn renew(&self, view: &View, row: &Row) -> Result<(), StoreError> {
        let Self { table, column, key, place } = self;
        let (place, sealed) = (place(row)?, row.at::<Vec<u8>>(column)?);
        let plain = view.sealer().open(&place, &sealed)?;
        let mut values = values![view.sealer().seal(&place, plain.expose())?, sealed];
        let mut sql = format!("UPDATE {table} SET {column} = $1 WHERE {column} = $2");
        for (name, at) in key.iter().zip(3..) {
            sql.push_str(&format!(" AND {name} = ${at}"));
            values.push(row.at::<Value>(name)?);
        }
        view.execute(&sql, values).await?;
        Ok(())
    }
}
