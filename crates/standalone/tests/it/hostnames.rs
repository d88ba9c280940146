//! Hostnames of customers at the edge: served from the moment they are proven, and no longer than they are.

use std::net::SocketAddr;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{DnsServer, TestCa, eventually};

use crate::node::{Node, command, problem};

const SHOP: &str = "shop.customer.test";

/// A node that asks a name server, and looks again every second.
fn node(dns: &DnsServer, grace: &str) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let mut start = command(folder.path());
    start
        .env("PORTCULLIS_CONTROL_API__DNS__RESOLVERS", format!("[\"{}\"]", dns.address()))
        .env("PORTCULLIS_CONTROL_API__DNS__TIMEOUT", "500ms")
        .env("PORTCULLIS_CONTROL_API__PROOFS__RECHECK", "1s")
        .env("PORTCULLIS_CONTROL_API__PROOFS__GRACE", grace);
    Node::started(start, folder)
}

/// What a client gets that asks for the hostname: the status, or none where the handshake is refused.
async fn served(edge: SocketAddr, ca: &TestCa) -> Option<u16> {
    let request = format!("GET /demo/public/x HTTP/1.1\r\nhost: {SHOP}\r\nconnection: close\r\n\r\n");
    let answer = testkit::raw::tls_http1(edge, SHOP, &ca.ca_pem(), request.as_bytes()).await.ok()?;
    let head = String::from_utf8_lossy(&answer).into_owned();
    head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[tokio::test]
async fn a_hostname_is_served_once_it_is_proven_and_no_more_when_its_proof_is_gone() {
    let dns = DnsServer::start().await;
    let node = node(&dns, "0s");
    let (staff, admin) = (node.staff().await.access, node.login("acme", "admin").await.access);
    let (edge, ca) = (node.address("edge_https"), TestCa::new());

    // Claimed through the edge, with a certificate that waits for it.
    let body = json!({ "hostname": SHOP });
    let claim = node.edge(Method::POST, "acme.localhost", "/v1/hostnames").bearer_auth(&admin).json(&body);
    let claim = claim.send().await.unwrap();
    assert_eq!(claim.status(), StatusCode::CREATED);
    let claim: Value = claim.json().await.unwrap();
    let leaf = ca.leaf(&[SHOP]);
    let path = format!("/v1/hostnames/{}", claim["id"].as_str().unwrap());
    let body = json!({ "chain_pem": leaf.chain_pem, "key_pem": leaf.key_pem });
    let put = node.admin(Method::PUT, &format!("{path}/certificate?wait=applied")).bearer_auth(&staff).json(&body);
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(served(edge, &ca).await, None, "no certificate is shown for what is not proven");
    let plain = format!("GET / HTTP/1.1\r\nhost: {SHOP}\r\nconnection: close\r\n\r\n");
    let plain = testkit::raw::http1(node.address("edge_http"), plain.as_bytes()).await.unwrap();
    assert!(plain.starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&plain));

    let record = claim["proof"]["record"].as_str().unwrap();
    let proof = format!("{record}. 1 TXT \"{}\"", claim["proof"]["value"].as_str().unwrap());
    let verify = |wait: &str| {
        let path = format!("{path}/verify{wait}");
        node.edge(Method::POST, "acme.localhost", &path).bearer_auth(&admin).send()
    };
    let missing: Value = verify("").await.unwrap().json().await.unwrap();
    assert_eq!((&missing["verify_state"], &missing["proof"]["failure"]), (&json!("failed"), &json!("record_missing")));
    assert_eq!(served(edge, &ca).await, None);
    dns.serve(&[&proof]);
    let verified: Value = verify("?wait=applied").await.unwrap().json().await.unwrap();
    assert_eq!(verified["verify_state"], "verified", "{verified}");
    assert_eq!(served(edge, &ca).await, Some(200), "it offers what the tenant's hostnames offer");

    // Nobody has to say so: the next look finds it gone, and the edge stops.
    dns.serve(&[]);
    eventually("the edge to stop", async || served(edge, &ca).await.is_none()).await;
    dns.serve(&[&proof]);
    eventually("the edge to serve again", async || served(edge, &ca).await == Some(200)).await;

    // Given up, it is gone with the answer.
    let gone = node.edge(Method::DELETE, "acme.localhost", &path).bearer_auth(&admin).send().await.unwrap();
    assert!(gone.status().is_success(), "{}", gone.status());
    eventually("the edge to stop", async || served(edge, &ca).await.is_none()).await;
}

#[tokio::test]
async fn a_name_server_that_is_cut_off_takes_no_hostname_away() {
    let dns = DnsServer::start().await;
    let node = node(&dns, "0s");
    let (staff, admin) = (node.staff().await.access, node.login("acme", "admin").await.access);
    let body = json!({ "hostname": SHOP });
    let claim = node.admin(Method::POST, "/v1/hostnames").bearer_auth(&admin).json(&body).send().await.unwrap();
    let claim: Value = claim.json().await.unwrap();
    let record = claim["proof"]["record"].as_str().unwrap();
    dns.serve(&[&format!("{record}. 1 TXT \"{}\"", claim["proof"]["value"].as_str().unwrap())]);
    let path = format!("/v1/hostnames/{}", claim["id"].as_str().unwrap());
    let verify = node.admin(Method::POST, &format!("{path}/verify")).bearer_auth(&admin).send().await.unwrap();
    assert_eq!(verify.status(), StatusCode::OK);
    dns.fall_silent().await;
    let read = async || -> Value {
        node.admin(Method::GET, &path).bearer_auth(&staff).send().await.unwrap().json().await.unwrap()
    };
    eventually("a look that nobody answers", async || read().await["proof"]["failure"] == "dns_unavailable").await;
    let looked = read().await["proof"]["checked_at"].clone();
    eventually("another", async || read().await["proof"]["checked_at"] != looked).await;
    assert_eq!(read().await["verify_state"], "verified");
    dns.speak();
    eventually("an answer", async || read().await["proof"]["failure"].is_null()).await;
}

#[tokio::test]
async fn every_hostname_of_a_node_says_where_people_sign_in() {
    let node = Node::start();
    let realm: Value = node.get("acme.localhost", "/api/v1/realm.json").send().await.unwrap().json().await.unwrap();
    assert_eq!((&realm["realm"], &realm["clientId"]), (&json!("acme"), &json!("controller")));
    assert!(realm["endpoint"].as_str().unwrap().starts_with("https://acme.localhost"));
    let post = node.edge(Method::POST, "acme.localhost", "/api/v1/realm.json");
    assert_eq!(problem(post).await, (401, "credential_missing".into()), "it is only read");
}
