//! Telling the directory of people's accounts about new tenants, beside and after the transaction that makes them.
//!
//! ```text
//! made ─▶ due ─▶ claim (one replica, for a while) ─▶ realm ─▶ client ─▶ role ─▶ admin ─▶ done
//!                 ▲                                     └ fails: noted, `keycloak.provision_failed` in the tenant's
//!                 └──── after 5 s, 10 s, 20 s, … ◀────────  trail; the steps that were taken stay taken
//! ```
//!
//! A failure is not fatal: the tenant is there, its people sign in with this API, and the step is tried again until it is
//! taken. The directory that comes with this release is this API's own database, where the steps were taken with the
//! tenant; one elsewhere (Keycloak) takes its place behind [`Directory`]. A step may be taken twice, after a crash between
//! taking and noting it, and must mean the same then.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use authz::{Authorized, Scope, action::ManageTenants};
use domain::{
    audit::AuditEntry,
    model::{Provisioning, ProvisioningStep, Tenant},
};
use store::{Audited, StoreError, read::*};

use crate::{App, error::AppError, problem, upkeep::each};

/// The name in the audit trail.
const JOB: &str = "provisioning";

/// Tenants whose steps are taken at once, by this replica.
const AT_ONCE: usize = 8;

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(1);

/// Longest time for one step; nobody else claims the tenant within that for each step.
const STEP: Duration = Duration::from_secs(30);

/// How often the first pause is doubled at most.
const MAX_DOUBLINGS: u32 = 16;

/// Longest error that is kept, in characters.
const ERROR_CHARS: usize = 500;

/// Where people's accounts are.
#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync {
    /// Takes one step for a tenant; a step that was taken before is taken again without effect.
    ///
    /// # Errors
    /// Why it was not taken.
    async fn take(&self, step: ProvisioningStep, tenant: &Tenant) -> Result<(), DirectoryError>;
}

/// Why a directory did not take a step. Its text is shown to operators and kept: it holds no secrets.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be reached, or not now.
    #[error("the directory cannot be reached: {0}")]
    Unreachable(String),
    /// It says no.
    #[error("the directory refuses: {0}")]
    Refused(String),
}

/// The directory of this API's own database: what a step would make was made with the tenant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Embedded;

#[async_trait]
impl Directory for Embedded {
    async fn take(&self, _: ProvisioningStep, _: &Tenant) -> Result<(), DirectoryError> {
        Ok(())
    }
}

/// Takes what is due for as long as it is polled.
pub(crate) async fn run(app: App) {
    let app = &app;
    let take = |seen: Provisioning| {
        let app = app.clone();
        async move {
            if let Err(error) = provision_due(&app, &seen).await {
                let (tenant, error) = (seen.tenant_id, problem::chain(&error));
                tracing::error!(tenant.id = %tenant, error, "what became of a provisioning was not noted");
            }
        }
    };
    let due = |free| async move { Ok(app.store.due_provisionings(app.now(), free).await?) };
    each((LOOK, AT_ONCE), "it cannot be read which tenants are to be provisioned", due, take).await;
}

/// What became of an attempt.
#[derive(Debug)]
enum Outcome {
    /// Every step was taken.
    Done,
    /// One was not, and why.
    Failed(ProvisioningStep, String),
    /// The tenant was deleted meanwhile: nothing is taken any more.
    Dropped,
}

/// Claims a tenant's steps and takes those that are left, up to the first that fails. Answers whether it was ours to do.
///
/// # Errors
/// Of the database; a failed step is noted and none.
pub async fn provision_due(app: &App, seen: &Provisioning) -> Result<bool, AppError> {
    let lease = STEP * u32::try_from(ProvisioningStep::ALL.len()).unwrap_or(1);
    let claimed = app
        .store
        .write_session(Scope::Platform, app.now(), |tx| async move { tx.claim_provisioning(seen, lease).await });
    let Some(mut claim) = claimed.await.map_err(|error: StoreError| error)? else { return Ok(false) };
    let tenant = app.store.tenant(claim.tenant_id).await?.filter(|tenant| tenant.deleted_at.is_none());
    let outcome = match tenant {
        Some(tenant) => match take_steps(app, &mut claim, &tenant).await {
            Some((step, error)) => Outcome::Failed(step, error),
            None => Outcome::Done,
        },
        None => Outcome::Dropped,
    };
    let again = matches!(outcome, Outcome::Failed(..));
    claim.next_at = again.then(|| app.now() + pause(app, claim.attempts));
    note(app, &claim, &outcome).await?;
    Ok(true)
}

/// Takes the steps that are left; answers the first that failed, and why.
async fn take_steps(app: &App, claim: &mut Provisioning, tenant: &Tenant) -> Option<(ProvisioningStep, String)> {
    let directory = app.directory();
    while let Some(step) = claim.next_step() {
        let taken = tokio::time::timeout(STEP, directory.take(step, tenant)).await;
        let taken = taken.unwrap_or_else(|_| Err(DirectoryError::Unreachable("it did not answer in time".into())));
        let error = taken.err().map(|error| error.to_string().chars().take(ERROR_CHARS).collect::<String>());
        claim.note(step, app.now(), error.clone());
        if let Some(error) = error {
            return Some((step, error));
        }
    }
    None
}

/// How long to wait after so many attempts.
fn pause(app: &App, attempts: u32) -> Duration {
    let config = &app.config.tenants;
    let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1).min(MAX_DOUBLINGS));
    config.provisioning_retry.get().saturating_mul(doubled).min(config.provisioning_retry_most.get())
}

/// Notes what became of an attempt, and says so in the tenant's trail, in one transaction.
async fn note(app: &App, claim: &Provisioning, outcome: &Outcome) -> Result<(), AppError> {
    let by = Authorized::<ManageTenants>::system(JOB);
    let by = &by;
    let noted = app.store.write(by, app.now(), |tx| async move {
        // A tenant that was purged meanwhile took its row along.
        let Some(change) = tx.note_provisioning(by, claim.clone()).await? else {
            return Ok(Audited::unchanged(()));
        };
        let entry = match outcome {
            Outcome::Failed(step, error) => AuditEntry::done(change.peek(), "provision_failed")
                .failed()
                .with_fields(serde_json::json!({ "step": step, "error": error, "attempts": claim.attempts })),
            Outcome::Done => AuditEntry::done(change.peek(), "provisioned"),
            Outcome::Dropped => AuditEntry::done(change.peek(), "provision_dropped"),
        };
        Ok::<_, AppError>(tx.audit(entry, change).await?.map(|_| ()))
    });
    noted.await?;
    if let Outcome::Failed(step, error) = outcome {
        tracing::warn!(tenant.id = %claim.tenant_id, ?step, error, "a tenant was not provisioned; it is tried again");
    }
    Ok(())
}
