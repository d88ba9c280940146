//! Certificates by SNI, looked up in the snapshot at each handshake.
//!
//! A name that is not served, or no name at all, gets no certificate: the handshake ends with an alert, and no tenant's
//! certificate is ever shown under another name. A replaced certificate is used from the next handshake on. A session
//! is resumed only under the name it was made for (rustls compares them), and every request is judged anew anyway.

use std::{any::Any, fmt, sync::Arc};

use async_trait::async_trait;
use domain::CertificateId;
use gate::{Gate, snapshot::CertificateData};
use moka::sync::Cache;
use pingora::{
    listeners::{ALPN, TlsAccept, tls::TlsSettings},
    protocols::tls::TlsRef,
};
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::metrics::Metrics;

/// Parsed certificates kept.
const PARSED: u64 = 100_000;

/// The name that a connection's TLS handshake was made for, as sent. Lives as long as the connection, and counts it.
pub(crate) struct Sni {
    name: Box<str>,
    metrics: Arc<Metrics>,
}

impl Sni {
    fn new(name: &str, metrics: &Arc<Metrics>) -> Self {
        metrics.active_connections.inc();
        Self { name: name.into(), metrics: Arc::clone(metrics) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Sni {
    fn drop(&mut self) {
        self.metrics.active_connections.dec();
    }
}

/// TLS of the listener: certificates from the gate's snapshot, HTTP/2 preferred.
pub(crate) fn settings(certificates: Arc<Certificates>, metrics: Arc<Metrics>) -> pingora::Result<TlsSettings> {
    let mut settings = TlsSettings::with_callbacks(Box::new(KeepSni(metrics)))?;
    settings.set_cert_resolver(certificates);
    settings.set_alpn(ALPN::H2H1);
    Ok(settings)
}

/// Chooses certificates.
pub(crate) struct Certificates {
    gate: Arc<Gate>,
    parsed: Cache<(CertificateId, u64), Arc<CertifiedKey>>,
}

impl Certificates {
    pub(crate) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, parsed: Cache::new(PARSED) }
    }

    fn choose(&self, sni: &str) -> Option<Arc<CertifiedKey>> {
        let data = self.gate.snapshot().certificate(sni)?;
        let parsed = self.parsed.try_get_with((data.id, data.revision), || parse(&data).map(Arc::new));
        match parsed {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::error!(tls.sni = sni, certificate.id = %data.id, %error, "a certificate cannot be used");
                None
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()?)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("parsed", &self.parsed.entry_count()).finish_non_exhaustive()
    }
}

/// Why a certificate cannot be used. Says nothing of the key.
#[derive(Debug, thiserror::Error)]
enum CertificateError {
    #[error("the chain is not PEM of certificates")]
    Chain,
    #[error("the key is not PEM of a private key")]
    Key,
    #[error("key and chain do not fit: {0}")]
    Mismatch(rustls::Error),
}

fn parse(data: &CertificateData) -> Result<CertifiedKey, CertificateError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(data.chain_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::Chain)?;
    if chain.is_empty() {
        return Err(CertificateError::Chain);
    }
    let key = PrivateKeyDer::from_pem_slice(data.key_pem.expose().as_bytes()).map_err(|_| CertificateError::Key)?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(CertificateError::Mismatch)
}

/// Keeps the SNI of a handshake with its connection.
struct KeepSni(Arc<Metrics>);

#[async_trait]
impl TlsAccept for KeepSni {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let sni: Arc<dyn Any + Send + Sync> = Arc::new(Sni::new(tls.server_name()?, &self.0));
        Some(sni)
    }
}
