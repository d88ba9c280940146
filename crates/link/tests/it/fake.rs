//! A control plane whose SQL is a list in memory: numbers by tick, knows its history, can lose it.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use domain::{
    Decision, Fact, History, Id, NumberedFact, Position, Seq, SnapshotVersion, Tag, TenantId, Timestamp, TokenId,
    UserId,
    decision::{Freshness, Shown, Stage},
    fact::{Bindings, Proof},
    quota::{UsageCount, UsagePart},
    snapshot::{Change, Entity, EntityKey, EntityKind, Project, READER},
};
use futures::{StreamExt, stream, stream::BoxStream};
use link::{
    LinkError,
    log::{
        ControlPlane, FactCarrier, FeedMessage, GatewayIdentity, GatewayStatus, Hint, LiveFacts, TickError, TickQueue,
    },
};
use uuid::Uuid;

/// The database.
pub(crate) struct FakeSql {
    rows: Mutex<Rows>,
    tags: AtomicU64,
}

/// Tags begin anywhere: tests that share a Redis do not share a history.
impl Default for FakeSql {
    fn default() -> Self {
        Self { rows: Mutex::default(), tags: AtomicU64::new(RandomState::new().hash_one(()) | 1 << 32) }
    }
}

#[derive(Default)]
struct Rows {
    numbered: Vec<NumberedFact>,
    unnumbered: Vec<Fact>,
    min_revision: u64,
    history: History,
}

impl FakeSql {
    /// Commits a change that restricts.
    pub(crate) fn commit(&self, fact: Fact) {
        self.rows().unnumbered.push(fact);
    }

    /// Raises the lowest revision that may be served.
    pub(crate) fn narrow(&self, min_revision: u64) {
        self.rows().min_revision = min_revision;
    }

    /// Everything after the first `kept` facts is lost, as with a restored backup.
    pub(crate) fn restore(&self, kept: usize) {
        let mut rows = self.rows();
        rows.numbered.truncate(kept);
        rows.unnumbered.clear();
    }

    /// Goes on with another history, as after a restored backup.
    pub(crate) fn begin_history(&self) {
        self.rows().history.0 += 1;
    }

    /// A version of this database's snapshot.
    pub(crate) fn serves(&self, revision: u64) -> SnapshotVersion {
        SnapshotVersion { history: self.rows().history, revision }
    }

    /// Every fact there is, numbered or not.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        let rows = self.rows();
        rows.numbered.iter().map(|n| n.fact.clone()).chain(rows.unnumbered.iter().cloned()).collect()
    }

    /// Numbers what has no number yet.
    fn tick(&self) -> (Proof, Vec<Hint>) {
        let mut rows = self.rows();
        let before = head(&rows);
        let fresh = std::mem::take(&mut rows.unnumbered);
        let mut new = Vec::new();
        for fact in fresh {
            let seq = head(&rows).seq.next();
            // Tags of no two histories are alike.
            let tag = Tag(self.tags.fetch_add(1, Ordering::SeqCst));
            rows.numbered.push(NumberedFact { seq, tag, fact: fact.clone() });
            new.push(NumberedFact { seq, tag, fact });
        }
        let proof = Proof { head: head(&rows), min_revision: rows.min_revision, resync: false };
        (proof, Hint::chain(before, new))
    }

    fn knows(&self, at: Position) -> bool {
        let rows = self.rows();
        at.history == rows.history && at.tag == Tag::default()
            || rows.numbered.iter().any(|n| n.seq == at.seq && n.tag == at.tag)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap()
    }
}

fn head(rows: &Rows) -> Position {
    let last = rows.numbered.last();
    let (seq, tag) = last.map(|n| (n.seq, n.tag)).unwrap_or_default();
    Position { history: rows.history, seq, tag }
}

/// The control API over it.
pub(crate) struct FakePlane {
    sql: Arc<FakeSql>,
    ticks: TickQueue<Proof, LinkError>,
    /// What gateways reported, the last one last.
    pub reports: Mutex<Vec<GatewayStatus>>,
    /// What they told of their decisions.
    pub told: Mutex<Vec<Decision>>,
    /// What they told of usage.
    pub used: Mutex<Vec<UsageCount>>,
}

impl FakePlane {
    /// Publishes what it numbers through `carrier`.
    pub(crate) fn new(sql: Arc<FakeSql>, carrier: Arc<dyn FactCarrier>) -> Arc<Self> {
        let ticks = TickQueue::spawn({
            let sql = sql.clone();
            move || {
                let (sql, carrier) = (sql.clone(), carrier.clone());
                async move {
                    let (proof, hints) = sql.tick();
                    carrier.publish(&hints).await?;
                    Ok(proof)
                }
            }
        });
        Arc::new(Self { sql, ticks, reports: Mutex::default(), told: Mutex::default(), used: Mutex::default() })
    }
}

#[async_trait]
impl ControlPlane for FakePlane {
    async fn prove(&self, at: Position, _: &GatewayIdentity) -> Result<Proof, LinkError> {
        let proof = self.ticks.fresh().await.map_err(|error| match error {
            TickError::Failed(error) => (*error).clone(),
            TickError::Stopped => LinkError::failed("the control API", &TickError::<LinkError>::Stopped),
        })?;
        Ok(Proof { resync: !self.sql.knows(at), ..proof })
    }

    async fn facts_after(&self, at: Position) -> Result<Vec<NumberedFact>, LinkError> {
        let facts = self.sql.rows().numbered.iter().filter(|n| n.seq > at.seq).cloned().collect();
        if self.sql.knows(at) { Ok(facts) } else { Err(LinkError::UnknownPosition) }
    }

    async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
        let rows = self.sql.rows();
        Ok(LiveFacts { head: head(&rows), facts: rows.numbered.iter().map(|n| n.fact.clone()).collect() })
    }

    async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Bindings, LinkError> {
        let unit_roles = vec![(Id::new(tenant.uuid()), Id::new(user.uuid()))];
        Ok(Bindings {
            as_of: Seq(7),
            active: true,
            roles: vec![Id::new(user.uuid())],
            unit_roles,
            ..Bindings::default()
        })
    }

    async fn feed(
        &self,
        from: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
        let messages = match from {
            None => vec![
                Ok(FeedMessage::Full { changes: changes(0..50), last: false, version: HELD }),
                Ok(FeedMessage::Full { changes: changes(50..100), last: true, version: HELD }),
            ],
            Some(SnapshotVersion { revision: from, .. }) => vec![
                Ok(FeedMessage::Delta { changes: changes(from..from + 3000), revision: from + 3000 }),
                Ok(FeedMessage::Heartbeat { revision: from + 3000 }),
            ],
        };
        Ok(stream::iter(messages).boxed())
    }

    async fn report(&self, status: GatewayStatus) -> Result<(), LinkError> {
        self.reports.lock().unwrap().push(status);
        Ok(())
    }

    async fn record(&self, decisions: Vec<Decision>) -> Result<(), LinkError> {
        self.told.lock().unwrap().extend(decisions);
        Ok(())
    }

    /// Another counter is at twice as much.
    async fn record_usage(&self, counter: Uuid, counts: Vec<UsageCount>) -> Result<Vec<Vec<UsagePart>>, LinkError> {
        let parts = |it: &UsageCount| {
            let other = UsagePart { counter: Uuid::from_u128(1), used: it.used * 2 };
            vec![UsagePart { counter, used: it.used }, other]
        };
        let recorded = counts.iter().map(parts).collect();
        self.used.lock().unwrap().extend(counts);
        Ok(recorded)
    }
}

/// What a gateway tells of a request.
pub(crate) fn decision(request: u64) -> Decision {
    let shown = |text: &str| Shown::cut(text, Shown::MAX_BYTES);
    Decision {
        request_id: Id::new(uuid::Uuid::from_u128(request.into())),
        at: Timestamp::from_secs(1_900_000_000),
        project_id: None,
        tenant_id: None,
        code: shown("hostname_unknown"),
        status: Some(404),
        reason: Some(shown("no such hostname is served here")),
        stopped_at: Some(Stage::Tenant),
        method: shown("GET"),
        host: Some(shown("nobody.localhost")),
        path: Some(shown("/x")),
        route: None,
        credential: None,
        principal: None,
        product: None,
        permission: None,
        freshness: Freshness { revision: 1, applied_seq: 2, proven: false, proof_age_ms: None },
    }
}

/// The version of the full state.
pub(crate) const HELD: SnapshotVersion = SnapshotVersion { history: History(u64::MAX), revision: 100 };

/// Changes of projects whose ids are their revisions; every tenth deletes, every thirteenth is of a newer reader.
fn changes(revisions: std::ops::Range<u64>) -> Vec<Change> {
    let change = |revision: u64| {
        let id = Id::new(uuid::Uuid::from_u128(u128::from(revision)));
        let long = format!("p{}", "x".repeat(60));
        let project = Project { id, slug: long.parse().unwrap(), root: false, suspended: false };
        Change {
            revision,
            key: EntityKey { kind: EntityKind::Project, id: id.uuid() },
            min_reader: if revision.is_multiple_of(13) { READER + 1 } else { READER },
            entity: (!revision.is_multiple_of(10)).then_some(Entity::Project(project)),
        }
    };
    revisions.map(change).collect()
}

/// The fact that a token is refused.
pub(crate) fn refused(token: u64) -> Fact {
    Fact::TokenRefused { jti: jti(token), exp: Timestamp::from_secs(4_000_000_000) }
}

/// Its id.
pub(crate) fn jti(token: u64) -> TokenId {
    Id::new(uuid::Uuid::from_u128(0xface_0000 + u128::from(token)))
}
