//! An edge fed by a control plane: the feed, the log with its lease, bindings, and the copy on disk.

mod explain;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use domain::{
    Clock, Decision, Fact, IssuerId, NumberedFact, Position, Seq, SnapshotVersion, Tag, TenantId, TokenId, UserId,
    declarative::ReadAs,
    fact::{Bindings, Proof},
    snapshot::{Algorithm, Change, Entity, READER, TenantBinding},
};
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use gateway::{Edge, EdgeParts, GatewayConfig, RunningEdge, Source};
use link::{
    LinkError,
    clock::SystemClock,
    log::{ControlPlane, FeedMessage, GatewayIdentity, GatewayStatus, LiveFacts, NoCarrier},
};
use parking_lot::Mutex;
use testkit::{
    Canary, TestCa, TestIssuer, TestKey, eventually,
    raw::{self, Response},
};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::support::{ACME, ACME_ID, Ask, GLOBEX, config, edge_file, http1, write_leaf};

/// A version of the only history there is.
fn version(revision: u64) -> SnapshotVersion {
    SnapshotVersion { revision, ..SnapshotVersion::default() }
}

/// A control plane that says what it is told to.
struct Plane {
    facts: Mutex<Vec<NumberedFact>>,
    bindings: Mutex<HashMap<(TenantId, UserId), Bindings>>,
    asked: AtomicUsize,
    first: Mutex<Vec<FeedMessage>>,
    feed: broadcast::Sender<FeedMessage>,
    down: AtomicBool,
    reports: Mutex<Vec<GatewayStatus>>,
    lacking: Mutex<Vec<IssuerId>>,
    told: Mutex<Vec<Decision>>,
    resumed_from: Mutex<Vec<Option<u64>>>,
}

impl Plane {
    fn new(first: Vec<FeedMessage>) -> Arc<Self> {
        Arc::new(Self {
            facts: Mutex::default(),
            bindings: Mutex::default(),
            asked: AtomicUsize::new(0),
            first: Mutex::new(first),
            feed: broadcast::Sender::new(64),
            down: AtomicBool::new(false),
            reports: Mutex::default(),
            lacking: Mutex::default(),
            told: Mutex::default(),
            resumed_from: Mutex::default(),
        })
    }

    fn up(&self) -> Result<(), LinkError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(LinkError::unreachable("the control API", "it is down"));
        }
        Ok(())
    }

    fn commit(&self, fact: Fact) {
        let mut facts = self.facts.lock();
        let seq = Seq(facts.len() as u64 + 1);
        facts.push(NumberedFact { seq, tag: Tag(seq.0 + 1000), fact });
    }

    fn head(&self) -> Position {
        self.facts.lock().last().map(|n| Position { seq: n.seq, tag: n.tag, ..Position::default() }).unwrap_or_default()
    }

    fn bind(&self, tenant: TenantId, user: UserId, bindings: Bindings) {
        self.bindings.lock().insert((tenant, user), bindings);
    }
}

#[async_trait]
impl ControlPlane for Plane {
    async fn prove(&self, _: Position, _: &GatewayIdentity) -> Result<Proof, LinkError> {
        self.up()?;
        Ok(Proof { head: self.head(), min_revision: 0, resync: false })
    }
    async fn facts_after(&self, at: Position) -> Result<Vec<NumberedFact>, LinkError> {
        self.up()?;
        Ok(self.facts.lock().iter().filter(|n| n.seq > at.seq).cloned().collect())
    }
    async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
        self.up()?;
        Ok(LiveFacts { head: self.head(), facts: self.facts.lock().iter().map(|n| n.fact.clone()).collect() })
    }
    async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Bindings, LinkError> {
        self.up()?;
        self.asked.fetch_add(1, Ordering::SeqCst);
        let known = self.bindings.lock().get(&(tenant, user)).cloned().unwrap_or_default();
        Ok(Bindings { as_of: self.head().seq, ..known })
    }
    async fn feed(
        &self,
        from: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
        self.up()?;
        self.resumed_from.lock().push(from.map(|held| held.revision));
        let first = if from.is_some() { Vec::new() } else { self.first.lock().clone() };
        let later = stream::unfold(self.feed.subscribe(), async |mut feed| {
            let message = feed.recv().await.ok()?;
            Some((message, feed))
        });
        Ok(stream::iter(first).chain(later).map(Ok).boxed())
    }
    async fn refresh_issuer(&self, issuer: IssuerId) -> Result<(), LinkError> {
        self.lacking.lock().push(issuer);
        // Whoever waited for this would wait long.
        std::future::pending().await
    }
    async fn report(&self, status: GatewayStatus) -> Result<(), LinkError> {
        self.up()?;
        self.reports.lock().push(status);
        Ok(())
    }
    async fn record(&self, decisions: Vec<Decision>) -> Result<(), LinkError> {
        self.up()?;
        self.told.lock().extend(decisions);
        Ok(())
    }
}

/// An edge, its plane and what it serves.
struct Fleet {
    edge: RunningEdge,
    plane: Arc<Plane>,
    world: World,
}

/// What outlives an edge.
struct World {
    canary: Canary,
    ca: TestCa,
    issuer: TestIssuer,
    changes: Vec<Change>,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let (canary, ca) = (Canary::start().await, TestCa::new());
        let issuer = TestIssuer::new("https://id.example.test", Algorithm::Es256).with_audience("orders");
        let folder = tempfile::tempdir().unwrap();
        write_leaf(folder.path(), "acme", &ca.leaf(&[ACME]));
        write_leaf(folder.path(), "globex", &ca.leaf(&[GLOBEX]));
        std::fs::write(folder.path().join("jwks.json"), issuer.jwks().to_string()).unwrap();
        let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
        std::fs::write(folder.path().join("edge.yaml"), edge_file(&upstream, "")).unwrap();
        let changes = changes(&folder.path().join("edge.yaml"), &issuer);
        Self { canary, ca, issuer, changes, folder }
    }

    fn full(&self) -> Vec<FeedMessage> {
        let (first, second) = self.changes.split_at(self.changes.len() / 2);
        let part =
            |changes: &[Change], last| FeedMessage::Full { changes: changes.to_vec(), last, version: version(10) };
        vec![part(first, false), part(second, true)]
    }

    fn config(&self) -> GatewayConfig {
        let mut config = config();
        config.data_dir = Some(self.folder.path().join("data"));
        config.snapshot.wait = "8s".parse().unwrap();
        config
    }

    async fn edge(&self, plane: &Arc<Plane>) -> RunningEdge {
        let source = Source::ControlPlane { plane: Arc::<Plane>::clone(plane), carrier: Arc::new(NoCarrier) };
        Edge::start(EdgeParts::new(self.config(), source, Arc::new(SystemClock))).await.unwrap()
    }

    async fn ask(&self, edge: &RunningEdge, ask: &Ask<'_>) -> Response {
        let answer = raw::tls_http1(edge.https()[0], ask.sni, &self.ca.ca_pem(), &http1(ask)).await.unwrap();
        Response::parse(&answer)
    }

    fn project(&self) -> domain::ProjectId {
        let tenants = self.changes.iter().find_map(|change| match &change.entity {
            Some(Entity::Tenant(tenant)) => Some(tenant.project_id),
            _ => None,
        });
        tenants.unwrap()
    }

    fn role(&self, name: &str) -> domain::RoleId {
        let roles = self.changes.iter().filter_map(|change| match &change.entity {
            Some(Entity::Role(role)) if role.name == name => Some(role.id),
            _ => None,
        });
        roles.into_iter().next().unwrap()
    }
}

/// The file's entities, with the issuer as one of our own.
fn changes(file: &Path, issuer: &TestIssuer) -> Vec<Change> {
    let declared = link::declarative::load(file, ReadAs::EdgeFile).unwrap();
    let entities = declared.entities.into_iter().map(|entity| match entity {
        Entity::Issuer(external) => {
            Entity::Issuer(domain::snapshot::Issuer { id: external.id, ..issuer.row(external.project_id) })
        }
        other => other,
    });
    let change = |(at, entity): (usize, Entity)| Change {
        revision: at as u64 + 1,
        key: entity.key(),
        min_reader: READER,
        entity: Some(entity),
    };
    entities.enumerate().map(change).collect()
}

impl Fleet {
    async fn start() -> Self {
        let world = World::new().await;
        let plane = Plane::new(world.full());
        let edge = world.edge(&plane).await;
        Self { edge, plane, world }
    }

    async fn ask(&self, ask: &Ask<'_>) -> Response {
        self.world.ask(&self.edge, ask).await
    }

    /// A token of a member of acme.
    fn member(&self) -> (TokenId, UserId, String) {
        let (jti, user) = (TokenId::new(Uuid::new_v4()), UserId::new(Uuid::new_v4()));
        let tenant: TenantId = ACME_ID.parse().unwrap();
        let roles = vec![self.world.role("member")];
        self.plane.bind(tenant, user, Bindings { active: true, roles, ..Bindings::default() });
        let claims = self.world.issuer.claims(SystemClock.unix_now()).for_user(tenant, user);
        let claims = claims.set("jti", jti).set("pid", self.world.project());
        (jti, user, self.world.issuer.mint(claims))
    }
}

#[tokio::test]
async fn the_full_state_serves_and_changes_follow_it() {
    let fleet = Fleet::start().await;
    assert_eq!(fleet.ask(&Ask::get("/public/x")).await.status, 200);
    assert_eq!(fleet.world.canary.next().await.header("x-md-global-tenant-id"), [ACME_ID]);
    let tenant = fleet.world.changes.iter().find_map(|change| match &change.entity {
        Some(Entity::Tenant(tenant)) if tenant.id.to_string() == ACME_ID => Some(tenant.clone()),
        _ => None,
    });
    let mut suspended = tenant.unwrap();
    suspended.status = domain::snapshot::TenantStatus::Suspended;
    let entity = Entity::Tenant(suspended);
    let change = Change { revision: 11, key: entity.key(), min_reader: READER, entity: Some(entity) };
    fleet.plane.feed.send(FeedMessage::Delta { changes: vec![change], revision: 11 }).unwrap();
    eventually("the tenant is suspended", async || fleet.ask(&Ask::get("/public/x")).await.status == 403).await;
    assert_eq!(fleet.ask(&Ask::get("/public/x").at(GLOBEX)).await.status, 200);
    eventually("the revision is reported", async || {
        fleet.plane.reports.lock().iter().any(|report| report.applied_revision == 11 && report.lease_remaining_ms > 0)
    })
    .await;
}

#[tokio::test]
async fn bindings_come_from_the_control_plane_once_and_again_after_they_changed() {
    let fleet = Fleet::start().await;
    let (_, user, token) = fleet.member();
    for _ in 0..3 {
        let response = fleet.ask(&Ask::get("/orders").bearer(&token)).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
    assert_eq!(fleet.plane.asked.load(Ordering::SeqCst), 1);
    let tenant: TenantId = ACME_ID.parse().unwrap();
    fleet.plane.bind(tenant, user, Bindings { active: true, ..Bindings::default() });
    fleet.plane.commit(Fact::BindingsChanged { tenant, user });
    eventually("the role is gone", async || fleet.ask(&Ask::get("/orders").bearer(&token)).await.status == 403).await;
}

#[tokio::test]
async fn j10_tokens_of_unknown_keys_are_refused_at_once_and_name_their_issuer_once() {
    let fleet = Fleet::start().await;
    let mut external = TestIssuer::new("https://ext.example.test", Algorithm::Es256).with_audience("orders");
    let row = |issuer: &TestIssuer| domain::snapshot::Issuer {
        id: IssuerId::new(Uuid::from_u128(77)),
        ..issuer.external_row(fleet.world.project(), TenantBinding::Tenant(ACME_ID.parse().unwrap()))
    };
    let send = |issuer: &TestIssuer, revision: u64| {
        let entity = Entity::Issuer(row(issuer));
        let change = Change { revision, key: entity.key(), min_reader: READER, entity: Some(entity) };
        fleet.plane.feed.send(FeedMessage::Delta { changes: vec![change], revision }).unwrap();
    };
    let token = |issuer: &TestIssuer| issuer.mint(issuer.external_claims(SystemClock.unix_now()));
    let get = async |token: &str| fleet.ask(&Ask::get("/echo/x").bearer(token)).await;
    let known = token(&external);
    send(&external, 11);
    eventually("the issuer is believed", async || get(&known).await.status == 200).await;

    external.rotate(TestKey::generate(Algorithm::Es256).with_kid("new"));
    let fresh = token(&external);
    for _ in 0..50 {
        let refused = get(&fresh).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("key_unknown")));
    }
    eventually("the control plane has heard", async || !fleet.plane.lacking.lock().is_empty()).await;
    assert_eq!(*fleet.plane.lacking.lock(), [IssuerId::new(Uuid::from_u128(77))]);
    send(&external, 12);
    eventually("the new key came by the feed", async || get(&fresh).await.status == 200).await;
    assert_eq!(get(&known).await.status, 200, "the former key is still in the set");
}

#[tokio::test]
async fn a_revoked_token_is_refused_with_the_next_proof() {
    let fleet = Fleet::start().await;
    let (jti, _, token) = fleet.member();
    let (_, _, other) = fleet.member();
    assert_eq!(fleet.ask(&Ask::get("/orders").bearer(&token)).await.status, 200);
    let exp = domain::Timestamp::from_secs(SystemClock.unix_now().secs() + 900);
    fleet.plane.commit(Fact::TokenRefused { jti, exp });
    eventually("the token is refused", async || {
        let response = fleet.ask(&Ask::get("/orders").bearer(&token)).await;
        response.status == 401 && response.json()["code"] == "token_revoked"
    })
    .await;
    assert_eq!(fleet.ask(&Ask::get("/orders").bearer(&other)).await.status, 200);
}

#[tokio::test]
async fn without_a_lease_and_without_redis_only_public_routes_are_served() {
    let fleet = Fleet::start().await;
    let (_, _, token) = fleet.member();
    assert_eq!(fleet.ask(&Ask::get("/orders").bearer(&token)).await.status, 200);
    fleet.plane.down.store(true, Ordering::SeqCst);
    eventually("the lease has run out", async || {
        let response = fleet.ask(&Ask::get("/orders").bearer(&token)).await;
        response.status == 503 && response.json()["code"] == "revocation_unproven"
    })
    .await;
    assert_eq!(fleet.ask(&Ask::get("/public/x")).await.status, 200);
    fleet.plane.down.store(false, Ordering::SeqCst);
    eventually("it is proven again", async || fleet.ask(&Ask::get("/orders").bearer(&token)).await.status == 200).await;
}

#[tokio::test]
async fn a_gateway_restarts_from_disk_while_the_control_plane_is_down_and_resumes_from_there() {
    let Fleet { edge, plane, world } = Fleet::start().await;
    let data = world.folder.path().join("data");
    eventually("the state is on disk", async || {
        data.join("snapshot.sealed").exists() && data.join("snapshot.seen").exists()
    })
    .await;
    edge.shutdown().await;
    plane.down.store(true, Ordering::SeqCst);
    plane.resumed_from.lock().clear();
    let edge = world.edge(&plane).await;
    assert_eq!(edge.gate().snapshot().revision(), 10);
    assert_eq!(world.ask(&edge, &Ask::get("/public/x")).await.status, 200);
    assert_eq!(world.ask(&edge, &Ask::get("/orders")).await.status, 401);
    plane.down.store(false, Ordering::SeqCst);
    eventually("the feed is resumed", async || plane.resumed_from.lock().first() == Some(&Some(10))).await;
    let sealed = std::fs::read(data.join("snapshot.sealed")).unwrap();
    assert!(!sealed.windows(4).any(|window| window == b"acme"), "nothing is readable on disk");
}

#[tokio::test]
async fn without_any_snapshot_every_request_is_refused() {
    let world = World::new().await;
    let plane = Plane::new(Vec::new());
    let mut config = world.config();
    config.snapshot.wait = "100ms".parse().unwrap();
    config.data_dir = None;
    let source = Source::ControlPlane { plane: Arc::<Plane>::clone(&plane), carrier: Arc::new(NoCarrier) };
    let edge = Edge::start(EdgeParts::new(config, source, Arc::new(SystemClock))).await.unwrap();
    let plain = edge.http()[0];
    let answer = raw::http1(plain, b"GET / HTTP/1.1\r\nHost: acme.example.test\r\n\r\n").await.unwrap();
    let response = Response::parse(&answer);
    assert_eq!((response.status, response.header("retry-after")), (503, Some("5")));
    assert!(raw::tls_connect(edge.https()[0], ACME, &world.ca.ca_pem(), &["h2"], None).await.is_err());
}

/// A tenant's suspension, as a change.
fn suspension(fleet: &Fleet, revision: u64) -> Change {
    let tenant = fleet.world.changes.iter().find_map(|change| match &change.entity {
        Some(Entity::Tenant(tenant)) if tenant.id.to_string() == ACME_ID => Some(tenant.clone()),
        _ => None,
    });
    let entity = Entity::Tenant(domain::snapshot::Tenant {
        status: domain::snapshot::TenantStatus::Suspended,
        ..tenant.unwrap()
    });
    Change { revision, key: entity.key(), min_reader: READER, entity: Some(entity) }
}

#[tokio::test]
async fn changes_from_before_a_full_state_are_not_applied_on_top_of_it() {
    let fleet = Fleet::start().await;
    let changes = vec![suspension(&fleet, 11)];
    fleet.plane.feed.send(FeedMessage::Delta { changes, revision: 11 }).unwrap();
    let changes = fleet.world.changes.clone();
    fleet.plane.feed.send(FeedMessage::Full { changes, last: true, version: version(12) }).unwrap();
    fleet.plane.feed.send(FeedMessage::Delta { changes: Vec::new(), revision: 13 }).unwrap();
    eventually("all is in force", async || fleet.edge.gate().snapshot().revision() == 13).await;
    assert_eq!(fleet.ask(&Ask::get("/public/x")).await.status, 200);
}

#[tokio::test]
async fn a_full_state_that_is_interrupted_is_never_taken_for_the_whole() {
    let fleet = Fleet::start().await;
    let (first, _) = fleet.world.changes.split_at(1);
    let part = |last| FeedMessage::Full { changes: first.to_vec(), last, version: version(12) };
    fleet.plane.feed.send(part(false)).unwrap();
    fleet.plane.feed.send(FeedMessage::Heartbeat { revision: 12 }).unwrap();
    // Nobody may be listening any more: the heartbeat ended the connection.
    drop(fleet.plane.feed.send(part(true)));
    eventually("the state is asked for again", async || *fleet.plane.resumed_from.lock() == [None, None]).await;
    assert_eq!(fleet.edge.gate().snapshot().revision(), 10);
    for host in [ACME, GLOBEX] {
        assert_eq!(fleet.ask(&Ask::get("/public/x").at(host)).await.status, 200, "{host}");
    }
}
