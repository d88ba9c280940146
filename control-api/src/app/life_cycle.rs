//! What becomes of tenants by themselves: a trial that is over is frozen, a tenant that was on hold long enough is told, and a
//! day later purged.
//!
//! Every replica looks. Each step is judged again in its transaction, so that one of them takes it, and whoever takes one
//! has it numbered at once: no gateway serves the old state for longer than a tick. A purge is many transactions; who does
//! one has claimed it.

use std::time::Duration;

use authz::{
    Authorized, Scope,
    action::{ManageHostnames, ManageTenants},
};
use domain::{TenantId, Timestamp, audit::AuditEntry};
use serde_json::json;
use store::{Audited, Commit, Page, PurgeDue, StoreError, read::*};

use super::proofs;
use crate::{
    App,
    error::AppError,
    outbox::{Backoff, jitter},
    problem,
    upkeep::every,
};

/// The name in the audit trail.
const JOB: &str = "tenants";

/// Tenants that are looked after at once.
const BATCH: u32 = 100;

/// Hostnames that one transaction of a purge deletes.
const HOSTNAMES: u32 = 20;

/// Transactions of a purge, in one go: a tenant of which there is more lets others go first and goes on afterwards.
const GO: u32 = 200;

/// For how long nobody else purges a tenant that somebody purges: longer than [`GO`] transactions take.
const LEASE: Duration = Duration::from_secs(900);

/// Pauses after a purge failed.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(60), longest: Duration::from_secs(86_400) };

const HOUR: Duration = Duration::from_secs(3600);

/// Looks after tenants for as long as it is polled. A long purge keeps no trial from ending.
pub(crate) async fn run(app: App) {
    let (app, pause) = (&app, app.config.tenants.check_every.get());
    tokio::join!(
        every(pause, "trials were not looked after", || async move { numbered(app, end_trials(app).await?).await }),
        every(pause, "deleted tenants were not looked after", || async move {
            numbered(app, announce_purges(app).await? + purge_due(app).await?).await
        }),
    );
}

/// Takes every step that is due, and says how many were this caller's to take. A tenant whose step fails is logged and
/// keeps no other from being looked after.
///
/// # Errors
/// When it cannot be read what is due.
pub async fn run_due(app: &App) -> Result<usize, AppError> {
    let taken = end_trials(app).await? + announce_purges(app).await? + purge_due(app).await?;
    numbered(app, taken).await?;
    Ok(taken)
}

async fn numbered(app: &App, taken: usize) -> Result<(), AppError> {
    if taken > 0 {
        app.hub.tick().await?;
    }
    Ok(())
}

fn counted(id: TenantId, step: &'static str, taken: Result<bool, AppError>) -> usize {
    match taken {
        Ok(taken) => usize::from(taken),
        Err(error) => {
            tracing::error!(tenant.id = %id, step, error = problem::chain(&error), "a tenant was not looked after");
            0
        }
    }
}

async fn end_trials(app: &App) -> Result<usize, AppError> {
    let mut taken = 0;
    for id in app.store.expired_trials(app.now(), BATCH).await? {
        taken += counted(id, "freeze", expire_trial(app, id).await);
    }
    Ok(taken)
}

/// Freezes a tenant whose trial is over. False when another did, or the trial goes on.
async fn expire_trial(app: &App, id: TenantId) -> Result<bool, AppError> {
    let by = Authorized::<ManageTenants>::system(JOB);
    let by = &by;
    let written = app.store.write(by, app.now(), |tx| async move {
        match tx.expire_trial(by, id).await? {
            Some(change) => Ok::<_, AppError>(tx.done("trial_expired", change).await?.map(|_| true)),
            None => Ok(Audited::unchanged(false)),
        }
    });
    let (taken, _): (bool, Commit) = written.await?;
    Ok(taken)
}

/// How long before its purge a tenant is told: no hold is longer for it.
fn notice(app: &App) -> Duration {
    app.config.tenants.purge_notice.get().min(app.config.tenants.hold.get())
}

/// Tells tenants that they will be purged.
async fn announce_purges(app: &App) -> Result<usize, AppError> {
    let (now, notice) = (app.now(), notice(app));
    let then = now - (app.config.tenants.hold.get() - notice);
    let mut taken = 0;
    for id in app.store.unannounced_purges((then, now), BATCH).await? {
        taken += counted(id, "announce", announce_purge(app, id, then, now + notice).await);
    }
    Ok(taken)
}

async fn announce_purge(app: &App, id: TenantId, then: Timestamp, purged: Timestamp) -> Result<bool, AppError> {
    let by = Authorized::<ManageTenants>::system(JOB);
    let by = &by;
    let written = app.store.write(by, app.now(), |tx| async move {
        let Some(change) = tx.announce_purge(by, id, then).await? else { return Ok(Audited::unchanged(false)) };
        let entry = AuditEntry::done(change.peek(), "purge_announced").with_fields(json!({ "not_before": purged }));
        Ok::<_, AppError>(tx.audit(entry, change).await?.map(|_| true))
    });
    let (taken, _): (bool, Commit) = written.await?;
    Ok(taken)
}

/// Purges whoever was told long enough ago, and begins no more within an hour than `tenants.purges_per_hour`.
async fn purge_due(app: &App) -> Result<usize, AppError> {
    let now = app.now();
    let bound = u64::from(app.config.tenants.purges_per_hour);
    let before = app.store.purged_since(now - HOUR).await?;
    let due = PurgeDue { deleted: now - app.config.tenants.hold.get(), announced: now - notice(app), now };
    let mut taken = 0;
    for (id, failures) in app.store.due_purges(due, BATCH).await? {
        taken += counted(id, "purge", purge_claimed(app, (id, failures), due, (now - HOUR, bound)).await);
    }
    if before < bound && app.store.purged_since(now - HOUR).await? >= bound {
        tracing::warn!(tenants.purges_per_hour = bound, "enough purges were begun within the hour; others wait");
    }
    Ok(taken)
}

/// How far a purge came.
enum Purged {
    /// Nothing of the tenant is left but its chain.
    Wholly,
    /// There is more.
    NotYet,
}

/// Claims a purge and does it, as far as it comes in one go. Whether it was ours and the tenant is gone.
async fn purge_claimed(
    app: &App,
    (id, failures): (TenantId, u32),
    due: PurgeDue,
    most: (Timestamp, u64),
) -> Result<bool, AppError> {
    let until = due.now + LEASE;
    let claimed = app
        .store
        .write_session(Scope::Platform, app.now(), |tx| async move { tx.claim_purge(id, due, until, most).await });
    if !claimed.await.map_err(|error: StoreError| error)? {
        return Ok(false);
    }
    let outcome = purge(app, id, due.deleted).await;
    let (at, failures) = match &outcome {
        Ok(Purged::Wholly) => return Ok(true),
        Ok(Purged::NotYet) => (app.now(), 0),
        Err(_) => {
            let failures = failures.saturating_add(1);
            (app.now() + BACKOFF.pause(failures, jitter()), failures)
        }
    };
    let put_off = app
        .store
        .write_session(Scope::Platform, app.now(), |tx| async move { tx.put_off_purge(id, at, failures).await });
    put_off.await.map_err(|error: StoreError| error)?;
    outcome.map(|_| false)
}

/// Ends a tenant that was deleted at or before `then`: its hostnames first, then what is many, then the rest at once.
async fn purge(app: &App, id: TenantId, then: Timestamp) -> Result<Purged, AppError> {
    let mut batches = GO;
    while purge_hostnames(app, id).await? {
        batches = batches.saturating_sub(1);
        if batches == 0 {
            return Ok(Purged::NotYet);
        }
    }
    if !app.store.empty_tenant(id, then, batches).await? {
        return Ok(Purged::NotYet);
    }
    let (by, rules) = (Authorized::<ManageTenants>::system(JOB), proofs::rules(&app.config));
    let (by, rules) = (&by, &rules);
    let written = app.store.write(by, app.now(), |tx| async move {
        match tx.purge_tenant(by, id, then, rules).await? {
            Some(purged) => Ok::<_, AppError>(purged.map(|_| true)),
            None => Ok(Audited::unchanged(false)),
        }
    });
    let (gone, _): (bool, Commit) = written.await?;
    Ok(if gone { Purged::Wholly } else { Purged::NotYet })
}

/// Deletes some hostnames of a tenant; whether there may be more.
async fn purge_hostnames(app: &App, id: TenantId) -> Result<bool, AppError> {
    let by = Authorized::<ManageHostnames>::system(JOB);
    let rules = proofs::rules(&app.config);
    let (by, rules) = (&by, &rules);
    let written = app.store.write(by, app.now(), |tx| async move {
        let hostnames = tx.hostnames_of_tenant(id, Page { after: None, limit: HOSTNAMES }).await?;
        let more = hostnames.len() >= usize::try_from(HOSTNAMES).unwrap_or(usize::MAX);
        for hostname in hostnames {
            tx.deleted(tx.delete_hostname(by, hostname.id, rules).await?).await?;
        }
        Ok::<_, AppError>(Audited::unchanged(more))
    });
    let (more, _): (bool, Commit) = written.await?;
    Ok(more)
}
