//! API keys on a whole node: sent, signed with, disabled, and worth what their owner is.

use authn::signature::{SignedParts, sign};
use aws_lc_rs::digest;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::{
    node::{Node, echo, problem},
    world::unix_now,
};

const HOST: &str = "acme.localhost";

fn hash(body: &[u8]) -> String {
    digest::digest(&digest::SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A signed request whose body may then be another one.
pub(crate) fn signed(
    node: &Node,
    (method, path, query): (Method, &str, &str),
    body: &[u8],
    nonce: &str,
) -> RequestBuilder {
    let key = &node.tenant("acme")["hmac_key"];
    let (at, hash) = (unix_now().to_string(), hash(body));
    let parts = SignedParts { method: method.as_str(), host: HOST, path, query };
    let tag = sign(key["secret"].as_str().unwrap(), &parts, &hash, &at, nonce);
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    node.edge(method, HOST, &target)
        .header("x-api-key-id", key["id"].as_str().unwrap())
        .header("x-timestamp", at)
        .header("x-nonce", nonce)
        .header("x-content-sha256", hash)
        .header("x-signature", tag)
}

async fn key_id(node: &Node, member: &str, prefix: &str) -> String {
    let list: Value =
        node.admin(Method::GET, "/v1/api-keys").bearer_auth(member).send().await.unwrap().json().await.unwrap();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    items.iter().find(|key| key["prefix"] == prefix).unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_demos_key_acts_as_the_member_and_a_disabled_one_is_refused_at_the_next_request() {
    let node = Node::start();
    let key = node.tenant("acme")["api_key"].as_str().unwrap().to_owned();
    let call = |path: &str| node.get(HOST, path).bearer_auth(&key);
    let seen = echo(call("/demo/orders")).await;
    assert_eq!(seen["headers"]["x-md-global-auth-method"], json!(["api_key"]));
    assert_eq!(seen["headers"]["x-md-global-username"], json!(["member"]));
    assert!(seen["headers"].get("authorization").is_none());
    let post = node.edge(Method::POST, HOST, "/demo/orders").bearer_auth(&key);
    assert_eq!(problem(post).await, (403, "permission_denied".into()));
    assert_eq!(
        problem(node.get("globex.localhost", "/demo/me").bearer_auth(&key)).await,
        (401, "api_key_invalid".into())
    );
    assert_eq!(problem(call("/v1/me")).await, (401, "credential_refused".into()), "the control API takes tokens only");

    let member = node.login("acme", "member").await.access;
    let id = key_id(&node, &member, &key[..20]).await;
    let step = async |verb: &str| {
        let path = format!("/v1/api-keys/{id}/{verb}");
        let answer = node.admin(Method::POST, &path).bearer_auth(&member).send().await.unwrap();
        // On a busy machine the answer may come before the gateway's, and then says until when to wait.
        let status = answer.status();
        assert!(matches!(status, StatusCode::OK | StatusCode::ACCEPTED), "{}", answer.text().await.unwrap());
        status == StatusCode::OK
    };
    let refused = || async { problem(call("/demo/orders")).await == (401, "api_key_disabled".into()) };
    for _ in 0..5 {
        if step("disable").await {
            assert!(refused().await, "at the very next request");
        }
        testkit::eventually("it is refused", refused).await;
        step("enable").await;
        testkit::eventually("it is accepted again", || async { !refused().await }).await;
    }
    testkit::eventually("its use is noted", async || {
        let path = format!("/v1/api-keys/{id}");
        let read: Value =
            node.admin(Method::GET, &path).bearer_auth(&member).send().await.unwrap().json().await.unwrap();
        !read["last_used_at"].is_null()
    })
    .await;
}

/// Defect 5 of `requirements.md` §1.7.
#[tokio::test]
async fn a_key_loses_at_once_what_its_owner_loses() {
    let node = Node::start();
    let key = node.tenant("acme")["api_key"].as_str().unwrap().to_owned();
    let orders = || node.get(HOST, "/demo/orders").bearer_auth(&key);
    echo(orders()).await;
    let staff = node.staff().await.access;
    let tenant = node.tenant("acme")["id"].as_str().unwrap().to_owned();
    let list = async |path: &str| -> Vec<Value> {
        let list: Value = node.admin(Method::GET, path).bearer_auth(&staff).send().await.unwrap().json().await.unwrap();
        list["items"].as_array().unwrap().clone()
    };
    let roles = list(&format!("/v1/roles?tenant_id={tenant}&limit=500")).await;
    let role = roles.iter().find(|role| role["name"] == "demo_member").unwrap()["id"].clone();
    let bindings = list(&format!("/v1/role-bindings?tenant_id={tenant}&limit=500")).await;
    for binding in bindings.iter().filter(|binding| binding["role_id"] == role) {
        let path = format!("/v1/role-bindings/{}?tenant_id={tenant}", binding["id"].as_str().unwrap());
        let gone = node.admin(Method::DELETE, &path).bearer_auth(&staff).send().await.unwrap();
        assert!(gone.status().is_success(), "{}", gone.text().await.unwrap());
    }
    testkit::eventually("the key may not either", async || {
        problem(orders()).await == (403, "permission_denied".into())
    })
    .await;
}

/// Defect 2 of `requirements.md` §1.7, through the proxy: nothing of a body that was not signed is sent on.
#[tokio::test]
async fn a_signed_request_is_forwarded_as_it_was_signed_and_once() {
    let node = Node::start();
    let get = (Method::GET, "/demo/orders", "page=2&x=%20");
    let seen = echo(signed(&node, get.clone(), b"", "nonce-0001")).await;
    assert_eq!(seen["headers"]["x-md-global-auth-method"], json!(["signature"]));
    for gone in authn::signature::FIELDS {
        assert!(seen["headers"].get(gone).is_none(), "{gone}");
    }
    assert_eq!(problem(signed(&node, get, b"", "nonce-0001")).await, (401, "signature_replayed".into()));
    let echoed = (Method::PUT, "/demo/echo/any", "");
    for (bytes, nonce) in [
        (1, "size-0001"),
        (40_000, "size-0002"),
        (65_536, "size-0003"),
        (65_537, "size-0004"),
        (700_000, "size-0005"),
        (1_048_576, "size-0006"),
    ] {
        let body = vec![b'x'; bytes];
        let seen = echo(signed(&node, echoed.clone(), &body, nonce).body(body.clone())).await;
        assert_eq!(seen["body_bytes"], json!(bytes), "all of it is sent on");
    }
    let other = signed(&node, echoed.clone(), b"mine", "nonce-0002").body("your");
    assert_eq!(problem(other).await, (401, "signature_body".into()));
    let none = signed(&node, echoed.clone(), b"mine", "nonce-0003");
    assert_eq!(problem(none).await, (401, "signature_body".into()));
    let large = vec![b'x'; 1_048_577];
    let too_large = signed(&node, echoed, &large, "nonce-0004").body(large.clone());
    assert_eq!(problem(too_large).await, (413, "body_too_large".into()));
}
