//! The audit trail's hash chains: one per tenant and one for the platform.
//!
//! Rows are appended unchained, so that nobody waits for a chain's last row, and chained in batches afterwards
//! ([`chain_row`](super::chain_row)). The head of each chain is kept beside it and under the master key, which the database
//! never sees: who can write to the database can change, take away and add rows, but cannot make the head that belongs to
//! what they made. A head that does not fit its seal is never sealed again, so what was done is seen from then on.
//!
//! The trail is the outbox of webhooks as well: what has joined a chain is announced from it afterwards
//! ([`announce`](crate::SessionTx::announce)).

use std::collections::HashMap;

use domain::{TenantId, audit::Flaw};

use super::{
    chain_row::{self, BEGINNING, Broken, ChainedRow, Verifier},
    erasure,
    retention::{self, Checkpoint},
};
use crate::{
    Store, StoreError, View,
    aggregate::{audit, tenant::Tenants},
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, values},
};

/// Rows that are read at once.
const BATCH: u32 = 1000;

pub(super) fn place(chain: &str) -> String {
    format!("audit_chains.proof_enc:{chain}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "audit_chains",
    column: "proof_enc",
    key: &["chain"],
    place: |row| Ok(place(&row.at::<String>("chain")?)),
};

/// The last row of a chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Head {
    pub(super) seq: u64,
    hash: String,
    /// What was sealed of it last; none for a chain that never was.
    sealed: Option<Result<(u64, String), Unsealed>>,
}

/// A seal that does not open for this chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Unsealed;

/// What a check of a chain found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChainReport {
    /// The tenant's id, or `platform`.
    pub chain: String,
    /// Number and hash of its last row; 0 for an empty one.
    pub head: (u64, String),
    /// Rows there are.
    pub rows: u64,
    /// Rows of them from which personal data was erased.
    pub erased: u64,
    /// Where the rows begin, if older ones were removed.
    pub checkpoint: Option<Checkpoint>,
    /// Whether the head is the one that was sealed. False while an older release beside this one has moved it.
    pub sealed: bool,
    /// Where it does not hold.
    pub broken: Option<Broken>,
}

impl Store {
    /// Chains up to `limit` unchained rows, oldest first; says how many there were. Called about once a second.
    ///
    /// # Errors
    /// Of the database. Nothing is chained then.
    pub async fn chain_audit(&self, limit: u32) -> Result<usize, StoreError> {
        let view = self.begin_state().await?;
        // One at a time: whoever chains holds the first chain's row, which is made here if it is not there yet.
        let begun = view.sealer().seal(&place(audit::PLATFORM), format!("0:{BEGINNING}").as_bytes())?;
        view.execute(
            "INSERT INTO audit_chains (chain, seq, hash, proof_enc) VALUES ($1, 0, $2, $3) ON CONFLICT (chain) DO NOTHING",
            values![audit::PLATFORM, BEGINNING, begun],
        )
        .await?;
        view.query(&view.locking("SELECT seq FROM audit_chains WHERE chain = $1"), values![audit::PLATFORM]).await?;
        let sql = format!("{} WHERE chain_seq IS NULL ORDER BY received, id LIMIT $1", audit::SELECT);
        let mut rows = view.all(&sql, values![limit], chain_row::read).await?;
        let mut heads: HashMap<String, (Head, (u64, String))> = HashMap::new();
        for row in &mut rows {
            if !heads.contains_key(&row.chain) {
                let head = head(&view, &row.chain).await?;
                let last = (head.seq, head.hash.clone());
                heads.insert(row.chain.clone(), (head, last));
            }
            let Some((_, last)) = heads.get_mut(&row.chain) else { continue };
            row.join((last.0, &last.1), [view.sealer().bytes()?, view.sealer().bytes()?]);
            view.execute(
                "UPDATE audit_events SET chain_seq = $1, prev_hash = $2, hash = $3, form = $4, actor_salt = $5,
                     actor_digest = $6, target_salt = $7, target_digest = $8
                 WHERE id = $9",
                values![
                    row.seq,
                    &row.prev_hash,
                    &row.hash,
                    row.form,
                    row.actor_salt.as_ref(),
                    row.actor_digest.as_ref(),
                    row.target_salt.as_ref(),
                    row.target_digest.as_ref(),
                    row.id,
                ],
            )
            .await?;
            *last = (row.seq, row.hash.clone());
        }
        for (chain, (before, last)) in heads {
            let seal = before.is_intact(&view, &chain).await?;
            set_head(&view, &chain, &last, seal).await?;
        }
        view.commit().await?;
        Ok(rows.len())
    }

    /// Checks a chain from beginning to end; none for the platform's.
    ///
    /// # Errors
    /// Of the database. That a chain does not hold is in the report.
    pub async fn verify_audit(&self, tenant: Option<TenantId>) -> Result<ChainReport, StoreError> {
        let chain = audit::chain_of(tenant);
        let view = Reader::view(self).await?;
        let head = head(&view, &chain).await?;
        let checkpoint = retention::checkpoint(&view, &chain).await?;
        // A tenant that is there owns every row of its chain.
        let owned = match tenant {
            Some(id) => view.tenant(id).await?.is_some(),
            None => false,
        };
        let (mut verifier, mut broken) = match &checkpoint {
            Some((found, genuine)) => {
                let flaw = (!genuine).then_some(Broken { seq: found.seq, flaw: Flaw::Checkpoint });
                (Verifier::after(found.seq, &found.hash), flaw)
            }
            None => (Verifier::default(), None),
        };
        verifier = verifier.vouched(erasure::vouched(&view, &chain).await?);
        let mut sealed_hash = None;
        while broken.is_none() {
            let at = verifier.head().0;
            let rows = rows_after(&view, &chain, at).await?;
            if rows.is_empty() {
                break;
            }
            for row in rows {
                let stray = owned && row.tenant_id.is_none();
                let judged = verifier.take(&row);
                broken = judged.err().or_else(|| stray.then_some(Broken { seq: row.seq, flaw: Flaw::Tenant }));
                if broken.is_some() {
                    break;
                }
                if head.sealed_at().is_some_and(|seq| seq == row.seq) {
                    sealed_hash = Some(row.hash);
                }
            }
        }
        let broken = broken
            .or_else(|| verifier.finish().err())
            .or_else(|| head.flaw(verifier.head(), sealed_hash.as_deref(), checkpoint.as_ref().map(|(it, _)| it)));
        let (rows, erased) = verifier.counts();
        let sealed = broken.is_none() && head.sealed_at() == Some(head.seq);
        let checkpoint = checkpoint.map(|(it, _)| it);
        Ok(ChainReport { chain, head: (head.seq, head.hash), rows, erased, checkpoint, sealed, broken })
    }

    /// Rows of a chain behind the row of this number, in its order; at most 1000.
    ///
    /// # Errors
    /// Of the database.
    pub async fn chained_rows(&self, tenant: Option<TenantId>, after: u64) -> Result<Vec<ChainedRow>, StoreError> {
        rows_after(&Reader::view(self).await?, &audit::chain_of(tenant), after).await
    }

    /// Number and hash of a chain's last row, and where what is left of it begins.
    ///
    /// # Errors
    /// Of the database.
    pub async fn chain_ends(
        &self,
        tenant: Option<TenantId>,
    ) -> Result<((u64, String), Option<Checkpoint>), StoreError> {
        let (chain, view) = (audit::chain_of(tenant), Reader::view(self).await?);
        let head = head(&view, &chain).await?;
        let checkpoint = retention::checkpoint(&view, &chain).await?;
        Ok(((head.seq, head.hash), checkpoint.map(|(it, _)| it)))
    }

    /// Chains behind `after`, in the order of their names, each with number and hash of its last row; at most 1000.
    ///
    /// # Errors
    /// Of the database.
    pub async fn chain_heads(&self, after: &str) -> Result<Vec<(String, u64, String)>, StoreError> {
        let sql = "SELECT chain, seq, hash FROM audit_chains WHERE chain > $1 ORDER BY chain LIMIT $2";
        let read = |row: &Row| Ok((row.at("chain")?, row.at("seq")?, row.at("hash")?));
        Reader::view(self).await?.all(sql, values![after, BATCH], read).await
    }
}

pub(super) async fn rows_after(view: &View, chain: &str, after: u64) -> Result<Vec<ChainedRow>, StoreError> {
    let sql = format!("{} WHERE chain = $1 AND chain_seq > $2 ORDER BY chain_seq LIMIT $3", audit::SELECT);
    view.all(&sql, values![chain, after, BATCH], chain_row::read).await
}

pub(super) async fn head(view: &View, chain: &str) -> Result<Head, StoreError> {
    let read = |row: &Row| {
        let proof = row.at::<Option<Vec<u8>>>("proof_enc")?;
        let sealed = proof.map(|proof| unsealed(view, chain, &proof).ok_or(Unsealed));
        Ok(Head { seq: row.at("seq")?, hash: row.at("hash")?, sealed })
    };
    let found = view.first("SELECT * FROM audit_chains WHERE chain = $1", values![chain], read).await?;
    // What begins now has been sealed at its beginning.
    let beginning = (0, String::from(BEGINNING));
    Ok(found.unwrap_or_else(|| Head { seq: 0, hash: BEGINNING.into(), sealed: Some(Ok(beginning)) }))
}

fn unsealed(view: &View, chain: &str, proof: &[u8]) -> Option<(u64, String)> {
    let plain = view.sealer().open(&place(chain), proof).ok()?;
    let (seq, hash) = std::str::from_utf8(plain.expose()).ok()?.split_once(':')?;
    Some((seq.parse().ok()?, hash.to_owned()))
}

pub(super) async fn set_head(
    view: &View,
    chain: &str,
    (seq, hash): &(u64, String),
    seal: bool,
) -> Result<(), StoreError> {
    let proof = seal.then(|| view.sealer().seal(&place(chain), format!("{seq}:{hash}").as_bytes())).transpose()?;
    view.execute(
        "INSERT INTO audit_chains (chain, seq, hash, proof_enc) VALUES ($1, $2, $3, $4)
         ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash,
             proof_enc = COALESCE(excluded.proof_enc, audit_chains.proof_enc)",
        values![chain, *seq, hash, proof],
    )
    .await?;
    Ok(())
}

impl Head {
    /// Which row was sealed last.
    pub(super) fn sealed_at(&self) -> Option<u64> {
        self.sealed.as_ref()?.as_ref().ok().map(|(seq, _)| *seq)
    }

    /// Whether nobody but us moved it since it was sealed: then what follows may be sealed as well. An older release
    /// beside this one moves it without a seal; the sealed row is there then, as it was.
    async fn is_intact(&self, view: &View, chain: &str) -> Result<bool, StoreError> {
        let Some(Ok((seq, hash))) = &self.sealed else { return Ok(false) };
        if (*seq, hash) == (self.seq, &self.hash) {
            return Ok(true);
        }
        let sql = "SELECT hash FROM audit_events WHERE chain = $1 AND chain_seq = $2";
        let there = view.first(sql, values![chain, *seq], |row| row.at::<String>("hash")).await?;
        Ok(*seq < self.seq && there.as_ref() == Some(hash))
    }

    /// What is wrong with it, given the last row and the hash of the row that was sealed, if that is there.
    fn flaw(&self, last: (u64, &str), sealed: Option<&str>, begins: Option<&Checkpoint>) -> Option<Broken> {
        let broken = |seq| Some(Broken { seq, flaw: Flaw::Head });
        if last != (self.seq, &self.hash) {
            return broken(last.0 + 1);
        }
        match &self.sealed {
            None | Some(Err(Unsealed)) => broken(self.seq),
            Some(Ok((seq, hash))) => {
                let removed = begins.is_some_and(|it| *seq == it.seq && *hash == it.hash);
                let beginning = *seq == 0 && begins.is_none();
                let fits = sealed == Some(hash) || removed || beginning;
                if *seq > self.seq || !fits { broken((*seq).min(self.seq + 1)) } else { None }
            }
        }
    }
}
