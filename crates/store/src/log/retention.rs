//! Retention: the oldest rows of a chain are removed, and what is left can still be checked.
//!
//! A cut leaves a checkpoint: number and hash of the last row that is gone, under the master key. What is left follows that
//! row, as its first row says; who can write to the database alone cannot make a checkpoint, so cannot pass off rows that
//! are missing for rows that were kept long enough.

use domain::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    chain,
    chain_row::{BEGINNING, Verifier},
    erasure,
};
use crate::{
    Store, StoreError, View,
    reseal::SealedColumn,
    value::{Row, values},
};

/// Rows removed in one transaction: it shares the database's only writer (SQLite) with everything else.
const CUT: u32 = 1000;

/// Where a chain begins whose older rows are gone.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Number of the last row that is gone.
    pub seq: u64,
    /// Its hash, which the first row that is left follows.
    pub hash: String,
    /// How many rows are gone.
    pub removed: u64,
    /// When the last of them was removed.
    pub cut_at: Timestamp,
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{}:{}:{}:{}", self.seq, self.hash, self.removed, self.cut_at.millis())
    }
}

fn place(chain: &str) -> String {
    format!("audit_checkpoints.proof_enc:{chain}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "audit_checkpoints",
    column: "proof_enc",
    key: &["chain"],
    place: |row| Ok(place(&row.at::<String>("chain")?)),
};

/// A chain's checkpoint, and whether it is the one that was sealed.
pub(super) async fn checkpoint(view: &View, chain: &str) -> Result<Option<(Checkpoint, bool)>, StoreError> {
    let read = |row: &Row| {
        let found = Checkpoint {
            seq: row.at("seq")?,
            hash: row.at("hash")?,
            removed: row.at("removed")?,
            cut_at: row.at("cut_at")?,
        };
        let proof = row.at::<Vec<u8>>("proof_enc")?;
        let said = Secret::new(found.text().into_bytes());
        let genuine = view.sealer().open(&place(chain), &proof).is_ok_and(|it| it == said);
        Ok((found, genuine))
    };
    view.first("SELECT * FROM audit_checkpoints WHERE chain = $1", values![chain], read).await
}

impl Store {
    /// Removes rows that were received before `then`, of each chain from its beginning up to the first that was not. Says
    /// how many. A chain that does not hold, or whose head does not fit its seal, is left as it is: it is evidence.
    ///
    /// # Errors
    /// Of the database. What was removed until then stays removed.
    pub async fn cut_audit(&self, now: Timestamp, then: Timestamp) -> Result<u64, StoreError> {
        let sql =
            "SELECT DISTINCT chain FROM audit_events WHERE received < $1 AND chain_seq IS NOT NULL ORDER BY chain";
        let chains = self.view().await?.all(sql, values![then], |row| row.at::<String>("chain")).await?;
        let mut removed = 0;
        for chain in chains {
            loop {
                let batch = self.cut_chain(&chain, now, then).await?;
                removed += batch;
                if batch < u64::from(CUT) {
                    break;
                }
            }
        }
        Ok(removed)
    }

    /// Removes up to [`CUT`] rows of one chain.
    async fn cut_chain(&self, chain: &str, now: Timestamp, then: Timestamp) -> Result<u64, StoreError> {
        let view = self.begin_state().await?;
        // The chain's row: of two replicas that cut at once, one waits for the other and finds less to do.
        view.query(&view.locking("SELECT seq FROM audit_chains WHERE chain = $1"), values![chain]).await?;
        let head = chain::head(&view, chain).await?;
        let before = checkpoint(&view, chain).await?;
        if head.sealed_at() != Some(head.seq) || before.as_ref().is_some_and(|(_, genuine)| !genuine) {
            tracing::warn!(audit.chain = chain, "a chain that does not fit its seal is not cut");
            return Ok(0);
        }
        let begins = before.map(|(it, _)| (it.seq, it.removed, it.hash));
        let (from, gone, follows) = begins.unwrap_or_else(|| (0, 0, BEGINNING.into()));
        let young = "SELECT MIN(chain_seq) AS seq FROM audit_events
                     WHERE chain = $1 AND chain_seq > $2 AND received >= $3";
        let young = view.first(young, values![chain, from, then], |row| row.at::<Option<u64>>("seq")).await?.flatten();
        let until = young.map_or(head.seq, |seq| seq.saturating_sub(1)).min(from + u64::from(CUT));
        if until <= from {
            return Ok(0);
        }
        // What is removed is judged first: a seal of ours vouches for it afterwards.
        let mut verifier = Verifier::after(from, &follows).vouched(erasure::vouched(&view, chain).await?);
        let rows = chain::rows_after(&view, chain, from).await?;
        let judged = rows.iter().filter(|row| row.seq <= until).try_for_each(|row| verifier.take(row));
        if judged.is_err() || verifier.head().0 != until {
            tracing::error!(
                audit.chain = chain,
                audit.seq = verifier.head().0 + 1,
                "a chain that does not hold is not cut"
            );
            return Ok(0);
        }
        let hash = verifier.head().1.to_owned();
        let sql = "DELETE FROM audit_events WHERE chain = $1 AND chain_seq > $2 AND chain_seq <= $3";
        let removed = view.execute(sql, values![chain, from, until]).await?;
        let cut = Checkpoint { seq: until, hash, removed: gone + removed, cut_at: now };
        let proof = view.sealer().seal(&place(chain), cut.text().as_bytes())?;
        view.execute(
            "INSERT INTO audit_checkpoints (chain, seq, hash, removed, cut_at, proof_enc) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, removed = excluded.removed,
                 cut_at = excluded.cut_at, proof_enc = excluded.proof_enc",
            values![chain, cut.seq, &cut.hash, cut.removed, cut.cut_at, proof],
        )
        .await?;
        view.commit().await?;
        Ok(removed)
    }
}
