//! A program's token, through the edge.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::{Node, problem};

const ACME: &str = "acme.localhost";

#[tokio::test]
async fn a_program_gets_a_token_at_the_edge_and_loses_it_at_once() {
    let node = Node::start();
    let admin = node.login("acme", "admin").await.access;
    let made = node.edge(Method::POST, ACME, "/v1/machine-clients").bearer_auth(&admin);
    let made = made.json(&json!({ "name": "billing" })).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Value = made.json().await.unwrap();
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let asked = async |path: &str, form: String| {
        let request = node.edge(Method::POST, ACME, path).basic_auth(id, Some(secret));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.json::<Value>().await.unwrap_or_default()
    };
    let token = asked("/oauth/token", "grant_type=client_credentials".into()).await;
    let token = token["access_token"].as_str().unwrap();
    let me = async || node.get(ACME, "/demo/me").bearer_auth(token).send().await.unwrap().status();
    assert_eq!(me().await, StatusCode::OK);
    assert_eq!(asked("/oauth/introspect", format!("token={token}")).await["active"], true);
    asked("/oauth/revoke", format!("token={token}")).await;
    assert_eq!(problem(node.get(ACME, "/demo/me").bearer_auth(token)).await, (401, "token_revoked".into()));
    assert_eq!(asked("/oauth/introspect", format!("token={token}")).await, json!({ "active": false }));
}
