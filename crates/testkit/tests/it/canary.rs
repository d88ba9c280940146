//! The canary keeps what it received and answers what it is told.

use testkit::{
    Canary, eventually,
    raw::{self, Connection, Response},
};

#[tokio::test]
async fn keeps_a_request_byte_for_byte() {
    let canary = Canary::start().await;
    let sent = b"POST /A%2f..//b?x=1 HTTP/1.1\r\nhOsT: acme.localhost\r\nX-Twice: 1\r\nx-twice:  2 \r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: t\r\n\r\n";
    let answer = Response::parse(&raw::http1(canary.addr(), sent).await.unwrap());
    assert_eq!((answer.status, answer.text().as_str()), (200, "canary"));

    let request = canary.next().await;
    assert_eq!(request.raw, sent);
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/A%2f..//b?x=1"));
    assert_eq!(request.header("X-TWICE"), ["1", "2"]);
    assert_eq!(request.headers[0], ("hOsT".to_owned(), "acme.localhost".to_owned()));
    assert_eq!(request.body, b"abc");
    assert_eq!(request.names(), ["host", "x-twice", "x-twice", "transfer-encoding", "x-trailer"]);
}

#[tokio::test]
async fn tells_two_pipelined_requests_apart() {
    let canary = Canary::start().await;
    let mut connection = Connection::plain(canary.addr()).await.unwrap();
    connection.send(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(Response::parse(&connection.response().await.unwrap()).status, 200);
    assert_eq!(Response::parse(&connection.response().await.unwrap()).status, 200);
    let targets: Vec<_> = canary.requests().into_iter().map(|request| (request.target, request.connection)).collect();
    assert_eq!(targets, [("/1".to_owned(), 0), ("/2".to_owned(), 0)]);
}

#[tokio::test]
async fn answers_what_it_is_told_once() {
    let canary = Canary::start().await;
    canary.answer_next("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 418 Teapot\r\nContent-Length: 0\r\nX-A: b\r\n\r\n");
    canary.answer_next("HTTP/1.1 200 OK\r\n\r\nuntil the end");
    let ask = async || Response::parse(&raw::http1(canary.addr(), b"GET / HTTP/1.1\r\n\r\n").await.unwrap());
    let first = ask().await;
    assert_eq!((first.status, first.header("x-a")), (418, Some("b")));
    assert_eq!(ask().await.text(), "until the end");
    assert_eq!(ask().await.text(), "canary");
    assert_eq!(canary.connections(), 3);
}

#[tokio::test]
async fn reads_chunked_answers_and_answers_to_head() {
    let canary = Canary::start().await;
    canary.answer_next("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    canary.answer_next("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
    let answer = raw::http1(canary.addr(), b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(Response::parse(&answer).text(), "abcde");
    let answer = Response::parse(&raw::http1(canary.addr(), b"HEAD / HTTP/1.1\r\n\r\n").await.unwrap());
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let answer = raw::http1(canary.addr(), b"HEAD / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(answer.ends_with(b"\r\n\r\n"), "the usual answer has no body either");
}

#[tokio::test]
async fn keeps_bytes_that_are_no_request() {
    let canary = Canary::start().await;
    canary.answer_next("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    let mut connection = Connection::plain(canary.addr()).await.unwrap();
    let answer = connection.exchange(b"GET / HTTP/1.1\r\nUpgrade: x\r\n\r\n").await.unwrap();
    assert_eq!(Response::parse(&answer).status, 101);
    connection.send(b"\x00tunnel").await.unwrap();
    connection.finish().await.unwrap();
    eventually("the tunnel's bytes", async || canary.leftovers() == [b"\x00tunnel"]).await;
}

#[tokio::test]
async fn keeps_a_request_that_breaks_off() {
    let canary = Canary::start().await;
    let half = b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\nhalf";
    let mut connection = Connection::plain(canary.addr()).await.unwrap();
    connection.send(half).await.unwrap();
    connection.finish().await.unwrap();
    eventually("the half request", async || canary.leftovers() == [half]).await;
    assert!(canary.requests().is_empty());
}
