//! Threats R2, R4 and S4 where a connection changes its protocol, or is asked to.

use testkit::raw::{Connection, Http2, Http2Request, Response};

use crate::support::{ACME, ACME_ID, Fixture};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: acme.example.test\r\nx-md-global-user-id: evil\r\n\r\n";

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Nothing that came behind the request has reached the upstream.
fn assert_nothing_smuggled(fixture: &Fixture) {
    for arrived in fixture.canary.requests() {
        assert_ne!(arrived.target, "/smuggled");
        assert!(!String::from_utf8_lossy(&arrived.raw).contains("/smuggled"), "{arrived:?}");
    }
    let rest = fixture.canary.leftovers().concat();
    assert!(!String::from_utf8_lossy(&rest).contains("/smuggled"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn r2_bytes_behind_an_upgrade_that_is_not_granted_go_nowhere() {
    let fixture = Fixture::start().await;
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ] {
        fixture.canary.answer_next(answer);
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        client
            .send(format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\n{WEBSOCKET}\r\n{SMUGGLED}").as_bytes())
            .await
            .unwrap();
        let response = Response::parse(&client.response().await.unwrap());
        assert_ne!(response.status, 101);
        // Had it been kept for later, the next request would push it out.
        drop(client.rest().await);
        let next = fixture.raw(format!("GET /public/next HTTP/1.1\r\nHost: {ACME}\r\n\r\n").as_bytes()).await;
        assert_eq!((next.status, next.text().as_str()), (200, "canary"));
    }
    assert_nothing_smuggled(&fixture);
}

#[tokio::test]
async fn r2_an_upgrade_that_nobody_asked_for_is_a_502() {
    let fixture = Fixture::start().await;
    fixture.canary.answer_next("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    let response = fixture.raw(format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\n\r\n").as_bytes()).await;
    assert_eq!(response.status, 502);
}

#[tokio::test]
async fn r4_a_body_behind_connect_is_no_request() {
    let fixture = Fixture::start().await;
    for framing in ["", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        let connect = format!("CONNECT {ACME}:443 HTTP/1.1\r\nHost: {ACME}:443\r\n{framing}\r\n{SMUGGLED}");
        client.send(connect.as_bytes()).await.unwrap();
        let response = Response::parse(&client.response().await.unwrap());
        assert_eq!((response.status, response.json()["code"].as_str()), (405, Some("method_not_allowed")));
        assert_eq!(client.rest().await.unwrap(), b"", "what follows is not answered");
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn r4_connect_over_http2_is_refused_with_and_without_a_protocol() {
    let fixture = Fixture::start().await;
    let plain = Http2Request::new(&[(":method", "CONNECT"), (":authority", "acme.example.test:443")]);
    let extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", ACME),
        (":path", "/public/x"),
    ];
    for request in [plain, Http2Request::new(&extended)] {
        let mut connection = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
        let outcome = connection.send(&request.body(SMUGGLED.as_bytes())).await.unwrap();
        assert!(!matches!(outcome.status(), Some(200..=299)), "{outcome:?}");
    }
    fixture.canary.assert_silent();
    let mut next = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    assert_eq!(next.send(&Http2Request::get(ACME, "/public/x")).await.unwrap().status(), Some(200));
}

#[tokio::test]
async fn s4_a_nomination_on_an_upgrade_takes_no_trusted_header_away() {
    let fixture = Fixture::start().await;
    let token = fixture.token(ACME_ID, &["member"]);
    for name in ["x-md-global-user-id", "x-md-global-tenant-id", "x-request-id", "authorization", "x-forwarded-host"] {
        fixture.canary.answer_next(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        );
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        let upgrade = WEBSOCKET.replace("Connection: Upgrade", &format!("Connection: Upgrade, {name}"));
        let request = format!(
            "GET /echo/socket HTTP/1.1\r\nHost: {ACME}\r\nAuthorization: Bearer {token}\r\n{upgrade}\
             x-md-global-user-id: evil\r\nx-forwarded-host: evil\r\n\r\n"
        );
        client.send(request.as_bytes()).await.unwrap();
        let status = Response::parse(&client.response().await.unwrap()).status;
        if status == 400 {
            continue;
        }
        assert_eq!(status, 101, "{name}");
        let arrived = fixture.canary.next().await;
        assert_eq!(arrived.header("x-md-global-tenant-id"), [ACME_ID], "{name}");
        assert_eq!(arrived.header("x-forwarded-host"), [ACME], "{name}");
        assert_eq!(arrived.header("x-md-global-user-id").len(), 1, "{name}");
        assert!(!String::from_utf8_lossy(&arrived.head).contains("evil"), "{name}");
    }
}
