//! Why a request was refused, as it is told to the tenant's own administrator, to staff, and by `portcullis explain`.

use std::process::{Command, Output};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;

use crate::node::{Node, problem};

/// Sends a request and gives the id that its answer names, with the status.
async fn request_id(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), id)
}

/// Asks until the decision is there.
async fn told(ask: impl Fn() -> RequestBuilder) -> Value {
    let mut told = Value::Null;
    eventually("the decision is told", async || {
        let answer = ask().send().await.unwrap();
        let there = answer.status() == StatusCode::OK;
        told = answer.json().await.unwrap();
        there
    })
    .await;
    told
}

/// `portcullis explain …`, as the node's platform administrator.
fn explain(node: &Node, arguments: &[&str]) -> Output {
    let staff = &node.facts["platform_admin"];
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["explain", "--url", &format!("http://{}", node.address("control_api"))])
        .args(["--username", staff["username"].as_str().unwrap()])
        .env("PORTCULLIS_PASSWORD", staff["password"].as_str().unwrap())
        .args(arguments)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_refused_request_is_explained_to_its_own_tenants_administrator_and_to_staff() {
    let node = Node::start();
    let member = node.login("acme", "member").await;
    let order = node.edge(Method::POST, "acme.localhost", "/demo/orders?card=canary-query").bearer_auth(&member.access);
    let order = order.header("cookie", "session=canary-cookie").body("canary-body");
    let (status, id) = request_id(order).await;
    assert_eq!(status, 403);

    let path = format!("/v1/decisions/{id}");
    let admin = node.login("acme", "admin").await;
    let seen = told(|| node.get("acme.localhost", &path).bearer_auth(&admin.access)).await;
    let decision = &seen["decision"];
    assert_eq!(decision["code"], "permission_denied");
    assert_eq!(decision["stopped_at"], "authorize");
    assert_eq!((&decision["method"], &decision["path"]), (&json!("POST"), &json!("/demo/orders")));
    assert_eq!(decision["tenant_id"], node.tenant("acme")["id"]);
    assert_eq!(decision["permission"]["code"], "demo:order:create");
    assert_eq!(decision["permission"]["held"], false);
    assert_eq!(decision["principal"]["roles"], json!(["demo_member", "member"]));
    assert_eq!(decision["credential"]["believed"], true);
    assert_eq!(decision["credential"]["claims"]["sub"], decision["principal"]["subject"]);
    let text = seen.to_string();
    assert!(!text.contains("canary") && !text.contains(&member.access), "{text}");
    for part in member.access.split('.') {
        assert!(!text.contains(part), "{text}");
    }

    let stranger = node.login("globex", "admin").await;
    let elsewhere = problem(node.get("globex.localhost", &path).bearer_auth(&stranger.access)).await;
    let unknown = "/v1/decisions/00000000-0000-7000-8000-000000000000";
    let nowhere = problem(node.get("globex.localhost", unknown).bearer_auth(&stranger.access)).await;
    assert_eq!(elsewhere, (404, "not_found".to_owned()));
    assert_eq!(elsewhere, nowhere, "as if it were not there");
    let not_allowed = problem(node.get("acme.localhost", &path).bearer_auth(&member.access)).await;
    assert_eq!(not_allowed, (403, "permission_denied".to_owned()));
    let auditor = node.login("acme", "auditor").await;
    let audited = node.get("acme.localhost", &path).bearer_auth(&auditor.access).send().await.unwrap();
    assert_eq!(audited.status(), StatusCode::OK);

    let account = explain(&node, &[&id]);
    assert!(account.status.success(), "{}", String::from_utf8_lossy(&account.stderr));
    let account = String::from_utf8(account.stdout).unwrap();
    assert!(
        account.contains(&format!("request {id}: 403 permission_denied, permission `demo:order:create` is not held")),
        "{account}"
    );
    for line in [
        "\n  passed   canonical   POST acme.localhost/demo/orders\n",
        "\n  passed   credential  bearer token\n",
        "\n  refused  authorize   permission `demo:order:create` is not held; permission `demo:order:create` NOT held by any role\n",
        "\n  -        forward     not reached\n",
    ] {
        assert!(account.contains(line), "{line} in {account}");
    }
    let same: Value = serde_json::from_slice(&explain(&node, &[&id, "--json"]).stdout).unwrap();
    assert_eq!(same, seen);
    let missing = explain(&node, &["00000000-0000-7000-8000-000000000000"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("404 not_found"));
    assert_eq!(explain(&node, &["no-id"]).status.code(), Some(2));
}

#[tokio::test]
async fn on_a_developers_machine_what_was_permitted_is_told_too() {
    let node = Node::start();
    let member = node.login("acme", "member").await;
    let (status, id) = request_id(node.get("acme.localhost", "/demo/orders").bearer_auth(&member.access)).await;
    assert_eq!(status, 200);
    let staff = node.staff().await;
    let path = format!("/v1/decisions/{id}");
    let seen = told(|| node.admin(Method::GET, &path).bearer_auth(&staff.access)).await;
    assert_eq!((&seen["decision"]["code"], &seen["decision"]["status"]), (&json!("permit"), &Value::Null));
    assert_eq!(seen["decision"]["permission"]["by"], json!([{ "role": "demo_member", "unit": null }]));
    assert_eq!(seen["gateway"], "local");
}

/// A hostname that nobody has is nobody's: no tenant's administrator reads of it.
#[tokio::test]
async fn what_was_refused_before_a_tenant_was_known_is_the_platforms_alone() {
    let node = Node::start();
    let plain = format!("http://{}/x", node.address("edge_http"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (status, id) = request_id(client.get(plain).header("host", "nobody.localhost")).await;
    assert_eq!(status, 404);
    let (staff, admin) = (node.staff().await, node.login("acme", "admin").await);
    let path = format!("/v1/decisions/{id}");
    let seen = told(|| node.admin(Method::GET, &path).bearer_auth(&staff.access)).await;
    assert_eq!((&seen["decision"]["code"], &seen["decision"]["tenant_id"]), (&json!("hostname_unknown"), &Value::Null));
    assert_eq!(
        problem(node.get("acme.localhost", &path).bearer_auth(&admin.access)).await,
        (404, "not_found".to_owned())
    );
}
