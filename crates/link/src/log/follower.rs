//! The gateway's loop: apply hints as they come, prove twice a second, and hold a lease only when all is applied.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use authn::{Applied, Lease, Mirror};
use domain::{BootInstant, Clock, NumberedFact, Position, Seq, SnapshotVersion, Tag, fact::Proof};
use futures::StreamExt;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{ControlPlane, FactCarrier, GatewayIdentity, GatewayStatus, Hint};
use crate::LinkError;

/// Hints kept that came before the facts under them.
const HELD_BACK: usize = 10_000;

/// Attempts to fetch what is missing within one round; facts keep coming while one fetches.
const FETCHES: usize = 4;

/// Least time between two rounds, however many ask for one.
const BREATH: Duration = Duration::from_millis(25);

/// How long a lease lasts, counted from the moment before its question was asked. Not a setting: the control plane
/// counts on it when it says how long a revoked token may still be accepted.
pub const LEASE: Duration = Duration::from_secs(2);

/// The follower's pace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FollowerSettings {
    /// Time between questions. Default 500 ms, so that three may be lost before the lease ends.
    pub interval: Duration,
    /// Longest wait for each answer of the control plane. Default 1 s.
    pub deadline: Duration,
    /// How long reports wait for more to report. Default 5 ms.
    pub gather: Duration,
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            deadline: Duration::from_secs(1),
            gather: Duration::from_millis(5),
        }
    }
}

/// How a round ended that got its answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Round {
    /// Everything is applied; the lease holds until then.
    Proven {
        /// Until when.
        until: BootInstant,
    },
    /// The log was read anew. Nothing is proven; ask again.
    Resynced,
    /// Everything is applied, but the snapshot is of another history or older than this revision. Nothing is proven.
    SnapshotBehind {
        /// The lowest that may be served.
        min_revision: u64,
    },
}

/// Keeps a [`Mirror`] current and its lease alive. See the documentation of [`super`].
pub struct LogFollower {
    mirror: Arc<Mirror>,
    plane: Arc<dyn ControlPlane>,
    carrier: Arc<dyn FactCarrier>,
    clock: Arc<dyn Clock>,
    /// The snapshot that is served.
    served: watch::Receiver<SnapshotVersion>,
    me: GatewayIdentity,
    settings: FollowerSettings,
    /// Rounds do not overlap: each needs the trail since its own question.
    rounds: tokio::sync::Mutex<()>,
    history: Mutex<History>,
    news: Notify,
    hurry: Notify,
    /// When freshness was last proven.
    proven: watch::Sender<BootInstant>,
    /// Held while a report is on its way.
    reports: tokio::sync::Mutex<()>,
    /// What another process of this gateway has applied; none while there is no other.
    beside: Option<watch::Receiver<Option<GatewayStatus>>>,
}

/// While it lives, nothing is reported: another process reports for this one.
#[derive(Debug)]
pub struct Silence<'f>(#[expect(dead_code, reason = "held")] tokio::sync::MutexGuard<'f, ()>);

/// What was applied and what waits. Facts are applied under this lock only.
#[derive(Debug, Default)]
struct History {
    /// Whether the log was read in full once.
    read: bool,
    /// The position that the running round asked about.
    asked_at: Position,
    /// The facts applied since then.
    trail: BTreeMap<Seq, Hint>,
    /// Hints that came before the facts under them.
    held_back: BTreeMap<Seq, Hint>,
}

/// How what is applied relates to a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// Everything up to it is applied.
    Applied,
    /// Something is missing.
    Behind,
    /// Another fact was applied under that number.
    OtherHistory,
}

impl LogFollower {
    /// A follower that has read nothing yet. `served` holds the version of the snapshot that is served.
    pub fn new(
        mirror: Arc<Mirror>,
        plane: Arc<dyn ControlPlane>,
        carrier: Arc<dyn FactCarrier>,
        clock: Arc<dyn Clock>,
        served: watch::Receiver<SnapshotVersion>,
        me: GatewayIdentity,
        settings: FollowerSettings,
    ) -> Self {
        let (rounds, history, news, hurry, proven, reports) = Default::default();
        let beside = None;
        Self {
            mirror,
            plane,
            carrier,
            clock,
            served,
            me,
            settings,
            rounds,
            history,
            news,
            hurry,
            proven,
            reports,
            beside,
        }
    }

    /// Reports what this process *and another one* of the same gateway have applied, for as long as there is another.
    #[must_use]
    pub fn beside(self, other: watch::Receiver<Option<GatewayStatus>>) -> Self {
        Self { beside: Some(other), ..self }
    }

    /// Reports nothing any more, beginning when this returns.
    pub async fn silence(&self) -> Silence<'_> {
        Silence(self.reports.lock().await)
    }

    /// Follows the log for as long as it is polled; drop it to stop. The lease then runs out by itself.
    pub async fn run(&self) {
        tokio::join!(self.apply_hints(), self.renew(), self.report());
    }

    /// Asks for a proof at once, as after a pause of the machine, and waits until one was given or `patience` ends.
    pub async fn renewal(&self, patience: Duration) {
        let mut proven = self.proven.subscribe();
        self.hurry.notify_one();
        // Whoever waits looks at the lease itself; how the waiting ended says nothing more.
        let _ = timeout(patience, proven.changed()).await;
    }

    /// One question and what follows from it. [`LogFollower::run`] does this twice a second.
    ///
    /// # Errors
    /// When the control plane does not answer, or not in time. What was applied by then stays applied.
    pub async fn round(&self) -> Result<Round, LinkError> {
        let _alone = self.rounds.lock().await;
        if !self.history().read {
            self.read_anew().await?;
        }
        let asked_at = {
            let mut history = self.history();
            history.asked_at = self.mirror.position();
            history.trail.clear();
            history.asked_at
        };
        // Before the question leaves: whatever was committed before now is under the head of the answer.
        let t0 = self.clock.boot_now();
        let proof = self.answered(self.plane.prove(asked_at, &self.me)).await?;
        // Of another history every number means something else: what was applied, and the snapshot's revision too.
        if proof.resync || proof.head.history != asked_at.history {
            self.read_anew().await?;
            return Ok(Round::Resynced);
        }
        for _ in 0..FETCHES {
            match self.standing(proof.head) {
                Standing::Applied => return Ok(self.grant(t0, &proof).await),
                Standing::OtherHistory => break,
                Standing::Behind => match self.fetch().await {
                    Ok(true) => {}
                    Ok(false) | Err(LinkError::UnknownPosition) => break,
                    Err(error) => return Err(error),
                },
            }
        }
        if self.standing(proof.head) == Standing::Applied {
            return Ok(self.grant(t0, &proof).await);
        }
        self.read_anew().await?;
        Ok(Round::Resynced)
    }

    async fn grant(&self, t0: BootInstant, proof: &Proof) -> Round {
        let mut served = self.served.clone();
        let (history, min_revision) = (proof.head.history, proof.min_revision);
        let new_enough = |it: &SnapshotVersion| it.history == history && it.revision >= min_revision;
        let reached = timeout(self.settings.interval, served.wait_for(new_enough));
        if !matches!(reached.await, Ok(Ok(_))) {
            return Round::SnapshotBehind { min_revision };
        }
        let until = t0 + LEASE;
        self.mirror.grant(t0, until);
        self.proven.send_replace(t0);
        Round::Proven { until }
    }

    fn standing(&self, head: Position) -> Standing {
        let history = self.history();
        match history.tag(head.seq) {
            Some(tag) if tag == head.tag => Standing::Applied,
            Some(_) => Standing::OtherHistory,
            None if self.mirror.position().seq < head.seq => Standing::Behind,
            // The position asked about lies above the head, though it was said to be known.
            None => Standing::OtherHistory,
        }
    }

    /// Fetches what is missing. False when it does not fit onto what is applied.
    async fn fetch(&self) -> Result<bool, LinkError> {
        let at = self.mirror.position();
        let facts = self.answered(self.plane.facts_after(at)).await?;
        let mut history = self.history();
        let fits = Hint::chain(at, facts).iter().all(|hint| history.apply(&self.mirror, hint));
        history.release(&self.mirror);
        drop(history);
        self.news.notify_one();
        Ok(fits)
    }

    async fn read_anew(&self) -> Result<(), LinkError> {
        let live = self.answered(self.plane.live_facts()).await?;
        let mut history = self.history();
        self.mirror.reset(live.head, &live.facts);
        history.read = true;
        // What was applied while the answer was on its way is applied again, where it fits.
        let mut applied = std::mem::take(&mut history.trail);
        history.held_back.append(&mut applied);
        history.asked_at = live.head;
        history.release(&self.mirror);
        drop(history);
        tracing::info!(log.seq = live.head.seq.0, log.facts = live.facts.len(), "the log was read in full");
        self.news.notify_one();
        Ok(())
    }

    async fn apply_hints(&self) {
        let mut hints = self.carrier.subscribe();
        while let Some(hint) = hints.next().await {
            let before = self.mirror.position();
            self.history().offer(&self.mirror, hint);
            if self.mirror.position() != before {
                self.news.notify_one();
            }
        }
    }

    async fn renew(&self) {
        let (mut failing, mut stumbled) = (false, false);
        loop {
            let outcome = self.round().await;
            let proven = matches!(outcome, Ok(Round::Proven { .. }));
            // Every request without a lease hurries us. One failure may be over by the next question, as that of a
            // connection that died in its sleep; after a second there is no hurry.
            if std::mem::replace(&mut stumbled, !proven) || proven {
                sleep(BREATH).await;
            }
            let pause = match outcome {
                Ok(Round::Resynced) => Duration::ZERO,
                Ok(Round::Proven { .. }) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("freshness is proven again");
                    }
                    self.settings.interval
                }
                Ok(Round::SnapshotBehind { min_revision }) => {
                    tracing::warn!(snapshot.min_revision = min_revision, "the snapshot is too old to be proven");
                    failing = true;
                    self.settings.interval
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error = crate::error::chain(&error), "freshness cannot be proven");
                    }
                    self.settings.interval
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.hurry.notified() => {}
            }
        }
    }

    async fn report(&self) {
        let mut served = self.served.clone();
        let mut failing = false;
        loop {
            let changed = async {
                if served.changed().await.is_err() {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.news.notified() => {}
                () = changed => {}
                () = sleep(self.settings.interval) => {}
            }
            sleep(self.settings.gather).await;
            let _whole = self.reports.lock().await;
            match self.answered(self.plane.report(self.status_of_all())).await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(error = crate::error::chain(&error), "the control plane takes no reports");
                }
                Err(_) => {}
            }
        }
    }

    /// What this process would report now, were it the only one.
    pub fn status(&self) -> GatewayStatus {
        let now = self.clock.boot_now();
        let left = match self.mirror.lease(now) {
            Lease::Proven { until } => until.since(now),
            Lease::Unproven { .. } => Duration::ZERO,
        };
        let (applied, served) = (self.mirror.position(), *self.served.borrow());
        GatewayStatus {
            gateway: self.me.clone(),
            reader: domain::snapshot::READER,
            applied_revision: if served.history == applied.history { served.revision } else { 0 },
            applied,
            lease_remaining_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// What is true of this process and of every other one of this gateway: of the one whose place it took, which says
    /// the same of the one before it.
    pub fn status_of_all(&self) -> GatewayStatus {
        self.of_both(self.status())
    }

    /// The less of what this process and the other one have applied and can read, and the longer of their leases.
    fn of_both(&self, own: GatewayStatus) -> GatewayStatus {
        let other = self.beside.as_ref().and_then(|other| other.borrow().clone());
        let Some(other) = other else { return own };
        let lease_remaining_ms = own.lease_remaining_ms.max(other.lease_remaining_ms);
        let own = GatewayStatus { reader: own.reader.min(other.reader), ..own };
        if own.applied.history != other.applied.history {
            // Numbers of two histories cannot be compared; the other process will read anew, as this one did.
            return GatewayStatus { lease_remaining_ms, applied_revision: 0, applied: other.applied, ..own };
        }
        let applied = if other.applied.seq < own.applied.seq { other.applied } else { own.applied };
        let applied_revision = own.applied_revision.min(other.applied_revision);
        GatewayStatus { lease_remaining_ms, applied_revision, applied, ..own }
    }

    async fn answered<T>(&self, answer: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
        let after = self.settings.deadline;
        timeout(after, answer).await.unwrap_or(Err(LinkError::TimedOut { peer: "the control API", after }))
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History {
    /// Takes a hint: applies it and what waited for it, keeps it for later, or drops what is known already.
    fn offer(&mut self, mirror: &Mirror, hint: Hint) {
        if self.read && hint.fact.seq <= mirror.position().seq {
            return;
        }
        self.held_back.insert(hint.fact.seq, hint);
        if self.held_back.len() > HELD_BACK {
            self.held_back.pop_last();
        }
        if self.read {
            self.release(mirror);
        }
    }

    /// Applies the hints that fit onto what is applied.
    fn release(&mut self, mirror: &Mirror) {
        while let Some(first) = self.held_back.first_entry() {
            if *first.key() > mirror.position().seq.next() {
                return;
            }
            let hint = first.remove();
            // One that does not fit is of another history, or known already. The next proof tells which.
            self.apply(mirror, &hint);
        }
    }

    /// Applies a hint that stands exactly on what is applied; true also when this very fact was applied before.
    fn apply(&mut self, mirror: &Mirror, hint: &Hint) -> bool {
        let NumberedFact { seq, tag, .. } = hint.fact;
        let position = mirror.position();
        if seq <= position.seq {
            return self.tag(seq) == Some(tag);
        }
        if seq != position.seq.next() || hint.after != position.tag || mirror.apply(&hint.fact) != Applied::Yes {
            return false;
        }
        self.trail.insert(seq, hint.clone());
        true
    }

    /// The tag applied under a number, if it was the position asked about or came after it.
    fn tag(&self, seq: Seq) -> Option<Tag> {
        if seq == self.asked_at.seq { Some(self.asked_at.tag) } else { self.trail.get(&seq).map(|hint| hint.fact.tag) }
    }
}
