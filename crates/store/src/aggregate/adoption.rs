//! Refusals that other services wrote, taken over into the log: each becomes one fact, whoever takes it over.

use std::collections::BTreeMap;

use domain::{Fact, Timestamp, TokenId};

use crate::{
    SessionTx, StoreError,
    value::{Row, Value},
};

/// Rows written by one statement.
const ROWS: usize = 500;

/// An expiry that moved by less than this, in milliseconds, is the same: it was computed from what was left.
const SAME: i64 = 30_000;

impl SessionTx {
    /// Leaves the fact of each refusal that was not taken over before, or not for as long. Answers how many there were.
    ///
    /// # Errors
    /// Of the database. Nothing is taken over then.
    pub async fn adopt(&self, refusals: impl IntoIterator<Item = (TokenId, Timestamp)>) -> Result<usize, StoreError> {
        let mut latest: BTreeMap<TokenId, Timestamp> = BTreeMap::new();
        for (jti, exp) in refusals {
            let held = latest.entry(jti).or_insert(exp);
            *held = exp.max(*held);
        }
        // In the order of their ids, so that two who take over the same wait for each other and not in a circle.
        let latest: Vec<_> = latest.into_iter().collect();
        let mut taken = 0;
        for rows in latest.chunks(ROWS) {
            let places: Vec<String> = (0..rows.len()).map(|at| format!("(${}, ${})", 2 * at + 1, 2 * at + 2)).collect();
            let sql = format!(
                "INSERT INTO adopted_tokens (jti, expires) VALUES {}
                 ON CONFLICT (jti) DO UPDATE SET expires = excluded.expires
                     WHERE excluded.expires > adopted_tokens.expires + {SAME}
                 RETURNING jti, expires",
                places.join(", ")
            );
            let values = rows.iter().flat_map(|(jti, exp)| [Value::from(*jti), Value::from(*exp)]).collect();
            let fact = |row: &Row| Ok(Fact::TokenRefused { jti: row.at("jti")?, exp: row.at("expires")? });
            let facts = self.work.view.all(&sql, values, fact).await?;
            self.work.insert_facts(&facts).await?;
            taken += facts.len();
        }
        Ok(taken)
    }
}
