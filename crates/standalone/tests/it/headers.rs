//! Forged identity headers never reach the upstream; the injected ones do, once each.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    api_keys::signed,
    node::{Node, echo, problem},
};

const FORGED: [&str; 8] = [
    "x-md-global-user-id",
    "X-MD-Global-Tenant-Id",
    "x-md-global-roles",
    "x-md-global-is-super-admin",
    "x-md-global-made-up",
    "x-md-local-anything",
    "x-forwarded-for",
    "x-request-id",
];

#[tokio::test]
async fn forged_headers_vanish_and_the_injected_ones_come_once_each() {
    let node = Node::start();
    let member = node.login("acme", "member").await;
    for (path, token) in [("/demo/public/x", None), ("/demo/optional/x", None), ("/demo/me", Some(&member.access))] {
        let mut request = node.get("acme.localhost", path);
        for name in FORGED {
            request = request.header(name, "forged").header(name, "forged-again");
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let seen = echo(request).await;
        let headers = seen["headers"].as_object().unwrap();
        assert!(!Value::Object(headers.clone()).to_string().contains("forged"), "{path}: {headers:?}");
        for (name, values) in headers {
            if name.starts_with("x-md-") || name.starts_with("x-forwarded-") || name == "x-request-id" {
                assert_eq!(values.as_array().unwrap().len(), 1, "{path}: {name}");
            }
        }
        assert_eq!(headers.contains_key("x-md-global-user-id"), token.is_some(), "{path}");
    }
}

/// Rows S1 and S3 with the other credentials that a header carries: what is forged vanishes, where there is a true value
/// (the user) as where there is none (the name of a session, which a key has not).
#[tokio::test]
async fn s1_and_s3_hold_for_an_api_key_sent_and_for_one_that_signs() {
    let node = Node::start();
    let key = node.tenant("acme")["api_key"].as_str().unwrap();
    let sent = node.get("acme.localhost", "/demo/me").bearer_auth(key);
    let signs = signed(&node, (Method::GET, "/demo/me", ""), b"", "s1-and-s3-0123456789abcdef");
    for (mut request, method) in [(sent, "api_key"), (signs, "signature")] {
        for name in FORGED.into_iter().chain(["x-md-global-session-id", "x-md-global-token-id"]) {
            request = request.header(name, "forged").header(name.to_uppercase(), "forged-again");
        }
        let seen = echo(request).await;
        let headers = seen["headers"].as_object().unwrap();
        assert!(!Value::Object(headers.clone()).to_string().contains("forged"), "{method}: {headers:?}");
        assert_eq!(headers["x-md-global-auth-method"], json!([method]));
        assert_eq!(headers["x-md-global-username"], json!(["member"]), "{method}");
        for (name, values) in headers {
            if name.starts_with("x-md-") || name.starts_with("x-forwarded-") || name == "x-request-id" {
                assert_eq!(values.as_array().unwrap().len(), 1, "{method}: {name}");
            }
        }
        let secret = ["authorization", "x-api-key-id", "x-signature", "x-nonce", "x-timestamp", "x-content-sha256"];
        assert!(secret.iter().all(|name| !headers.contains_key(*name)), "{method}: {headers:?}");
    }
    for credential in [None, Some(key)] {
        let mut request = node.get("acme.localhost", "/demo/me").header("x_md_global_user_id", "forged");
        if let Some(key) = credential {
            request = request.bearer_auth(key);
        }
        assert_eq!(problem(request).await, (400, "header_refused".into()));
    }
}

#[tokio::test]
async fn aliases_of_trusted_names_are_refused() {
    let node = Node::start();
    for name in ["x_md_global_user_id", "x-md_global-user-id", "x.md.global.user.id", "x_forwarded_for"] {
        let request = node.get("acme.localhost", "/demo/public/x").header(name, "forged");
        assert_eq!(problem(request).await, (400, "header_refused".into()), "{name}");
    }
}
