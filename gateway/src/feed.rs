//! Where the snapshot comes from, and what keeps it in force.
//!
//! | Feed | Full state | Changes | When it fails |
//! |---|---|---|---|
//! | [`control_api`] | chunks, put together aside, then swapped | deltas, gathered for 10 ms | the last state serves; reconnect |
//! | [`file`] | a declarative file | read again when it changes | the last state serves; the mistakes are logged |
//!
//! [`disk`] keeps the last good state for a start without a control plane. A state that nobody has confirmed for
//! `snapshot.max_age` is not served any more.

pub(crate) mod control_api;
pub(crate) mod disk;
pub(crate) mod file;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{BootInstant, Clock, History, SnapshotVersion, snapshot::Change};
use gate::{ApplyReport, Gate};
use tokio::sync::watch;

use crate::metrics::Metrics;

/// How often the age of the snapshot is looked at.
const AGE_CHECK: Duration = Duration::from_secs(5);

/// Brings changes into force, whoever they come from.
pub(crate) struct Applier {
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// The version in force, for who waits for one.
    version: watch::Sender<SnapshotVersion>,
    /// Whether any state is in force.
    loaded: watch::Sender<bool>,
    /// When the state was last confirmed, on the boot clock; 0 for never.
    confirmed_at: AtomicU64,
}

impl Applier {
    pub(crate) fn new(gate: Arc<Gate>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (version, loaded) = (watch::Sender::new(SnapshotVersion::default()), watch::Sender::new(false));
        Self { gate, clock, metrics, version, loaded, confirmed_at: AtomicU64::new(0) }
    }

    /// Takes these for the whole state.
    pub(crate) fn replace(&self, changes: Vec<Change>, version: SnapshotVersion) {
        let report = self.gate.snapshot().replace(changes, version.revision);
        self.in_force(&report, version.history);
    }

    /// Adds these to the state.
    pub(crate) fn apply(&self, changes: Vec<Change>, revision: u64) {
        let report = self.gate.snapshot().apply(changes, revision);
        // Let go of before it is written.
        let history = self.version.borrow().history;
        self.in_force(&report, history);
    }

    /// Notes that the source was heard of, and says that the state is current.
    pub(crate) fn confirmed(&self) {
        self.confirmed_before(Duration::ZERO);
    }

    /// As [`Self::confirmed`], some time ago.
    pub(crate) fn confirmed_before(&self, ago: Duration) {
        let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        let at = self.clock.boot_now().nanos().saturating_sub(ago).max(1);
        self.confirmed_at.store(at, Ordering::Release);
    }

    /// How long ago the state was confirmed; none for never.
    pub(crate) fn age(&self) -> Option<Duration> {
        match self.confirmed_at.load(Ordering::Acquire) {
            0 => None,
            at => Some(self.clock.boot_now().since(BootInstant::from_nanos(at))),
        }
    }

    pub(crate) fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The version in force.
    pub(crate) fn version(&self) -> watch::Receiver<SnapshotVersion> {
        self.version.subscribe()
    }

    /// Ends when a state is in force.
    pub(crate) async fn loaded(&self) {
        // Fails only when the sender is gone, which is ours.
        drop(self.loaded.subscribe().wait_for(|loaded| *loaded).await);
    }

    /// Stops serving a state that nobody has confirmed for `max_age`. Runs for as long as it is polled.
    pub(crate) async fn expire(&self, max_age: Duration) {
        loop {
            tokio::time::sleep(AGE_CHECK).await;
            let snapshot = self.gate.snapshot();
            if snapshot.is_usable() && self.age().is_none_or(|age| age > max_age) {
                tracing::error!(snapshot.revision = snapshot.revision(), "the snapshot is too old to be served");
                snapshot.expire();
            }
        }
    }

    fn in_force(&self, report: &ApplyReport, history: History) {
        for (key, reason) in &report.refused {
            tracing::error!(entity.kind = key.kind.as_str(), entity.id = %key.id, reason, "an entity is refused");
        }
        self.metrics.feed_refused.set(i64::try_from(report.refused.len()).unwrap_or(i64::MAX));
        self.confirmed();
        self.version.send_replace(SnapshotVersion { history, revision: report.revision });
        self.loaded.send_replace(true);
    }
}
