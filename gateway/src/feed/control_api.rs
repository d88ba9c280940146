//! The snapshot from a control API: the full state once, then its changes for as long as the connection lasts.

use std::{sync::Arc, time::Duration};

use domain::{SnapshotVersion, snapshot::Change};
use futures::{StreamExt, stream::BoxStream};
use link::{
    LinkError,
    log::{ControlPlane, FeedMessage},
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Applier;

/// Changes are gathered for this long, so that a burst is compiled once.
const GATHER: Duration = Duration::from_millis(10);

/// A feed that says nothing for this long, not even that nothing changed, is dead.
const SILENCE: Duration = Duration::from_secs(30);

/// First and longest pause before the next connection.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Consumes the feed.
pub(crate) struct ControlApiFeed {
    plane: Arc<dyn ControlPlane>,
    applier: Arc<Applier>,
    /// The version of the state that is held in full; none before the first.
    held: Option<SnapshotVersion>,
}

/// Why a connection to the feed ended.
#[derive(Debug, thiserror::Error)]
enum FeedEnd {
    #[error("the control API has no feed")]
    Refused(#[source] LinkError),
    #[error("the feed broke off")]
    Broken(#[source] LinkError),
    #[error("the feed ended")]
    Closed,
    #[error("the feed was silent for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the feed sent changes of a state that is not held in full")]
    OutOfStep,
}

/// What came and is not in force yet.
#[derive(Default)]
struct Pending {
    full: Vec<Change>,
    deltas: Vec<Change>,
    revision: u64,
    due: Option<Instant>,
}

impl ControlApiFeed {
    /// `held` is the version of the state already in force, as read from disk.
    pub(crate) fn new(plane: Arc<dyn ControlPlane>, applier: Arc<Applier>, held: Option<SnapshotVersion>) -> Self {
        Self { plane, applier, held }
    }

    /// Runs for as long as it is polled.
    pub(crate) async fn run(mut self) {
        let mut pause = PAUSES.0;
        loop {
            let before = self.held;
            let end = self.connection().await;
            if self.held != before {
                pause = PAUSES.0;
            }
            self.applier.metrics().feed_failures.inc();
            tracing::warn!(error = &end as &dyn std::error::Error, "the feed is interrupted; the last state serves on");
            if matches!(end, FeedEnd::OutOfStep) {
                self.held = None;
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    async fn connection(&mut self) -> FeedEnd {
        let mut messages = match timeout(SILENCE, self.plane.feed(self.held)).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => return FeedEnd::Refused(error),
            Err(_) => return FeedEnd::Silent,
        };
        let mut pending = Pending::default();
        let end = self.consume(&mut messages, &mut pending).await;
        self.flush(&mut pending);
        end
    }

    async fn consume(
        &mut self,
        messages: &mut BoxStream<'static, Result<FeedMessage, LinkError>>,
        pending: &mut Pending,
    ) -> FeedEnd {
        loop {
            let due = pending.due;
            let flush = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                () = flush => {
                    self.flush(pending);
                    continue;
                }
                message = timeout(SILENCE, messages.next()) => message,
            };
            match message {
                Err(_) => return FeedEnd::Silent,
                Ok(None) => return FeedEnd::Closed,
                Ok(Some(Err(error))) => return FeedEnd::Broken(error),
                Ok(Some(Ok(message))) => {
                    if self.take(message, pending).is_none() {
                        return FeedEnd::OutOfStep;
                    }
                }
            }
        }
    }

    /// None for changes of a state that is not held, and for what comes between the parts of a full state: the parts
    /// after it would be taken for the whole.
    fn take(&mut self, message: FeedMessage, pending: &mut Pending) -> Option<()> {
        if !pending.full.is_empty() && !matches!(message, FeedMessage::Full { .. }) {
            return None;
        }
        match message {
            FeedMessage::Full { changes, last, version } => {
                pending.full.extend(changes);
                if last {
                    // Changes that were gathered before are of the state that ends here.
                    let Pending { full: changes, .. } = std::mem::take(pending);
                    let revision = version.revision;
                    tracing::info!(snapshot.revision = revision, snapshot.entities = changes.len(), "full state");
                    self.applier.replace(changes, version);
                    self.held = Some(version);
                }
            }
            FeedMessage::Delta { changes, revision } => {
                self.held?;
                pending.deltas.extend(changes);
                pending.revision = revision;
                pending.due.get_or_insert_with(|| Instant::now() + GATHER);
            }
            FeedMessage::Heartbeat { revision } => {
                let held = self.held?;
                if pending.due.is_some() {
                    pending.revision = pending.revision.max(revision);
                } else if revision > held.revision || !self.applier.gate().snapshot().is_usable() {
                    self.applier.apply(Vec::new(), revision);
                    self.held = Some(SnapshotVersion { revision, ..held });
                } else {
                    self.applier.confirmed();
                }
            }
        }
        Some(())
    }

    fn flush(&mut self, pending: &mut Pending) {
        if pending.due.take().is_some() {
            self.applier.apply(std::mem::take(&mut pending.deltas), pending.revision);
            self.held = self.held.map(|held| SnapshotVersion { revision: pending.revision, ..held });
        }
    }
}

/// Between half and all of a pause, so that a fleet does not come back as one.
fn jittered(pause: Duration) -> Duration {
    let random = u32::from(uuid::Uuid::new_v4().as_bytes().first().copied().unwrap_or_default());
    pause / 2 + pause / 2 * random / 256
}
