//! The hand-written HTTP/2 client against hyper's server.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use testkit::{
    TestCa,
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
