//! Threats R6: nobody holds a connection by sending slowly, and nobody honest is hurried.

use std::time::Duration;

use domain::HumanDuration;
use gateway::GatewayConfig;
use testkit::{
    Canary, TestCa,
    raw::{Connection, Http2, Http2Request, Response, tls_connect},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::support::{ACME, Ask, BOTH, Fixture, Protocol, config, http1};

/// Between two bytes of who drips: far less than any limit.
const DRIP: Duration = Duration::from_millis(10);

/// Long enough for everything a test waits for.
const PATIENCE: Duration = testkit::PATIENCE;

async fn with(change: impl FnOnce(&mut GatewayConfig)) -> Fixture {
    let mut config = config();
    change(&mut config);
    let canary = Canary::start().await;
    let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
    Fixture::configured(config, canary, TestCa::new(), &upstream, "").await
}

fn short() -> HumanDuration {
    HumanDuration::from_millis(300)
}

/// Sends a byte at a time until the other end does not take it any more, or has long had enough.
async fn drip(client: &mut Connection) {
    for _ in 0..100 {
        if client.send(b"x").await.is_err() {
            return;
        }
        sleep(DRIP).await;
    }
}

#[tokio::test]
async fn r6_a_head_that_drips_in_is_answered_408_on_either_listener() {
    let fixture = with(|config| config.connections.header_timeout = short()).await;
    for tls in [true, false] {
        let mut client = match tls {
            true => Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap(),
            false => Connection::plain(fixture.edge.http()[0]).await.unwrap(),
        };
        client.send(format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\nX-Slow: ").as_bytes()).await.unwrap();
        drip(&mut client).await;
        let response = Response::parse(&client.response().await.unwrap());
        assert_eq!((response.status, response.json()["code"].as_str()), (408, Some("request_timeout")));
        assert_eq!(response.header("x-request-id"), response.json()["request_id"].as_str());
        assert_eq!(client.rest().await.unwrap(), b"", "the connection is over");
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn r6_who_says_nothing_is_let_go() {
    let fixture = with(|config| config.connections.header_timeout = short()).await;
    for alpn in ["http/1.1", "h2"] {
        let mut client = tls_connect(fixture.https(), ACME, &fixture.ca.ca_pem(), &[alpn], None).await.unwrap();
        let mut heard = Vec::new();
        // However it ends: HTTP/2 may say GOAWAY first.
        timeout(PATIENCE, client.read_to_end(&mut heard)).await.expect(alpn).unwrap_or_default();
    }
}

#[tokio::test]
async fn r6_an_http2_preface_that_drips_in_is_cut_off() {
    let fixture = with(|config| config.connections.header_timeout = short()).await;
    let mut client = tls_connect(fixture.https(), ACME, &fixture.ca.ca_pem(), &["h2"], None).await.unwrap();
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".iter().chain([0; 60].iter()) {
        if client.write_all(&[*byte]).await.is_err() {
            break;
        }
        sleep(DRIP).await;
    }
    let mut heard = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut heard)).await.unwrap().unwrap_or_default();
}

#[tokio::test]
async fn r6_an_idle_connection_is_closed_over_either_protocol() {
    let fixture = with(|config| config.connections.idle_timeout = short()).await;
    let mut kept = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let asked = format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\nKeep-Alive: timeout=86400\r\n\r\n");
    assert_eq!(Response::parse(&kept.exchange(asked.as_bytes()).await.unwrap()).status, 200);
    assert_eq!(kept.rest().await.unwrap(), b"");
    let mut http2 = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    assert_eq!(http2.send(&Http2Request::get(ACME, "/public/x")).await.unwrap().status(), Some(200));
    http2.closed().await.unwrap();
}

#[tokio::test]
async fn a_connection_is_kept_between_requests_and_while_one_is_served() {
    let fixture = with(|config| config.connections.header_timeout = short()).await;
    let request = http1(&Ask::get("/public/x"));
    let mut kept = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    for _ in 0..3 {
        assert_eq!(Response::parse(&kept.exchange(&request).await.unwrap()).status, 200);
        // What a head may take is no measure of the time between two.
        sleep(short().get() * 2).await;
    }
}

#[tokio::test]
async fn a_connection_has_its_number_of_requests() {
    let fixture = with(|config| config.connections.max_requests = 2).await;
    let request = http1(&Ask::get("/public/x"));
    let mut kept = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    for _ in 0..2 {
        assert_eq!(Response::parse(&kept.exchange(&request).await.unwrap()).status, 200);
    }
    assert_eq!(kept.rest().await.unwrap(), b"");
    let mut http2 = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(http2.send(&Http2Request::get(ACME, "/public/x")).await.unwrap().status(), Some(200));
    }
    let code = http2.closed().await.unwrap();
    assert!(matches!(code, None | Some(0)), "RFC 9113 §6.8: without an error, not {code:?}");
}

#[tokio::test]
async fn r6_a_tls_handshake_that_drips_in_is_cut_off() {
    let fixture = with(|config| config.connections.handshake_timeout = short()).await;
    let mut client = TcpStream::connect(fixture.https()).await.unwrap();
    // A record of a handshake that will be 512 bytes long, one day.
    for byte in [0x16, 3, 1, 2, 0, 1, 0].into_iter().chain([0; 80]) {
        if client.write_all(&[byte]).await.is_err() {
            break;
        }
        sleep(DRIP).await;
    }
    let mut heard = Vec::new();
    timeout(PATIENCE, client.read_to_end(&mut heard)).await.unwrap().unwrap_or_default();
}

#[tokio::test]
async fn r6_a_body_that_stops_coming_is_answered_408() {
    let fixture = with(|config| config.connections.body_timeout = short()).await;
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    client
        .send(format!("POST /public/x HTTP/1.1\r\nHost: {ACME}\r\nContent-Length: 10\r\n\r\nhalf").as_bytes())
        .await
        .unwrap();
    let response = Response::parse(&client.response().await.unwrap());
    assert_eq!((response.status, response.json()["code"].as_str()), (408, Some("request_timeout")));
}

#[tokio::test]
async fn r6_a_body_that_stops_coming_ends_its_http2_stream_and_no_other() {
    let fixture = with(|config| config.connections.body_timeout = short()).await;
    let mut client = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    let fields = [(":method", "POST"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
    client.begin(&Http2Request::new(&fields)).await.unwrap();
    testkit::eventually("it is on its way", async || fixture.canary.connections() > 0).await;
    fixture.clock.advance(short().get() * 2);
    testkit::eventually("it is refused", async || {
        let (_, metrics) = crate::status::get(&fixture, "/metrics").await;
        metrics.contains("requests_total{decision=\"request_timeout\"} 1")
    })
    .await;
    assert_eq!(client.send(&Http2Request::get(ACME, "/public/y")).await.unwrap().status(), Some(200));
}

#[tokio::test]
async fn r6_a_body_that_drips_in_is_ended_over_either_protocol() {
    let fixture = with(|config| config.connections.body_timeout = HumanDuration::from_secs(5)).await;
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let head = format!("POST /public/x HTTP/1.1\r\nHost: {ACME}\r\nContent-Length: 1000\r\n\r\n");
    client.send(head.as_bytes()).await.unwrap();
    for _ in 0..100 {
        fixture.clock.advance(Duration::from_secs(1));
        if client.send(b"x").await.is_err() {
            break;
        }
        sleep(DRIP).await;
    }
    assert_eq!(Response::parse(&client.response().await.unwrap()).status, 408);
    let mut client = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    let fields = [(":method", "POST"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
    let stream = client.begin(&Http2Request::new(&fields)).await.unwrap();
    for _ in 0..100 {
        fixture.clock.advance(Duration::from_secs(1));
        if client.send_frame(0, 0, stream, b"x").await.is_err() {
            break;
        }
        sleep(DRIP).await;
    }
    testkit::eventually("both are refused", async || {
        let (_, metrics) = crate::status::get(&fixture, "/metrics").await;
        metrics.contains("requests_total{decision=\"request_timeout\"} 2")
    })
    .await;
}

#[tokio::test]
async fn r6_who_takes_nothing_of_a_response_is_cut_off_over_either_protocol() {
    let fixture = with(|config| config.connections.write_timeout = short()).await;
    let large = format!("HTTP/1.1 200 OK\r\ncontent-length: 33554432\r\n\r\n{}", "x".repeat(32 << 20));
    let over = async |what: &str| {
        testkit::eventually(what, async || {
            crate::status::get(&fixture, "/metrics").await.1.contains("active_requests 0")
        })
        .await;
    };
    fixture.canary.answer_next(large.clone());
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    client.send(&http1(&Ask::get("/public/x"))).await.unwrap();
    fixture.canary.next().await;
    over("HTTP/1.1 is cut off").await;
    fixture.canary.answer_next(large);
    let mut http2 = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    http2.begin_bare(&Http2Request::get(ACME, "/public/y")).await.unwrap();
    fixture.canary.next().await;
    over("HTTP/2 is cut off").await;
    drop((client, http2));
}

#[tokio::test]
async fn a_slow_but_honest_upload_passes_whatever_the_limits_of_its_parts() {
    let fixture = with(|config| {
        config.connections.header_timeout = short();
        config.connections.idle_timeout = short();
        config.connections.body_timeout = short();
    })
    .await;
    let pieces = 15;
    let piece = vec![b'x'; 64 * 1024];
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let length = pieces * piece.len();
    client
        .send(format!("POST /public/x HTTP/1.1\r\nHost: {ACME}\r\nContent-Length: {length}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    for _ in 0..pieces {
        client.send(&piece).await.unwrap();
        fixture.clock.advance(short().get() / 3);
        sleep(short().get() / 3).await;
    }
    assert_eq!(Response::parse(&client.response().await.unwrap()).status, 200);
    assert_eq!(fixture.canary.next().await.body.len(), length);
}

#[tokio::test]
async fn an_upstream_may_take_its_time_over_either_protocol() {
    let fixture = with(|config| {
        config.connections.header_timeout = short();
        config.connections.idle_timeout = short();
        config.connections.body_timeout = short();
    })
    .await;
    for protocol in BOTH {
        fixture.canary.answer_after(short().get() * 3);
        let reply = fixture.ask(protocol, &Ask::get("/public/x").method("POST").body(b"all of it")).await;
        assert_eq!(reply.status, Some(200), "{protocol:?}");
    }
}

#[tokio::test]
async fn r6_who_asks_again_and_again_and_reads_nothing_is_cut_off() {
    let fixture = with(|config| config.connections.write_timeout = short()).await;
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let field = format!("x-large: {}", "x".repeat(200 << 10));
    // Heads only: these no hook has a time for. At some point all buffers on the way are full.
    for asked in 1..1_000 {
        fixture.canary.answer_next(format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 0\r\n\r\n"));
        if client.send(&http1(&Ask::get("/public/x"))).await.is_err() {
            break;
        }
        let arrived = async {
            while fixture.canary.requests().len() < asked {
                sleep(DRIP).await;
            }
        };
        if timeout(short().get() * 4, arrived).await.is_err() {
            break;
        }
    }
    testkit::eventually("it is cut off", async || {
        crate::status::get(&fixture, "/metrics").await.1.contains("active_requests 0")
    })
    .await;
    drop(client);
    assert_eq!(fixture.ask(Protocol::Http1, &Ask::get("/orders")).await.status, Some(401));
}

#[tokio::test]
async fn a_websocket_may_be_silent_for_longer_than_a_body() {
    let fixture = with(|config| config.connections.body_timeout = short()).await;
    fixture.canary.answer_next(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    );
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    client.send(format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\n{upgrade}\r\n").as_bytes()).await.unwrap();
    assert_eq!(Response::parse(&client.response().await.unwrap()).status, 101);
    sleep(short().get() * 4).await;
    client.send(b"still there").await.unwrap();
    client.finish().await.unwrap();
    testkit::eventually("what comes after the silence", async || {
        fixture.canary.leftovers().concat().ends_with(b"still there")
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_heard_by_who_is_still_sending() {
    let fixture = Fixture::start().await;
    for (path, status) in [("/orders/1", 401), ("/nowhere", 401), ("/a/../b", 400)] {
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        let head = format!("POST {path} HTTP/1.1\r\nHost: {ACME}\r\nContent-Length: 8000000\r\n\r\n");
        client.send(head.as_bytes()).await.unwrap();
        for _ in 0..40 {
            if client.send(&[b'x'; 16 << 10]).await.is_err() {
                break;
            }
        }
        assert_eq!(Response::parse(&client.response().await.unwrap()).status, status, "{path}");
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn what_cannot_be_parsed_is_answered_in_our_form() {
    let fixture = Fixture::start().await;
    for (request, status, code) in [
        ("GET /public/x HTTP/1.1\r\nHost acme\r\n\r\n", 400, "request_malformed"),
        ("nonsense\r\n\r\n", 400, "request_malformed"),
        ("CONNECT acme.example.test:443 HTTP/1.1\r\nHost: acme.example.test:443\r\n\r\n", 405, "method_not_allowed"),
    ] {
        let response = fixture.raw(request.as_bytes()).await;
        assert_eq!((response.status, response.json()["code"].as_str()), (status, Some(code)), "{request}");
        assert_eq!(response.header("content-type"), Some("application/problem+json"), "{request}");
        assert_eq!(response.header("x-request-id"), response.json()["request_id"].as_str(), "{request}");
        assert_eq!(response.header("server"), None, "{request}");
    }
    assert_eq!(fixture.ask(Protocol::Http1, &Ask::get("/public/x")).await.status, Some(200));
}
