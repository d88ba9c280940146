//! What becomes of tenants by themselves: a trial that is over is frozen, a tenant that was on hold long enough is purged.
//!
//! Every replica looks. Each step is judged again in its transaction, so that one of them takes it, and whoever takes one
//! has it numbered at once: no gateway serves the old state for longer than a tick.

use authz::{
    Authorized,
    action::{ManageHostnames, ManageTenants},
};
use domain::{TenantId, Timestamp};
use store::{Audited, Commit, Page, read::*};
use tokio::time::MissedTickBehavior;

use super::proofs;
use crate::{App, error::AppError, problem};

/// The name in the audit trail.
const JOB: &str = "tenants";

/// Hostnames of one page.
const MOST_HOSTNAMES: usize = 500;

/// Tenants that are looked after at once.
const BATCH: u32 = 100;

/// Looks after tenants, again and again, for as long as it is polled.
pub(crate) async fn run(app: App) {
    let mut look = tokio::time::interval(app.config.tenants.check_every.get());
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if let Err(error) = run_due(&app).await {
            tracing::error!(error = problem::chain(&error), "tenants were not looked after");
        }
    }
}

/// Takes every step that is due, and says how many were this caller's to take. A tenant whose step fails is logged and
/// keeps no other from being looked after.
///
/// # Errors
/// When it cannot be read what is due.
pub async fn run_due(app: &App) -> Result<usize, AppError> {
    let (now, mut taken) = (app.now(), 0);
    for id in app.store.expired_trials(now, BATCH).await? {
        taken += counted(id, "freeze", expire_trial(app, id).await);
    }
    let then = now - app.config.tenants.hold.get();
    // All of them, so that one that cannot be purged keeps no other from it.
    let mut page = Page { after: None, limit: BATCH };
    loop {
        let held = app.store.tenants_on_hold((then, now), page).await?;
        let Some(last) = held.last() else { break };
        page.after = Some(last.uuid());
        for id in held {
            taken += counted(id, "purge", purge(app, id, then).await);
        }
    }
    if taken > 0 {
        app.hub.tick().await?;
    }
    Ok(taken)
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

/// Ends a tenant that was deleted at or before `then`, its hostnames first. False when another did.
async fn purge(app: &App, id: TenantId, then: Timestamp) -> Result<bool, AppError> {
    let (by, hostnames_by) = (Authorized::<ManageTenants>::system(JOB), Authorized::<ManageHostnames>::system(JOB));
    let rules = proofs::rules(&app.config);
    let (by, hostnames_by, rules) = (&by, &hostnames_by, &rules);
    let written = app.store.write(by, app.now(), |tx| async move {
        // As many as a page holds at once: a tenant with more is still on hold when it is looked again.
        let hostnames = tx.hostnames_of_tenant(id, Page::WIDEST).await?;
        let more = hostnames.len() >= MOST_HOSTNAMES;
        for hostname in hostnames {
            tx.deleted(tx.delete_hostname(hostnames_by, hostname.id, rules).await?).await?;
        }
        if more {
            return Ok(Audited::unchanged(false));
        }
        match tx.purge_tenant(by, id, then).await? {
            Some(purged) => Ok::<_, AppError>(purged.map(|_| true)),
            // Another was first: its hostnames went with it.
            None => Ok(Audited::unchanged(false)),
        }
    });
    let (taken, _): (bool, Commit) = written.await?;
    Ok(taken)
}
