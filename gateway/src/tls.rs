//! TLS of the listener: which certificate is shown, and whose are asked for, is looked up by SNI at each handshake.
//!
//! ```text
//! ClientHello ─▶ SNI ─▶ hostname that asks for no certificate   one configuration for all   sessions resumed by name
//!                   └─▶ hostname that asks for certificates     a configuration of its own  sessions never resumed
//! ```
//!
//! A hostname that asks for certificates has nothing in common with another: its authorities verify what is shown, and no
//! session of it is ever resumed, be it at another name, after its authorities or revocation lists were replaced, or after
//! its tenant was suspended (threat H2). A hostname whose authorities cannot be read is not served: its handshakes end as
//! those of unknown names do (threat H5). What was shown stays with the connection and is judged again by each request.

mod certificates;
mod stream;

use std::{fmt, io, sync::Arc};

use authn::{ClientCertificate, certificate::unix_time};
use domain::Clock;
use gate::{
    Gate, ShownCertificate,
    load::{ConnectionSlot, Full, LoadLimits},
    snapshot::Clients,
};
use moka::sync::Cache;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::UnixTime,
    server::{Acceptor, NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    time_provider::TimeProvider,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;

use self::{certificates::Certificates, stream::TlsStream};
use crate::{entrance::handshakes::Handshakes, metrics::Metrics};

/// Configurations of hostnames that ask for certificates, kept.
const CONFIGURATIONS: u64 = 10_000;

/// Protocols by ALPN (RFC 7301), the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The TLS of a listener.
pub(crate) struct Tls {
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    certificates: Arc<Certificates>,
    /// Of all hostnames that ask for no certificate.
    common: Arc<ServerConfig>,
    /// Connections of tenants that say nothing.
    load: LoadLimits,
    /// Of the others, each with whom it was made for.
    own: Cache<Arc<str>, (Arc<Clients>, Arc<ServerConfig>)>,
}

/// What a handshake left behind. Lives as long as its connection, and counts it.
pub(crate) struct Handshake {
    /// The name it was made for, as sent.
    sni: Box<str>,
    /// What the client showed.
    certificate: Option<Arc<ShownCertificate>>,
    metrics: Arc<Metrics>,
    _slot: Option<ConnectionSlot>,
}

impl Tls {
    /// # Errors
    /// rustls and its provider do not go together, which the first start would show.
    pub(crate) fn new(
        gate: Arc<Gate>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        handshakes: Handshakes,
        load: LoadLimits,
    ) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(Certificates::new(Arc::clone(&gate), handshakes));
        let common = Arc::new(configuration(&certificates, &clock, WebPkiClientVerifier::no_client_auth())?);
        Ok(Self { gate, clock, metrics, certificates, common, load, own: Cache::new(CONFIGURATIONS) })
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// What the client was told by an alert, or that it went.
    pub(crate) async fn accept<S>(&self, socket: S) -> Result<(TlsStream<S>, Handshake), HandshakeError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let start = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
        let name = start.client_hello().server_name().map(Box::<str>::from);
        let known = name.as_deref().and_then(|name| self.gate.snapshot().handshake(name));
        let slot = known.as_ref().map(|known| known.connect(self.load)).transpose().map_err(HandshakeError::Full)?;
        let clients = known.as_ref().and_then(|known| known.clients.clone());
        let config = match (&known, &clients) {
            (Some(known), Some(clients)) => self.own(&known.host, clients)?,
            // Of a name that is not served there is no certificate, and so the handshake ends.
            (Some(_), None) | (None, _) => Arc::clone(&self.common),
        };
        let stream = start.into_stream(config).await?;
        // Without a name there is no certificate, either.
        let sni = name.unwrap_or_default();
        let certificate = clients.and_then(|clients| {
            let chain = stream.get_ref().1.peer_certificates()?.to_vec();
            let now = self.clock.unix_now();
            let certificate = ClientCertificate::verified(chain, Arc::clone(&clients.authorities), now)?;
            Some(Arc::new(ShownCertificate::new(certificate)))
        });
        self.metrics.active_connections.inc();
        let metrics = Arc::clone(&self.metrics);
        Ok((TlsStream::new(stream), Handshake { sni, certificate, metrics, _slot: slot }))
    }

    /// The configuration of a hostname that asks for certificates.
    fn own(&self, host: &Arc<str>, clients: &Arc<Clients>) -> Result<Arc<ServerConfig>, HandshakeError> {
        if let Some((made_for, config)) = self.own.get(host)
            && Arc::ptr_eq(&made_for.authorities, &clients.authorities)
        {
            return Ok(config);
        }
        let verifier = Arc::clone(clients.authorities.verifier());
        let mut config = configuration(&self.certificates, &self.clock, verifier)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let config = Arc::new(config);
        self.own.insert(Arc::clone(host), (Arc::clone(clients), Arc::clone(&config)));
        Ok(config)
    }
}

impl Handshake {
    /// The name it was made for, as sent.
    pub(crate) fn sni(&self) -> &str {
        &self.sni
    }

    /// What the client showed.
    pub(crate) const fn certificate(&self) -> Option<&Arc<ShownCertificate>> {
        self.certificate.as_ref()
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.metrics.active_connections.dec();
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("sni", &self.sni).field("certificate", &self.certificate).finish()
    }
}

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the handshake did not succeed")]
    Failed(#[from] io::Error),
    #[error("the hostname's TLS cannot be set up")]
    Configuration(#[from] rustls::Error),
    #[error("no more {0} are let in")]
    Full(Full),
}

impl HandshakeError {
    /// The label in metrics.
    pub(crate) fn reason(&self) -> &'static str {
        let error = match self {
            Self::Failed(error) => error,
            Self::Configuration(_) => return "tls_handshake_failed",
            Self::Full(Full::HostnameConnections) => return "hostname_connections",
            Self::Full(_) => return "tenant_connections",
        };
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::NoCertificatesPresented) => "client_certificate_missing",
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidCertRevocationList(_)) => {
                "client_certificate_refused"
            }
            _ => "tls_handshake_failed",
        }
    }
}

fn configuration(
    certificates: &Arc<Certificates>,
    clock: &Arc<dyn Clock>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<ServerConfig, rustls::Error> {
    let time = Arc::new(Time(Arc::clone(clock)));
    let mut config = ServerConfig::builder_with_details(Arc::new(aws_lc_rs::default_provider()), time)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::<Certificates>::clone(certificates));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

/// Our clock, by which certificates and revocation lists are in time or not.
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.unix_now()))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}
