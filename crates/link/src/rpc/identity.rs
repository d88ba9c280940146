//! Who a gateway is, as its certificate says: the URI name `portcullis://FLEET/NAME/ID` (RFC 5280 §4.2.1.6).

use std::{fmt, sync::Arc};

use domain::{Timestamp, fleet::is_name};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::log::GatewayIdentity;

const SCHEME: &str = "portcullis://";

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Peer {
    /// One with a client certificate.
    Gateway {
        /// The gateway it names.
        gateway: GatewayIdentity,
        /// When it expires. A connection may last longer.
        expires: Timestamp,
    },
    /// Somebody on this machine, over a Unix socket or the loopback interface without TLS.
    Local,
}

/// The certificate that a client proved in the handshake to be its own. Nothing that a request says makes one.
#[derive(Clone)]
pub struct Proven(Arc<Vec<CertificateDer<'static>>>);

impl Proven {
    /// Of a chain, leaf first, whose leaf's key signed the handshake. None for an empty one.
    pub(super) fn of_chain(chain: Arc<Vec<CertificateDer<'static>>>) -> Option<Self> {
        if chain.is_empty() { None } else { Some(Self(chain)) }
    }

    /// The certificate itself (DER).
    pub fn der(&self) -> &[u8] {
        self.0.first().map_or(&[], |leaf| leaf)
    }
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proven").finish_non_exhaustive()
    }
}

/// The URI that a gateway's certificate carries.
pub fn uri(gateway: &GatewayIdentity) -> String {
    format!("{SCHEME}{}/{}/{}", gateway.fleet, gateway.name, gateway.id)
}

/// Reads the URI. None when it names no gateway.
pub fn from_uri(uri: &str) -> Option<GatewayIdentity> {
    let mut parts = uri.strip_prefix(SCHEME)?.split('/');
    let (fleet, name, id) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_name(fleet) || !is_name(name) {
        return None;
    }
    Some(GatewayIdentity { id: id.parse().ok()?, name: name.into(), fleet: fleet.into() })
}

/// The gateway that a client certificate (DER) names. None unless it has exactly one URI name and that names one.
pub fn of_certificate(der: &[u8]) -> Option<GatewayIdentity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let identity = from_uri(uris.next()?);
    if uris.next().is_some() { None } else { identity }
}

/// When a certificate (DER) expires. None when it cannot be read.
pub fn expiry(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Timestamp::from_secs(certificate.validity().not_after.timestamp()))
}

#[test]
fn an_identity_reads_back_and_other_uris_name_nobody() {
    let id = "00000000-0000-0000-0000-000000000007".parse().unwrap();
    let gateway = GatewayIdentity { id, name: "gw-1".into(), fleet: "eu".into() };
    assert_eq!(from_uri(&uri(&gateway)), Some(gateway));
    for bad in [
        "portcullis://eu/gw-1",
        "portcullis://eu/gw-1/x",
        "portcullis:///gw-1/00000000-0000-0000-0000-000000000007",
        "portcullis://eu/gw-1/00000000-0000-0000-0000-000000000007/",
        "portcullis://eu/../00000000-0000-0000-0000-000000000007/x",
        "https://eu/gw-1/00000000-0000-0000-0000-000000000007",
    ] {
        assert_eq!(from_uri(bad), None, "{bad}");
    }
}
