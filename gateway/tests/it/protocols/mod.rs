//! Everything that is not "one request, one answer": streams both ways, gRPC, interim answers, large bodies.

mod events;
mod grpc;
mod semantics;
mod volume;
mod websocket;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use domain::HumanDuration;
use h2::{RecvStream, SendStream, client::SendRequest};
use http::HeaderMap;
use testkit::{Canary, PATIENCE, TestCa, raw::tls_connect};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{ACME, Fixture, config};

/// Long enough for two looks at what lasts, on a busy machine.
const TWO_LOOKS: Duration = Duration::from_millis(1200);

/// An upstream's `read` timeout that is over at once.
const IMPATIENT: &str = "timeouts: { connect: 5s, read: 300ms, write: 5s }";

/// An upstream of which nothing more is said.
const PATIENT: &str = "host: preserve";

/// Far longer than that.
const SILENCE: Duration = Duration::from_millis(1000);

/// A route whose streams last for ten seconds at most.
const SHORT_ROUTE: &str = "      - { path: /short/**, access: authenticated, max_stream: 10s }";

/// An upstream that is moved by hand.
struct Hand(TcpListener);

/// A request that has come to it.
struct Taken {
    stream: TcpStream,
    head: String,
}

impl Hand {
    async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// It, as a declarative file names it, with what more there is to say.
    fn upstream(&self, more: &str) -> String {
        format!("peers: [\"{}\"], plaintext: true, {more}", self.0.local_addr().unwrap())
    }

    /// The head of the next connection's first request.
    async fn take(&self) -> Taken {
        let accepted = timeout(PATIENCE, self.0.accept()).await.expect("nobody connects to the upstream");
        let mut taken = Taken { stream: accepted.unwrap().0, head: String::new() };
        taken.next().await;
        taken
    }
}

impl Taken {
    /// The head of the connection's next request.
    async fn next(&mut self) {
        self.head = until(&mut self.stream, "\r\n\r\n").await;
    }

    async fn say(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }
}

/// Reads a byte at a time until `end`, so that nothing behind it is taken.
pub(crate) async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !bytes.ends_with(end.as_bytes()) {
            bytes.push(stream.read_u8().await.unwrap());
        }
    };
    let done = timeout(PATIENCE, read).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(done.is_ok(), "no {end:?} in {text:?}");
    text
}

/// Whether the other end has closed, in whatever way, before anything more came.
async fn is_over(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    matches!(timeout(TWO_LOOKS, stream.read_u8()).await, Ok(Err(_)))
}

/// An edge before this upstream, with streams that may be silent for a minute.
async fn before(upstream: &str) -> Fixture {
    let mut config = config();
    config.connections.stream_idle = HumanDuration::from_secs(60);
    Fixture::configured(config, Canary::start().await, TestCa::new(), upstream, SHORT_ROUTE).await
}

/// A client over HTTP/2 that nothing of ours is in.
async fn http2(fixture: &Fixture) -> SendRequest<Bytes> {
    http2_to(fixture.https(), &fixture.ca.ca_pem()).await
}

pub(crate) async fn http2_to(edge: SocketAddr, ca: &str) -> SendRequest<Bytes> {
    let tls = tls_connect(edge, ACME, ca, &["h2"], None).await.unwrap();
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .handshake(tls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client.ready().await.unwrap()
}

/// A request's head over HTTP/2.
pub(crate) fn request(method: &str, path: &str, fields: &[(&'static str, &str)]) -> http::Request<()> {
    let request = http::Request::builder().method(method).uri(format!("https://{ACME}{path}"));
    fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

/// The next piece of a body; none at its end.
async fn piece(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = timeout(PATIENCE, body.data()).await.expect("no more of the body comes")?;
    if let Ok(bytes) = &data {
        body.flow_control().release_capacity(bytes.len()).unwrap();
    }
    Some(data)
}

/// All of what is left of a body, and its trailers.
async fn whole(body: &mut RecvStream) -> (Vec<u8>, HeaderMap) {
    let mut bytes = Vec::new();
    while let Some(data) = piece(body).await {
        bytes.extend_from_slice(&data.unwrap());
    }
    (bytes, body.trailers().await.unwrap().unwrap_or_default())
}

/// Sends all of it as the other end takes it.
async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, last: bool) {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
        let now = bytes.split_to(room.min(bytes.len()));
        let end = last && bytes.is_empty();
        stream.send_data(now, end).unwrap();
    }
}
