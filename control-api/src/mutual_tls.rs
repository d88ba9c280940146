//! Mutual TLS under an axum router: whoever gets to speak HTTP has shown the certificate of an enrolled gateway.
//!
//! Each request says over whose connection it came ([`Edge`]), because a connection may outlive an enrolment.
//!
//! Handshakes go on beside each other, so that a slow client holds up nobody. Both ends are ours: TLS 1.3 only.

use std::{
    future, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use domain::{HostName, Secret, Timestamp};
use link::{log::GatewayIdentity, rpc::identity};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier},
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Handshakes at once; further connections wait in the kernel.
const HANDSHAKES: usize = 256;

/// How long to wait after the system refused to accept, such as without file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not what it should be.
    #[error("`{key}` is not PEM of {what}")]
    Pem {
        /// The member.
        key: &'static str,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        source: Option<pem::Error>,
    },
    /// The certificate is not for the name under which gateways reach us.
    #[error("`certificate` is not valid for `{name}` (`name`)")]
    Name {
        /// That name.
        name: HostName,
        /// Why it is not.
        source: Box<rustls::Error>,
    },
    /// The authority cannot be trusted.
    #[error("`ca` cannot be used")]
    Authority(#[from] VerifierBuilderError),
    /// Certificate and key do not fit, or are of an unknown kind.
    #[error("`certificate` and `key` cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// The server's side: this chain and key, and clients whose certificate the authority signed.
///
/// # Errors
/// [`TlsError`] names the member that is wrong.
pub(crate) fn server_config(
    chain: &str,
    key: &Secret<String>,
    ca: &str,
    name: &HostName,
) -> Result<ServerConfig, TlsError> {
    let chain = certificates("certificate", chain)?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|source| TlsError::Pem {
        key: "key",
        what: "a private key",
        source: Some(source),
    })?;
    let mut roots = RootCertStore::empty();
    for authority in certificates("ca", ca)? {
        roots.add(authority).map_err(|_| TlsError::Pem { key: "ca", what: "certificates", source: None })?;
    }
    is_for(&chain, name)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(TlsError::Pair)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(key: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::Pem { key, what: "certificates", source };
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|source| wrong(Some(source)))?;
    if found.is_empty() { Err(wrong(None)) } else { Ok(found) }
}

/// Whether gateways will accept the leaf under this name: better told at the start than by each of them.
fn is_for(chain: &[CertificateDer<'_>], name: &HostName) -> Result<(), TlsError> {
    let wrong = |source| TlsError::Name { name: name.clone(), source: Box::new(source) };
    let leaf = chain.first().ok_or(TlsError::Pem { key: "certificate", what: "certificates", source: None })?;
    let parsed = rustls::server::ParsedCertificate::try_from(leaf).map_err(wrong)?;
    let asked = rustls::pki_types::ServerName::try_from(name.as_str())
        .map_err(|_| wrong(rustls::Error::General("it is no DNS name".into())))?;
    rustls::client::verify_server_name(&parsed, &asked).map_err(wrong)
}

/// A listener that gives connections after their handshake.
#[derive(Debug)]
pub(crate) struct MutualTls {
    shaken: mpsc::Receiver<(EdgeStream, SocketAddr)>,
    address: io::Result<SocketAddr>,
    accepting: AbortHandle,
}

impl MutualTls {
    /// Starts to accept. Needs a tokio runtime.
    pub(crate) fn new(listener: TcpListener, config: ServerConfig) -> Self {
        let (done, shaken) = mpsc::channel(1);
        let address = listener.local_addr();
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), done)).abort_handle();
        Self { shaken, address, accepting }
    }
}

impl Drop for MutualTls {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for MutualTls {
    type Io = EdgeStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.shaken.recv().await {
            Some(connection) => connection,
            // The accepting task is gone, with the runtime it ran on.
            None => future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(error.kind().into()),
        }
    }
}

/// A connection of a gateway.
#[derive(Debug)]
pub(crate) struct EdgeStream {
    stream: TlsStream<TcpStream>,
    edge: Edge,
}

impl AsyncRead for EdgeStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for EdgeStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The gateway over whose connection a request came.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    /// Who it is.
    pub(crate) gateway: GatewayIdentity,
    /// When the certificate expires that it showed.
    pub(crate) expires: Timestamp,
}

impl Edge {
    /// None where the certificate names no gateway: not every client of the authority is one.
    fn of(stream: &TlsStream<TcpStream>) -> Option<Self> {
        let leaf = stream.get_ref().1.peer_certificates()?.first()?;
        Some(Self { gateway: identity::of_certificate(leaf)?, expires: identity::expiry(leaf)? })
    }
}

impl Connected<IncomingStream<'_, MutualTls>> for Edge {
    fn connect_info(stream: IncomingStream<'_, MutualTls>) -> Self {
        stream.io().edge.clone()
    }
}

type Shaken = mpsc::Sender<(EdgeStream, SocketAddr)>;

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, done: Shaken) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    // The semaphore is never closed.
    while let Ok(turn) = Arc::clone(&handshakes).acquire_owned().await {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a connection cannot be accepted");
                sleep(BREATH).await;
                continue;
            }
        };
        let (acceptor, done) = (acceptor.clone(), done.clone());
        tokio::spawn(async move {
            if let Some(stream) = shake(stream, address, &acceptor).await {
                // An error means that the listener is gone, and with it whoever would have answered.
                drop(done.send((stream, address)).await);
            }
            drop(turn);
        });
    }
}

/// The handshake, and whose it was.
async fn shake(stream: TcpStream, address: SocketAddr, acceptor: &TlsAcceptor) -> Option<EdgeStream> {
    let refused = |why: &str| tracing::warn!(client.address = %address, why, "a connection to `public` is refused");
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            refused(&error.to_string());
            return None;
        }
        Err(_) => {
            refused("the handshake takes too long");
            return None;
        }
    };
    let Some(edge) = Edge::of(&stream) else {
        refused("the certificate names no gateway");
        return None;
    };
    Some(EdgeStream { stream, edge })
}

#[cfg(test)]
mod tests {
    use axum::{Router, extract::ConnectInfo, routing::get};
    use testkit::{Leaf, TestCa, client_config};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::TlsConnector;

    use super::*;

    const GATEWAY: &str = "portcullis://eu/edge-1/00000000-0000-0000-0000-000000000007";

    fn config(ca: &TestCa, leaf: &Leaf, name: &str) -> Result<ServerConfig, TlsError> {
        server_config(&leaf.chain_pem, &leaf.key_pem.clone().into(), &ca.ca_pem(), &name.parse().unwrap())
    }

    async fn serve(config: ServerConfig) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async |ConnectInfo(edge): ConnectInfo<Edge>| edge.gateway.name));
        let service = router.into_make_service_with_connect_info::<Edge>();
        tokio::spawn(async { axum::serve(MutualTls::new(listener, config), service).await });
        address
    }

    /// What a client gets to read; nothing when it is not let in.
    async fn ask(address: SocketAddr, ca: &TestCa, identity: Option<&Leaf>) -> String {
        let connector = TlsConnector::from(client_config(&ca.ca_pem(), &["http/1.1"], identity));
        let stream = TcpStream::connect(address).await.unwrap();
        let Ok(mut stream) = connector.connect("localhost".try_into().unwrap(), stream).await else {
            return String::new();
        };
        let mut answer = String::new();
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        // A client without a certificate learns that it is refused only when it reads (RFC 8446 §4.4.2.4).
        if stream.write_all(request).await.is_ok() {
            drop(stream.read_to_string(&mut answer).await);
        }
        answer
    }

    #[tokio::test]
    async fn lets_in_who_shows_the_certificate_of_a_gateway_and_nobody_else() {
        let (ca, stranger) = (TestCa::new(), TestCa::new());
        let address = serve(config(&ca, &ca.leaf(&["localhost"]), "localhost").unwrap()).await;
        let answer = ask(address, &ca, Some(&ca.client_uri(GATEWAY))).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("edge-1"), "{answer}");
        assert_eq!(ask(address, &ca, None).await, "", "no certificate");
        assert_eq!(ask(address, &ca, Some(&stranger.client_uri(GATEWAY))).await, "", "another authority");
        assert_eq!(ask(address, &ca, Some(&ca.client("edge-1"))).await, "", "a certificate that names no gateway");
        assert_eq!(ask(address, &ca, Some(&ca.leaf(&["localhost"]))).await, "", "a server's certificate");
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_holds_up_nobody() {
        let ca = TestCa::new();
        let address = serve(config(&ca, &ca.leaf(&["localhost"]), "localhost").unwrap()).await;
        let _silent = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let answer = ask(address, &ca, Some(&ca.client_uri(GATEWAY))).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    #[test]
    fn a_broken_file_is_named() {
        let ca = TestCa::new();
        let (leaf, other) = (ca.leaf(&["localhost"]), ca.leaf(&["localhost"]));
        let wrong = |leaf: &Leaf, ca: &str| {
            let error = server_config(&leaf.chain_pem, &leaf.key_pem.clone().into(), ca, &"localhost".parse().unwrap());
            error.map(drop).unwrap_err().to_string()
        };
        let with = |chain: &str, key: &str| Leaf { chain_pem: chain.into(), key_pem: key.into() };
        assert_eq!(wrong(&with("no", &leaf.key_pem), &ca.ca_pem()), "`certificate` is not PEM of certificates");
        assert_eq!(wrong(&with(&leaf.chain_pem, "no"), &ca.ca_pem()), "`key` is not PEM of a private key");
        assert_eq!(wrong(&leaf, "no"), "`ca` is not PEM of certificates");
        assert_eq!(
            wrong(&with(&leaf.chain_pem, &other.key_pem), &ca.ca_pem()),
            "`certificate` and `key` cannot be used together"
        );
        let misnamed = config(&ca, &leaf, "control-api.internal").map(drop).unwrap_err();
        assert_eq!(misnamed.to_string(), "`certificate` is not valid for `control-api.internal` (`name`)");
    }
}
