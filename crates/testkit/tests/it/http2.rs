//! The hand-written HTTP/2 client against hyper's server.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use testkit::{
    Canary, TestCa,
    raw::{Http2, Http2Outcome, Http2Request},
};
use tokio_rustls::TlsAcceptor;

/// Answers with what hyper made of each request, and with as many bytes as `x-bytes` asks for.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    if let Some(bytes) = parts.headers.get("x-bytes") {
        let size = bytes.to_str().unwrap().parse().unwrap();
        return Ok(Response::new(Full::from(vec![b'x'; size])));
    }
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().and_then(|t| t.get("x-trailer")).map(|v| v.to_str().unwrap().to_owned());
    let seen = json!({
        "uri": parts.uri.to_string(),
        "host": parts.headers.get("host").map(|v| v.to_str().unwrap()),
        "twice": parts.headers.get_all("x-twice").iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>(),
        "body_bytes": body.to_bytes().len(),
        "trailer": trailers,
    });
    Ok(Response::builder().header("x-seen", "yes").body(Full::from(seen.to_string())).unwrap())
}

async fn server(ca: &TestCa) -> SocketAddr {
    let acceptor = TlsAcceptor::from(ca.leaf(&["acme.localhost"]).server_config(&["h2"]));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // Ends in an error when the client closes or misbehaves, which is what some tests are about.
                let _ = builder.serve_connection(stream, service_fn(echo)).await;
            });
        }
    });
    addr
}

async fn connect() -> Http2 {
    let ca = TestCa::new();
    Http2::connect(server(&ca).await, "acme.localhost", &ca.ca_pem()).await.unwrap()
}

#[tokio::test]
async fn authority_and_host_arrive_as_two_things() {
    let mut h2 = connect().await;
    let request = Http2Request::get("acme.localhost", "/a/b?c")
        .field("host", "globex.localhost")
        .field("x-twice", "1")
        .field("x-twice", "2");
    for _ in 0..3 {
        let outcome = h2.send(&request).await.unwrap();
        assert_eq!((outcome.status(), outcome.header("x-seen")), (Some(200), Some("yes")));
        let seen = outcome.json();
        assert_eq!(seen["uri"], "https://acme.localhost/a/b?c");
        assert_eq!(seen["host"], "globex.localhost");
        assert_eq!(seen["twice"], json!(["1", "2"]));
    }
}

#[tokio::test]
async fn a_body_larger_than_the_window_and_trailers_arrive() {
    let mut h2 = connect().await;
    let fields = [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "acme.localhost")];
    let request = Http2Request::new(&fields).body(&vec![7; 3_000_000]).trailer("x-trailer", "end");
    let seen = h2.send(&request).await.unwrap().json();
    assert_eq!((&seen["body_bytes"], &seen["trailer"]), (&json!(3_000_000), &json!("end")));
    assert_eq!(h2.request(&fields, b"abc").await.unwrap().json()["body_bytes"], 3);
}

#[tokio::test]
async fn a_large_answer_is_read_whole() {
    let mut h2 = connect().await;
    let request = Http2Request::get("acme.localhost", "/").field("x-bytes", "2000000");
    let Http2Outcome::Response { body, .. } = h2.send(&request).await.unwrap() else { panic!("no response") };
    assert_eq!(body.len(), 2_000_000);
}

#[tokio::test]
async fn what_no_library_sends_is_sent_and_refused() {
    let good = || Http2Request::get("acme.localhost", "/");
    let without_method = Http2Request::new(&[(":scheme", "https"), (":authority", "acme.localhost"), (":path", "/")]);
    let bad = [
        good().field("x-bad", b"a\r\nb"),
        good().field("X-Upper", "1"),
        good().field(":path", "/twice"),
        good().field("connection", "close"),
        good().field("x bad", "1"),
        without_method,
    ];
    for request in bad {
        let outcome = connect().await.send(&request).await.unwrap();
        assert!(outcome.is_refusal(), "{request:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn the_canary_records_http2_requests() {
    let ca = TestCa::new();
    let canary = Canary::start_tls(&ca.leaf(&["acme.localhost"])).await;
    let mut h2 = Http2::connect(canary.addr(), "acme.localhost", &ca.ca_pem()).await.unwrap();
    let fields = [(":method", "POST"), (":scheme", "https"), (":path", "/a?b"), (":authority", "acme.localhost")];
    let request = Http2Request::new(&fields).field("x-twice", "1").field("x-twice", "2").body(&[7; 100_000]);
    assert_eq!(h2.send(&request.trailer("x-trailer", "t")).await.unwrap().status(), Some(200));

    let seen = canary.next().await;
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/a?b"));
    assert_eq!(seen.authority.as_deref(), Some("acme.localhost"));
    assert_eq!((seen.header("x-twice"), seen.body.len()), (vec!["1", "2"], 100_000));
    assert_eq!(seen.trailers, [("x-trailer".to_owned(), "t".to_owned())]);

    canary.answer_next("HTTP/1.1 418 Teapot\r\nX-A: b\r\nContent-Length: 0\r\n\r\n");
    let outcome = h2.request(&fields, b"").await.unwrap();
    assert_eq!((outcome.status(), outcome.header("x-a")), (Some(418), Some("b")));
    let long = "x".repeat(40_000);
    let outcome = h2.send(&Http2Request::get("acme.localhost", "/").field("x-long", &long)).await.unwrap();
    assert_eq!((outcome.status(), canary.requests()[2].header("x-long")), (Some(200), vec![long.as_str()]));
    assert_eq!(canary.connections(), 1);
}

/// hyper's client speaks HTTP/2 with prior knowledge, as a proxy does to a plain upstream.
#[tokio::test]
async fn the_canary_speaks_http2_to_a_client_that_is_not_ours() {
    let canary = Canary::start().await;
    let stream = TokioIo::new(tokio::net::TcpStream::connect(canary.addr()).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::post("http://acme.localhost/x").body(Full::from("abc")).unwrap();
        let answer = client.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "canary");
        assert_eq!(canary.next().await.body, b"abc");
    }
}
