//! The same edge calls against the three ways to run the same code: one process, two binaries with PostgreSQL and
//! Redis, and the gateway alone from a file.

use std::{net::SocketAddr, process::Command};

use domain::{Timestamp, snapshot::Algorithm};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{TestIssuer, eventually};

use crate::{
    installation::{Installation, apply},
    node::problem,
    process::{Process, free_port},
    staff::{Admin, PASSWORD},
    world::{ISSUERS, World},
};

/// The calls that are the same whichever way the code runs.
async fn the_same_calls(world: &World) {
    let clerk = world.token("acme", &["clerk"]);
    let orders = || world.call(Method::GET, "/orders");
    assert_eq!(problem(orders()).await, (401, "credential_missing".into()));
    assert_eq!(problem(orders().bearer_auth(world.token("acme", &[]))).await, (403, "permission_denied".into()));
    let others = world.token("00000000-0000-0000-0000-000000000002", &["clerk"]);
    assert_eq!(problem(orders().bearer_auth(others)).await, (403, "tenant_mismatch".into()));
    assert_eq!(problem(world.call(Method::GET, "/nowhere").bearer_auth(&clerk)).await, (404, "route_not_found".into()));
    let stranger = TestIssuer::new("https://evil.example", Algorithm::Es256);
    let forged = stranger.mint_as("JWT", stranger.external_claims(Timestamp::from_secs(4_000_000_000)));
    assert_eq!(problem(orders().bearer_auth(forged)).await, (401, "issuer_unknown".into()));

    let before = world.canary.requests().len();
    let answer = orders().bearer_auth(&clerk).header("x-md-global-roles", "forged").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let requests = world.canary.requests();
    assert_eq!(requests.len(), before + 1, "only what was permitted reached the upstream");
    let arrived = requests.last().unwrap();
    assert_eq!(arrived.header("x-md-global-roles"), ["clerk"]);
    assert_eq!(arrived.header("x-md-global-tenant-slug"), ["acme"]);
    assert!(arrived.header("authorization").is_empty());
    let echo = world.call(Method::POST, "/echo/x").bearer_auth(&clerk).body("hello").send().await.unwrap();
    assert_eq!(echo.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_gateway_alone() {
    let world = World::new().await;
    world.edge_file(ISSUERS);
    let config = world.write("gateway.yaml", &format!("{}\nfeed: {{ file: edge/edge.yaml }}\n", world.listen()));
    let _gateway = Process::start("gateway", world.folder.path(), &["--config", &config], &[]);
    world.ready().await;
    the_same_calls(&world).await;
}

/// Signing in and out through the edge, where there is a control API.
async fn sign_in_and_out(world: &World) {
    let login = json!({ "username": "ann", "password": PASSWORD });
    let answer = world.call(Method::POST, "/api/v1/tenant/auth/login").json(&login).send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    let token = body["access_token"].as_str().unwrap();
    let strict = || world.call(Method::GET, "/strict").bearer_auth(token);
    assert_eq!(strict().send().await.unwrap().status(), StatusCode::OK);
    let logout = world.call(Method::POST, "/api/v1/tenant/auth/logout").bearer_auth(token).send().await.unwrap();
    assert!(logout.status().is_success(), "{}", logout.text().await.unwrap());
    assert_eq!(problem(strict()).await, (401, "token_revoked".into()));
}

/// What the edge refuses is explained on the command line, as the gateway of this name tells it.
async fn is_explained(world: &World, admin: SocketAddr, password_file: &str, gateway: &str) {
    let refused = world.call(Method::GET, "/orders").bearer_auth(world.token("other", &[])).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    let id = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
    let url = format!("http://{admin}");
    let mut account = String::new();
    eventually("the decision is told", async || {
        let explain = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["explain", &id, "--url", &url, "--password-file", password_file])
            .output()
            .unwrap();
        account = String::from_utf8(explain.stdout).unwrap();
        explain.status.success()
    })
    .await;
    assert!(account.contains("403 tenant_mismatch"), "{account}");
    assert!(account.contains(&format!("by gateway `{gateway}` of fleet `default`")), "{account}");
    assert!(account.contains("claims that name somebody are withheld"), "{account}");
}

#[tokio::test]
async fn one_process() {
    let world = World::new().await;
    world.edge_file("");
    let admin = free_port();
    let password = world.write("admin.password", PASSWORD);
    let config = format!(
        "data_dir: data\ngateway:\n  {}\n  environment: dev\ncontrol_api:\n  environment: dev\n  listeners: {{ admin: \"{admin}\", \
         internal: \"{}\" }}\n  bootstrap: {{ admin_password: \"file:{password}\" }}\n",
        world.listen(),
        free_port(),
    );
    let config = world.write("portcullis.yaml", &config);
    let _node = Process::start("portcullis", world.folder.path(), &["serve", "--config", &config], &[]);
    let staff = Admin::sign_in(admin).await;
    apply_twice(&world, admin, &password);
    staff.complete(&world).await;
    world.ready().await;
    the_same_calls(&world).await;
    sign_in_and_out(&world).await;
    is_explained(&world, admin, &password, "local").await;
}

/// Loads the declarative folder; a second time changes nothing.
fn apply_twice(world: &World, admin: SocketAddr, password_file: &str) {
    let first = apply(world, admin, password_file);
    assert!(!first.starts_with("0 created"), "{first}");
    let second = apply(world, admin, password_file);
    assert!(second.starts_with("0 created, 0 updated, "), "{second}");
}

#[tokio::test]
async fn two_binaries_with_postgresql_and_redis() {
    let world = World::new().await;
    world.edge_file("");
    let redis = std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `make test`, which starts Redis");
    // Other tests use the server's first database.
    let redis = format!("{}/9", redis.trim_end_matches('/'));
    let installation = Installation::new(&world, redis).await;
    let replica = installation.replica("control-api");
    let gateway = installation.enroll(&replica, "edge-1", replica.internal, &world.listen());
    let control_api = installation.start(&replica);
    let staff = Admin::sign_in(replica.admin).await;
    let edge = installation.start_gateway(&gateway);
    apply_twice(&world, replica.admin, &installation.password);
    world.ready().await;
    staff.complete(&world).await;
    the_same_calls(&world).await;
    sign_in_and_out(&world).await;
    is_explained(&world, replica.admin, &installation.password, "edge-1").await;

    // The snapshot is on disk some seconds after the last change; then the control API goes, and the gateway restarts.
    let kept = world.folder.path().join("edge-1-data");
    eventually("the snapshot is kept on disk", async || kept.join("snapshot.sealed").exists()).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    control_api.kill();
    let clerk = world.token("acme", &["clerk"]);
    let orders = || world.call(Method::GET, "/orders").bearer_auth(&clerk);
    assert_eq!(orders().send().await.unwrap().status(), StatusCode::OK, "the gateway serves on its own");
    let strict = || world.call(Method::GET, "/strict").bearer_auth(&clerk);
    eventually("the lease runs out", async || {
        strict().send().await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(problem(strict()).await, (503, "revocation_unproven".into()));
    assert_eq!(orders().send().await.unwrap().status(), StatusCode::OK, "`serve` goes on while Redis answers");
    edge.kill();
    let _again = installation.start_gateway(&gateway);
    world.ready().await;
    assert_eq!(orders().send().await.unwrap().status(), StatusCode::OK, "from the disk, with the last proof kept");
    assert_eq!(problem(strict()).await, (503, "revocation_unproven".into()));
    installation.database.drop().await;
}
