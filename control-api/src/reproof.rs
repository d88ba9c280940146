//! What was proven by DNS is proven again and again.
//!
//! ```text
//! due ─▶ claim (one replica, for `LEASE`) ─▶ look ─▶ holds: again after `proofs.recheck`
//!                                                ├─▶ missing: `…proof_lost`; for `proofs.grace`, then `…proof_failed`
//!                                                └─▶ unknown: again soon, and nothing else, however long
//! ```
//!
//! Rows are the schedule (`store::read::Proofs`), so any number of replicas share the work without knowing of each other.

use std::time::Duration;

use authz::{Authorized, Scope};
use domain::model::{DueProof, ProofSubject};
use store::{StoreError, read::*};

use crate::{
    App,
    app::{email_domains, proofs},
    error::AppError,
    problem,
    upkeep::{each, every},
};

/// The name in the audit trail.
const JOB: &str = "reproof";

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(1);

/// For how long nobody else looks who sees the same row due. Longer than any look takes.
const LEASE: Duration = Duration::from_secs(600);

/// Looks at once, of this replica.
const AT_ONCE: usize = 16;

/// How often it is looked whether something was left when a process stopped in the middle.
const SWEEP: Duration = Duration::from_secs(60);

/// Looks for what is due for as long as it is polled.
pub(crate) async fn run(app: App) {
    let app = &app;
    let look = |seen: DueProof| {
        let app = app.clone();
        async move {
            if let Err(error) = look_again(&app, &seen).await {
                let (id, error) = (seen.subject.uuid(), problem::chain(&error));
                tracing::error!(proof.id = %id, error, "a look for a proof was not noted");
            }
        }
    };
    let due = |free| async move { Ok(app.store.due_proofs(app.now(), free).await?) };
    tokio::join!(
        each((LOOK, AT_ONCE), "it cannot be read which proofs are due", due, look),
        every(SWEEP, "members who came by a lost domain were not all ended", || async move {
            email_domains::sweep_strays(app).await
        }),
    );
}

/// Claims a look and takes it. Answers whether it was ours to take.
///
/// # Errors
/// Of the database; that DNS does not answer is noted and none.
pub async fn look_again(app: &App, seen: &DueProof) -> Result<bool, AppError> {
    let until = app.now() + LEASE;
    let claimed =
        app.store.write_session(Scope::Platform, app.now(), |tx| async move { tx.claim_proof(seen, until).await });
    if !claimed.await.map_err(|error: StoreError| error)? {
        return Ok(false);
    }
    let look = proofs::look(app, seen).await;
    let (commit, told) = match seen.subject {
        ProofSubject::Hostname(_) => {
            let (_, commit, told) = proofs::note_hostname(app, &Authorized::system(JOB), seen, &look, false).await?;
            (commit, told)
        }
        ProofSubject::EmailDomain(_) => {
            let (_, commit, told) = proofs::note_email_domain(app, &Authorized::system(JOB), seen, &look).await?;
            (commit, told)
        }
    };
    if told {
        app.hub.number(Some(commit)).await?;
    }
    Ok(true)
}
