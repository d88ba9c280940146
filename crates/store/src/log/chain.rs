//! The audit trail's hash chains: one per tenant and one for the platform.
//!
//! Rows are appended unchained, so that nobody waits for a chain's last row, and chained in batches afterwards. Each
//! hash covers the hash before it and every column of its row in a length-prefixed encoding, so that no two rows
//! share one; changing, removing or reordering rows breaks every hash after them.

use std::collections::{BTreeMap, HashMap};

use aws_lc_rs::digest::{Context, SHA256};
use domain::{Timestamp, audit::AuditEvent};

use crate::{
    Store, StoreError, View,
    aggregate::audit,
    tx::Reader,
    value::{Row, values},
};

/// What the first row of a chain follows.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Store {
    /// Chains up to `limit` unchained rows, oldest first; says how many there were. Called about once a second.
    ///
    /// # Errors
    /// Of the database. Nothing is chained then.
    pub async fn chain_audit(&self, limit: u32) -> Result<usize, StoreError> {
        let view = self.begin_state().await?;
        // One at a time: whoever chains holds the first chain's row, which is made here if it is not there yet.
        view.execute(
            "INSERT INTO audit_chains (chain, seq, hash) VALUES ($1, 0, $2) ON CONFLICT (chain) DO NOTHING",
            values![audit::PLATFORM, BEGINNING],
        )
        .await?;
        view.query(&view.locking("SELECT seq FROM audit_chains WHERE chain = $1"), values![audit::PLATFORM]).await?;
        let sql = format!("{} WHERE chain_seq IS NULL ORDER BY received, id LIMIT $1", audit::SELECT);
        let rows = view.all(&sql, values![limit], chained_row).await?;
        let mut heads: HashMap<String, (u64, String)> = HashMap::new();
        for (chain, event) in &rows {
            let (seq, prev) = match heads.get(chain) {
                Some(head) => head.clone(),
                None => head(&view, chain).await?,
            };
            let hash = hash(&prev, chain, event);
            view.execute(
                "UPDATE audit_events SET chain_seq = $1, prev_hash = $2, hash = $3 WHERE id = $4",
                values![seq + 1, &prev, &hash, event.id],
            )
            .await?;
            heads.insert(chain.clone(), (seq + 1, hash));
        }
        for (chain, (seq, hash)) in heads {
            view.execute(
                "INSERT INTO audit_chains (chain, seq, hash) VALUES ($1, $2, $3)
                 ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
                values![chain, seq, hash],
            )
            .await?;
        }
        view.commit().await?;
        Ok(rows.len())
    }

    /// Checks a chain from beginning to end; none for the platform's. Answers the number of rows, or the first place
    /// that does not fit.
    ///
    /// # Errors
    /// Of the database.
    pub async fn verify_audit(&self, tenant: Option<domain::TenantId>) -> Result<Result<u64, u64>, StoreError> {
        const BATCH: u32 = 1000;
        let chain = audit::chain_of(tenant);
        let view = Reader::view(self).await?;
        let (head_seq, head_hash) = head(&view, &chain).await?;
        let (mut at, mut prev) = (0_u64, String::from(BEGINNING));
        loop {
            let sql = format!("{} WHERE chain = $1 AND chain_seq > $2 ORDER BY chain_seq LIMIT $3", audit::SELECT);
            let rows = view.all(&sql, values![&chain, at, BATCH], chained_row).await?;
            if rows.is_empty() {
                return Ok(if (at, &prev) == (head_seq, &head_hash) { Ok(at) } else { Err(at + 1) });
            }
            for (_, event) in rows {
                let fits = event.chain.as_ref().is_some_and(|link| {
                    link.seq == at + 1 && link.prev_hash == prev && link.hash == hash(&prev, &chain, &event)
                });
                let Some(link) = event.chain.filter(|_| fits) else { return Ok(Err(at + 1)) };
                (at, prev) = (link.seq, link.hash);
            }
        }
    }
}

fn chained_row(row: &Row) -> Result<(String, AuditEvent), StoreError> {
    Ok((row.at("chain")?, audit::event(row)?))
}

async fn head(view: &View, chain: &str) -> Result<(u64, String), StoreError> {
    let sql = "SELECT seq, hash FROM audit_chains WHERE chain = $1";
    let found = view.first(sql, values![chain], |row| Ok((row.at("seq")?, row.at("hash")?))).await?;
    Ok(found.unwrap_or_else(|| (0, BEGINNING.into())))
}

/// Hex SHA-256 over the hash before and the row. Who a tenant was stands in the chain's name, which outlives it.
fn hash(prev: &str, chain: &str, event: &AuditEvent) -> String {
    let entry = &event.entry;
    let mut context = Context::new(&SHA256);
    let mut add = |part: &str| {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    };
    add(prev);
    add(chain);
    add(&event.id.to_string());
    add(&millis(event.received));
    add(&entry.project_id.map(|id| id.to_string()).unwrap_or_default());
    add(&entry.action);
    add(&canonical(&serde_json::json!([
        entry.crud,
        entry.target,
        entry.is_failure,
        entry.fields,
        event.actor,
        event.origin,
    ])));
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn millis(at: Timestamp) -> String {
    at.millis().to_string()
}

/// JSON with the members of each object in the order of their names, whatever order the database kept.
fn canonical(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let members: Vec<_> = sorted
                .into_iter()
                .map(|(name, it)| format!("{}:{}", Value::from(name.as_str()), canonical(it)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}
