//! The claims of the revocation bound, against real processes, whatever fails: on a route that refuses without proof no
//! gateway accepts after the answer, nor later than a lease after the commit. How fast that is, `make revocation-report`
//! says.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::eventually;
use tokio::task::JoinSet;

use crate::{
    node::problem,
    probing::{
        Fault, Outcome,
        cluster::{Cluster, world},
    },
    staff::{Admin, PASSWORD},
    world::HOST,
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

/// SQL proves, Redis carries: nothing waits for the carrier, at the start neither.
#[tokio::test]
async fn what_starts_while_redis_is_down_proves_and_serves() {
    let (world, recorder) = world().await;
    let mut cluster = Cluster::start(&world, recorder, 1).await;
    cluster.kill_control_api();
    cluster.redis.kill();
    cluster.restart_control_api().await;
    cluster.restart_gateway(0);
    let strict = |token: &str| world.call(Method::GET, "/strict").bearer_auth(token).send();
    let login = json!({ "username": "ann", "password": PASSWORD });
    eventually("the gateway serves", async || {
        let answer = world.call(Method::POST, "/api/v1/tenant/auth/login").json(&login).send().await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    })
    .await;
    let token = cluster.sign_in().await;
    assert_eq!(strict(&token).await.unwrap().status(), StatusCode::OK);
    let staff = Admin::sign_in(cluster.followed()).await;
    staff.send(Method::POST, cluster.revoke(), &json!(null)).await;
    eventually("what was revoked is refused", async || {
        strict(&token).await.unwrap().status() == StatusCode::UNAUTHORIZED
    })
    .await;
    cluster.end().await;
}

/// Ten times as many sign in at once as there are hashers, for names that nobody has, so that each is hashed for.
#[tokio::test(flavor = "multi_thread")]
async fn the_lease_holds_during_a_login_storm() {
    let (world, recorder) = world().await;
    let cluster = Cluster::start(&world, recorder, GATEWAYS).await;
    let token = cluster.sign_in().await;
    let login = format!("http://{}/api/v1/auth/login", cluster.followed());
    let (client, answered) = (reqwest::Client::new(), Arc::new(AtomicUsize::new(0)));
    let at_once = 10 * std::thread::available_parallelism().unwrap().get();
    let mut storm = JoinSet::new();
    for caller in 0..at_once {
        let (client, login, answered) = (client.clone(), login.clone(), Arc::clone(&answered));
        storm.spawn(async move {
            for attempt in 0.. {
                let body = json!({ "username": format!("nobody-{caller}-{attempt}"), "password": PASSWORD });
                let answer = client.post(&login).json(&body).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut asked = 0;
    while asked < 100 || answered.load(Ordering::Relaxed) < 10 * at_once {
        for (https, client) in &cluster.edges {
            let url = format!("https://{HOST}:{}/strict", https.port());
            let answer = client.get(&url).bearer_auth(&token).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "after {asked} requests");
        }
        assert!(storm.try_join_next().is_none(), "everybody is answered, and goes on");
        asked += 1;
    }
    storm.shutdown().await;
    cluster.end().await;
}
