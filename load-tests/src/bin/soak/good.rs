//! Good traffic: every answer is of its own request, with exactly our word for who asked.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Method;
use load_tests::{Alpn, Answer, upstream};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::sleep,
};

use crate::{Caller, World};

/// What the upstream may see of ours (`design.md` §3); anything else under the prefix was let through.
const OURS: [&str; 15] = [
    "x-md-global-user-id",
    "x-md-global-tenant-id",
    "x-md-global-tenant-slug",
    "x-md-global-username",
    "x-md-global-roles",
    "x-md-global-is-admin",
    "x-md-global-is-super-admin",
    "x-md-global-ou-id",
    "x-md-global-session-id",
    "x-md-global-token-id",
    "x-md-global-auth-method",
    "x-md-global-plan",
    "x-md-global-products",
    "x-md-global-request-id",
    "x-md-global-assertion",
];

/// How long a sign-in is used: less than an access token lives.
const SIGN_IN: Duration = Duration::from_secs(300);

/// Who the upstream must be told of.
pub(crate) struct Identity {
    pub(crate) bearer: String,
    pub(crate) tenant: String,
    pub(crate) user: String,
}

/// Signs in and learns who that is.
pub(crate) async fn sign_in(world: &World, caller: Caller, from: Ipv4Addr) -> anyhow::Result<Identity> {
    let tokens = world.node.login(caller.tenant, caller.role).await?;
    let bearer = format!("Bearer {}", tokens.access);
    let mut connection = world.connect(caller.tenant, Alpn::Http1, from).await?;
    let info = connection.get("/api/v1/tenant/auth/info", &[("authorization", &bearer)]).await?;
    let info: Value = serde_json::from_slice(&info.body)?;
    let user = info["user"]["id"].as_str().with_context(|| format!("no user in {info}"))?.to_owned();
    Ok(Identity { bearer, tenant: world.node.tenant_id(caller.tenant).to_owned(), user })
}

/// One of a few kinds of request after the other, on kept connections.
pub(crate) async fn requests(world: Arc<World>, caller: Caller, alpn: Alpn, from: Ipv4Addr) -> anyhow::Result<()> {
    let kind = if alpn == Alpn::Http2 { "good requests, HTTP/2" } else { "good requests, HTTP/1.1" };
    let identity = sign_in(&world, caller, from).await?;
    let mut connection = world.connect(caller.tenant, alpn, from).await?;
    let signed_in = std::time::Instant::now();
    let mut pace = tokio::time::interval(Duration::from_secs(1) / world.rate);
    let mut number = 0_usize;
    while world.goes_on() && signed_in.elapsed() < SIGN_IN {
        pace.tick().await;
        // The edge ends a connection after so many requests, and says so before.
        if connection.is_closed() {
            connection = world.connect(caller.tenant, alpn, from).await?;
        }
        number += 1;
        let nonce = uuid::Uuid::new_v4().to_string();
        let forged = [
            ("authorization", identity.bearer.as_str()),
            (upstream::NONCE, nonce.as_str()),
            ("x-md-global-user-id", "forged"),
            ("X-Md-Global-Is-Super-Admin", "true"),
            ("x-md-global-made-up", "forged"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        let body = Bytes::from(vec![b'u'; number * 7919 % 100_000]);
        let wrong = match number % 5 {
            0 => judge(&connection.get("/demo/me", &forged).await?, &identity, &nonce, 0),
            1 => {
                let length = body.len();
                let answer = connection.call(Method::POST, "/demo/echo/upload", &forged, body).await?;
                judge(&answer, &identity, &nonce, length)
            }
            2 => judge(&connection.get("/demo/orders", &forged).await?, &identity, &nonce, 0),
            3 => {
                let answer = connection.get("/demo/echo/x?upstream=big", &forged).await?;
                let right = answer.status == 200 && answer.body.len() == upstream::BIG;
                (!right).then(|| format!("{} with {} bytes", answer.status, answer.body.len()))
            }
            _ => {
                let answer = connection.call(Method::HEAD, "/demo/me", &forged, Bytes::new()).await?;
                let right = answer.status == 200 && answer.body.is_empty();
                (!right).then(|| format!("HEAD: {} with {} bytes", answer.status, answer.body.len()))
            }
        };
        world.tally.judge(kind, wrong.as_deref());
    }
    Ok(())
}

/// What is wrong with what reached the upstream.
fn judge(answer: &Answer, identity: &Identity, nonce: &str, body_bytes: usize) -> Option<String> {
    if answer.status != 200 {
        return Some(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
    }
    let Ok(seen) = serde_json::from_slice::<Value>(&answer.body) else {
        return Some("not the upstream's answer".to_owned());
    };
    let names = seen["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let right = seen["nonce"] == nonce
        && seen["tenant"] == serde_json::json!([identity.tenant])
        && seen["user"] == serde_json::json!([identity.user])
        && seen["credentials"] == false
        && seen["body_bytes"] == body_bytes
        && names.into_iter().all(|name| OURS.contains(&name))
        && answer.headers.contains_key("x-request-id");
    (!right).then(|| format!("nonce {nonce}, user {}, {body_bytes} bytes: {seen}", identity.user))
}

/// A WebSocket that lasts for a while.
pub(crate) async fn websockets(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    let identity = sign_in(&world, Caller { tenant: "globex", role: "member" }, from).await?;
    for _ in 0..5 {
        let mut socket = WebSocket::open(&world, "globex", from, &identity.bearer).await?;
        for number in 0..20 {
            if !world.goes_on() {
                return Ok(());
            }
            let sent = format!("frame {number}");
            let back = socket.echo(&sent).await?;
            world.tally.expect("WebSocket frames", back == sent, || format!("sent {sent:?}, got {back:?}"));
            sleep(Duration::from_millis(500)).await;
        }
    }
    Ok(())
}

/// A WebSocket by hand: short text frames (RFC 6455 §5).
pub(crate) struct WebSocket(tokio_rustls::client::TlsStream<tokio::net::TcpStream>);

impl WebSocket {
    pub(crate) async fn open(world: &World, tenant: &str, from: Ipv4Addr, bearer: &str) -> anyhow::Result<Self> {
        let edge = world.edge.clone();
        let host = world.host(tenant);
        let mut stream = edge.stream(&host, Alpn::Http1, from).await?;
        let head = format!(
            "GET /demo/echo/socket HTTP/1.1\r\nhost: {host}\r\nauthorization: {bearer}\r\nconnection: upgrade\r\n\
             upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            ensure!(stream.read(&mut byte).await? == 1, "closed: {}", String::from_utf8_lossy(&answer));
            answer.push(byte[0]);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 101"), "no WebSocket: {}", String::from_utf8_lossy(&answer));
        Ok(Self(stream))
    }

    /// Sends a text of at most 125 bytes and reads what comes back.
    pub(crate) async fn echo(&mut self, text: &str) -> anyhow::Result<String> {
        const MASK: [u8; 4] = [1, 2, 3, 4];
        let mut frame = vec![0x81, 0x80 | u8::try_from(text.len())?];
        frame.extend(MASK);
        frame.extend(text.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.0.write_all(&frame).await?;
        self.0.flush().await?;
        let mut head = [0; 2];
        self.0.read_exact(&mut head).await?;
        let mut payload = vec![0; usize::from(head[1] & 0x7f)];
        self.0.read_exact(&mut payload).await?;
        ensure!(head[0] == 0x81, "a frame of another kind: {head:02x?}");
        Ok(String::from_utf8(payload)?)
    }

    /// Waits until the edge ends it.
    pub(crate) async fn ended(&mut self) {
        let mut sink = [0; 256];
        while matches!(self.0.read(&mut sink).await, Ok(read) if read > 0) {}
    }
}
