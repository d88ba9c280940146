//! Signing out, and waiting for the gateways to have heard.

use std::time::Duration;

use domain::Clock;
use domain::{
    GatewayId, Id, Position, Seq,
    model::{GatewayNode, GatewayReport},
};
use link::log::ControlPlane;
use serde_json::json;
use store::{StoreError, read::*};

use crate::support::{World, call, get};

async fn signed_in(world: &World) -> String {
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    world.login("acme", "ada").await
}

/// A gateway that has applied so much and holds a lease.
async fn report(world: &World, name: &str, applied: Seq, revision: u64) {
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
    let noted =
        world.app.store.write_session(authz::Scope::Platform, now, |tx| async move { tx.report_gateway(node).await });
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
    let plane = control_api::internal::Plane::new(std::sync::Arc::clone(&world.app.hub));
    let before = plane.prove(Position::default()).await.unwrap().head;
    call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(200);
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
