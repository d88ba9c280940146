//! Who this gateway is towards the control plane, and whom it trusts there.
//!
//! The feed's connection and the built-in upstream `control-api` use the same certificate, the one the gateway was
//! enrolled with. It is renewed while the gateway runs; connections made from then on show the new one.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use link::rpc::TlsFiles;
use pingora::{
    protocols::tls::CaType,
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificate of now; none before enrolment, and where the control plane is on this machine.
#[derive(Debug, Default)]
pub struct ControlTls(ArcSwapOption<ControlIdentity>);

/// A certificate with its key, and the authorities of the control plane.
pub(crate) struct ControlIdentity {
    pub(crate) ca: Arc<CaType>,
    pub(crate) pair: Arc<CertKey>,
    /// Differs where the certificate or the authorities do.
    pub(crate) fingerprint: u64,
}

impl std::fmt::Debug for ControlIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ControlIdentity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// What is not PEM of what it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} cannot be read as PEM")]
pub struct NotPem(&'static str);

impl ControlTls {
    /// Uses these from now on.
    ///
    /// # Errors
    /// [`NotPem`]; then what was used before stays.
    pub fn replace(&self, files: &TlsFiles) -> Result<(), NotPem> {
        let chain = certificates(&files.chain).ok_or(NotPem("the gateway's certificate"))?;
        let ca = authorities(&files.ca).ok_or(NotPem("the control plane's authority"))?;
        let key = PrivateKeyDer::from_pem_slice(files.key.expose().as_bytes());
        let key = key.map_err(|_| NotPem("the gateway's key"))?.secret_der().to_vec();
        let mut hasher = DefaultHasher::new();
        (&chain, &files.ca).hash(&mut hasher);
        let pair = Arc::new(CertKey::new(chain, key));
        self.0.store(Some(Arc::new(ControlIdentity { ca, pair, fingerprint: hasher.finish() })));
        Ok(())
    }

    pub(crate) fn current(&self) -> Option<Arc<ControlIdentity>> {
        self.0.load_full()
    }
}

/// PEM of certificate authorities, as Pingora takes them. None for anything else.
pub(crate) fn authorities(pem: &str) -> Option<Arc<CaType>> {
    let found = certificates(pem)?;
    Some(found.into_iter().map(|der| WrappedX509::new(der, parse_x509)).collect::<Vec<_>>().into())
}

/// At least one certificate, each of which can be parsed: Pingora panics on what cannot.
fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = certificate.ok()?.to_vec();
        X509Certificate::from_der(&der).ok()?;
        found.push(der);
    }
    (!found.is_empty()).then_some(found)
}
