//! The auth RPC of a running node: by its service key, over REST and by `portcullis rpc`.

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
};

use futures::StreamExt as _;
use link::{
    log::{ControlPlane as _, GatewayIdentity},
    rpc::{RpcClient, Target},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Node, problem};

fn key(node: &Node) -> String {
    node.facts["service_key"].as_str().unwrap().to_owned()
}

/// `portcullis rpc METHOD`, the request on its standard input.
fn rpc(node: &Node, key: &str, method: &str, request: &Value) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["rpc", method, "--url", &format!("http://{}", node.address("internal"))])
        .env("PORTCULLIS_SERVICE_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test]
async fn a_service_asks_and_ends_a_session_at_the_edge() {
    let node = Node::start();
    let key = key(&node);
    let token = node.login("acme", "member").await.access;
    let asked = json!({ "token": token, "hostname": "acme.localhost" });

    let url = format!("http://{}/v1/internal/tokens/verify", node.address("internal"));
    let rest = reqwest::Client::builder().no_proxy().build().unwrap();
    let said: Value = rest.post(&url).bearer_auth(&key).json(&asked).send().await.unwrap().json().await.unwrap();
    assert_eq!((&said["username"], &said["tenant_id"]), (&json!("member"), &node.tenant("acme")["id"]));
    let nobody = problem(rest.post(&url).json(&asked)).await;
    assert_eq!(nobody, (401, "credential_missing".to_owned()));

    let said = rpc(&node, &key, "verify-token", &asked);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((&said["username"], &said["context"]), (&json!("member"), &json!("tenant")));
    let elsewhere = rpc(&node, &key, "verify-token", &json!({ "token": token, "hostname": "globex.localhost" }));
    assert_eq!(elsewhere.status.code(), Some(1));
    let complaint = String::from_utf8(elsewhere.stderr).unwrap();
    assert!(complaint.contains("issuer_unknown") && !complaint.contains(&token), "{complaint}");

    assert!(rpc(&node, &key, "invalidate-token", &asked).status.success());
    let refused = problem(node.edge(Method::GET, "acme.localhost", "/demo/me").bearer_auth(&token)).await;
    assert_eq!(refused, (401, "token_revoked".to_owned()));
}

#[tokio::test]
async fn the_service_key_is_its_owners_alone_and_stays() {
    let node = Node::start();
    let first = key(&node);
    assert!(first.len() >= 64, "256 bits");
    let path = node.folder.path().join("data/service.key");
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = Node::start_in(node.kill(), &[]);
    assert_eq!(key(&again), first);
}

/// A service key and the loopback interface are not what gateways are let in by.
#[tokio::test]
async fn no_gateway_is_served_without_a_certificate() {
    let node = Node::start();
    let client = RpcClient::new(&Target::Loopback(node.address("internal"))).unwrap();
    let id = domain::Id::new(uuid::Uuid::from_u128(1));
    let gateway = GatewayIdentity { id, name: "gw-1".into(), fleet: "default".into() };
    assert!(client.prove(domain::Position::default(), &gateway).await.is_err());
    // A stream may begin before it is refused; nothing comes.
    let first = match client.feed(None).await {
        Ok(mut feed) => feed.next().await,
        Err(error) => Some(Err(error)),
    };
    assert!(matches!(first, Some(Err(_))), "{first:?}");
}
