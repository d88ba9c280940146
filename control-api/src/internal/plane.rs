//! What a gateway may ask, answered from SQL.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use authz::Scope;
use domain::{
    ApiKeyId, ApiKeyState, Decision, FleetName, IssuerId, KeyPrefix, NumberedFact, Position, Seq, SnapshotVersion,
    TenantId, Timestamp, UserId,
    access::AccessReport,
    decision::MAX_BATCH,
    fact::{Bindings, Proof},
    model::{GatewayNode, GatewayReport},
    quota::{MAX_COUNTS, UsageCount, UsagePart},
    snapshot::Change,
};
use futures::{StreamExt, stream::BoxStream};
use link::{
    LinkError,
    log::{ControlPlane, FeedMessage, GatewayIdentity, GatewayStatus, LEASE, LiveFacts},
};
use store::{Delta, Standing, StoreError, read::*};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{
    Hub,
    admission::{Admitted, refused},
};

/// In errors: who failed.
pub(super) const PEER: &str = "the control API";

const GATEWAY: &str = "the gateway";

/// What a gateway is called that needs no certificate: one in this process, or on a developer's machine.
const LOCAL: &str = "local";

/// Facts and changes read at once.
const BATCH: u32 = 1000;

/// Changes in one part of the full state.
const PART: usize = 512;

/// A feed says at least this often that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Messages a slow reader of the feed may lie behind.
const BUFFERED: usize = 16;

/// The control plane, as a gateway sees it.
#[derive(Clone, Debug)]
pub struct Plane {
    hub: Arc<Hub>,
    /// Whose entities are told; none for those of every fleet.
    fleet: Option<FleetName>,
    /// Who asks, where it has to be enrolled.
    admitted: Option<Admitted>,
}

impl Plane {
    /// Over a hub, for a gateway that is told everything.
    pub const fn new(hub: Arc<Hub>) -> Self {
        Self { hub, fleet: None, admitted: None }
    }

    /// The same for a gateway in this process, of this fleet.
    pub const fn of_fleet(hub: Arc<Hub>, fleet: FleetName) -> Self {
        Self { hub, fleet: Some(fleet), admitted: None }
    }

    /// The same for a gateway that was let in, for as long as it would be let in again.
    pub(super) const fn admitted(hub: Arc<Hub>, admitted: Admitted, fleet: FleetName) -> Self {
        Self { hub, fleet: Some(fleet), admitted: Some(admitted) }
    }
}

pub(super) fn failed(error: &dyn std::error::Error) -> LinkError {
    LinkError::failed(PEER, error)
}

/// Why nothing was noted of a gateway: it may have been revoked since it was let in.
fn not_noted(error: StoreError) -> LinkError {
    match error {
        StoreError::Rule { detail, .. } => refused(&detail),
        other => failed(&other),
    }
}

fn node(gateway: GatewayIdentity, report: GatewayReport, now: Timestamp) -> GatewayNode {
    GatewayNode { id: gateway.id, name: gateway.name, fleet: gateway.fleet, report, last_seen: now }
}

#[async_trait]
impl ControlPlane for Plane {
    /// The lease is noted before the tick begins. A commit that this tick does not number was then made after the note,
    /// and whoever made it finds the note when it looks for gateways to wait for. Noted after the tick, a call that
    /// revokes could run whole between the two and answer while this gateway is about to accept the token.
    ///
    /// The gateway counts its lease from before its question, so the time noted here is never too early.
    async fn prove(&self, at: Position, gateway: &GatewayIdentity) -> Result<Proof, LinkError> {
        let now = self.hub.clock().unix_now();
        let unreported = GatewayReport { revision: 0, applied: Seq::ZERO, reader: 0, lease_until: now + LEASE };
        let node = &node(gateway.clone(), unreported, now);
        let noted =
            self.hub.store().write_session(Scope::Platform, now, |tx| async move { tx.lease_gateway(node).await });
        noted.await.map_err(not_noted)?;
        let ticked = self.hub.tick().await.map_err(|error| failed(&error))?;
        let standing = self.hub.standing(at).await.map_err(|error| failed(&error))?;
        Ok(Proof { head: ticked.head, min_revision: ticked.min_revision, resync: standing != Standing::Known })
    }

    async fn facts_after(&self, at: Position) -> Result<Vec<NumberedFact>, LinkError> {
        let store = self.hub.store();
        if !store.knows(at).await.map_err(|error| failed(&error))? {
            return Err(LinkError::UnknownPosition);
        }
        let (mut facts, mut seq) = (Vec::new(), at.seq);
        loop {
            let batch = store.facts_after(seq, BATCH).await.map_err(|error| failed(&error))?;
            let Some(last) = batch.last() else { return Ok(facts) };
            seq = last.seq;
            facts.extend(batch);
        }
    }

    async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
        let now = self.hub.clock().unix_now();
        let view = self.hub.store().view().await.map_err(|error| failed(&error))?;
        let (head, facts) = view.live_facts(now).await.map_err(|error| failed(&error))?;
        Ok(LiveFacts { head, facts })
    }

    async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Bindings, LinkError> {
        self.hub
            .store()
            .bindings_at_edge(tenant, user, self.hub.clock().unix_now())
            .await
            .map_err(|error| failed(&error))
    }

    async fn api_key(&self, prefix: &KeyPrefix) -> Result<Option<ApiKeyState>, LinkError> {
        self.hub.api_key(prefix, self.fleet.as_ref()).await.map_err(|error| failed(&error))
    }

    async fn keys_used(&self, uses: Vec<(ApiKeyId, Timestamp)>) -> Result<(), LinkError> {
        self.hub.keys_used(self.fleet.as_ref(), &uses).await.map_err(|error| failed(&error))
    }

    async fn feed(
        &self,
        from: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
        let (messages, feed) = mpsc::channel(BUFFERED);
        let Self { hub, fleet, admitted } = self.clone();
        tokio::spawn(async move {
            let mut feeder = Feeder { hub, fleet, admitted, at: from, messages };
            let error = match feeder.run().await {
                Err(Ended::Failed(error)) => failed(&error),
                Err(Ended::Refused(error)) => error,
                Ok(()) | Err(Ended::Gone) => return,
            };
            // A reader that has gone needs no error.
            drop(feeder.messages.send(Err(error)).await);
        });
        Ok(ReceiverStream::new(feed).boxed())
    }

    async fn refresh_issuer(&self, issuer: IssuerId) -> Result<(), LinkError> {
        let now = self.hub.clock().unix_now();
        let store = self.hub.store();
        let asked = store
            .write_session(Scope::Platform, now, |tx| async move { tx.ask_issuer_fetch(issuer).await.map(|_| ()) });
        asked.await.map_err(|error: StoreError| failed(&error))
    }

    /// What was applied of a history that this database does not have counts for nothing.
    async fn report(&self, status: GatewayStatus) -> Result<(), LinkError> {
        let now = self.hub.clock().unix_now();
        let history = status.applied.history;
        self.hub.standing(status.applied).await.map_err(|error| failed(&error))?;
        self.hub.reached(history, status.applied_revision).await.map_err(|error| failed(&error))?;
        let report = GatewayReport {
            revision: status.applied_revision,
            applied: status.applied.seq,
            reader: status.reader,
            // What is noted is never taken back, so nobody is believed to hold more than was given.
            lease_until: now + Duration::from_millis(status.lease_remaining_ms).min(LEASE),
        };
        let node = &node(status.gateway, report, now);
        let noted = self
            .hub
            .store()
            .write_session(Scope::Platform, now, |tx| async move { tx.report_gateway(node, history).await });
        noted.await.map_err(not_noted)?;
        self.hub.reported();
        Ok(())
    }

    async fn record(&self, decisions: Vec<Decision>) -> Result<(), LinkError> {
        if decisions.len() > MAX_BATCH {
            return Err(LinkError::unreadable(GATEWAY, format!("more than {MAX_BATCH} decisions at once")));
        }
        let gateway = self.admitted.as_ref().map_or(LOCAL, Admitted::name);
        let kept = self.hub.record((gateway, self.fleet.as_ref()), &decisions).await;
        kept.map_err(|error| failed(&error))
    }

    async fn record_usage(&self, counter: Uuid, counts: Vec<UsageCount>) -> Result<Vec<Vec<UsagePart>>, LinkError> {
        if counts.len() > MAX_COUNTS {
            return Err(LinkError::unreadable(GATEWAY, format!("more than {MAX_COUNTS} counts at once")));
        }
        self.hub.record_usage((counter, self.fleet.as_ref()), &counts).await.map_err(|error| failed(&error))
    }

    async fn record_access(&self, report: AccessReport) -> Result<(), LinkError> {
        report.check().map_err(|reason| LinkError::unreadable(GATEWAY, reason))?;
        self.hub.record_access(self.fleet.as_ref(), &report).await.map_err(|error| failed(&error))
    }
}

/// Why a feed ended.
enum Ended {
    /// Its reader has gone.
    Gone,
    /// The database failed.
    Failed(StoreError),
    /// Its reader would not be let in any more.
    Refused(LinkError),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Feeds one gateway.
struct Feeder {
    hub: Arc<Hub>,
    fleet: Option<FleetName>,
    admitted: Option<Admitted>,
    /// The version the reader has; none for nothing.
    at: Option<SnapshotVersion>,
    messages: mpsc::Sender<Result<FeedMessage, LinkError>>,
}

impl Feeder {
    async fn run(&mut self) -> Result<(), Ended> {
        let mut revisions = self.hub.revisions();
        loop {
            // Seen before the read, so that what is numbered after it wakes us again.
            revisions.mark_unchanged();
            if let Some(admitted) = &self.admitted {
                admitted.fleet(&self.hub).await.map_err(Ended::Refused)?;
            }
            let version = match self.at {
                None => self.full().await?,
                Some(at) => match self.changes_after(at).await? {
                    Delta::Resync => {
                        self.at = None;
                        continue;
                    }
                    Delta::Changes { changes, complete, head } => {
                        let revision = self.delta(changes, complete, head, at.revision).await?;
                        SnapshotVersion { revision, ..at }
                    }
                },
            };
            let behind = self.at.replace(version).is_none_or(|before| before != version);
            if behind {
                continue;
            }
            tokio::select! {
                () = self.messages.closed() => return Err(Ended::Gone),
                changed = revisions.changed() => if changed.is_err() {
                    return Err(Ended::Gone);
                },
                () = tokio::time::sleep(HEARTBEAT) => self.send(FeedMessage::Heartbeat { revision: version.revision }).await?,
            }
        }
    }

    async fn changes_after(&self, version: SnapshotVersion) -> Result<Delta, StoreError> {
        match &self.fleet {
            None => self.hub.store().changes_after(version, BATCH).await,
            Some(fleet) => self.hub.store().changes_of(fleet, version, BATCH).await,
        }
    }

    async fn full(&self) -> Result<SnapshotVersion, Ended> {
        let snapshot = match &self.fleet {
            None => self.hub.store().snapshot().await?,
            Some(fleet) => self.hub.store().snapshot_of(fleet).await?,
        };
        let mut parts: Vec<Vec<Change>> = Vec::new();
        for change in snapshot.changes {
            match parts.last_mut().filter(|part| part.len() < PART) {
                Some(part) => part.push(change),
                None => parts.push(vec![change]),
            }
        }
        let last_part = parts.pop().unwrap_or_default();
        let version = snapshot.version;
        for changes in parts {
            self.send(FeedMessage::Full { changes, last: false, version }).await?;
        }
        self.send(FeedMessage::Full { changes: last_part, last: true, version }).await?;
        Ok(version)
    }

    async fn delta(&self, changes: Vec<Change>, complete: bool, head: u64, at: u64) -> Result<u64, Ended> {
        let revision = if complete { head } else { changes.last().map_or(at, |last| last.revision) };
        if revision > at {
            self.send(FeedMessage::Delta { changes, revision }).await?;
        }
        Ok(revision)
    }

    async fn send(&self, message: FeedMessage) -> Result<(), Ended> {
        self.messages.send(Ok(message)).await.map_err(|_| Ended::Gone)
    }
}
