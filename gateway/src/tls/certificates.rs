//! Certificates by SNI, looked up in the snapshot at each handshake.
//!
//! A name that is not served, or no name at all, gets no certificate: the handshake ends with an alert, and no tenant's
//! certificate is ever shown under another name. A replaced certificate is used from the next handshake on. A session
//! is resumed only under the name it was made for (rustls compares them), and every request is judged anew anyway.

use std::{fmt, sync::Arc};

use domain::CertificateId;
use gate::{Gate, snapshot::CertificateData};
use moka::sync::Cache;
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::entrance::handshakes::Handshakes;

/// Parsed certificates kept.
const PARSED: u64 = 100_000;

/// Chooses certificates.
pub(super) struct Certificates {
    gate: Arc<Gate>,
    handshakes: Handshakes,
    parsed: Cache<(CertificateId, u64), Arc<CertifiedKey>>,
}

impl Certificates {
    pub(super) fn new(gate: Arc<Gate>, handshakes: Handshakes) -> Self {
        Self { gate, handshakes, parsed: Cache::new(PARSED) }
    }

    fn choose(&self, sni: &str) -> Option<Arc<CertifiedKey>> {
        let data = self.gate.snapshot().handshake(sni)?.certificate;
        if !self.handshakes.allow(sni) {
            return None;
        }
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
