//! Threats R6: how large a request may be, over either protocol.

use domain::ByteSize;
use testkit::{
    Canary, TestCa,
    raw::{Connection, Response},
};

use crate::support::{ACME, Ask, BOTH, Fixture, Protocol, config};

/// A service with a route of a limit of its own.
const NARROW: &str = r#"      - { path: /narrow/**, access: public, max_body: 8B }"#;

async fn start() -> Fixture {
    let mut config = config();
    config.connections.max_body = ByteSize::from_bytes(1000);
    config.connections.max_fields = 40;
    config.connections.max_head = ByteSize::from_bytes(8 << 10);
    config.connections.max_target = ByteSize::from_bytes(2 << 10);
    let canary = Canary::start().await;
    let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
    Fixture::configured(config, canary, TestCa::new(), &upstream, NARROW).await
}

#[tokio::test]
async fn r6_a_body_that_says_that_it_is_too_large_is_not_begun() {
    let fixture = start().await;
    for protocol in BOTH {
        for (path, bytes) in [("/public/x", 1001), ("/narrow/x", 9)] {
            let (body, length) = (vec![b'x'; bytes], bytes.to_string());
            let ask = Ask::get(path).method("POST").body(&body);
            let ask = if protocol == Protocol::Http2 { ask.header("content-length", &length) } else { ask };
            let reply = fixture.ask(protocol, &ask).await;
            assert_eq!((reply.status, reply.code().as_str()), (Some(413), "body_too_large"), "{protocol:?} {path}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn r6_a_body_that_becomes_too_large_is_cut_off() {
    let fixture = start().await;
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let head = format!("POST /narrow/x HTTP/1.1\r\nHost: {ACME}\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(head.as_bytes()).await.unwrap();
    client.send(b"4\r\nhalf\r\n").await.unwrap();
    client.send(b"5\r\n-more\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(Response::parse(&client.response().await.unwrap()).status, 413);
    let reply = fixture.ask(Protocol::Http2, &Ask::get("/narrow/x").method("POST").body(b"123456789")).await;
    assert_eq!(reply.status, Some(413));
    assert!(fixture.canary.requests().is_empty(), "no whole request arrived");
    let seen = fixture.canary.leftovers().concat();
    assert!(!seen.windows(5).any(|window| window == b"-more"), "what is too much is not sent on");
}

#[tokio::test]
async fn a_body_of_just_the_size_arrives() {
    let fixture = start().await;
    for protocol in BOTH {
        for (path, bytes) in [("/public/x", 1000), ("/narrow/x", 8)] {
            let body = vec![b'x'; bytes];
            let reply = fixture.ask(protocol, &Ask::get(path).method("POST").body(&body)).await;
            assert_eq!(reply.status, Some(200), "{protocol:?} {path}");
            assert_eq!(fixture.canary.next().await.body.len(), bytes);
        }
    }
}

#[tokio::test]
async fn r6_a_head_of_too_many_or_too_large_fields_is_431() {
    let fixture = start().await;
    let large = "x".repeat(9 << 10);
    for protocol in BOTH {
        let many = (0..50).fold(Ask::get("/public/x"), |ask, n| ask.header(&format!("x-{n}"), "1"));
        for ask in [many, Ask::get("/public/x").header("x-large", &large)] {
            assert_eq!(fixture.ask(protocol, &ask).await.status, Some(431), "{protocol:?}");
        }
        // A limit of the library that no setting reaches.
        let bomb = (0..300).fold(Ask::get("/public/x"), |ask, n| ask.header(&format!("x-{n}"), "1"));
        assert_eq!(fixture.ask(protocol, &bomb).await.status, Some(431), "{protocol:?}");
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn r6_a_head_without_an_end_is_431_and_a_target_without_one_414() {
    let fixture = start().await;
    for (begin, status, code) in [
        (format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\nX-Endless: "), 431, "head_too_large"),
        ("GET /public/".to_owned(), 414, "target_too_long"),
    ] {
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        client.send(begin.as_bytes()).await.unwrap();
        for _ in 0..40 {
            // The other end has enough at some point.
            drop(client.send(&[b'x'; 1024]).await);
        }
        let response = Response::parse(&client.response().await.unwrap());
        assert_eq!((response.status, response.json()["code"].as_str()), (status, Some(code)));
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn r6_a_target_that_is_too_long_is_414() {
    let fixture = start().await;
    let path = format!("/public/{}", "x".repeat(2 << 10));
    for protocol in BOTH {
        let reply = fixture.ask(protocol, &Ask::get(&path)).await;
        assert_eq!((reply.status, reply.code().as_str()), (Some(414), "target_too_long"), "{protocol:?}");
    }
    fixture.canary.assert_silent();
}
