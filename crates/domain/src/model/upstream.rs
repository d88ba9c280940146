//! Upstreams: where requests go.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{
    HumanDuration, Secret, Timestamp, UpstreamId,
    snapshot::{HostPolicy, Peer, UpstreamTls},
};

/// How identity is proven to an upstream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssertionMode {
    /// HS256 with a key of its own, made when the upstream is.
    #[default]
    Hmac,
    /// EdDSA with the fleet's active key.
    Eddsa,
    /// Not at all.
    Off,
}

/// A key of an upstream's HMAC assertions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AssertionKey {
    /// Names it in the header of assertions.
    pub kid: String,
    /// 32 bytes, base64url.
    pub key: Secret<String>,
}

/// What the key beside the one that signs is there for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtherKey {
    /// To sign next: the upstream learns it first.
    #[default]
    Next,
    /// Signed before: some gateway may still use it.
    Previous,
}

/// The keys that an upstream's operator checks HMAC assertions with: one, and two while it is exchanged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AssertionKeys {
    /// The one that signs.
    pub active: AssertionKey,
    /// The other one.
    pub other: Option<(OtherKey, AssertionKey)>,
}

impl AssertionKeys {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &AssertionKey> {
        std::iter::once(&self.active).chain(self.other.as_ref().map(|(_, key)| key))
    }
}

/// An upstream's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpstreamSpec {
    /// Its addresses.
    pub peers: Vec<Peer>,
    /// TLS to the peers; none for plain HTTP.
    pub tls: Option<UpstreamTls>,
    /// Speak HTTP/2 to the peers.
    pub http2: bool,
    /// Which identity headers it gets; none for all.
    pub headers: Option<Vec<String>>,
    /// The Host it gets.
    pub host: HostPolicy,
    /// Whether `Authorization` and the session cookie are forwarded.
    pub forward_credentials: bool,
    /// Longest wait for a connection.
    pub connect_timeout: HumanDuration,
    /// Longest wait between two reads.
    pub read_timeout: HumanDuration,
    /// Longest wait between two writes.
    pub write_timeout: HumanDuration,
}

impl UpstreamSpec {
    /// These peers, and for everything else the defaults.
    pub fn to(peers: Vec<Peer>) -> Self {
        Self {
            peers,
            tls: None,
            http2: false,
            headers: None,
            host: HostPolicy::Preserve,
            forward_credentials: false,
            connect_timeout: HumanDuration::from_secs(5),
            read_timeout: HumanDuration::from_secs(60),
            write_timeout: HumanDuration::from_secs(60),
        }
    }
}

/// Where requests go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upstream {
    /// Its id.
    pub id: UpstreamId,
    /// Its unique name; the assertion's audience.
    pub name: String,
    /// How identity is proven to it.
    pub assertion: AssertionMode,
    /// Its settings.
    pub spec: UpstreamSpec,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// An upstream to be made.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `Upstream`")]
pub struct NewUpstream {
    pub id: UpstreamId,
    pub name: String,
    pub assertion: AssertionMode,
    pub spec: UpstreamSpec,
}
