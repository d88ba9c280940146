//! Threats D: there is no door beside the decision.

use testkit::raw::Connection;

use crate::support::{ACME, ACME_ID, Ask, BOTH, Fixture};

#[tokio::test]
async fn d1_no_upgrade_passes_undecided() {
    let fixture = Fixture::start().await;
    for upgrade in ["x", "h2c", "websocket", "WebSocket, h2c", "TLS/1.0"] {
        for connection in ["", "Connection: Upgrade\r\n", "Connection: Upgrade, HTTP2-Settings\r\n"] {
            let request = format!(
                "GET /orders HTTP/1.1\r\nHost: {ACME}\r\nUpgrade: {upgrade}\r\n{connection}\
                 HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            );
            let response = fixture.raw(request.as_bytes()).await;
            assert!(matches!(response.status, 400 | 401), "{upgrade} {connection:?}: {response:?}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn d1_only_websocket_upgrades_are_forwarded() {
    let fixture = Fixture::start().await;
    for upgrade in ["h2c", "x", "TLS/1.0"] {
        let request =
            format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n");
        let response = fixture.raw(request.as_bytes()).await;
        if response.status == 200 {
            let arrived = fixture.canary.next().await;
            assert_eq!(arrived.header("upgrade"), Vec::<&str>::new(), "{upgrade}");
        } else {
            assert_eq!(response.status, 400, "{upgrade}");
        }
    }
}

#[tokio::test]
async fn a_decided_websocket_goes_both_ways_with_its_identity() {
    let fixture = Fixture::start().await;
    let token = fixture.token(ACME_ID, &["member"]);
    fixture.canary.answer_next(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-md-evil: 1\r\n\r\nhello",
    );
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let request = format!(
        "GET /echo/socket HTTP/1.1\r\nHost: {ACME}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         x-md-global-user-id: evil\r\n\r\n"
    );
    client.send(request.as_bytes()).await.unwrap();
    let answer = String::from_utf8_lossy(&client.response().await.unwrap()).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(!answer.contains("x-md-evil"), "{answer}");
    let arrived = fixture.canary.next().await;
    assert_eq!(arrived.header("x-md-global-tenant-id"), [ACME_ID]);
    assert_eq!(arrived.header("upgrade"), ["websocket"]);
    client.send(b"ping from the client").await.unwrap();
    client.finish().await.unwrap();
    testkit::eventually("the client's bytes at the upstream", async || {
        fixture.canary.leftovers().concat().ends_with(b"ping from the client")
    })
    .await;
}

/// cloudflare/pingora#946: of forty, a few were cut off at once.
#[tokio::test]
async fn an_upstream_that_switches_at_once_gets_its_websocket() {
    let fixture = Fixture::start().await;
    let request =
        format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    for number in 0..40 {
        fixture
            .canary
            .answer_next("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        let answer = client.exchange(request.as_bytes()).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{number}: {}", String::from_utf8_lossy(&answer));
        let message = format!("from client {number}");
        client.send(message.as_bytes()).await.unwrap();
        client.finish().await.unwrap();
        testkit::eventually("the client's bytes at the upstream", async || {
            fixture.canary.leftovers().iter().any(|bytes| bytes.ends_with(message.as_bytes()))
        })
        .await;
        assert!(client.rest().await.unwrap().ends_with(b"hello"));
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_switch_answers_as_any() {
    let fixture = Fixture::start().await;
    let ask = Ask::get("/public/x").header("connection", "upgrade").header("upgrade", "websocket");
    for _ in 0..3 {
        let reply = fixture.ask(crate::support::Protocol::Http1, &ask).await;
        assert_eq!((reply.status, reply.body.as_slice()), (Some(200), &b"canary"[..]));
    }
    assert_eq!(fixture.canary.connections(), 3, "they are not shared");
}

#[tokio::test]
async fn d2_nothing_exempts_a_request_from_the_decision() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for agent in ["kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0"] {
            assert_eq!(fixture.ask(protocol, &Ask::get("/orders").header("user-agent", agent)).await.status, Some(401));
        }
        for path in ["/healthz", "/readyz", "/metrics", "/favicon.ico", "/.well-known/acme-challenge/x"] {
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            assert!(matches!(reply.status, Some(401 | 404)), "{protocol:?} {path}: {reply:?}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn d8_no_other_method_and_no_override_is_served() {
    let fixture = Fixture::start().await;
    for method in ["TRACE", "get", "PROPFIND", "X"] {
        let reply = fixture.ask(crate::support::Protocol::Http1, &Ask::get("/public/x").method(method)).await;
        assert!(matches!(reply.status, Some(400 | 405)), "{method}: {reply:?}");
        // RFC 9110 §15.5.6.
        let allowed = (reply.status == Some(405)).then_some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        assert_eq!(reply.header("allow"), allowed, "{method}");
    }
    let connect = fixture.raw(b"CONNECT acme.example.test:443 HTTP/1.1\r\nHost: acme.example.test\r\n\r\n").await;
    assert!(matches!(connect.status, 0 | 400 | 405), "{connect:?}");
    fixture.canary.assert_silent();
    for protocol in BOTH {
        let ask = Ask::get("/public/x").header("x-http-method-override", "DELETE");
        assert_eq!(fixture.ask(protocol, &ask).await.status, Some(200));
        let arrived = fixture.canary.next().await;
        assert_eq!((arrived.method.as_str(), arrived.header("x-http-method-override").len()), ("GET", 0));
    }
}
