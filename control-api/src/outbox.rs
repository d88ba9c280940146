//! Work that a transaction left to be done once it is committed ([`store::Tx::leave`]).
//!
//! ```text
//! write: change + audit row + event ─▶ commit ─▶ claim (one replica, for `lease`) ─▶ attempt ─▶ done: forgotten
//!                                                  ▲                                ├─▶ again, after a longer pause
//!                                                  └── the process ended: due again └─▶ given up: kept for 30 days
//! ```
//!
//! An event may be attempted more than once, also by two processes of which one lost its lease: a worker does its work so
//! that twice is once, by the event's id.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use authz::Scope;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use domain::outbox::{Attempted, OutboxEvent, OutboxKind};
use store::StoreError;
use uuid::Uuid;

use crate::{App, error::AppError, problem, upkeep::each};

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(1);

/// What does the events of one kind.
pub trait Worker: Send + Sync + 'static {
    /// Which.
    const KIND: OutboxKind;

    /// Does one. Must end within [`Patience::lease`].
    fn attempt(&self, app: &App, event: &OutboxEvent) -> impl Future<Output = Outcome> + Send;
}

/// What came of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed, and may succeed later. The reason names no secret.
    Again(String),
    /// It never will.
    GivenUp(String),
}

/// How long and how often events of one kind are tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Patience {
    /// Attempts at once, of this replica.
    pub at_once: u32,
    /// For how long a claim holds. An attempt takes less.
    pub lease: Duration,
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// An event that is older when it fails is given up.
    pub give_up_after: Duration,
}

impl Patience {
    /// Eight at once, a minute for each; pauses of 5 s to 10 m, for three days.
    pub const USUAL: Self = Self {
        at_once: 8,
        lease: Duration::from_secs(60),
        backoff: Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(600) },
        give_up_after: Duration::from_secs(3 * 86_400),
    };
}

/// Pauses that double.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

impl Backoff {
    /// The pause after so many failures: a random part of it, from half to the whole, so that what failed together is not
    /// tried again together.
    pub fn pause(self, failures: u32, random: u8) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(24)));
        let whole = doubled.min(self.longest);
        whole / 2 + (whole / 2).mul_f64(f64::from(random) / 255.0)
    }
}

/// A random byte for [`Backoff::pause`]; the middle where there are none.
pub(crate) fn jitter() -> u8 {
    let mut byte = [0];
    match SystemRandom::new().fill(&mut byte) {
        Ok(()) => u8::from_ne_bytes(byte),
        Err(_) => 127,
    }
}

/// Does what is due for as long as it is polled.
pub async fn run<W: Worker>(app: App, worker: Arc<W>, patience: Patience) {
    let app = &app;
    let act = |event: OutboxEvent| {
        let (app, worker) = (app.clone(), Arc::clone(&worker));
        async move { attempt(&app, &*worker, &event, patience).await }
    };
    let at_once = usize::try_from(patience.at_once).unwrap_or(1);
    // Behind whom to go on: owners take turns.
    let last = &Mutex::new(Uuid::nil());
    let claim = |free| async move {
        let after = *last.lock().unwrap_or_else(PoisonError::into_inner);
        let (claimed, now) = claim::<W>(app, free, patience, after).await?;
        *last.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(claimed)
    };
    each((LOOK, at_once), "it cannot be read what is to be done", claim, act).await;
}

/// Does what is due now, and waits for it; says how many events there were.
///
/// # Errors
/// Of the database.
pub async fn run_due<W: Worker>(app: &App, worker: &W, patience: Patience) -> Result<usize, AppError> {
    let (claimed, _) = claim::<W>(app, patience.at_once, patience, Uuid::nil()).await?;
    futures::future::join_all(claimed.iter().map(|event| attempt(app, worker, event, patience))).await;
    Ok(claimed.len())
}

async fn claim<W: Worker>(
    app: &App,
    free: u32,
    patience: Patience,
    after: Uuid,
) -> Result<(Vec<OutboxEvent>, Uuid), AppError> {
    let claimed = app.store.write_session(Scope::Platform, app.now(), |tx| async move {
        tx.claim_outbox(W::KIND, free, patience.lease, after).await
    });
    claimed.await.map_err(|error: StoreError| error.into())
}

async fn attempt<W: Worker>(app: &App, worker: &W, event: &OutboxEvent, patience: Patience) {
    let outcome = match tokio::time::timeout(patience.lease, worker.attempt(app, event)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Again("it took too long".into()),
    };
    let now = app.now();
    let attempted = match outcome {
        Outcome::Done => Attempted::Done,
        Outcome::Again(reason) if now.since(event.created_at) < patience.give_up_after => {
            let at = now + patience.backoff.pause(event.attempts, jitter());
            tracing::warn!(outbox.id = %event.id, outbox.attempts = event.attempts, reason, "an attempt failed");
            Attempted::Again { at, reason }
        }
        Outcome::Again(reason) | Outcome::GivenUp(reason) => {
            tracing::error!(outbox.id = %event.id, outbox.attempts = event.attempts, reason, "an event was given up");
            Attempted::GivenUp { reason }
        }
    };
    let attempted = &attempted;
    let settled =
        app.store.write_session(Scope::Platform, now, |tx| async move { tx.settle_outbox(event, attempted).await });
    if let Err::<bool, StoreError>(error) = settled.await {
        tracing::error!(outbox.id = %event.id, error = problem::chain(&error), "an attempt was not noted");
    }
}

#[test]
fn pauses_double_up_to_the_longest_and_are_not_alike() {
    let backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(600) };
    let whole = |failures| backoff.pause(failures, 255).as_secs();
    assert_eq!([whole(1), whole(2), whole(3), whole(8), whole(100)], [5, 10, 20, 600, 600]);
    assert_eq!(backoff.pause(2, 0), Duration::from_secs(5));
}
