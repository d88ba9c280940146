//! A quota on one node, without Redis: what was used is on record, and a restart goes on from there.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;

use crate::node::{Node, problem};

/// Makes what is to be there, and waits for the edge.
async fn make(node: &Node, staff: &str, method: Method, path: &str, body: Value) -> Value {
    let answer =
        node.admin(method, &format!("{path}?wait=applied")).bearer_auth(staff).json(&body).send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert!(matches!(status, StatusCode::OK | StatusCode::CREATED), "{path}: {status} {body}");
    body
}

/// A route of the demo that demands the product. The demo's own file takes it away at each start.
async fn demand(node: &Node, staff: &str) {
    let services = node.admin(Method::GET, "/v1/services").bearer_auth(staff).send().await.unwrap();
    let services: Value = services.json().await.unwrap();
    let demo = services["items"].as_array().unwrap().iter().find(|it| it["name"] == "demo").unwrap()["id"].clone();
    let route = json!({ "service_id": demo, "path": "/demo/metered", "access": "authenticated", "product": "metered" });
    make(node, staff, Method::POST, "/v1/routes", route).await;
}

async fn entitle(node: &Node, staff: &str, quota: Value) {
    let body = json!({ "tenant_id": node.tenant("acme")["id"], "product": "metered", "quota": quota });
    make(node, staff, Method::PUT, "/v1/entitlements", body).await;
}

/// What the tenant's administrator sees of today.
async fn used(node: &Node, admin: &str) -> Value {
    let asked = node.get("acme.localhost", "/v1/usage?product=metered").bearer_auth(admin).send().await.unwrap();
    let body: Value = asked.json().await.unwrap();
    assert_eq!(body["items"][0]["period"], "day", "{body}");
    body["items"][0].clone()
}

#[tokio::test]
async fn what_was_used_survives_a_kill_and_another_quota_is_in_force_at_once() {
    let node = Node::start();
    let staff = node.staff().await.access;
    make(
        &node,
        &staff,
        Method::POST,
        "/v1/products",
        json!({ "key": "metered", "name": "Metered", "quota": { "per_day": 3 } }),
    )
    .await;
    demand(&node, &staff).await;
    entitle(&node, &staff, Value::Null).await;

    let member = node.login("acme", "member").await.access;
    let metered = || node.get("acme.localhost", "/demo/metered").bearer_auth(&member);
    for _ in 0..3 {
        assert_eq!(metered().send().await.unwrap().status(), StatusCode::OK);
    }
    let refused = metered().send().await.unwrap();
    assert_eq!(refused.headers()["ratelimit-policy"], "\"quota-day\";q=3;w=86400");
    assert_eq!(problem(metered()).await, (429, "quota_exceeded".into()));
    entitle(&node, &staff, json!({ "per_day": 5 })).await;
    assert_eq!(metered().send().await.unwrap().status(), StatusCode::OK, "with the answer it is in force");

    let admin = node.login("acme", "admin").await.access;
    eventually("the control API is told", async || used(&node, &admin).await["used"] == 4).await;
    assert_eq!(used(&node, &admin).await["limit"], 5);
    let again = Node::start_in(node.kill(), &[]);
    demand(&again, &again.staff().await.access).await;
    let member = again.login("acme", "member").await.access;
    let metered = || again.get("acme.localhost", "/demo/metered").bearer_auth(&member);
    assert_eq!(metered().send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(problem(metered()).await, (429, "quota_exceeded".into()), "the fifth was the last");

    // Told to end, it tells the control API first.
    let (folder, status) = again.interrupt();
    assert!(status.success());
    let last = Node::start_in(folder, &[]);
    let admin = last.login("acme", "admin").await.access;
    assert_eq!(used(&last, &admin).await["used"], 5);
}
