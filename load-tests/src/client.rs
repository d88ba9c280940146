//! Clients of the edge, over HTTP/1.1 and HTTP/2, from an address of their own.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alpn {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The edge of a node.
#[derive(Clone)]
pub struct Edge {
    address: SocketAddr,
    http1: TlsConnector,
    http2: TlsConnector,
}

impl Edge {
    /// The edge at an address, whose certificates are of one of these authorities. Sessions are never resumed.
    ///
    /// # Errors
    /// The PEM holds something else than certificates.
    pub fn new(address: SocketAddr, ca_pem: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.context("an authority's certificate")?)?;
        }
        let connector = |protocol: &[u8]| {
            let mut config = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            config.resumption = Resumption::disabled();
            TlsConnector::from(Arc::new(config))
        };
        Ok(Self { address, http1: connector(b"http/1.1"), http2: connector(b"h2") })
    }

    /// Where it is.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A TLS connection to a hostname.
    ///
    /// # Errors
    /// What socket and handshake answer.
    pub async fn stream(&self, host: &str, alpn: Alpn, from: Ipv4Addr) -> anyhow::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned())?;
        let connector = if alpn == Alpn::Http2 { &self.http2 } else { &self.http1 };
        let connect = async { anyhow::Ok(connector.connect(name, self.tcp(from).await?).await?) };
        tokio::time::timeout(PATIENCE, connect).await.context("no TLS connection came about")?
    }

    /// A TCP connection.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn tcp(&self, from: Ipv4Addr) -> anyhow::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection for requests.
    ///
    /// # Errors
    /// What socket and handshake answer.
    pub async fn connect(&self, host: &str, alpn: Alpn, from: Ipv4Addr) -> anyhow::Result<Connection> {
        let io = TokioIo::new(self.stream(host, alpn, from).await?);
        let sender = match alpn {
            Alpn::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Alpn::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Connection { host: host.to_owned(), sender, last: false })
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A connection that is kept.
pub struct Connection {
    host: String,
    sender: Sender,
    /// An answer said that it was the last one (RFC 9112 §9.6).
    last: bool,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Connection {
    /// A connection to a service itself, in plain HTTP/1.1.
    ///
    /// # Errors
    /// What the socket answers.
    pub async fn plain(address: SocketAddr, host: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { host: host.to_owned(), sender: Sender::Http1(sender), last: false })
    }

    /// Sends a request without a body and reads the answer.
    ///
    /// # Errors
    /// What the connection answers.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.call(Method::GET, path, headers, Bytes::new()).await
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// What the connection answers.
    pub async fn call(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method);
        request = match self.sender {
            Sender::Http1(_) => request.uri(path).header("host", &self.host),
            Sender::Http2(_) => request.uri(format!("https://{}{path}", self.host)),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body))?;
        let exchange = async {
            let answer = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, body) = answer.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let answer: anyhow::Result<Answer> =
            tokio::time::timeout(PATIENCE, exchange).await.with_context(|| format!("no answer for {path}"))?;
        let answer = answer?;
        self.last = answer.headers.get("connection").is_some_and(|value| value == "close");
        Ok(answer)
    }

    /// Whether it takes no further request.
    pub fn is_closed(&self) -> bool {
        self.last
            || match &self.sender {
                Sender::Http1(sender) => sender.is_closed(),
                Sender::Http2(sender) => sender.is_closed(),
            }
    }
}
