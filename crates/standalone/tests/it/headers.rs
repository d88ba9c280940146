//! Forged identity headers never reach the upstream; the injected ones do, once each.

use serde_json::Value;

use crate::node::{Node, echo, problem};

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

#[tokio::test]
async fn aliases_of_trusted_names_are_refused() {
    let node = Node::start();
    for name in ["x_md_global_user_id", "x-md_global-user-id", "x.md.global.user.id", "x_forwarded_for"] {
        let request = node.get("acme.localhost", "/demo/public/x").header(name, "forged");
        assert_eq!(problem(request).await, (400, "header_refused".into()), "{name}");
    }
}
