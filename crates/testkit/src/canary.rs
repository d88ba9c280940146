//! An upstream that keeps the exact bytes it receives, so that a test can say what arrived and what did not.

mod http2;

use std::{collections::VecDeque, io, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Leaf, PATIENCE,
    frames::PREFACE,
    http1::{self, Kind, Message, Reader, Stream},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\ncanary";
const OK_TO_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\n";

/// A raw server on a free loopback port. Speaks HTTP/1.1, and HTTP/2 to who begins with its preface (RFC 9113 §3.4).
/// Answers `200 canary`, or what it is told. Stops when dropped.
pub struct Canary {
    addr: SocketAddr,
    shared: Arc<Shared>,
    arrivals: tokio::sync::Mutex<UnboundedReceiver<Recorded>>,
    server: JoinHandle<()>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The request target, byte for byte; over HTTP/2 `:path`.
    pub target: String,
    /// `:authority`, which only HTTP/2 has.
    pub authority: Option<String>,
    /// Header fields in order: names in their letter case, values without surrounding whitespace.
    pub headers: Vec<(String, String)>,
    /// The body, chunks joined.
    pub body: Vec<u8>,
    /// Trailer fields in order.
    pub trailers: Vec<(String, String)>,
    /// Request line and header fields, byte for byte; empty over HTTP/2.
    pub head: Vec<u8>,
    /// The whole request, byte for byte; empty over HTTP/2.
    pub raw: Vec<u8>,
    /// Number of the connection it came on, from 0.
    pub connection: usize,
}

impl Recorded {
    /// The values of a header field, in order; the name in any letter case.
    pub fn header(&self, name: &str) -> Vec<&str> {
        http1::values(&self.headers, name).collect()
    }

    /// Names of all header and trailer fields, lower-case.
    pub fn names(&self) -> Vec<String> {
        self.headers.iter().chain(&self.trailers).map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

#[derive(Default)]
struct Shared {
    requests: Mutex<Vec<Recorded>>,
    /// What is left of each connection that was not a request: what broke the reading, and bytes after an upgrade.
    leftovers: Mutex<Vec<Vec<u8>>>,
    answers: Mutex<VecDeque<Vec<u8>>>,
    connections: Mutex<usize>,
    delays: Mutex<VecDeque<Duration>>,
}

impl Shared {
    /// Records a request; says what to answer.
    fn take(&self, recorded: Recorded, arrived: &UnboundedSender<Recorded>) -> Vec<u8> {
        let usual = if recorded.method == "HEAD" { OK_TO_HEAD } else { OK };
        self.requests.lock().push(recorded.clone());
        // Fails only when the canary is gone, and then nobody asks.
        let _ = arrived.send(recorded);
        self.answers.lock().pop_front().unwrap_or_else(|| usual.to_vec())
    }
}

impl Canary {
    /// Listens without TLS.
    pub async fn start() -> Self {
        Self::listen(None).await
    }

    /// Listens over TLS with this certificate, offering `h2` and `http/1.1`.
    pub async fn start_tls(leaf: &Leaf) -> Self {
        Self::listen(Some(TlsAcceptor::from(leaf.server_config(&["h2", "http/1.1"])))).await
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers one of the next requests with exactly these bytes. Calls queue up; when the queue is empty the answer
    /// is `200` again. A response that has `connection: close`, or neither a length nor chunks, ends the connection;
    /// after a `101` everything received goes to [`Self::leftovers`]. Over HTTP/2 they are translated.
    pub fn answer_next(&self, response: impl Into<Vec<u8>>) {
        self.shared.answers.lock().push_back(response.into());
    }

    /// Keeps one of the next requests waiting for its answer. Calls queue up. Over HTTP/1.1.
    pub fn answer_after(&self, delay: Duration) {
        self.shared.delays.lock().push_back(delay);
    }

    /// All requests so far, in the order in which they were complete.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().clone()
    }

    /// Bytes that were not part of any request: of broken ones, and those after an upgrade.
    pub fn leftovers(&self) -> Vec<Vec<u8>> {
        self.shared.leftovers.lock().clone()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        *self.shared.connections.lock()
    }

    /// The next request that was not yet asked for.
    ///
    /// # Panics
    /// When none arrives within [`PATIENCE`].
    pub async fn next(&self) -> Recorded {
        let next = async { self.arrivals.lock().await.recv().await };
        tokio::time::timeout(PATIENCE, next).await.expect("the canary waited for a request").unwrap()
    }

    /// Nothing at all arrived: no request, no broken one.
    ///
    /// # Panics
    /// When something did.
    pub fn assert_silent(&self) {
        assert!(self.requests().is_empty(), "the canary saw {:?}", self.requests());
        assert!(self.leftovers().is_empty(), "the canary saw {:?}", self.leftovers());
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (arrived, arrivals) = unbounded_channel();
        let server = tokio::spawn(accept(listener, tls, Arc::clone(&shared), arrived));
        Self { addr, shared, arrivals: tokio::sync::Mutex::new(arrivals), server }
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    arrived: UnboundedSender<Recorded>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let number = {
            let mut count = shared.connections.lock();
            *count += 1;
            *count - 1
        };
        let (shared, arrived, tls) = (Arc::clone(&shared), arrived.clone(), tls.clone());
        connections.spawn(async move {
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(stream),
                // A client that refuses the certificate is a test's subject, and shows on the client's side.
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => Box::new(stream),
                    Err(_) => return,
                },
            };
            serve(Reader::new(stream), number, &shared, &arrived).await;
        });
    }
}

async fn serve(
    mut reader: Reader<Box<dyn Stream>>,
    connection: usize,
    shared: &Shared,
    arrived: &UnboundedSender<Recorded>,
) {
    match reader.begins_with(PREFACE).await {
        Ok(true) => return http2::serve(reader, connection, shared, arrived).await,
        Ok(false) => {}
        Err(_) => return,
    }
    loop {
        let message = match reader.message(Kind::Request).await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(_) => break,
        };
        let recorded = recorded(message, connection);
        let answer = shared.take(recorded, arrived);
        let delay = shared.delays.lock().pop_front();
        tokio::time::sleep(delay.unwrap_or_default()).await;
        match respond(&mut reader.stream, &answer).await {
            Ok(After::NextRequest) => {}
            Ok(After::Close) | Err(_) => break,
            Ok(After::Upgraded) => {
                // A broken tunnel keeps what came before.
                let _ = reader.fill_to_the_end().await;
                break;
            }
        }
    }
    if !reader.unread().is_empty() {
        shared.leftovers.lock().push(reader.unread().to_vec());
    }
}

enum After {
    NextRequest,
    Close,
    Upgraded,
}

async fn respond(stream: &mut Box<dyn Stream>, answer: &[u8]) -> io::Result<After> {
    stream.write_all(answer).await?;
    stream.flush().await?;
    let head = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let head = head.split("\r\n\r\n").next().unwrap_or_default();
    let status = http1::status(head);
    if status == 101 {
        return Ok(After::Upgraded);
    }
    let delimited =
        head.contains("\r\ncontent-length:") || head.contains("\r\ntransfer-encoding:") || matches!(status, 204 | 304);
    if head.contains("\r\nconnection: close") || !delimited {
        stream.shutdown().await?;
        return Ok(After::Close);
    }
    Ok(After::NextRequest)
}

fn recorded(message: Message, connection: usize) -> Recorded {
    let mut words = message.start_line.splitn(2, ' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let target = target.rsplit_once(' ').map_or(target, |(target, _version)| target).to_owned();
    Recorded {
        method,
        target,
        authority: None,
        headers: message.fields,
        body: message.body,
        trailers: message.trailers,
        head: message.head,
        raw: message.raw,
        connection,
    }
}
