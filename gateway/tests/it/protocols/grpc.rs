//! gRPC end to end: messages both ways as they come, trailers, and an upstream over TLS or without (h2c).

use std::time::Duration;

use bytes::Bytes;
use h2::{
    RecvStream,
    server::{self, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use testkit::{Canary, TestCa};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use super::{IMPATIENT, PATIENT, SILENCE, http2, piece, request, send, whole};
use crate::support::{ACME_ID, Fixture, config};

const GRPC: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// A gRPC message: not compressed, four bytes of length (gRPC over HTTP/2, "Length-Prefixed-Message").
fn message(text: &str) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.into()
}

/// Serves any method: what it does is the last word of its path.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut connection = server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, mut body) = request.into_parts();
    let response = Response::builder().header("content-type", "application/grpc");
    if head.uri.path().ends_with("/Refuse") {
        let trailers_only = response.header("grpc-status", "5").header("grpc-message", "no such thing");
        respond.send_response(trailers_only.body(()).unwrap(), true).unwrap();
        return;
    }
    // A server may say nothing, its head neither, before it has a message.
    if head.uri.path().ends_with("/Late") {
        sleep(SILENCE).await;
    }
    let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        send(&mut stream, data, false).await;
    }
    if head.uri.path().ends_with("/Silent") {
        sleep(SILENCE).await;
        send(&mut stream, message("at last"), false).await;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    for name in ["te", "grpc-timeout", "content-type"] {
        let kept: &'static str = match name {
            "te" => "x-te",
            "grpc-timeout" => "x-timeout",
            _ => "x-type",
        };
        if let Some(value) = head.headers.get(name) {
            trailers.insert(kept, value.clone());
        }
    }
    stream.send_trailers(trailers).unwrap();
}

/// An edge before a gRPC server, which speaks TLS or not.
async fn before(tls: bool, more: &str) -> Fixture {
    let ca = TestCa::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(ca.leaf(&["grpc.test"]).server_config(&["h2"]));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match tls {
                    true => serve(acceptor.accept(stream).await.unwrap()).await,
                    false => serve(stream).await,
                }
            });
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("upstream-ca.pem");
    std::fs::write(&authorities, ca.ca_pem()).unwrap();
    let how = match tls {
        true => format!("tls: {{ sni: grpc.test, ca: {} }}", authorities.display()),
        false => "plaintext: true".into(),
    };
    let upstream = format!("peers: [\"{address}\"], {how}, http2: true, {more}");
    Fixture::configured(config(), Canary::start().await, ca, &upstream, super::SHORT_ROUTE).await
}

/// A call with these messages, all at once; the answer's head, messages and trailers.
async fn call(fixture: &Fixture, path: &str, messages: &[&str]) -> (HeaderMap, Vec<u8>, HeaderMap) {
    let mut client = http2(fixture).await;
    let bearer = format!("Bearer {}", fixture.token(ACME_ID, &["member"]));
    let fields = [&GRPC[..], &[("grpc-timeout", "5S"), ("authorization", bearer.as_str())]].concat();
    let (response, mut stream) = client.send_request(request("POST", path, &fields), false).unwrap();
    for text in messages {
        send(&mut stream, message(text), false).await;
    }
    stream.send_data(Bytes::new(), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let (head, mut body) = response.into_parts();
    let (bytes, trailers) = whole(&mut body).await;
    (head.headers, bytes, trailers)
}

#[tokio::test]
async fn a_call_has_its_messages_trailers_and_deadline_over_tls_and_without() {
    for tls in [true, false] {
        let fixture = before(tls, PATIENT).await;
        for messages in [&["one"][..], &["one", "two", "three"], &[]] {
            let (head, bytes, trailers) = call(&fixture, "/public/a.B/Echo", messages).await;
            assert_eq!(head["content-type"], "application/grpc", "{tls}");
            assert_eq!(bytes, messages.iter().map(|text| message(text)).collect::<Vec<_>>().concat(), "{tls}");
            assert_eq!(trailers["grpc-status"], "0", "{tls}");
            assert_eq!(trailers["x-te"], "trailers", "{tls}");
            assert_eq!(trailers["x-timeout"], "5S", "{tls}");
            assert_eq!(trailers["x-type"], "application/grpc", "{tls}");
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways_as_they_come() {
    for tls in [true, false] {
        let fixture = before(tls, PATIENT).await;
        let mut client = http2(&fixture).await;
        let (response, mut stream) = client.send_request(request("POST", "/public/a.B/Echo", &GRPC), false).unwrap();
        send(&mut stream, message("first"), false).await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(piece(&mut body).await.unwrap().unwrap(), message("first"));
        for text in ["second", "third"] {
            send(&mut stream, message(text), false).await;
            assert_eq!(piece(&mut body).await.unwrap().unwrap(), message(text), "answered before the next is sent");
        }
        stream.send_data(Bytes::new(), true).unwrap();
        let (rest, trailers) = whole(&mut body).await;
        assert_eq!((rest.as_slice(), &trailers["grpc-status"]), (&b""[..], &HeaderValue::from_static("0")));
    }
}

#[tokio::test]
async fn an_answer_of_trailers_alone_is_passed_on() {
    for tls in [true, false] {
        let fixture = before(tls, PATIENT).await;
        let (head, bytes, trailers) = call(&fixture, "/public/a.B/Refuse", &["one"]).await;
        assert_eq!(
            (&head["grpc-status"], &head["grpc-message"]),
            (&HeaderValue::from_static("5"), &HeaderValue::from_static("no such thing"))
        );
        assert_eq!((bytes.len(), trailers.len()), (0, 0));
    }
}

#[tokio::test]
async fn a_call_may_be_silent_for_longer_than_an_answer_may_take() {
    let fixture = before(false, IMPATIENT).await;
    for path in ["/short/a.B/Late", "/public/a.B/Silent"] {
        let (_, bytes, trailers) = call(&fixture, path, &["one"]).await;
        assert!(bytes.starts_with(&message("one")), "{path}");
        assert_eq!(trailers["grpc-status"], "0", "{path}");
    }
}

#[tokio::test]
async fn a_slow_upload_to_an_http2_upstream_is_not_its_silence() {
    let fixture = before(false, IMPATIENT).await;
    let mut client = http2(&fixture).await;
    let (response, mut stream) = client.send_request(request("POST", "/public/upload/Late", &[]), false).unwrap();
    for _ in 0..5 {
        send(&mut stream, Bytes::from_static(&[b'x'; 1000]), false).await;
        sleep(SILENCE / 5).await;
    }
    stream.send_data(Bytes::new(), true).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(whole(&mut response.into_body()).await.0.len(), 5000);
}

#[tokio::test]
async fn a_call_ends_with_its_token_and_with_its_route() {
    let fixture = before(true, PATIENT).await;
    for (path, after) in [("/short/a.B/Echo", 10), ("/echo/a.B/Echo", 3600)] {
        let bearer = format!("Bearer {}", fixture.token(ACME_ID, &["member"]));
        let mut client = http2(&fixture).await;
        let fields = [&GRPC[..], &[("authorization", bearer.as_str())]].concat();
        let (response, mut stream) = client.send_request(request("POST", path, &fields), false).unwrap();
        send(&mut stream, message("first"), false).await;
        let mut body = response.await.unwrap().into_body();
        assert_eq!(piece(&mut body).await.unwrap().unwrap(), message("first"), "{path}");
        fixture.clock.advance(Duration::from_secs(after));
        assert!(piece(&mut body).await.unwrap().unwrap_err().is_reset(), "{path}");
    }
}

/// What a gRPC client makes of an HTTP status is fixed (gRPC, "HTTP to gRPC Status Code Mapping").
#[tokio::test]
async fn a_refused_call_is_told_by_the_http_status() {
    let fixture = before(false, PATIENT).await;
    for (path, status) in [("/echo/a.B/Echo", 401), ("/nowhere", 401)] {
        let mut client = http2(&fixture).await;
        let (response, _stream) = client.send_request(request("POST", path, &GRPC), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
}
