//! An upstream, compiled: its keys parsed, its header list resolved.

use std::fmt;

use authn::SigningKey;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    HumanDuration, Secret, UpstreamId,
    snapshot::{Algorithm, Assertion, HostPolicy, Peer, Upstream, UpstreamTls},
};

use crate::forward::IdentityHeader;

/// `typ` of the assertion.
pub const ASSERTION_TYPE: &str = "assertion+jwt";

/// Where requests go, ready to be used.
#[derive(Debug)]
pub struct CompiledUpstream {
    /// Its id.
    pub id: UpstreamId,
    /// Its name; the assertion's audience.
    pub name: Box<str>,
    /// Its addresses; never empty.
    pub peers: Vec<Peer>,
    /// TLS to the peers; none for plain HTTP.
    pub tls: Option<UpstreamTls>,
    /// HTTP/2 to the peers.
    pub http2: bool,
    /// The Host it gets.
    pub host: HostPolicy,
    /// Whether credentials are forwarded.
    pub forward_credentials: bool,
    /// Longest wait for a connection.
    pub connect_timeout: HumanDuration,
    /// Longest wait between two reads.
    pub read_timeout: HumanDuration,
    /// Longest wait between two writes.
    pub write_timeout: HumanDuration,
    /// Which identity headers it gets; none for all.
    pub(crate) headers: Option<Vec<IdentityHeader>>,
    pub(crate) assertion: CompiledAssertion,
}

pub(crate) enum CompiledAssertion {
    Off,
    Hmac { header: String, key: Box<hmac::Key> },
    Eddsa(Box<SigningKey>),
}

impl fmt::Debug for CompiledAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Hmac { .. } => "Hmac",
            Self::Eddsa(_) => "Eddsa",
        })
    }
}

/// Why an upstream cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UpstreamError {
    /// It has no address.
    #[error("it has no peer")]
    NoPeer,
    /// Its assertion key is broken.
    #[error("its assertion key is not base64url of a key of its kind")]
    AssertionKey,
    /// It asks for a header there is not.
    #[error("it asks for an identity header that does not exist")]
    UnknownHeader,
}

impl CompiledUpstream {
    pub(crate) fn new(upstream: &Upstream) -> Result<Self, UpstreamError> {
        if upstream.peers.is_empty() {
            return Err(UpstreamError::NoPeer);
        }
        let headers = upstream.headers.as_ref().map(|names| {
            names.iter().map(|name| IdentityHeader::named(name).ok_or(UpstreamError::UnknownHeader)).collect()
        });
        Ok(Self {
            id: upstream.id,
            name: upstream.name.as_str().into(),
            peers: upstream.peers.clone(),
            tls: upstream.tls.clone(),
            http2: upstream.http2,
            host: upstream.host.clone(),
            forward_credentials: upstream.forward_credentials,
            connect_timeout: upstream.connect_timeout,
            read_timeout: upstream.read_timeout,
            write_timeout: upstream.write_timeout,
            headers: headers.transpose()?,
            assertion: CompiledAssertion::new(&upstream.assertion)?,
        })
    }
}

impl CompiledAssertion {
    fn new(assertion: &Assertion) -> Result<Self, UpstreamError> {
        let decode =
            |key: &Secret<String>| URL_SAFE_NO_PAD.decode(key.expose()).map_err(|_| UpstreamError::AssertionKey);
        Ok(match assertion {
            Assertion::Off => Self::Off,
            Assertion::Hmac { key, kid } => {
                let key = Secret::new(decode(key)?);
                if key.expose().len() < 32 {
                    return Err(UpstreamError::AssertionKey);
                }
                let header = serde_json::json!({"alg": "HS256", "kid": kid, "typ": ASSERTION_TYPE}).to_string();
                Self::Hmac {
                    header: URL_SAFE_NO_PAD.encode(header),
                    key: Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose())),
                }
            }
            Assertion::Eddsa { key, kid } => {
                let pkcs8 = Secret::new(decode(key)?);
                let key = SigningKey::from_pkcs8(kid, Algorithm::EdDsa, &pkcs8);
                Self::Eddsa(Box::new(key.map_err(|_| UpstreamError::AssertionKey)?))
            }
        })
    }
}
