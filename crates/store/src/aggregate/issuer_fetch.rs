//! When the key sets of external issuers are fetched, and by whom.
//!
//! One row for each issuer with a URL. Who moves `attempted_at` to now (compare and swap by `epoch`) is the one who
//! fetches; nobody else may for [`MIN_INTERVAL`], whatever becomes of the first. So a claim is its own lease, and an issuer
//! is asked at most once in that time by all replicas together.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageIssuers};
use domain::{IssuerId, Timestamp, model::ExternalIssuer};
use serde_json::{Value as Json, json};

use super::{issuer::Issuers, needed, one, within};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, Value, values},
};

/// An issuer is asked for its keys at most this often. A fetch must take less.
pub const MIN_INTERVAL: Duration = Duration::from_secs(30);

/// Questions for unknown keys that brought nothing new double the interval at most this often: to 8 minutes.
const MAX_DOUBLINGS: u32 = 4;

const SELECT: &str = "SELECT issuer_fetches.*, issuers.issuer, issuers.jwks_url
                      FROM issuer_fetches JOIN issuers ON issuers.id = issuer_fetches.issuer_id";

/// The state of an issuer's fetches.
#[derive(Clone, Debug)]
pub struct IssuerFetch {
    /// Whose keys.
    pub issuer_id: IssuerId,
    /// Its `iss`.
    pub issuer: String,
    /// Where they are fetched from.
    pub url: String,
    /// When the next fetch is due.
    pub due_at: Timestamp,
    /// When the last one began.
    pub attempted_at: Option<Timestamp>,
    /// When the last one succeeded; none when there are no keys in force.
    pub fetched_at: Option<Timestamp>,
    /// Failures since then.
    pub failures: u32,
    /// Why the last one failed.
    pub error: Option<String>,
    /// Whether a gateway has asked since the last one, having met an unknown `kid`.
    pub asked: bool,
    /// How many fetches that were asked for brought nothing new since one did.
    pub idle: u32,
    /// Changes with each claim.
    epoch: u64,
}

/// What became of a fetch that changed no key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fetched {
    /// The keys are those in force.
    Unchanged,
    /// There was no usable key set.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A key set without keys, of an issuer whose keys were not fetched yet, or too long ago.
pub fn no_keys() -> Json {
    json!({ "keys": [] })
}

fn read(row: &Row) -> Result<IssuerFetch, StoreError> {
    Ok(IssuerFetch {
        issuer_id: row.at("issuer_id")?,
        issuer: row.at("issuer")?,
        url: row.at("jwks_url")?,
        due_at: row.at("due_at")?,
        attempted_at: row.at("attempted_at")?,
        fetched_at: row.at("fetched_at")?,
        failures: row.at("failures")?,
        error: row.at("error")?,
        asked: row.at("asked")?,
        idle: row.at("idle")?,
        epoch: row.at("epoch")?,
    })
}

impl IssuerFetch {
    /// The earliest time of the next fetch when a gateway asks for one.
    fn earliest(&self) -> Timestamp {
        let interval = MIN_INTERVAL * 2_u32.pow(self.idle.min(MAX_DOUBLINGS));
        self.attempted_at.map_or(Timestamp::from_millis(0), |at| at + interval)
    }
}

/// Reads of fetches.
pub trait IssuerFetches: Reader {
    /// The fetches of an issuer; none when its keys were given as a document.
    fn issuer_fetch(&self, id: IssuerId) -> impl Future<Output = Result<Option<IssuerFetch>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE issuer_id = $1"), values![id], read).await }
    }

    /// Fetches that may be claimed now, the longest due first.
    fn due_fetches(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<IssuerFetch>, StoreError>> + Send {
        async move {
            let sql = format!(
                "{SELECT} WHERE due_at <= $1 AND (attempted_at IS NULL OR attempted_at <= $2)
                 ORDER BY due_at, issuer_id LIMIT $3"
            );
            self.view().await?.all(&sql, values![now, now - MIN_INTERVAL, limit], read).await
        }
    }

    /// Issuers whose keys are in force and were last fetched before `then`, the oldest first.
    fn fetched_before(&self, then: Timestamp) -> impl Future<Output = Result<Vec<IssuerFetch>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE fetched_at <= $1 ORDER BY fetched_at, issuer_id");
            self.view().await?.all(&sql, values![then], read).await
        }
    }
}
impl<R: Reader> IssuerFetches for R {}

impl SessionTx {
    /// Takes it on oneself to fetch; none when another did, or it is not due.
    ///
    /// # Errors
    /// Of the database.
    pub async fn claim_issuer_fetch(&self, seen: &IssuerFetch) -> Result<Option<IssuerFetch>, StoreError> {
        let now = self.work.now;
        let sql = "UPDATE issuer_fetches SET epoch = epoch + 1, attempted_at = $3
                   WHERE issuer_id = $1 AND epoch = $2 AND due_at <= $3
                       AND (attempted_at IS NULL OR attempted_at <= $4)";
        let values = values![seen.issuer_id, seen.epoch, now, now - MIN_INTERVAL];
        let claimed = self.work.view.execute(sql, values).await? == 1;
        Ok(claimed.then(|| IssuerFetch { epoch: seen.epoch + 1, attempted_at: Some(now), ..seen.clone() }))
    }

    /// Notes what became of a claimed fetch, and when the next is due. A claim that another followed notes nothing.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note_issuer_fetch(
        &self,
        claim: &IssuerFetch,
        outcome: &Fetched,
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        let (fetched_at, failures, error, idle) = match outcome {
            Fetched::Unchanged => (Some(self.work.now), 0, None, claim.idle.saturating_add(claim.asked.into())),
            Fetched::Failed { reason } => {
                (claim.fetched_at, claim.failures.saturating_add(1), Some(reason.clone()), claim.idle)
            }
        };
        let sql = "UPDATE issuer_fetches SET due_at = $3, fetched_at = $4, failures = $5, error = $6, idle = $7,
                       asked = FALSE
                   WHERE issuer_id = $1 AND epoch = $2";
        let values = values![claim.issuer_id, claim.epoch, due_at, fetched_at, failures, error, idle];
        self.work.view.execute(sql, values).await?;
        Ok(())
    }

    /// Asks for an issuer's keys, as soon as its interval allows. Answers whether there is anything to fetch.
    ///
    /// # Errors
    /// Of the database.
    pub async fn ask_issuer_fetch(&self, id: IssuerId) -> Result<bool, StoreError> {
        let Some(fetch) = self.issuer_fetch(id).await? else { return Ok(false) };
        let sql = "UPDATE issuer_fetches SET asked = TRUE, due_at = CASE WHEN due_at < $2 THEN due_at ELSE $2 END
                   WHERE issuer_id = $1";
        self.work.view.execute(sql, values![id, fetch.earliest()]).await?;
        Ok(true)
    }
}

impl Tx {
    /// Puts fetched keys in force; the next fetch is due at `due_at`. None when the claim was followed by another, or the
    /// issuer is fetched from elsewhere by now.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn renew_issuer_keys(
        &self,
        by: &Authorized<ManageIssuers>,
        claim: &IssuerFetch,
        jwks: Json,
        due_at: Timestamp,
    ) -> Result<Option<Unaudited<ExternalIssuer>>, StoreError> {
        let sql = "UPDATE issuer_fetches SET due_at = $3, fetched_at = $4, failures = 0, error = NULL, idle = 0,
                       asked = FALSE
                   WHERE issuer_id = $1 AND epoch = $2";
        let values = values![claim.issuer_id, claim.epoch, due_at, self.work.now];
        if self.work.view.execute(sql, values).await? == 0 {
            return Ok(None);
        }
        let issuer = needed(self.issuer(claim.issuer_id).await?, "issuer")?;
        if issuer.jwks_url.as_ref() != Some(&claim.url) {
            return Ok(None);
        }
        self.set_issuer_keys(by, issuer, jwks).await.map(Some)
    }

    /// Takes keys out of force that were fetched before `then`. None when they were fetched since.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn drop_issuer_keys(
        &self,
        by: &Authorized<ManageIssuers>,
        id: IssuerId,
        then: Timestamp,
    ) -> Result<Option<Unaudited<ExternalIssuer>>, StoreError> {
        let sql = "UPDATE issuer_fetches SET fetched_at = NULL WHERE issuer_id = $1 AND fetched_at <= $2";
        if self.work.view.execute(sql, values![id, then]).await? == 0 {
            return Ok(None);
        }
        let issuer = needed(self.issuer(id).await?, "issuer")?;
        self.set_issuer_keys(by, issuer, no_keys()).await.map(Some)
    }

    async fn set_issuer_keys(
        &self,
        by: &Authorized<ManageIssuers>,
        mut issuer: ExternalIssuer,
        jwks: Json,
    ) -> Result<Unaudited<ExternalIssuer>, StoreError> {
        within(by, Scope::Project(issuer.project_id))?;
        let effect = if keeps_all(&issuer.jwks, &jwks) { Effect::Widens } else { Effect::Narrows };
        issuer.jwks = jwks;
        let values = vec![issuer.id.into(), Value::json(&issuer.jwks)?];
        one(&self.work.view, "issuer", "UPDATE issuers SET jwks = $2 WHERE id = $1", values).await?;
        publish::external_issuer(&self.work, issuer.id, effect).await?;
        Ok(self.unaudited(issuer))
    }

    /// After an issuer was written: a URL that is new is fetched as soon as may be.
    pub(super) async fn expect_fetches(
        &self,
        issuer: &ExternalIssuer,
        before: Option<&String>,
    ) -> Result<(), StoreError> {
        let view = &self.work.view;
        if issuer.jwks_url.is_none() {
            view.execute("DELETE FROM issuer_fetches WHERE issuer_id = $1", values![issuer.id]).await?;
        } else if issuer.jwks_url.as_ref() != before {
            let sql = "INSERT INTO issuer_fetches (issuer_id, due_at, epoch, asked, idle, failures)
                       VALUES ($1, $2, 0, FALSE, 0, 0)
                       ON CONFLICT (issuer_id) DO UPDATE SET due_at = excluded.due_at, fetched_at = NULL, asked = FALSE,
                           idle = 0, failures = 0, error = NULL, epoch = issuer_fetches.epoch + 1";
            view.execute(sql, values![issuer.id, self.work.now]).await?;
        }
        Ok(())
    }
}

/// Whether every key of `before` is in `after` as it was.
fn keeps_all(before: &Json, after: &Json) -> bool {
    let keys = |set: &Json| set.get("keys").and_then(Json::as_array).cloned().unwrap_or_default();
    let after = keys(after);
    keys(before).iter().all(|key| after.contains(key))
}
