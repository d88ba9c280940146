//! Signing out, and waiting for the gateways to have heard.

use std::{sync::Arc, time::Duration};

use control_api::internal::{CLOCK_SKEW, Hub, Plane};
use domain::{
    Clock, GatewayId, Id, Position, Seq,
    model::{GatewayNode, GatewayReport},
};
use futures::{StreamExt, stream::BoxStream};
use link::{
    LinkError,
    log::{ControlPlane, FactCarrier, GatewayIdentity, GatewayStatus, Hint, LEASE},
};
use serde_json::json;
use store::{StoreError, read::*};

use crate::support::{World, call, edge, get};

fn plane(world: &World) -> Plane {
    Plane::new(Arc::clone(&world.app.hub))
}

async fn signed_in(world: &World) -> String {
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    world.login("acme", "ada").await
}

/// A gateway that has applied so much and holds a lease.
pub(crate) async fn report(world: &World, name: &str, applied: Seq, revision: u64) {
    let now = world.clock.unix_now();
    let id: GatewayId = Id::new(uuid::Uuid::from_u128(1));
    let node = GatewayNode {
        id,
        name: name.into(),
        fleet: "default".into(),
        report: GatewayReport { revision, applied, reader: 1, lease_until: now + Duration::from_secs(2) },
        last_seen: now,
    };
    let node = &node;
    let store = &world.app.store;
    let history = store.head().await.unwrap().history;
    let noted =
        store.write_session(authz::Scope::Platform, now, |tx| async move { tx.report_gateway(node, history).await });
    noted.await.map_err(|error: StoreError| error).unwrap();
}

#[tokio::test]
async fn after_logout_the_token_is_refused_at_once() {
    let world = World::new().await;
    let token = signed_in(&world).await;
    call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(200);
    get("/api/v1/tenant/auth/info").bearer(&token).send(&world.admin).await.refused(401, "token_revoked");
}

#[tokio::test]
async fn logout_leaves_facts_for_the_gateways() {
    let world = World::new().await;
    let token = signed_in(&world).await;
    let plane = plane(&world);
    let before = plane.prove(Position::default(), &edge()).await.unwrap().head;
    call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(202);
    let facts = plane.facts_after(before).await.unwrap();
    let names: Vec<String> = facts
        .iter()
        .map(|fact| serde_json::to_value(&fact.fact).unwrap()["fact"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["token_refused", "session_ended"]);
}

#[tokio::test]
async fn logout_names_the_gateway_that_has_not_heard() {
    let world = World::new().await;
    let token = signed_in(&world).await;
    report(&world, "gw-1", Seq(0), 0).await;
    let answer = call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(202);
    assert_eq!(answer.body["waiting_for"], json!(["gw-1"]));
    assert!(answer.body["until"].is_string());
}

#[tokio::test]
async fn logout_waits_for_no_gateway_whose_lease_ran_out() {
    let world = World::new().await;
    let token = signed_in(&world).await;
    report(&world, "gw-1", Seq(0), 0).await;
    world.clock.advance(Duration::from_secs(3));
    call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(200);
}

#[tokio::test]
async fn logout_waits_for_a_gateway_that_asked_for_a_proof_and_has_not_reported() {
    let world = World::new().await;
    let token = signed_in(&world).await;
    let plane = plane(&world);
    plane.prove(Position::default(), &edge()).await.unwrap();
    let answer = call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(202);
    assert_eq!(answer.body["waiting_for"], json!(["gw-1"]));
    let until = world.clock.unix_now() + LEASE + CLOCK_SKEW;
    assert_eq!(answer.body["until"], serde_json::to_value(until).unwrap());
}

#[tokio::test]
async fn a_report_that_was_under_way_for_long_hides_no_lease() {
    let world = World::new().await;
    let token = signed_in(&world).await;
    let plane = plane(&world);
    let status = |lease_remaining_ms| GatewayStatus {
        gateway: edge(),
        reader: 1,
        applied_revision: 0,
        applied: Position::default(),
        lease_remaining_ms,
    };
    plane.prove(Position::default(), &edge()).await.unwrap();
    plane.report(status(0)).await.unwrap();
    // Nor does one hold up every logout for ever.
    plane.report(status(u64::MAX)).await.unwrap();
    let known = world.app.store.gateways().await.unwrap();
    assert_eq!(known[0].report.lease_until, world.clock.unix_now() + LEASE);
    call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(202);
}

#[tokio::test]
async fn a_lease_noted_by_a_clock_behind_ours_is_waited_for() {
    let world = World::new().await;
    let token = signed_in(&world).await;
    plane(&world).prove(Position::default(), &edge()).await.unwrap();
    world.clock.advance(LEASE + CLOCK_SKEW - Duration::from_millis(1));
    call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(202);
}

/// Takes facts and never gets rid of them.
struct Hanging;

#[async_trait::async_trait]
impl FactCarrier for Hanging {
    fn subscribe(&self) -> BoxStream<'static, Hint> {
        futures::stream::pending().boxed()
    }
    async fn publish(&self, _: &[Hint]) -> Result<(), LinkError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_carrier_that_hangs_holds_up_no_proof() {
    let world = World::new().await;
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let store = &world.app.store;
    let hub = Hub::start(store.clone(), store.clone(), clock, Arc::new(Hanging));
    let plane = Plane::new(hub);
    // More than may wait to be published.
    for round in 0..300 {
        revoke(&world).await;
        let proof = tokio::time::timeout(Duration::from_secs(20), plane.prove(Position::default(), &edge())).await;
        assert!(proof.is_ok_and(|proof| proof.is_ok()), "round {round}");
    }
}

#[tokio::test]
async fn the_audit_trail_is_chained_while_the_control_api_runs() {
    let world = World::new().await;
    signed_in(&world).await;
    let store = &world.app.store;
    assert_eq!(store.verify_audit(None).await.unwrap().rows, 0);
    let jobs = tokio::spawn(
        Arc::clone(&world.app.hub).run_jobs(world.app.config.log.clone(), world.app.config.decisions.clone()),
    );
    let chained = async {
        while store.verify_audit(None).await.unwrap().rows == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), chained).await.unwrap();
    assert_eq!(store.verify_audit(None).await.unwrap().broken, None);
    jobs.abort();
}

/// A token that nobody holds is refused.
async fn revoke(world: &World) {
    let (jti, now) = (Id::new(uuid::Uuid::new_v4()), world.clock.unix_now());
    let revoked = world
        .app
        .store
        .write_session(authz::Scope::Platform, now, |tx| async move { tx.refuse_token(jti, now + LEASE).await });
    revoked.await.map_err(|error: StoreError| error).unwrap();
}

/// Proofs and logouts at once: a logout that waited for nobody is under the head of every proof that may still count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_proof_misses_a_revocation_that_waited_for_nobody() {
    let world = World::new().await;
    let hub = &world.app.hub;
    let plane = plane(&world);
    for round in 0..100_u64 {
        // A gateway nobody has seen yet, each time.
        let gateway = GatewayIdentity { id: Id::new(uuid::Uuid::new_v4()), ..edge() };
        let revoked = async {
            tokio::time::sleep(Duration::from_micros(round * 37 % 3000)).await;
            revoke(&world).await;
            let target = hub.number(None).await.unwrap();
            let behind = hub.applied(target, Duration::ZERO).await.unwrap();
            (target, behind)
        };
        let (proof, (target, behind)) = tokio::join!(plane.prove(Position::default(), &gateway), revoked);
        let heard = proof.unwrap().head.seq >= target.head.seq;
        assert!(heard || !behind.is_empty(), "round {round}: the lease was not seen, and the proof does not cover it");
        world.clock.advance((LEASE + CLOCK_SKEW) * 2);
    }
}

#[tokio::test]
async fn a_write_waits_for_the_gateways_when_asked_to() {
    let mut config = control_api::Config::default();
    config.log.applied_wait = domain::HumanDuration::from_millis(50);
    let world = World::with(config).await;
    let staff = world.staff().await;
    let create = |code: &str, query: &str| {
        crate::support::post(
            &format!("/v1/upstreams{query}"),
            &json!({
                "name": code, "peers": ["192.0.2.1:80"], "plaintext": true,
            }),
        )
        .bearer(&staff)
    };
    report(&world, "gw-1", Seq(u64::MAX >> 1), 0).await;
    create("one", "").send(&world.admin).await.expect(201);
    let waiting = create("two", "?wait=applied").send(&world.admin).await.expect(202);
    assert_eq!(waiting.body["waiting_for"], json!(["gw-1"]));
    assert!(waiting.headers["location"].to_str().unwrap().starts_with("/v1/upstreams/"));
    let revision = waiting.body["revision"].as_u64().unwrap();
    assert!(revision > 0);
    report(&world, "gw-1", Seq(u64::MAX >> 1), revision + 100).await;
    create("three", "?wait=applied").send(&world.admin).await.expect(201);
    let gateways = get("/v1/gateways").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(gateways.body["items"][0]["applied_revision"], revision + 100);
    assert_eq!(world.app.store.gateways().await.unwrap().len(), 1);
}
