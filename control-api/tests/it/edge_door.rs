//! The `public` listener: nothing without the edge's assertion, nothing but what the assertion says.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{PASSWORD, World, get, post};

const LOGIN: &str = "/api/v1/tenant/auth/login";
const INFO: &str = "/api/v1/tenant/auth/info";

#[tokio::test]
async fn refuses_what_did_not_come_through_the_edge() {
    let world = World::new().await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    post(LOGIN, &body).host("acme.localhost").send(&world.public).await.refused(403, "assertion_invalid");
    get(INFO).send(&world.public).await.refused(403, "assertion_invalid");
    get("/healthz").send(&world.public).await.expect(200);
    get("/readyz").send(&world.public).await.expect(200);
}

#[tokio::test]
async fn signs_in_at_the_asserted_hostname_whatever_the_host_header_says() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.tenant(&staff, "globex").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    let assertion = world.assertion("POST", LOGIN, "acme.localhost", Some(&tenant)).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let call = post(LOGIN, &body).host("globex.localhost").header("x-md-global-assertion", &assertion);
    let answer = call.header("x-forwarded-host", "globex.localhost").send(&world.public).await.expect(200);
    assert_eq!(answer.headers["x-request-id"], uuid::Uuid::from_u128(77).to_string());
}

#[tokio::test]
async fn an_identity_header_makes_nobody() {
    let world = World::new().await;
    let assertion = world.assertion("GET", INFO, "acme.localhost", None).await;
    let forged = get(INFO)
        .header("x-md-global-assertion", &assertion)
        .header("x-md-global-user-id", "00000000-0000-0000-0000-000000000001")
        .header("x-md-global-is-super-admin", "true");
    forged.send(&world.public).await.refused(401, "credential_missing");
}

#[tokio::test]
async fn a_token_of_another_tenant_is_refused_behind_the_hostname() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "ada", &["admin"]).await;
    let token = world.login("acme", "ada").await;
    let there = world.assertion("GET", INFO, "globex.localhost", Some(&globex)).await;
    let call = get(INFO).header("x-md-global-assertion", &there).bearer(&token);
    call.send(&world.public).await.refused(401, "issuer_unknown");
    let here = world.assertion("GET", INFO, "acme.localhost", Some(&acme)).await;
    get(INFO).header("x-md-global-assertion", &here).bearer(&token).send(&world.public).await.expect(200);
}

#[tokio::test]
async fn platform_operations_are_not_behind_the_edge() {
    let world = World::new().await;
    let staff = world.staff().await;
    let assertion = world.assertion("GET", "/v1/tenants", "acme.localhost", None).await;
    let call = get("/v1/tenants").header("x-md-global-assertion", &assertion).bearer(&staff);
    call.send(&world.public).await.refused(404, "route_not_found");
}

/// Sends a piece of a request and reads until an answer ends with `end`, or the connection does.
async fn exchange(connection: &mut TcpStream, pieces: &[&str], end: &str) -> String {
    for piece in pieces {
        connection.write_all(piece.as_bytes()).await.unwrap();
        connection.flush().await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    while !answer.ends_with(end.as_bytes()) && connection.read_buf(&mut answer).await.unwrap() > 0 {}
    String::from_utf8(answer).unwrap().to_lowercase()
}

#[tokio::test]
async fn a_connection_that_closes_after_a_refusal_says_so() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, world.admin.clone()).into_future());
    let head = "POST /v1/auth/step-up HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n";

    let mut connection = TcpStream::connect(address).await.unwrap();
    for _ in 0..20 {
        let answer = exchange(&mut connection, &[head, "{}"], "}").await;
        assert!(answer.starts_with("http/1.1 401") && !answer.contains("connection: close"), "{answer}");
    }
    let rest_never_comes = exchange(&mut connection, &[head], "\0").await;
    assert!(rest_never_comes.starts_with("http/1.1 401"), "{rest_never_comes}");
    assert!(rest_never_comes.contains("connection: close"), "{rest_never_comes}");
    server.abort();
}
