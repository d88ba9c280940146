//! What HTTP says about a message beside its body is passed on as it was said.

use testkit::raw::{Connection, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Hand, PATIENT, before, is_over, until};
use crate::support::{ACME, Ask, BOTH, Fixture, http1};

/// A request, what the upstream answers, and what must be of it.
struct Exchange {
    method: &'static str,
    asked: (&'static str, &'static str),
    answer: &'static [u8],
    status: u16,
    kept: &'static [(&'static str, &'static str)],
    body: &'static [u8],
}

const EXCHANGES: [Exchange; 9] = [
    Exchange {
        method: "HEAD",
        asked: ("accept", "*/*"),
        answer: b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\netag: \"a\"\r\n\r\n",
        status: 200,
        kept: &[("content-length", "1000"), ("etag", "\"a\"")],
        body: b"",
    },
    Exchange {
        method: "HEAD",
        asked: ("accept-encoding", "gzip"),
        answer: b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n",
        status: 404,
        kept: &[("content-length", "9")],
        body: b"",
    },
    Exchange {
        method: "GET",
        asked: ("range", "bytes=2-4"),
        answer: b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 2-4/10\r\naccept-ranges: bytes\r\n\
                  content-length: 3\r\n\r\ncde",
        status: 206,
        kept: &[("content-range", "bytes 2-4/10"), ("accept-ranges", "bytes"), ("content-length", "3")],
        body: b"cde",
    },
    Exchange {
        method: "GET",
        asked: ("range", "bytes=99-"),
        answer: b"HTTP/1.1 416 Range Not Satisfiable\r\ncontent-range: bytes */10\r\ncontent-length: 0\r\n\r\n",
        status: 416,
        kept: &[("content-range", "bytes */10"), ("content-length", "0")],
        body: b"",
    },
    Exchange {
        method: "GET",
        asked: ("if-none-match", "W/\"a\""),
        answer: b"HTTP/1.1 304 Not Modified\r\netag: W/\"a\"\r\nvary: accept-encoding\r\n\r\n",
        status: 304,
        kept: &[("etag", "W/\"a\""), ("vary", "accept-encoding")],
        body: b"",
    },
    Exchange {
        method: "GET",
        asked: ("accept-encoding", "gzip, br;q=0.9"),
        answer: b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nvary: accept-encoding\r\netag: \"a-gzip\"\r\n\
                  content-type: text/html\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00",
        status: 200,
        kept: &[
            ("content-encoding", "gzip"),
            ("vary", "accept-encoding"),
            ("etag", "\"a-gzip\""),
            ("content-length", "4"),
        ],
        body: b"\x1f\x8b\x08\x00",
    },
    Exchange {
        method: "GET",
        asked: ("accept-encoding", "br"),
        answer: b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ntransfer-encoding: chunked\r\n\r\n3\r\n\x0b\x01\x80\r\n0\r\n\r\n",
        status: 200,
        kept: &[("content-encoding", "br")],
        body: b"\x0b\x01\x80",
    },
    Exchange {
        method: "GET",
        asked: ("accept-encoding", "gzip"),
        answer: b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nplain",
        status: 200,
        kept: &[("content-length", "5"), ("content-type", "text/html")],
        body: b"plain",
    },
    Exchange {
        method: "DELETE",
        asked: ("if-match", "\"a\""),
        answer: b"HTTP/1.1 204 No Content\r\netag: \"b\"\r\n\r\n",
        status: 204,
        kept: &[("etag", "\"b\"")],
        body: b"",
    },
];

#[tokio::test]
async fn heads_ranges_conditions_and_codings_are_passed_through_and_the_connection_is_kept() {
    let fixture = Fixture::start().await;
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    for it in &EXCHANGES {
        fixture.canary.answer_next(it.answer);
        let ask = Ask::get("/public/x").method(it.method).header(it.asked.0, it.asked.1);
        let answer = Response::parse(&client.exchange(&http1(&ask)).await.unwrap());
        assert_eq!((answer.status, answer.body.as_slice()), (it.status, it.body), "{:?}", it.asked);
        for (name, value) in it.kept {
            assert_eq!(answer.header(name), Some(*value), "{:?}", it.asked);
        }
        assert_eq!(fixture.canary.next().await.header(it.asked.0), [it.asked.1]);
    }
    assert_eq!(fixture.canary.connections(), 1, "and so is the upstream's");
}

#[tokio::test]
async fn heads_ranges_conditions_and_codings_are_passed_through_over_http2() {
    let fixture = Fixture::start().await;
    for it in &EXCHANGES {
        fixture.canary.answer_next(it.answer);
        let ask = Ask::get("/public/x").method(it.method).header(it.asked.0, it.asked.1);
        let answer = fixture.ask(crate::support::Protocol::Http2, &ask).await;
        assert_eq!((answer.status, answer.body.as_slice()), (Some(it.status), it.body), "{:?}", it.asked);
        for (name, value) in it.kept {
            assert_eq!(answer.header(name), Some(*value), "{:?}", it.asked);
        }
        assert_eq!(fixture.canary.next().await.header(it.asked.0), [it.asked.1]);
    }
}

/// The head of a request whose client waits to be told to send the body.
fn waiting() -> String {
    format!("POST /public/x HTTP/1.1\r\nHost: {ACME}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
}

#[tokio::test]
async fn a_client_that_waits_is_told_to_go_on_by_the_upstream() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(PATIENT)).await;
    let mut client =
        testkit::raw::tls_connect(fixture.https(), ACME, &fixture.ca.ca_pem(), &["http/1.1"], None).await.unwrap();
    client.write_all(waiting().as_bytes()).await.unwrap();
    let mut taken = hand.take().await;
    assert!(taken.head.to_ascii_lowercase().contains("\r\nexpect: 100-continue\r\n"), "{}", taken.head);
    taken.say("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    client.write_all(b"hello").await.unwrap();
    assert_eq!(until(&mut taken.stream, "hello").await, "hello");
    taken.say("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").await;
    let answer = until(&mut client, "ok").await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 201"), "{answer}");
    // Pingora keeps no connection on which it has sent a 100, and says so.
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(is_over(&mut client).await);
}

#[tokio::test]
async fn a_client_that_waits_is_refused_by_the_upstream_and_never_sends_its_body() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(PATIENT)).await;
    let mut client =
        testkit::raw::tls_connect(fixture.https(), ACME, &fixture.ca.ca_pem(), &["http/1.1"], None).await.unwrap();
    client.write_all(waiting().as_bytes()).await.unwrap();
    let mut taken = hand.take().await;
    taken.say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await;
    assert!(until(&mut client, "no").await.starts_with("HTTP/1.1 413"), "the first it hears is the refusal");
    // It ends the connection (RFC 9110 §10.1.1), and half a request is not followed by another on the upstream's.
    drop(client);
    let mut rest = Vec::new();
    let over = tokio::time::timeout(testkit::PATIENCE, taken.stream.read_to_end(&mut rest)).await;
    assert!(over.is_ok() && rest.is_empty(), "{rest:?}");
}

#[tokio::test]
async fn a_client_that_waits_is_refused_by_us_before_the_upstream_is_asked() {
    let fixture = Fixture::start().await;
    let head = waiting().replace("/public/x", "/echo/x");
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    client.send(head.as_bytes()).await.unwrap();
    let answer = client.response().await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_body_that_it_can_read() {
    let fixture = Fixture::start().await;
    for (answer, said) in [
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n6\r\n of it\r\n0\r\n\r\n", "all of it"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall of it", "all of it"),
        ("HTTP/1.1 200 OK\r\n\r\nall of it", "all of it"),
    ] {
        fixture.canary.answer_next(answer);
        let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        client.send(format!("GET /public/x HTTP/1.0\r\nHost: {ACME}\r\n\r\n").as_bytes()).await.unwrap();
        let all = client.rest().await.unwrap();
        let text = String::from_utf8_lossy(&all).to_ascii_lowercase();
        assert!(text.starts_with("http/1.") && text.contains(" 200 ok\r\n"), "{text}");
        assert!(!text.contains("transfer-encoding"), "{text}");
        assert!(text.ends_with(&format!("\r\n\r\n{said}")), "{text}");
    }
}

#[tokio::test]
async fn fields_behind_a_body_do_not_disturb_what_comes_next() {
    let fixture = Fixture::start().await;
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    for _ in 0..2 {
        fixture.canary.answer_next(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nall\r\n0\r\nx-sum: 1\r\n\
             x-md-global-user-id: evil\r\n\r\n",
        );
        let ask = Ask::get("/public/x").header("te", "trailers");
        let answer = client.exchange(&http1(&ask)).await.unwrap();
        assert_eq!(Response::parse(&answer).text(), "all");
        assert!(!String::from_utf8_lossy(&answer).contains("evil"));
        let next = Response::parse(&client.exchange(&http1(&Ask::get("/public/y"))).await.unwrap());
        assert_eq!((next.status, next.text().as_str()), (200, "canary"));
    }
}

#[tokio::test]
async fn early_hints_come_before_the_answer_or_not_at_all() {
    for protocol in BOTH {
        let fixture = Fixture::start().await;
        fixture.canary.answer_next(
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\nx-md-global-user-id: evil\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 5\r\nlink: </b.css>\r\n\r\nfinal",
        );
        let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
        assert_eq!((reply.status, reply.body.as_slice()), (Some(200), &b"final"[..]), "{protocol:?}");
        assert_eq!(reply.header("link"), Some("</b.css>"), "{protocol:?}");
    }
}
