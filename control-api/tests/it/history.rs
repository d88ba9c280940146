//! A backup is restored: nothing of the history that was lost survives at the gateways.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use authn::{Mirror, Refusal, mirror::Identity};
use authz::Scope;
use control_api::internal::{Hub, Plane};
use domain::{
    Clock, NumberedFact, Position, SnapshotVersion, TenantId, TokenId, UserId,
    fact::{Bindings, Proof},
};
use futures::{StreamExt, stream::BoxStream};
use link::{
    LinkError,
    log::{
        ControlPlane, FeedMessage, FollowerSettings, GatewayIdentity, GatewayStatus, LiveFacts, LogFollower, NoCarrier,
        Round,
    },
};
use store::{Store, read::*};
use testkit::FixedClock;
use tokio::sync::watch;
use uuid::Uuid;

use crate::support::{edge, sealer};

/// The control plane a gateway knows by its address, whichever database is behind it now.
struct Address(Mutex<Plane>);

impl Address {
    fn plane(&self) -> Plane {
        self.0.lock().unwrap().clone()
    }
}

#[async_trait]
impl ControlPlane for Address {
    async fn prove(&self, at: Position, gateway: &GatewayIdentity) -> Result<Proof, LinkError> {
        self.plane().prove(at, gateway).await
    }
    async fn facts_after(&self, at: Position) -> Result<Vec<NumberedFact>, LinkError> {
        self.plane().facts_after(at).await
    }
    async fn live_facts(&self) -> Result<LiveFacts, LinkError> {
        self.plane().live_facts().await
    }
    async fn bindings(&self, tenant: TenantId, user: UserId) -> Result<Bindings, LinkError> {
        self.plane().bindings(tenant, user).await
    }
    async fn feed(
        &self,
        from: Option<SnapshotVersion>,
    ) -> Result<BoxStream<'static, Result<FeedMessage, LinkError>>, LinkError> {
        self.plane().feed(from).await
    }
    async fn report(&self, status: GatewayStatus) -> Result<(), LinkError> {
        self.plane().report(status).await
    }
}

/// A database with a control plane over it.
fn served(path: &Path, clock: &Arc<FixedClock>) -> (Store, Plane) {
    let store = Store::sqlite(path, sealer()).unwrap();
    let clock: Arc<dyn Clock> = Arc::<FixedClock>::clone(clock);
    (store.clone(), Plane::new(Hub::start(store.clone(), store, clock, Arc::new(NoCarrier))))
}

async fn refuse(store: &Store, clock: &FixedClock, token: u128) {
    let (now, jti) = (clock.unix_now(), id(token));
    let exp = now + Duration::from_secs(600);
    store.write_session(Scope::Platform, now, async |tx| tx.refuse_token(jti, exp).await).await.unwrap();
}

fn id(token: u128) -> TokenId {
    TokenId::new(Uuid::from_u128(token))
}

/// The version that a gateway holds after it has resumed from another one.
async fn resumed(plane: &Plane, held: SnapshotVersion) -> SnapshotVersion {
    let mut feed = plane.feed(Some(held)).await.unwrap();
    match feed.next().await.unwrap().unwrap() {
        FeedMessage::Full { version, last: true, .. } => version,
        other => panic!("the state of a lost history goes on: {other:?}"),
    }
}

#[tokio::test]
async fn a_restored_backup_is_told_by_a_gateway_that_knows_more_and_leaves_nothing_of_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let clock = Arc::new(FixedClock::default());
    let (before, plane) = served(&path("live.sqlite"), &clock);
    before.migrate().await.unwrap();
    let address = Arc::new(Address(Mutex::new(plane.clone())));
    let mirror = Arc::new(Mirror::default());
    let lost = before.version().await.unwrap();
    let (serves, version) = watch::channel(lost);
    let follower = LogFollower::new(
        Arc::clone(&mirror),
        Arc::<Address>::clone(&address),
        Arc::new(NoCarrier),
        Arc::<FixedClock>::clone(&clock),
        version,
        edge(),
        FollowerSettings { interval: Duration::from_millis(10), ..FollowerSettings::default() },
    );
    let proven = async || {
        for _ in 0..20 {
            if matches!(follower.round().await, Ok(Round::Proven { .. })) {
                return true;
            }
        }
        false
    };
    refuse(&before, &clock, 1).await;
    assert!(proven().await);
    for file in ["live.sqlite", "live.sqlite-wal"] {
        if path(file).exists() {
            fs::copy(path(file), path(&file.replace("live", "restored"))).unwrap();
        }
    }
    refuse(&before, &clock, 2).await;
    refuse(&before, &clock, 3).await;
    assert!(proven().await);
    let (tenant, user) = (TenantId::new(Uuid::from_u128(9)), UserId::new(Uuid::from_u128(9)));
    let bindings = plane.bindings(tenant, user).await.unwrap();
    assert!(mirror.bindings_current(tenant, user, &bindings));

    // The backup goes on with the numbers that were given before to other things.
    let (after, plane) = served(&path("restored.sqlite"), &clock);
    refuse(&after, &clock, 4).await;
    *address.0.lock().unwrap() = plane.clone();
    let report = follower.status();
    assert!(!proven().await, "a snapshot of the lost history is never proven");
    serves.send_replace(resumed(&plane, lost).await);
    assert!(proven().await);

    let refuses =
        |token| mirror.judge(&Identity { token: Some(id(token)), ..Identity::default() }) == Err(Refusal::Token);
    assert_eq!([1, 2, 3, 4].map(refuses), [true, false, false, true], "what the restored database refuses");
    assert!(!mirror.bindings_current(tenant, user, &bindings), "bindings of the lost history");
    let history = after.head().await.unwrap().history;
    assert_ne!(history, lost.history);
    // What was on its way counts for nothing: whoever revokes now waits for this gateway.
    plane.report(report).await.unwrap();
    assert_eq!(after.gateways().await.unwrap()[0].report.applied, domain::Seq::ZERO);
    plane.report(follower.status()).await.unwrap();
    assert_eq!(after.gateways().await.unwrap()[0].report.applied, mirror.position().seq);
}
