//! The claims of the revocation bound, against real processes, whatever fails: on a route that refuses without proof no
//! gateway accepts after the answer, nor later than a lease after the commit. How fast that is, `make revocation-report`
//! says.

use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::eventually;

use crate::{
    node::problem,
    probing::{
        Fault, Outcome,
        cluster::{Cluster, world},
    },
};

/// As many as the claim speaks of: one may be behind while the others are not.
const GATEWAYS: usize = 3;

/// Revokes while something fails; the outcome is looked at further by some.
async fn nobody_accepts_after_the_answer(fault: Fault) -> Outcome {
    let (world, recorder) = world().await;
    let mut cluster = Cluster::start(&world, recorder, GATEWAYS).await;
    let outcome = Outcome::of(fault, &mut cluster).await;
    let late: Vec<_> = outcome.accepted_too_late().collect();
    let Outcome { took, over, .. } = outcome;
    assert!(late.is_empty(), "{}: answered after {took:?}, for {over:?}, and then accepted: {late:?}", fault.name());
    for gateway in 0..GATEWAYS {
        let of_it = || outcome.probes.iter().filter(|probe| probe.gateway == gateway);
        assert!(of_it().any(|probe| probe.arrived.is_some()), "gateway {gateway} accepted before");
        assert!(of_it().any(|probe| probe.sent > outcome.too_late), "gateway {gateway} was asked afterwards");
    }
    cluster.end().await;
    outcome
}

#[tokio::test]
async fn healthy_nobody_accepts_after_the_answer() {
    nobody_accepts_after_the_answer(Fault::None).await;
}

#[tokio::test]
async fn with_redis_killed_nobody_accepts_after_the_answer() {
    nobody_accepts_after_the_answer(Fault::RedisKilled).await;
}

#[tokio::test]
async fn with_redis_restarted_empty_nobody_accepts_after_the_answer() {
    nobody_accepts_after_the_answer(Fault::RedisRestartedEmpty).await;
}

#[tokio::test]
async fn with_redis_paused_nobody_accepts_after_the_answer() {
    nobody_accepts_after_the_answer(Fault::RedisPaused).await;
}

#[tokio::test]
async fn with_redis_cut_off_nobody_accepts_after_the_answer() {
    nobody_accepts_after_the_answer(Fault::RedisCutOff).await;
}

#[tokio::test]
async fn with_writes_lost_in_a_failover_of_redis_nobody_accepts_after_the_answer() {
    nobody_accepts_after_the_answer(Fault::RedisFailedOver).await;
}

#[tokio::test]
async fn with_the_control_api_killed_nobody_accepts_after_the_time_that_is_named() {
    let outcome = nobody_accepts_after_the_answer(Fault::ControlApiKilled).await;
    assert!(outcome.named_a_time, "nobody can report, so a time is named");
}

#[tokio::test]
async fn with_the_control_api_killed_and_redis_cut_off_nobody_accepts_after_the_time_that_is_named() {
    let outcome = nobody_accepts_after_the_answer(Fault::ControlApiKilledAndRedisCutOff).await;
    assert!(outcome.named_a_time, "nobody can report, so a time is named");
}

#[tokio::test]
async fn a_gateway_that_was_paused_accepts_nothing_when_it_goes_on() {
    let outcome = nobody_accepts_after_the_answer(Fault::GatewayPaused).await;
    assert!(outcome.named_a_time, "one gateway cannot report, so a time is named");
}

#[tokio::test]
async fn without_the_lease_each_route_does_as_it_declares() {
    let (world, recorder) = world().await;
    let mut cluster = Cluster::start(&world, recorder, 1).await;
    let token = cluster.sign_in().await;
    let call = |method: Method, path: &str| world.call(method, path).bearer_auth(&token);
    let ok = async |method: Method, path: &str| call(method, path).send().await.unwrap().status() == StatusCode::OK;
    let unproven = (503, "revocation_unproven".to_owned());
    for path in ["/strict", "/readable", "/echo/x"] {
        assert!(ok(Method::POST, path).await, "{path}, with the lease");
    }

    cluster.kill_control_api();
    eventually("the lease runs out", async || !ok(Method::GET, "/strict").await).await;
    assert_eq!(problem(call(Method::GET, "/strict")).await, unproven);
    assert!(ok(Method::GET, "/readable").await);
    assert_eq!(problem(call(Method::POST, "/readable")).await, unproven);
    assert!(ok(Method::POST, "/echo/x").await, "this one is served for a while, as long as Redis does not refuse it");
    assert!(ok(Method::GET, "/public/x").await);

    // Redis refuses it, and is believed where nothing else is known; the other replica revokes and tells it.
    let staff = cluster.staff().await;
    staff.send(Method::POST, cluster.revoke(), &json!(null)).await;
    eventually("what Redis refuses is refused", async || {
        call(Method::POST, "/echo/x").send().await.unwrap().status() == StatusCode::UNAUTHORIZED
    })
    .await;
    cluster.redis.kill();
    eventually("and without Redis nothing is served", async || {
        problem(world.call(Method::GET, "/echo/x").bearer_auth(&token)).await.0 != 200
    })
    .await;
    cluster.end().await;
}
