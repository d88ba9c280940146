//! Threats R1: one request in is one request out, or a refusal.

use testkit::raw::{Connection, Http2, Http2Request};

use crate::support::{ACME, Ask, BOTH, Fixture};

/// A request that must never be seen by the upstream as one of its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: acme.example.test\r\n\r\n";

#[tokio::test]
async fn r1_ambiguous_framing_is_refused_or_is_one_request() {
    let fixture = Fixture::start().await;
    let lines = [
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding : chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length: 99999999999999999999",
        ": x",
        "no colon at all",
        "X-A: 1\rX-B: 2",
        "X-A: 1\0",
        "X-A: 1\r\n folded",
    ];
    for line in lines {
        let request = format!("POST /public/x HTTP/1.1\r\nHost: {ACME}\r\n{line}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        client.send(request.as_bytes()).await.unwrap();
        drop(client.response().await);
        for arrived in fixture.canary.requests() {
            assert_eq!(arrived.target, "/public/x", "{line:?} smuggled a request");
        }
    }
}

/// Spellings of framing that one server or another has taken for `chunked`, or for a length.
const SPELLINGS: [&str; 40] = [
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding:  chunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding: cHuNkEd",
    "TRANSFER-ENCODING: CHUNKED",
    "Transfer-Encoding: chunked\t",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding : chunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "X: X\nTransfer-Encoding: chunked",
    "X: X\rTransfer-Encoding: chunked",
    "Transfer-Encoding:\n chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding\r\n: chunked",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: , chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: chunked-false",
    "Transfer-Encoding: chunked\0",
    "Transfer-Encoding: \0chunked",
    "Transfer-Encoding: \u{85}chunked",
    "Transfer-Encoding: \u{a0}chunked",
    "Transfer_Encoding: chunked",
    "Transfer.Encoding: chunked",
    "Transfer-Encoding: identity, chunked, identity",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "Content-Length:5\r\nContent_Length: 0",
    "Content-Length: 5\r\n Content-Length: 0",
    "Content-Length: 5 ",
    "Content-Length: 05",
    "Content-Length: 5;",
    "Content-Length: 5e0",
    "Content-Length\0: 5",
];

#[tokio::test]
async fn r1_every_spelling_of_a_coding_is_one_request_or_none() {
    let fixture = Fixture::start().await;
    for line in SPELLINGS {
        for version in ["1.1", "1.0"] {
            let request = format!("POST /public/x HTTP/{version}\r\nHost: {ACME}\r\n{line}\r\n\r\n0\r\n\r\n{SMUGGLED}");
            let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
            client.send(request.as_bytes()).await.unwrap();
            drop(client.response().await);
            // The oracle: a request of somebody else, over the same connection to the upstream, gets its own answer.
            fixture.canary.answer_next("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\noracle");
            let next = fixture.ask(crate::support::Protocol::Http1, &Ask::get("/public/oracle")).await;
            assert_eq!((next.status, next.body.as_slice()), (Some(200), &b"oracle"[..]), "{line:?} HTTP/{version}");
        }
    }
    for arrived in fixture.canary.requests() {
        assert!(matches!(arrived.target.as_str(), "/public/x" | "/public/oracle"), "{arrived:?}");
    }
    let rest = fixture.canary.leftovers().concat();
    assert!(!String::from_utf8_lossy(&rest).contains("GET /smuggled"), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn r1_bad_chunks_never_become_a_second_request() {
    let fixture = Fixture::start().await;
    for body in [
        "g\r\nx\r\n0\r\n\r\n",
        "2\nhi\n0\n\n",
        "ffffffffffffffffff\r\nhi",
        "-1\r\nhi\r\n0\r\n\r\n",
        "2 ;\r\nhiX\r\n0\r\n\r\n",
    ] {
        let request =
            format!("POST /public/x HTTP/1.1\r\nHost: {ACME}\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}");
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        client.send(request.as_bytes()).await.unwrap();
        drop(client.response().await);
        assert!(fixture.canary.requests().iter().all(|arrived| arrived.target == "/public/x"), "{body:?}");
    }
}

#[tokio::test]
async fn r1_a_body_over_http2_is_not_longer_or_shorter_than_it_says() {
    let fixture = Fixture::start().await;
    for length in ["1", "5", "-1", "2, 2"] {
        let fields = [
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", ACME),
            (":path", "/public/x"),
            ("content-length", length),
        ];
        let mut connection = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
        let outcome = connection.send(&Http2Request::new(&fields).body(b"hi")).await.unwrap();
        assert_ne!(outcome.status(), Some(200), "{length}: {outcome:?}");
    }
    assert!(fixture.canary.requests().is_empty());
}

#[tokio::test]
async fn a_body_arrives_whole_over_both_protocols() {
    let fixture = Fixture::start().await;
    let body = vec![b'x'; 300_000];
    for protocol in BOTH {
        let reply = fixture.ask(protocol, &Ask::get("/public/x").method("POST").body(&body)).await;
        assert_eq!(reply.status, Some(200), "{protocol:?}");
        assert_eq!(fixture.canary.next().await.body.len(), body.len(), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_refused_request_with_a_body_does_not_leave_the_body_as_the_next_request() {
    let fixture = Fixture::start().await;
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let request =
        format!("POST /orders/1 HTTP/1.1\r\nHost: {ACME}\r\nContent-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len());
    let answer = client.exchange(request.as_bytes()).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
    let next = client.exchange(format!("GET /public/y HTTP/1.1\r\nHost: {ACME}\r\n\r\n").as_bytes()).await;
    let served = next.is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"));
    let targets: Vec<_> = fixture.canary.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, if served { vec!["/public/y"] } else { vec![] });
}
