//! The tick, and everyone who waits for it or for the gateways to have heard.

use std::{sync::Arc, time::Duration};

use authz::Scope;
use domain::{
    ApiKeyId, ApiKeyState, Clock, Decision, FleetName, History, KeyPrefix, NumberedFact, Position, Seq, Tag, Timestamp,
    access::AccessReport,
    model::GatewayNode,
    quota::{UsageCount, UsagePart},
};
use link::{
    LinkError,
    foreign_keys::ForeignRefusal,
    log::{FactCarrier, Hint, TickError, TickQueue},
};
use store::{Commit, DecisionsKept, Standing, Store, StoreError, read::*};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use uuid::Uuid;

use crate::{
    config::{DecisionsConfig, LogConfig},
    problem,
};

/// How far the clocks of two replicas may differ: one notes a lease, another judges whether it has run out.
pub const CLOCK_SKEW: Duration = Duration::from_millis(500);

/// Ticks whose facts wait to be published. Those of more are dropped.
const UNPUBLISHED: usize = 256;

/// Longest wait for a carrier; hints older than that are of no use.
const PUBLISHING: Duration = Duration::from_secs(1);

/// New rows of the audit trail join their chains this often.
const CHAINING: Duration = Duration::from_secs(1);

/// Longer than the lease of a gateway that was revoked can last.
const REVOKED: Duration = Duration::from_secs(60);

/// Pause after foreign refusals could not be taken over.
const ADOPTION_PAUSE: Duration = Duration::from_millis(250);

/// Rows chained in one transaction: it shares the database's only writer (SQLite) with everything else.
const CHAINED: u32 = 1000;

/// Why foreign refusals were not taken over.
#[derive(Debug, thiserror::Error)]
enum AdoptionError {
    #[error("they cannot be read")]
    Read(#[from] LinkError),
    #[error("they cannot be written")]
    Write(#[from] StoreError),
    #[error("they cannot be numbered")]
    Number(#[from] TickError<StoreError>),
}

/// Where the log stood when a tick ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ticked {
    /// The log's head.
    pub head: Position,
    /// The newest revision.
    pub revision: u64,
    /// The lowest revision that may be served.
    pub min_revision: u64,
}

/// A gateway that has not applied something yet.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct Laggard {
    /// Its name.
    pub name: String,
    /// Its fleet.
    pub fleet: String,
    /// When its last lease has run out by every replica's clock: from then on it cannot act on what it has not heard.
    pub lease_until: Timestamp,
}

/// Numbers what was committed, tells the carrier and the feeds, and waits for gateways.
pub struct Hub {
    /// For ticks, proofs and feeds, and for nothing that anybody else asks.
    store: Store,
    /// For those who wait for gateways: as many as there are requests.
    waiting: Store,
    clock: Arc<dyn Clock>,
    ticks: TickQueue<Ticked, StoreError>,
    revision: watch::Receiver<u64>,
    carrier: Arc<dyn FactCarrier>,
    reported: Notify,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("revision", &*self.revision.borrow()).finish_non_exhaustive()
    }
}

impl Hub {
    /// Starts the queue of ticks on the Tokio runtime it is called on. Requests that wait for gateways look at `waiting`,
    /// so that many of them keep no proof from `store`.
    pub fn start(store: Store, waiting: Store, clock: Arc<dyn Clock>, carrier: Arc<dyn FactCarrier>) -> Arc<Self> {
        let (newest, revision) = watch::channel(0);
        let hints = publish_from(Arc::clone(&carrier));
        let ticker = Arc::new(Ticker { store: store.clone(), clock: Arc::clone(&clock), hints, newest });
        // One tick at a time: what the last one found is the queue's own.
        let last = Arc::new(tokio::sync::Mutex::new(None::<Position>));
        let ticks = TickQueue::spawn(move || {
            let (ticker, last) = (Arc::clone(&ticker), Arc::clone(&last));
            async move { ticker.tick(&mut *last.lock().await).await }
        });
        Arc::new(Self { store, waiting, clock, ticks, revision, carrier, reported: Notify::new() })
    }

    /// The result of a tick that began after this call.
    ///
    /// # Errors
    /// Of the database, or that the process is going down.
    pub async fn tick(&self) -> Result<Ticked, TickError<StoreError>> {
        self.ticks.fresh().await
    }

    /// The store.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Follows the newest revision.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.clone()
    }

    /// Judges a place in the log that a gateway says it has read up to. Where this database says of its own history
    /// that it was never there, it was restored from a backup: from now on it has another history.
    ///
    /// # Errors
    /// Of the database.
    pub async fn standing(&self, at: Position) -> Result<Standing, StoreError> {
        let standing = self.store.standing(at).await?;
        if standing == Standing::Lost && self.store.begin_history(at.history).await? {
            tracing::error!(
                log.seq = at.seq.0,
                "a gateway has read what this database never held: it was restored from a backup, and begins a new \
                 history"
            );
        }
        Ok(standing)
    }

    /// Judges a revision that a gateway says it serves, as [`Hub::standing`] does a place in the log.
    ///
    /// # Errors
    /// Of the database.
    pub async fn reached(&self, history: History, revision: u64) -> Result<(), StoreError> {
        if revision <= *self.revision.borrow() {
            return Ok(());
        }
        // Another replica may have ticked since.
        let newest = self.store.version().await?;
        if newest.history == history && newest.revision < revision && self.store.begin_history(history).await? {
            tracing::error!(
                snapshot.revision = revision,
                "a gateway serves what this database never held: it was restored from a backup, and begins a new history"
            );
        }
        Ok(())
    }

    /// Says that a gateway has reported.
    pub fn reported(&self) {
        self.reported.notify_waiters();
    }

    /// Numbers a commit and says what a gateway must have applied to know of it.
    ///
    /// # Errors
    /// As [`Hub::tick`].
    pub async fn number(&self, commit: Option<Commit>) -> Result<Ticked, TickError<StoreError>> {
        let ticked = self.tick().await?;
        let Some(commit) = commit.filter(Commit::changes_snapshot) else {
            return Ok(Ticked { revision: 0, ..ticked });
        };
        let revision = self.waiting.revision_of(commit).await.map_err(|error| TickError::Failed(Arc::new(error)))?;
        Ok(Ticked { revision: revision.unwrap_or(ticked.revision), ..ticked })
    }

    /// Waits until every live gateway has applied what `target` names, or its lease has run out. Answers who has not
    /// when `patience` ends.
    ///
    /// # Errors
    /// Of the database.
    pub async fn applied(&self, target: Ticked, patience: Duration) -> Result<Vec<Laggard>, StoreError> {
        let deadline = tokio::time::sleep(patience);
        tokio::pin!(deadline);
        loop {
            let reported = self.reported.notified();
            let behind = self.behind(target).await?;
            if behind.is_empty() {
                return Ok(behind);
            }
            tokio::select! {
                () = &mut deadline => return self.behind(target).await,
                () = reported => {}
                // Gateways of other replicas report there; a lease may run out.
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
        }
    }

    async fn behind(&self, target: Ticked) -> Result<Vec<Laggard>, StoreError> {
        let now = self.clock.unix_now();
        let over = |node: &GatewayNode| node.report.lease_until + CLOCK_SKEW;
        let view = self.waiting.view().await?;
        // A revoked gateway confirms nothing any more: what is left of its lease is waited for.
        let revoked = view.revoked_after(now - REVOKED).await?;
        let lags = |node: &GatewayNode| {
            let applied = node.report.applied >= target.head.seq && node.report.revision >= target.revision;
            over(node) > now && (!applied || revoked.contains(&node.id))
        };
        let gateways = view.gateways().await?;
        let behind = gateways.into_iter().filter(lags);
        Ok(behind.map(|node| Laggard { lease_until: over(&node), name: node.name, fleet: node.fleet }).collect())
    }

    /// Whether what carries the facts suits its purpose.
    ///
    /// # Errors
    /// [`LinkError::Unfit`] for a Redis that evicts.
    pub fn fitness(&self) -> Result<(), LinkError> {
        self.carrier.fitness()
    }

    /// Keeps what a gateway tells of its decisions.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record(&self, from: (&str, Option<&FleetName>), told: &[Decision]) -> Result<(), StoreError> {
        let kept = self.waiting.write_session(Scope::Platform, self.clock.unix_now(), |tx| async move {
            tx.keep_decisions(from, told).await
        });
        let kept: usize = kept.await?;
        if kept < told.len() {
            let refused = told.len() - kept;
            tracing::warn!(gateway.name = from.0, decisions.refused = refused, "told of what its fleet does not serve");
        }
        Ok(())
    }

    /// What an API key is verified by. Asked over the connections of those who wait: strangers ask by any key they invent,
    /// and shall keep no proof waiting.
    ///
    /// # Errors
    /// Of the database.
    pub async fn api_key(
        &self,
        prefix: &KeyPrefix,
        fleet: Option<&FleetName>,
    ) -> Result<Option<ApiKeyState>, StoreError> {
        self.waiting.api_key_state(prefix, fleet).await
    }

    /// Notes when keys were last used, as a gateway of this fleet, or of none, says.
    ///
    /// # Errors
    /// Of the database.
    pub async fn keys_used(&self, fleet: Option<&FleetName>, uses: &[(ApiKeyId, Timestamp)]) -> Result<(), StoreError> {
        let now = self.clock.unix_now();
        self.waiting
            .write_session(Scope::Platform, now, |tx| async move { tx.note_api_key_uses(fleet, uses).await })
            .await
    }

    /// Notes how far a gateway of this fleet, or of none, is with what tenants use of products, and answers what there is of
    /// each in all.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record_usage(
        &self,
        from: (Uuid, Option<&FleetName>),
        told: &[UsageCount],
    ) -> Result<Vec<Vec<UsagePart>>, StoreError> {
        let now = self.clock.unix_now();
        self.waiting.write_session(Scope::Platform, now, |tx| async move { tx.keep_usage(from, told).await }).await
    }

    /// Keeps what a gateway of this fleet, or of none, tells of organisational units.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record_access(&self, fleet: Option<&FleetName>, told: &AccessReport) -> Result<(), StoreError> {
        let now = self.clock.unix_now();
        self.waiting.write_session(Scope::Platform, now, |tx| async move { tx.keep_access(fleet, told).await }).await
    }

    /// Ticks, prunes, sweeps decisions, chains the audit trail and takes over what other services refuse, for as long as it is polled. None
    /// of them waits for another.
    pub async fn run_jobs(self: Arc<Self>, config: LogConfig, decisions: DecisionsConfig) {
        tokio::join!(
            every(config.tick.get(), || self.run_tick()),
            every(config.prune.get(), || self.run_prune()),
            every(CHAINING, || self.run_chaining()),
            self.run_sweep(decisions),
            self.run_adoption(),
        );
    }

    /// Takes over what other services refuse by themselves. Any replica may; each refusal becomes one fact.
    async fn run_adoption(&self) {
        let Some(mut foreign) = self.carrier.foreign() else { return };
        let mut failing = false;
        loop {
            let outcome = match foreign.next().await {
                Ok(refusals) => self.adopt(&refusals).await.map(|()| foreign.taken_over(&refusals)),
                Err(error) => Err(error.into()),
            };
            match outcome {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(error = problem::chain(&error), "foreign refusals are not taken over");
                    }
                    tokio::time::sleep(ADOPTION_PAUSE).await;
                }
            }
        }
    }

    async fn adopt(&self, refusals: &[ForeignRefusal]) -> Result<(), AdoptionError> {
        let now = self.clock.unix_now();
        let adopted = self.waiting.write_session(Scope::Platform, now, |tx| async move {
            tx.adopt(refusals.iter().map(|refusal| (refusal.jti, refusal.exp))).await
        });
        let count: Result<usize, StoreError> = adopted.await;
        if count? > 0 {
            self.tick().await?;
        }
        Ok(())
    }

    async fn run_tick(&self) {
        if let Err(error) = self.tick().await {
            tracing::error!(error = problem::chain(&error), "the tick failed");
        }
    }

    async fn run_prune(&self) {
        if let Err(error) = self.store.prune(self.clock.unix_now()).await {
            tracing::error!(error = problem::chain(&error), "pruning failed");
        }
    }

    /// Forgets decisions that are too old or too many.
    async fn run_sweep(&self, config: DecisionsConfig) {
        let kept = DecisionsKept { each: config.each, age: config.age.get() };
        // At first all tenants are looked at, then those that were told of since.
        let mut since = Timestamp::default();
        let mut due = interval(config.sweep.get());
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            let now = self.clock.unix_now();
            match self.waiting.sweep_decisions(now, since, kept).await {
                // Replicas note by their own clocks when they heard of something.
                Ok(_) => since = now - CLOCK_SKEW,
                Err(error) => tracing::error!(error = problem::chain(&error), "old decisions were not removed"),
            }
        }
    }

    async fn run_chaining(&self) {
        if let Err(error) = self.chain_audit().await {
            tracing::error!(error = problem::chain(&error), "the audit trail was not chained");
        }
    }

    /// Chains what the audit trail holds by now.
    async fn chain_audit(&self) -> Result<(), StoreError> {
        let all = usize::try_from(CHAINED).unwrap_or(usize::MAX);
        while self.store.chain_audit(CHAINED).await? >= all {}
        Ok(())
    }
}

/// Does a job again and again, with a pause that is never shorter than 10 ms. Never ends.
async fn every<F: Future<Output = ()>>(pause: Duration, job: impl Fn() -> F) {
    let mut due = interval(pause.max(Duration::from_millis(10)));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        job().await;
    }
}

/// Publishes what it is sent, in that order and beside the ticks: every proof waits for a tick, and none may wait for a
/// carrier that hangs. Ends with the last sender.
fn publish_from(carrier: Arc<dyn FactCarrier>) -> mpsc::Sender<Vec<Hint>> {
    let (hints, mut queue) = mpsc::channel::<Vec<Hint>>(UNPUBLISHED);
    tokio::spawn(async move {
        while let Some(hints) = queue.recv().await {
            match timeout(PUBLISHING, carrier.publish(&hints)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(error = problem::chain(&error), "facts were numbered and not carried");
                }
                Err(_) => tracing::warn!("facts were numbered and not carried: the carrier does not answer"),
            }
        }
    });
    hints
}

struct Ticker {
    store: Store,
    clock: Arc<dyn Clock>,
    hints: mpsc::Sender<Vec<Hint>>,
    newest: watch::Sender<u64>,
}

impl Ticker {
    async fn tick(&self, last: &mut Option<Position>) -> Result<Ticked, StoreError> {
        let tick = self.store.tick(self.clock.unix_now()).await?;
        if let Some(first) = tick.facts.first() {
            let before = self.before(first, *last).await?;
            let hints = Hint::chain(before, tick.facts.iter().cloned());
            // A lost hint costs a fetch with the next proof; the tick itself is done.
            if self.hints.try_send(hints).is_err() {
                tracing::warn!(
                    log.seq = tick.head.seq.0,
                    "facts were numbered and not carried: the carrier is too slow"
                );
            }
        }
        *last = Some(tick.head);
        self.newest.send_if_modified(|held| {
            let newer = tick.revision != *held;
            *held = tick.revision;
            newer
        });
        Ok(Ticked { head: tick.head, revision: tick.revision, min_revision: tick.min_revision })
    }

    /// The head before a fact: what the last tick here left, unless another replica has ticked since.
    async fn before(&self, first: &NumberedFact, last: Option<Position>) -> Result<Position, StoreError> {
        let seq = Seq(first.seq.0.saturating_sub(1));
        if seq == Seq::ZERO {
            return Ok(Position::default());
        }
        if let Some(last) = last.filter(|last| last.seq == seq) {
            return Ok(last);
        }
        let held = self.store.facts_after(Seq(seq.0.saturating_sub(1)), 1).await?;
        // A fact that was pruned: nobody stands on it any more, so any tag will do.
        let tag = held.first().filter(|fact| fact.seq == seq).map_or(Tag::default(), |fact| fact.tag);
        Ok(Position { seq, tag, ..Position::default() })
    }
}
