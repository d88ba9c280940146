//! HTTP/1.1 as bytes, over TCP or TLS.

use std::{io, net::SocketAddr};

use rustls::pki_types::ServerName;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{error::Elapsed, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    Leaf, PATIENCE, ca,
    http1::{self as wire, Kind, Reader, Stream},
};

/// Sends bytes over plain TCP and reads the response, or everything when the peer closes first.
///
/// # Errors
/// What the socket answers; `TimedOut` when no whole response comes within [`PATIENCE`].
pub async fn http1(addr: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    Connection::plain(addr).await?.exchange(bytes).await
}

/// Sends bytes over TLS and reads the response, or everything when the peer closes first.
///
/// `sni` is a hostname, or an IP address to send no SNI at all (RFC 6066 §3).
///
/// # Errors
/// As [`http1`]; also what the handshake answers, such as the peer's alert.
pub async fn tls_http1(addr: SocketAddr, sni: &str, ca_pem: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    Connection::tls(addr, sni, ca_pem, None).await?.exchange(bytes).await
}

/// A TLS connection that trusts only `ca_pem` and offers these protocols.
///
/// # Errors
/// What socket and handshake answer.
pub async fn tls_connect(
    addr: SocketAddr,
    sni: &str,
    ca_pem: &str,
    alpn: &[&str],
    identity: Option<&Leaf>,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(sni.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(ca::client_config(ca_pem, alpn, identity));
    let connect = async { connector.connect(name, TcpStream::connect(addr).await?).await };
    timeout(PATIENCE, connect).await.map_err(late)?
}

/// A connection that stays open: for pipelining, keep-alive, upgrades and half-sent requests.
pub struct Connection {
    reader: Reader<Box<dyn Stream>>,
    head_only: bool,
}

impl Connection {
    /// Over plain TCP.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn plain(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(Box::new(TcpStream::connect(addr).await?)))
    }

    /// Over TLS with ALPN `http/1.1`; `identity` is the client certificate to show when asked.
    ///
    /// # Errors
    /// What socket and handshake answer.
    pub async fn tls(addr: SocketAddr, sni: &str, ca_pem: &str, identity: Option<&Leaf>) -> io::Result<Self> {
        Ok(Self::over(Box::new(tls_connect(addr, sni, ca_pem, &["http/1.1"], identity).await?)))
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self { reader: Reader::new(stream), head_only: false }
    }

    /// Sends these bytes and nothing else.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.head_only = bytes.starts_with(b"HEAD ");
        self.reader.stream.write_all(bytes).await?;
        self.reader.stream.flush().await
    }

    /// The next response, byte for byte, with the interim ones (1xx but 101) before it. Empty when the peer closed.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`]; `UnexpectedEof` when the peer closed within a response.
    pub async fn response(&mut self) -> io::Result<Vec<u8>> {
        let kind = if self.head_only { Kind::ResponseToHead } else { Kind::Response };
        let read = async {
            let mut bytes = Vec::new();
            while let Some(message) = self.reader.message(kind).await? {
                bytes.extend_from_slice(&message.raw);
                if !matches!(wire::status(&message.start_line), 100 | 102..=199) {
                    break;
                }
            }
            Ok(bytes)
        };
        timeout(PATIENCE, read).await.map_err(late)?
    }

    /// Everything until the peer closes.
    ///
    /// # Errors
    /// `TimedOut` after [`PATIENCE`].
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        timeout(PATIENCE, self.reader.rest()).await.map_err(late)?
    }

    /// Tells the peer that nothing more comes.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.reader.stream.shutdown().await
    }

    /// Sends bytes and reads the response.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::response`].
    pub async fn exchange(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let sent = self.send(bytes).await;
        // A peer may refuse early and close while we still write: its answer counts more than our broken pipe.
        let answer = self.response().await?;
        if answer.is_empty() {
            sent?;
        }
        Ok(answer)
    }
}

/// A response taken apart.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status; 0 when there was no response at all.
    pub status: u16,
    /// Header fields in order, names in their letter case.
    pub headers: Vec<(String, String)>,
    /// The body with the chunks joined.
    pub body: Vec<u8>,
}

impl Response {
    /// Reads the final response out of what [`Connection::response`] gave; more bytes behind it are ignored.
    ///
    /// # Panics
    /// When the bytes end within a response.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        loop {
            let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
                assert!(rest.is_empty(), "not a whole response: {}", String::from_utf8_lossy(bytes));
                return Self { status: 0, headers: Vec::new(), body: Vec::new() };
            };
            let (head, tail) = rest.split_at(end + 4);
            let (start_line, headers) = wire::split_head(head);
            let status = wire::status(&start_line);
            if matches!(status, 100 | 102..=199) {
                rest = tail;
                continue;
            }
            let chunked = wire::values(&headers, "transfer-encoding").any(|v| v.contains("chunked"));
            let length = wire::values(&headers, "content-length").next().and_then(|v| v.parse::<usize>().ok());
            let body = match (chunked, length) {
                (true, _) => joined(tail),
                // Shorter after HEAD.
                (false, Some(length)) => tail[..length.min(tail.len())].to_vec(),
                (false, None) => tail.to_vec(),
            };
            return Self { status, headers, body };
        }
    }

    /// The first value of a header field; the name in any letter case.
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::values(&self.headers, name).next()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// The content of chunks (RFC 9112 §7.1).
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|window| window == b"\r\n") {
        let line = String::from_utf8_lossy(&chunks[..end]).into_owned();
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16).unwrap();
        let Some(chunk) = chunks.get(end + 2..end + 2 + size).filter(|chunk| !chunk.is_empty()) else { break };
        body.extend_from_slice(chunk);
        chunks = chunks.get(end + 4 + size..).unwrap_or_default();
    }
    body
}

fn late(_: Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("no whole answer within {PATIENCE:?}"))
}
