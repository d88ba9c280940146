//! Bad traffic: each kind of refusal, by its code; and clients that do not behave.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use load_tests::{Alpn, Answer};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use crate::{Caller, World, good};

/// A request, and the status and code it must be refused with.
struct Case<'a> {
    tenant: &'static str,
    method: Method,
    path: &'static str,
    headers: Vec<(&'a str, &'a str)>,
    expected: (u16, &'static str),
}

/// One refusal after the other, on kept connections.
pub(crate) async fn refused(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    let identity = good::sign_in(&world, Caller { tenant: "acme", role: "member" }, from).await?;
    let bearer = identity.bearer.as_str();
    let (signed, _) = bearer.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    let huge = "h".repeat(70_000);
    let case = |tenant, method, path, headers, expected| Case { tenant, method, path, headers, expected };
    let cases = || {
        [
            case("acme", Method::GET, "/demo/me", vec![], (401, "credential_missing")),
            case("acme", Method::GET, "/demo/me", vec![("authorization", &forged)], (401, "token_signature")),
            case("acme", Method::GET, "/demo/me", vec![("authorization", "Bearer x")], (401, "token_malformed")),
            case("acme", Method::GET, "/demo/me", vec![("authorization", "Basic eA==")], (401, "credential_refused")),
            case("globex", Method::GET, "/demo/me", vec![("authorization", bearer)], (401, "issuer_unknown")),
            case("acme", Method::POST, "/demo/orders", vec![("authorization", bearer)], (403, "permission_denied")),
            case("acme", Method::GET, "/no/such", vec![("authorization", bearer)], (404, "route_not_found")),
            case("acme", Method::GET, "/demo/public/../me", vec![], (400, "path_refused")),
            case("acme", Method::GET, "/demo/public/%2e%2e/me", vec![], (400, "path_refused")),
            case("acme", Method::GET, "/demo/me", vec![("x_md_global_user_id", "forged")], (400, "header_refused")),
            case("acme", Method::TRACE, "/demo/me", vec![("authorization", bearer)], (405, "method_not_allowed")),
            case("acme", Method::GET, "/demo/me", vec![("x-huge", &huge)], (431, "head_too_large")),
        ]
    };
    for round in 0..30 {
        let alpn = if round % 2 == 0 { Alpn::Http1 } else { Alpn::Http2 };
        for case in cases() {
            if !world.goes_on() {
                return Ok(());
            }
            // The HTTP/2 library answers a head that is too large by itself, and with no problem.
            if alpn == Alpn::Http2 && case.expected.0 == 431 {
                continue;
            }
            let mut connection = world.connect(case.tenant, alpn, from).await?;
            let answer = connection.call(case.method, case.path, &case.headers, Bytes::new()).await?;
            let found = (answer.status.as_u16(), code(&answer));
            world.tally.expect("refused requests", (found.0, found.1.as_str()) == case.expected, || {
                format!("{} over {alpn:?}: {found:?} instead of {:?}", case.path, case.expected)
            });
            sleep(Duration::from_millis(80)).await;
        }
    }
    Ok(())
}

fn code(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    body["code"].as_str().unwrap_or_default().to_owned()
}

/// Bytes that are no request, or more than one: refused and closed, or closed.
const MALFORMED: [&str; 8] = [
    "POST /demo/public/x HTTP/1.1\r\nhost: acme.localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /demo/public/x HTTP/1.1\r\nhost: acme.localhost\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
    "POST /demo/public/x HTTP/1.1\r\nhost: acme.localhost\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "GET /demo/public/x HTTP/1.1\r\nhost: acme.localhost\r\nhost: globex.localhost\r\n\r\n",
    "GET /demo/public/x HTTP/1.1\r\nhost: globex.localhost\r\n\r\n",
    "GET /demo/public/x HTTP/1.1\r\nhost: acme.localhost\r\nx: a\r\n b\r\n\r\n",
    "GET /demo/public/x HTTP/1.1\r\n\r\n",
    "\u{0}\u{1}\u{2}\r\n\r\n",
];

pub(crate) async fn malformed(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    for bytes in MALFORMED {
        if !world.goes_on() {
            return Ok(());
        }
        let edge = world.edge.clone();
        let mut stream = edge.stream(&world.host("acme"), Alpn::Http1, from).await?;
        stream.write_all(bytes.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = vec![0; 4096];
        let read = timeout(Duration::from_secs(20), stream.read(&mut answer)).await?.unwrap_or(0);
        let text = String::from_utf8_lossy(&answer[..read]).into_owned();
        let refused = read == 0 || text.starts_with("HTTP/1.1 4");
        world.tally.expect("malformed requests", refused, || format!("{bytes:?} was answered {text:?}"));
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Connections that send a part and go away, or say nothing more: the edge ends them in its time.
pub(crate) async fn half_requests(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    let edge = world.edge.clone();
    let host = world.host("acme");
    let mut silent = Vec::new();
    for part in ["", "GET ", "GET /demo/me HTTP/1.1\r\nhost: acme.localhost\r\nx-half: "] {
        let mut stream = edge.stream(&host, Alpn::Http1, from).await?;
        stream.write_all(part.as_bytes()).await?;
        stream.flush().await?;
        silent.push(stream);
    }
    for part in [
        "POST /demo/public/x HTTP/1.1\r\nhost: acme.localhost\r\ncontent-length: 1000\r\n\r\nhalf",
        "POST /demo/public/x HTTP/1.1\r\nhost: acme.localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\nha",
        "GET /demo/public/x?upstream=big HTTP/1.1\r\nhost: acme.localhost\r\n\r\n",
    ] {
        let mut stream = edge.stream(&host, Alpn::Http1, from).await?;
        stream.write_all(part.as_bytes()).await?;
        stream.flush().await?;
        sleep(Duration::from_millis(100)).await;
        drop(stream);
    }
    // A handshake that stops after its first byte.
    let mut stopped = edge.tcp(from).await?;
    stopped.write_all(&[0x16]).await?;
    for mut stream in silent {
        let mut sink = Vec::new();
        let ended = timeout(Duration::from_secs(40), stream.read_to_end(&mut sink)).await.is_ok();
        world.tally.expect("half requests ended by the edge", ended || !world.goes_on(), || {
            "a connection with half a head is still open after 40 s".to_owned()
        });
    }
    let ended = timeout(Duration::from_secs(40), stopped.read_to_end(&mut Vec::new())).await.is_ok();
    world.tally.expect("half requests ended by the edge", ended || !world.goes_on(), || {
        "a connection with half a handshake is still open after 40 s".to_owned()
    });
    Ok(())
}

/// HTTP/2 streams that are reset as soon as they are made (CVE-2023-44487): the connection ends, nobody else's does.
pub(crate) async fn resets(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    let mut connection = world.connect("acme", Alpn::Http2, from).await?;
    let mut asked = 0;
    while !connection.is_closed() && asked < 2000 && world.goes_on() {
        asked += 1;
        drop(timeout(Duration::from_micros(50), connection.get("/demo/public/x?upstream=slow", &[])).await);
    }
    world.tally.judge("reset floods", None);
    sleep(Duration::from_secs(2)).await;
    Ok(())
}
