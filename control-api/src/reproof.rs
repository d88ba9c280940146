//! What was proven by DNS is proven again and again.
//!
//! ```text
//! due ─▶ claim (one replica, for `LEASE`) ─▶ look ─▶ holds: again after `proofs.recheck`
//!                                                ├─▶ missing: `…proof_lost`; for `proofs.grace`, then `…proof_failed`
//!                                                └─▶ unknown: again soon, and nothing else, however long
//! ```
//!
//! Rows are the schedule (`store::read::Proofs`), so any number of replicas share the work without knowing of each other.

use std::{sync::Arc, time::Duration};

use authz::{Authorized, Scope};
use domain::model::{DueProof, ProofSubject};
use store::{StoreError, read::*};
use tokio::{sync::Semaphore, time::MissedTickBehavior};

use crate::{
    App,
    app::{email_domains, proofs},
    error::AppError,
    problem,
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
    tokio::join!(looking(&app), sweeping(&app));
}

async fn sweeping(app: &App) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        sweep.tick().await;
        if let Err(error) = email_domains::sweep_strays(app).await {
            tracing::error!(error = problem::chain(&error), "members who came by a lost domain were not all ended");
        }
    }
}

async fn looking(app: &App) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let free = u32::try_from(places.available_permits()).unwrap_or(0);
        let due = match app.store.due_proofs(app.now(), free).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(error = problem::chain(&error), "it cannot be read which proofs are due");
                continue;
            }
        };
        for seen in due {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { break };
            let app = app.clone();
            tokio::spawn(async move {
                if let Err(error) = look_again(&app, &seen).await {
                    tracing::error!(
                        proof.id = %seen.subject.uuid(), error = problem::chain(&error), "a look for a proof was not noted"
                    );
                }
                drop(place);
            });
        }
    }
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
