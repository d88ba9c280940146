//! What the upstream gets to prove that a request came through the edge: keyed by it alone, or signed by the fleet.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Node, echo};

/// The assertion the echo received, taken apart: header, claims, the signed bytes, the signature.
async fn assertion(node: &Node, token: &str) -> (Value, Value, String, Vec<u8>) {
    let seen = echo(node.get("acme.localhost", "/demo/me?page=2").bearer_auth(token)).await;
    let values = seen["headers"]["x-md-global-assertion"].as_array().unwrap();
    assert_eq!(values.len(), 1);
    let (signed, signature) = values[0].as_str().unwrap().rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let json = |part: &str| serde_json::from_slice(&decode(part)).unwrap();
    (json(header), json(claims), signed.to_owned(), decode(signature))
}

fn says_who_and_what(claims: &Value) {
    for (name, expected) in [
        ("iss", "portcullis"),
        ("aud", "echo"),
        ("tid", "00000000-0000-0000-0000-000000000001"),
        ("htm", "GET"),
        ("htu", "/demo/me"),
        ("host", "acme.localhost"),
        ("cip", "127.0.0.1"),
    ] {
        assert_eq!(claims[name], expected, "{name}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
}

#[tokio::test]
async fn an_upstream_verifies_by_its_own_key_or_by_the_fleets() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let member = node.login("acme", "member").await.access;
    let ask = async |method: Method, path: &str, body: Option<&Value>| -> Value {
        let request = node.admin(method, path).bearer_auth(&staff);
        let request = if let Some(body) = body { request.json(body) } else { request };
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    };
    let list = ask(Method::GET, "/v1/upstreams", None).await;
    let upstream = list["items"].as_array().unwrap().iter().find(|item| item["name"] == "echo").unwrap().clone();
    let path = format!("/v1/upstreams/{}", upstream["id"].as_str().unwrap());

    // HMAC: the operator of the upstream has the key, and nobody else.
    let (header, claims, signed, signature) = assertion(&node, &member).await;
    let key = ask(Method::GET, &format!("{path}/assertion-key"), None).await;
    assert_eq!((&header["alg"], &header["kid"]), (&json!("HS256"), &key["kid"]));
    says_who_and_what(&claims);
    let secret = URL_SAFE_NO_PAD.decode(key["key"].as_str().unwrap()).unwrap();
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
    aws_lc_rs::hmac::verify(&secret, signed.as_bytes(), &signature).unwrap();

    // EdDSA: anybody can verify, by the published keys.
    let mut changed = upstream.clone();
    changed["assertion"] = json!("eddsa");
    for read_only in ["id", "created_at", "updated_at"] {
        changed.as_object_mut().unwrap().remove(read_only);
    }
    ask(Method::PUT, &format!("{path}?wait=applied"), Some(&changed)).await;
    let (header, claims, signed, signature) = assertion(&node, &member).await;
    assert_eq!(header["alg"], "EdDSA");
    says_who_and_what(&claims);
    let published = node.get("acme.localhost", "/.well-known/portcullis-assertion-jwks.json").send().await.unwrap();
    let jwks = authn::Jwks::parse(&published.json().await.unwrap()).unwrap();
    let key = jwks.key(header["kid"].as_str().unwrap()).unwrap();
    assert!(key.verifies(signed.as_bytes(), &signature));
    assert!(!key.verifies(b"another request", &signature));
}
