//! Signing keys, rotated while tokens are in flight.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::{Node, echo, problem};

/// Calls with one token over and over until told to stop; what was not answered 200.
fn hold(node: &Arc<Node>, stop: &Arc<AtomicBool>, token: String) -> tokio::task::JoinHandle<Vec<String>> {
    let (node, stop) = (Arc::clone(node), Arc::clone(stop));
    tokio::spawn(async move {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let answer = node.get("acme.localhost", "/demo/me").bearer_auth(&token).send().await.unwrap();
            if answer.status() != StatusCode::OK {
                failures.push(answer.text().await.unwrap());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        failures
    })
}

/// Signs in over and over, and uses each token at once.
fn sign_in(node: &Arc<Node>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let (node, stop) = (Arc::clone(node), Arc::clone(stop));
    tokio::spawn(async move {
        let mut sessions = 0;
        while !stop.load(Ordering::Relaxed) {
            let tokens = node.login("acme", "member").await;
            echo(node.get("acme.localhost", "/demo/me").bearer_auth(&tokens.access)).await;
            let body = json!({ "refresh_token": tokens.refresh });
            let refresh = node.edge(Method::POST, "acme.localhost", "/api/v1/tenant/auth/refresh").json(&body);
            let refreshed: Value = refresh.send().await.unwrap().json().await.unwrap();
            let access = refreshed["access_token"].as_str().unwrap_or_else(|| panic!("{refreshed}"));
            echo(node.get("acme.localhost", "/demo/me").bearer_auth(access)).await;
            sessions += 1;
        }
        sessions
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_fails_no_request() {
    let node = Arc::new(Node::start());
    let staff = node.staff().await.access;
    let tenant = node.tenant("acme")["id"].as_str().unwrap().to_owned();
    let read = async |path: &str| -> Value {
        node.admin(Method::GET, path).bearer_auth(&staff).send().await.unwrap().json().await.unwrap()
    };
    let project = read(&format!("/v1/tenants/{tenant}")).await["project_id"].clone();
    let keys = format!("/v1/signing-keys?project_id={}", project.as_str().unwrap());
    let first = read(&keys).await["items"][0]["kid"].as_str().unwrap().to_owned();

    let stop = Arc::new(AtomicBool::new(false));
    let old = node.login("acme", "admin").await.access;
    let (held, signing_in) = (hold(&node, &stop, old.clone()), sign_in(&node, &stop));
    for _ in 0..5 {
        let rotate = node.admin(Method::POST, "/v1/signing-keys/rotate").bearer_auth(&staff);
        let rotated = rotate.json(&json!({ "project_id": project, "at_once": true })).send().await.unwrap();
        assert_eq!(rotated.status(), StatusCode::CREATED, "{}", rotated.text().await.unwrap());
        node.login("acme", "auditor").await;
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(held.await.unwrap(), Vec::<String>::new());
    assert!(signing_in.await.unwrap() > 0);

    let all = read(&keys).await;
    let states: Vec<&str> = all["items"].as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["retiring", "retiring", "retiring", "retiring", "retiring", "active"]);
    echo(node.get("acme.localhost", "/demo/me").bearer_auth(&old)).await;
    let retire = node.admin(Method::POST, &format!("/v1/signing-keys/{first}/retire")).bearer_auth(&staff);
    assert!(retire.send().await.unwrap().status().is_success());
    assert_eq!(problem(node.get("acme.localhost", "/demo/me").bearer_auth(&old)).await, (401, "key_unknown".into()));
}
