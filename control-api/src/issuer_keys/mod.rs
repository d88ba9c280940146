//! The key sets of external issuers: fetched here and nowhere else, off every request's path.
//!
//! ```text
//! due (every `issuers.refresh`, or a gateway met an unknown `kid`) ─▶ claim (one replica, at most once in 30 s)
//!    ─▶ fetch ─▶ changed: the issuer's entity, through the feed ─▶ gateways
//!            └─▶ failed: the last good keys, at most for `issuers.keep`; again after 30 s, 1 m, 2 m, … `issuers.refresh`
//! ```
//!
//! Rows are the schedule (`store::IssuerFetch`), so any number of replicas share the work without knowing of each other.

pub mod fetch;

use std::{sync::Arc, time::Duration};

use authz::{Authorized, action::ManageIssuers};
use domain::Timestamp;
use serde_json::Value;
use store::{Audited, Fetched, IssuerFetch, MIN_FETCH_INTERVAL, StoreError, Tx, read::*};

use self::fetch::{FetchError, Fetcher};
use crate::{
    App,
    error::AppError,
    metrics::FetchOutcome,
    problem,
    upkeep::{each, every},
};

/// The name in the audit trail.
const JOB: &str = "issuer-keys";

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is looked whether keys have become too old.
const SWEEP: Duration = Duration::from_secs(10);

/// Fetches at once, of this replica.
const AT_ONCE: usize = 16;

/// Fetches what is due for as long as it is polled.
pub(crate) async fn run(app: App, fetcher: Arc<Fetcher>) {
    let app = &app;
    let fetch = |seen: IssuerFetch| {
        let (app, fetcher) = (app.clone(), Arc::clone(&fetcher));
        async move {
            if let Err(error) = fetch_due(&app, &fetcher, &seen).await {
                tracing::error!(issuer.id = %seen.issuer_id, error = problem::chain(&error), "a fetch was not noted");
            }
        }
    };
    let due = |free| async move { Ok(app.store.due_fetches(app.now(), free).await?) };
    tokio::join!(
        each((LOOK, AT_ONCE), "it cannot be read which key sets are due", due, fetch),
        every(SWEEP, "old keys of issuers were not taken out of force", || async move { drop_old(app).await }),
    );
}

/// Claims a fetch and does it. Answers whether it was ours to do.
///
/// # Errors
/// Of the database; a failed fetch is noted and none.
pub async fn fetch_due(app: &App, fetcher: &Fetcher, seen: &IssuerFetch) -> Result<bool, AppError> {
    let claimed = app
        .store
        .write_session(authz::Scope::Platform, app.now(), |tx| async move { tx.claim_issuer_fetch(seen).await });
    let Some(claim) = claimed.await.map_err(|error: StoreError| error)? else { return Ok(false) };
    match fetcher.key_set(app, &claim.issuer, &claim.url).await {
        Ok(keys) => fetched(app, &claim, &keys).await?,
        Err(error) => failed(app, &claim, &error).await?,
    }
    Ok(true)
}

async fn fetched(app: &App, claim: &IssuerFetch, keys: &Value) -> Result<(), AppError> {
    let now = app.now();
    let due = now + app.config.issuers.refresh.get();
    let held = app.store.issuer(claim.issuer_id).await?;
    if held.is_none_or(|issuer| issuer.jwks == *keys) {
        app.metrics.fetched(FetchOutcome::Unchanged);
        return note(app, claim, &Fetched::Unchanged, due).await;
    }
    let by: Authorized<ManageIssuers> = Authorized::system(JOB);
    let by = &by;
    let renewed = app.store.write(by, now, |tx: Tx| async move {
        match tx.renew_issuer_keys(by, claim, keys.clone(), due).await? {
            Some(renewed) => tx.done("keys-renewed", renewed).await.map(|it| it.map(|_| true)),
            None => Ok::<_, StoreError>(Audited::unchanged(false)),
        }
    });
    let (renewed, commit) = renewed.await?;
    if renewed {
        app.metrics.fetched(FetchOutcome::Changed);
        tracing::info!(issuer.id = %claim.issuer_id, issuer.keys = key_count(keys), "an issuer's keys changed");
        app.hub.number(Some(commit)).await?;
    }
    Ok(())
}

async fn failed(app: &App, claim: &IssuerFetch, error: &FetchError) -> Result<(), AppError> {
    app.metrics.fetched(FetchOutcome::Failed);
    let reason = fetch::reason(error);
    tracing::warn!(
        issuer.id = %claim.issuer_id,
        issuer.failures = claim.failures.saturating_add(1),
        issuer.keys_age_s = claim.fetched_at.map(|at| app.now().since(at).as_secs()),
        error = reason,
        "an issuer's keys cannot be fetched; the last good ones stay in force"
    );
    let pause = MIN_FETCH_INTERVAL * 2_u32.saturating_pow(claim.failures.min(16));
    let due = app.now() + pause.min(app.config.issuers.refresh.get());
    note(app, claim, &Fetched::Failed { reason }, due).await
}

async fn note(app: &App, claim: &IssuerFetch, outcome: &Fetched, due: Timestamp) -> Result<(), AppError> {
    let noted = app.store.write_session(authz::Scope::Platform, app.now(), |tx| async move {
        tx.note_issuer_fetch(claim, outcome, due).await
    });
    noted.await.map_err(|error: StoreError| error.into())
}

/// Takes keys out of force that were last fetched longer ago than `issuers.keep`, and says how many are late.
///
/// # Errors
/// Of the database.
pub async fn drop_old(app: &App) -> Result<(), AppError> {
    let config = &app.config.issuers;
    let now = app.now();
    let late = app.store.fetched_before(now - (config.refresh.get() * 2).min(config.keep.get())).await?;
    app.metrics.late_issuers(late.len(), late.first().and_then(|it| it.fetched_at).map(|at| now.since(at)));
    let then = now - config.keep.get();
    let by: Authorized<ManageIssuers> = Authorized::system(JOB);
    let by = &by;
    for fetch in late.iter().filter(|fetch| fetch.fetched_at.is_some_and(|at| at <= then)) {
        let dropped = app.store.write(by, now, |tx: Tx| async move {
            match tx.drop_issuer_keys(by, fetch.issuer_id, then).await? {
                Some(dropped) => tx.done("keys-dropped", dropped).await.map(|it| it.map(|_| true)),
                None => Ok::<_, StoreError>(Audited::unchanged(false)),
            }
        });
        let (dropped, commit) = dropped.await?;
        if dropped {
            app.metrics.fetched(FetchOutcome::Dropped);
            tracing::error!(
                issuer.id = %fetch.issuer_id,
                "an issuer's keys could not be fetched for too long: its tokens are refused"
            );
            app.hub.number(Some(commit)).await?;
        }
    }
    Ok(())
}

fn key_count(keys: &Value) -> usize {
    keys.get("keys").and_then(Value::as_array).map_or(0, Vec::len)
}
