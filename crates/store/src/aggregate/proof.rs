//! Proofs by DNS: what has to be found, and who looks next.
//!
//! One row for each thing that is proven, in the table of its kind. Rows are the schedule: who moves `epoch` and `due_at`
//! (compare and swap) looks, and nobody else before that time, whatever becomes of the first. What a look brought is judged
//! in the transaction that notes it, by the state as it is then; a look that began before another that was noted is old
//! news.

use domain::{
    HostName, Id, ProjectId, TenantId, Timestamp,
    model::{Challenge, DueProof, Finding, Proof, ProofSubject, Verdict},
};

use super::one;
use crate::{
    SessionTx, StoreError, Unaudited, View,
    tx::Reader,
    value::{Row, Value, values},
};

/// What a look in DNS brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Look {
    /// What was found.
    pub finding: Finding,
    /// When the look began.
    pub asked_at: Timestamp,
    /// When the next is due, for what is held.
    pub next: Timestamp,
}

/// What noting a look changed.
#[derive(Debug)]
pub enum Noted<T> {
    /// Nothing that anybody has to be told of; it is as this.
    Quiet(T),
    /// Something that is told: what, and who lost the name to it.
    Told {
        /// What followed.
        verdict: Verdict,
        /// It, as it is now.
        now: Unaudited<T>,
        /// Whoever held the name and does no more.
        displaced: Option<Unaudited<T>>,
    },
}

/// The tables of a kind of proof: proofs, what is proven, the column of its name.
struct Tables(&'static str, &'static str, &'static str);

const HOSTNAMES: Tables = Tables("hostname_proofs", "hostnames", "hostname");
const EMAIL_DOMAINS: Tables = Tables("email_domain_proofs", "email_domains", "domain");

const fn tables(of: ProofSubject) -> Tables {
    match of {
        ProofSubject::Hostname(_) => HOSTNAMES,
        ProofSubject::EmailDomain(_) => EMAIL_DOMAINS,
    }
}

/// The proof in a row, where there is one.
pub(crate) fn read(row: &Row) -> Result<Option<Proof>, StoreError> {
    let Some(challenge) = row.at::<Option<String>>("challenge")? else { return Ok(None) };
    Ok(Some(Proof {
        challenge: Challenge::stored(challenge),
        checked_at: row.at("checked_at")?,
        lost_at: row.at("lost_at")?,
        failed_at: row.at("failed_at")?,
        failure: row.word_opt("failure")?,
        due_at: row.at("due_at")?,
    }))
}

/// Writes a new proof.
pub(crate) async fn insert(
    view: &View,
    of: ProofSubject,
    (project, tenant): (ProjectId, Option<TenantId>),
    proof: &Proof,
) -> Result<(), StoreError> {
    let Tables(table, ..) = tables(of);
    let sql = format!("INSERT INTO {table} (id, project_id, tenant_id, challenge, epoch) VALUES ($1, $2, $3, $4, 0)");
    view.execute(&sql, values![of.uuid(), project, tenant, proof.challenge.as_str()]).await?;
    Ok(())
}

/// Writes what is known of a proof; never its challenge.
pub(crate) async fn keep(view: &View, of: ProofSubject, proof: &Proof) -> Result<(), StoreError> {
    let Tables(table, ..) = tables(of);
    let sql = format!(
        "UPDATE {table} SET checked_at = $2, lost_at = $3, failed_at = $4, failure = $5, due_at = $6 WHERE id = $1"
    );
    let failure = proof.failure.as_ref().map_or(Value::Null, Value::word);
    let mut all = values![of.uuid(), proof.checked_at, proof.lost_at, proof.failed_at];
    all.push(failure);
    all.push(proof.due_at.into());
    one(view, "proof", &sql, all).await
}

/// What a look leaves of a proof, whoever holds the name then (`holds`).
pub(crate) fn after(proof: &Proof, look: &Look, verdict: Verdict, holds: bool, now: Timestamp) -> Proof {
    let mut kept = proof.clone();
    kept.checked_at = Some(look.asked_at);
    kept.failure = look.finding.failure();
    kept.due_at = holds.then_some(look.next);
    match verdict {
        Verdict::Wins | Verdict::Holds { .. } => {
            kept.lost_at = None;
            kept.failed_at = None;
        }
        Verdict::Lost(_) => kept.lost_at = Some(look.asked_at),
        Verdict::Fails(_) => {
            kept.lost_at = kept.lost_at.or(Some(look.asked_at));
            kept.failed_at = Some(now);
        }
        Verdict::Lacks(_) | Verdict::Waits(_) | Verdict::Unknown => {}
    }
    kept
}

/// Reads of proofs.
pub trait Proofs: Reader {
    /// Proofs that are to be looked for now, the longest due first: at most `limit`, half of each kind, so that none of them
    /// waits for the other.
    fn due_proofs(&self, now: Timestamp, limit: u32) -> impl Future<Output = Result<Vec<DueProof>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let limit = limit.div_ceil(2);
            let mut due = of_kind(&view, &HOSTNAMES, |id| ProofSubject::Hostname(Id::new(id)), now, limit).await?;
            due.extend(of_kind(&view, &EMAIL_DOMAINS, |id| ProofSubject::EmailDomain(Id::new(id)), now, limit).await?);
            Ok(due)
        }
    }
}
impl<R: Reader> Proofs for R {}

async fn of_kind(
    view: &View,
    Tables(table, things, name): &Tables,
    subject: impl Fn(uuid::Uuid) -> ProofSubject + Send,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<DueProof>, StoreError> {
    let sql = format!(
        "SELECT proof.id, proof.project_id, proof.tenant_id, proof.challenge, proof.epoch, thing.{name} AS name
         FROM {table} AS proof JOIN {things} AS thing ON thing.id = proof.id
         WHERE proof.due_at <= $1 ORDER BY proof.due_at, proof.id LIMIT $2"
    );
    let rows = view.query(&sql, values![now, limit]).await?;
    let read = |row: &Row| {
        Ok(DueProof {
            subject: subject(row.at("id")?),
            project_id: row.at("project_id")?,
            tenant_id: row.at("tenant_id")?,
            name: row.parsed::<HostName>("name")?,
            challenge: Challenge::stored(row.at("challenge")?),
            epoch: row.at("epoch")?,
        })
    };
    rows.iter().map(read).collect()
}

impl SessionTx {
    /// Takes it on oneself to look; nobody else does before `until`. Answers whether one may: another was first, or it is
    /// due no more.
    ///
    /// # Errors
    /// Of the database.
    pub async fn claim_proof(&self, seen: &DueProof, until: Timestamp) -> Result<bool, StoreError> {
        let Tables(table, ..) = tables(seen.subject);
        let sql =
            format!("UPDATE {table} SET epoch = epoch + 1, due_at = $3 WHERE id = $1 AND epoch = $2 AND due_at <= $4");
        let values = values![seen.subject.uuid(), seen.epoch, until, self.work.now];
        Ok(self.work.view.execute(&sql, values).await? == 1)
    }
}
