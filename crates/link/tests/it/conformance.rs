//! What must hold whatever carries the facts: each case runs over memory, over nothing at all, over Redis, and over
//! transports that fail as seeds decide.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use authn::{Lease, Mirror, Refusal, mirror::Identity};
use domain::{
    BootInstant, Clock, Id, NumberedFact, Position, Seq, SnapshotVersion, Tag, TenantId, UserId,
    fact::{Bindings, Proof},
};
use futures::stream::BoxStream;
use link::{
    LinkError,
    log::{
        ControlPlane, FactCarrier, FeedMessage, FollowerSettings, GatewayIdentity, GatewayStatus, Hint, LEASE,
        LiveFacts, LogFollower, MemoryCarrier, NoCarrier, RedisCarrier, Round,
    },
    redis::Role,
};
use testkit::{FixedClock, eventually};
use tokio::sync::watch;

use crate::{
    fake::{FakePlane, FakeSql, jti, refused},
    faulty::FaultyTransport,
    redis,
};

/// One gateway and its control plane.
struct World {
    sql: Arc<FakeSql>,
    reports: Arc<FakePlane>,
    carrier: Arc<dyn FactCarrier>,
    mirror: Arc<Mirror>,
    clock: Arc<FixedClock>,
    served: watch::Sender<SnapshotVersion>,
    follower: Arc<LogFollower>,
    /// What another process of the gateway says of itself.
    other: watch::Sender<Option<GatewayStatus>>,
    slowness: Arc<AtomicU64>,
}

/// Turns the gateway's clock while a question is under way.
struct Slow<P: ?Sized> {
    clock: Arc<FixedClock>,
    millis: Arc<AtomicU64>,
    inner: Arc<P>,
}

#[async_trait]
impl<P: ControlPlane + ?Sized> ControlPlane for Slow<P> {
    async fn prove(&self, at: Position, gateway: &GatewayIdentity) -> Result<Proof, LinkError> {
        let proof = self.inner.prove(at, gateway).await;
        self.clock.advance(Duration::from_millis(self.millis.load(Ordering::SeqCst)));
        proof
    }
    async fn facts_after(&self, at: Position) -> Result<Vec<NumberedFact>, LinkError> {
        self.inner.facts_after(at).await
    }
    async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
        self.inner.live_facts().await
    }
    async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Bindings, LinkError> {
        self.inner.bindings(tenant, user).await
    }
    async fn feed(
        &self,
        from: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
        self.inner.feed(from).await
    }
    async fn report(&self, status: GatewayStatus) -> Result<(), LinkError> {
        self.inner.report(status).await
    }
}

impl World {
    fn over(carrier: Arc<dyn FactCarrier>, seed: Option<u64>) -> Self {
        let sql = Arc::new(FakeSql::default());
        let reports = FakePlane::new(sql.clone(), carrier.clone());
        let clock = Arc::new(FixedClock::default());
        let slowness = Arc::new(AtomicU64::new(0));
        let (plane, seen): (Arc<dyn ControlPlane>, Arc<dyn FactCarrier>) = match seed {
            None => (reports.clone(), carrier.clone()),
            Some(seed) => (
                Arc::new(FaultyTransport::new(reports.clone() as Arc<dyn ControlPlane>, seed)),
                Arc::new(FaultyTransport::new(carrier.clone(), !seed)),
            ),
        };
        let plane = Arc::new(Slow { clock: clock.clone(), millis: slowness.clone(), inner: plane });
        let mirror = Arc::new(Mirror::default());
        let (sender, served) = watch::channel(sql.serves(1));
        let me = GatewayIdentity { id: Id::new(uuid::Uuid::from_u128(1)), name: "gw".into(), fleet: "test".into() };
        let settings = FollowerSettings { interval: Duration::from_millis(10), ..FollowerSettings::default() };
        let (other, beside) = watch::channel(None);
        let follower =
            LogFollower::new(mirror.clone(), plane, seen, clock.clone(), served, me, settings).beside(beside);
        Self { sql, reports, carrier, mirror, clock, served: sender, follower: Arc::new(follower), other, slowness }
    }

    /// Rounds until one proves freshness.
    async fn proven(&self) -> BootInstant {
        for _ in 0..200 {
            if let Ok(Round::Proven { until }) = self.follower.round().await {
                return until;
            }
        }
        panic!("nothing was proven in 200 rounds");
    }

    fn refuses(&self, token: u64) -> bool {
        let token = Identity { token: Some(jti(token)), ..Identity::default() };
        self.mirror.judge(&token) == Err(Refusal::Token)
    }

    fn has_lease(&self) -> bool {
        matches!(self.mirror.lease(self.clock.boot_now()), Lease::Proven { .. })
    }
}

async fn a_revoked_token_is_refused_once_freshness_is_proven(world: World) {
    world.proven().await;
    assert!(!world.refuses(1));
    world.sql.commit(refused(1));
    world.proven().await;
    assert!(world.refuses(1));
}

async fn a_proof_covers_every_fact_committed_before_its_question(world: World) {
    let follower = world.follower.clone();
    let following = tokio::spawn(async move { follower.run().await });
    for token in 0..300 {
        world.sql.commit(refused(token));
        if token % 7 == 0 {
            tokio::task::yield_now().await;
        }
        if token % 3 == 0 {
            let committed = token;
            if let Ok(Round::Proven { .. }) = world.follower.round().await {
                assert!((0..=committed).all(|t| world.refuses(t)), "proven without every fact up to {committed}");
            }
        }
    }
    following.abort();
}

async fn a_restored_backup_is_read_anew(world: World) {
    (0..5).for_each(|token| world.sql.commit(refused(token)));
    world.proven().await;
    world.sql.restore(2);
    (10..16).for_each(|token| world.sql.commit(refused(token)));
    world.proven().await;
    assert!([0, 1, 10, 11, 12, 13, 14, 15].into_iter().all(|token| world.refuses(token)));
    assert!([2, 3, 4].into_iter().all(|token| !world.refuses(token)), "a lost history is forgotten");
}

async fn a_snapshot_of_a_lost_history_is_never_proven(world: World) {
    (0..5).for_each(|token| world.sql.commit(refused(token)));
    world.proven().await;
    world.clock.advance(LEASE * 2);
    world.sql.restore(5);
    world.sql.begin_history();
    for _ in 0..5 {
        let round = world.follower.round().await;
        assert!(!matches!(round, Ok(Round::Proven { .. })), "{round:?}");
        assert!(!world.has_lease());
    }
    assert_eq!(world.follower.status().applied_revision, 0);
    world.served.send_replace(world.sql.serves(1));
    world.proven().await;
    assert!((0..5).all(|token| world.refuses(token)));
}

async fn a_lease_counts_from_before_the_question(world: World) {
    world.proven().await;
    world.slowness.store(1500, Ordering::SeqCst);
    let asked = world.clock.boot_now();
    if let Ok(Round::Proven { until }) = world.follower.round().await {
        assert_eq!(until, asked + LEASE);
    }
    world.slowness.store(2500, Ordering::SeqCst);
    world.clock.advance(LEASE * 2);
    // An answer that took longer than a lease lasts gives none.
    let _ = world.follower.round().await;
    assert!(!world.has_lease());
}

async fn a_snapshot_below_the_lowest_revision_is_never_proven(world: World) {
    world.proven().await;
    world.clock.advance(LEASE * 2);
    world.sql.narrow(5);
    world.served.send_replace(world.sql.serves(4));
    for _ in 0..5 {
        let round = world.follower.round().await;
        assert!(!matches!(round, Ok(Round::Proven { .. })), "{round:?}");
        assert!(!world.has_lease());
    }
    world.served.send_replace(world.sql.serves(5));
    world.proven().await;
    assert!(world.has_lease());
}

async fn a_hint_of_another_history_never_stands_in_for_a_fact(world: World) {
    world.sql.commit(refused(1));
    world.proven().await;
    let follower = world.follower.clone();
    let following = tokio::spawn(async move { follower.run().await });
    tokio::time::sleep(Duration::from_millis(30)).await;
    // Fits on top of what is applied, but was never numbered in this history.
    let head = world.mirror.position();
    let forged = NumberedFact { seq: head.seq.next(), tag: Tag(2), fact: refused(99) };
    world.carrier.publish(&[Hint { after: head.tag, fact: forged }]).await.unwrap();
    (2..6).for_each(|token| world.sql.commit(refused(token)));
    world.proven().await;
    assert!((1..6).all(|token| world.refuses(token)));
    assert_eq!(world.mirror.position().seq, Seq(5));
    following.abort();
}

async fn without_answers_the_lease_runs_out(world: World) {
    world.proven().await;
    assert!(world.has_lease());
    world.clock.advance(LEASE);
    assert!(!world.has_lease());
    assert_eq!(world.follower.status().lease_remaining_ms, 0);
}

async fn what_is_applied_is_reported(world: World) {
    let follower = world.follower.clone();
    let following = tokio::spawn(async move { follower.run().await });
    world.sql.commit(refused(1));
    world.served.send_replace(world.sql.serves(9));
    reported(&world, |it| it.applied.seq == Seq(1) && it.applied_revision == 9 && it.lease_remaining_ms > 0).await;
    following.abort();
}

/// Waits until the last report is such a one.
async fn reported(world: &World, wanted: impl Fn(&GatewayStatus) -> bool) {
    eventually("the report", async || world.reports.reports.lock().unwrap().last().is_some_and(&wanted)).await;
}

/// While a process takes over from another, and both may accept.
async fn of_two_processes_what_both_have_applied_is_reported(world: World) {
    world.proven().await;
    let behind = world.follower.status();
    world.other.send_replace(Some(GatewayStatus { lease_remaining_ms: 1_234_567, ..behind.clone() }));
    let follower = world.follower.clone();
    let following = tokio::spawn(async move { follower.run().await });
    world.sql.commit(refused(1));
    world.served.send_replace(world.sql.serves(9));
    reported(&world, |it| it.lease_remaining_ms == 1_234_567).await;
    eventually("the token is refused", async || world.refuses(1)).await;
    world.reports.reports.lock().unwrap().clear();
    reported(&world, |it| it.applied == behind.applied && it.applied_revision == behind.applied_revision).await;
    assert!(world.reports.reports.lock().unwrap().iter().all(|it| it.applied == behind.applied), "never its own alone");
    assert_eq!(world.follower.status_of_all().applied, behind.applied, "and a third process is told of the first");
    // The other one has ended.
    world.other.send_replace(None);
    reported(&world, |it| it.applied.seq == Seq(1) && it.applied_revision == 9).await;
    // And in turn gives its place to another.
    let silence = world.follower.silence().await;
    world.reports.reports.lock().unwrap().clear();
    world.sql.commit(refused(2));
    eventually("the token is refused", async || world.refuses(2)).await;
    assert!(world.reports.reports.lock().unwrap().is_empty());
    drop(silence);
    reported(&world, |it| it.applied.seq == Seq(2)).await;
    following.abort();
}

/// A control API that is gone, and how often it was asked.
#[derive(Default)]
struct Gone(AtomicU64);

#[async_trait]
impl ControlPlane for Gone {
    async fn prove(&self, _: Position, _: &GatewayIdentity) -> Result<Proof, LinkError> {
        Err(LinkError::UnknownPosition)
    }
    async fn facts_after(&self, _: Position) -> Result<Vec<NumberedFact>, LinkError> {
        Err(LinkError::UnknownPosition)
    }
    async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(LinkError::UnknownPosition)
    }
    async fn bindings(&self, _: TenantId, _: UserId) -> Result<Bindings, LinkError> {
        Err(LinkError::UnknownPosition)
    }
    async fn feed(
        &self,
        _: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
        Err(LinkError::UnknownPosition)
    }
    async fn report(&self, _: GatewayStatus) -> Result<(), LinkError> {
        Err(LinkError::UnknownPosition)
    }
}

#[tokio::test(start_paused = true)]
async fn requests_without_a_lease_do_not_flood_the_control_plane() {
    let gone = Arc::new(Gone::default());
    let me = GatewayIdentity { id: Id::new(uuid::Uuid::from_u128(1)), name: "gw".into(), fleet: "test".into() };
    let (_sender, served) = watch::channel(SnapshotVersion::default());
    let (mirror, clock) = (Arc::new(Mirror::default()), Arc::new(FixedClock::default()));
    let settings = FollowerSettings::default();
    let follower = Arc::new(LogFollower::new(mirror, gone.clone(), Arc::new(NoCarrier), clock, served, me, settings));
    let following = tokio::spawn({
        let follower = follower.clone();
        async move { follower.run().await }
    });
    // A thousand requests, one each millisecond.
    for _ in 0..1000 {
        follower.renewal(Duration::from_millis(1)).await;
    }
    let asked = gone.0.load(Ordering::SeqCst);
    assert!((20..=45).contains(&asked), "{asked} questions in a second");
    following.abort();
}

macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod memory {
            use super::*;
            $(#[tokio::test] async fn $case() {
                super::$case(World::over(Arc::new(MemoryCarrier::default()), None)).await;
            })*
        }
        mod nothing {
            use super::*;
            $(#[tokio::test] async fn $case() {
                super::$case(World::over(Arc::new(NoCarrier), None)).await;
            })*
        }
        mod redis_stream {
            use super::*;
            $(#[tokio::test] async fn $case() {
                let clock = Arc::new(link::clock::SystemClock);
                let carrier = RedisCarrier::new(redis::connected(Role::Revocation).await, clock);
                super::$case(World::over(Arc::new(carrier), None)).await;
            })*
        }
        mod faulty {
            use super::*;
            $(#[tokio::test] async fn $case() {
                for seed in 1..=20 {
                    super::$case(World::over(Arc::new(MemoryCarrier::default()), Some(seed))).await;
                }
            })*
        }
    };
}

conformance!(
    a_revoked_token_is_refused_once_freshness_is_proven,
    a_proof_covers_every_fact_committed_before_its_question,
    a_restored_backup_is_read_anew,
    a_snapshot_of_a_lost_history_is_never_proven,
    a_lease_counts_from_before_the_question,
    a_snapshot_below_the_lowest_revision_is_never_proven,
    a_hint_of_another_history_never_stands_in_for_a_fact,
    without_answers_the_lease_runs_out,
    what_is_applied_is_reported,
    of_two_processes_what_both_have_applied_is_reported,
);
