//! An upstream, compiled: its keys parsed, its header list resolved.

use domain::{
    HumanDuration, UpstreamId,
    snapshot::{HostPolicy, Peer, Upstream, UpstreamTls},
};

use crate::{assertion::CompiledAssertion, forward::IdentityHeader};

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
    /// What signs for it; none where it gets no assertion.
    pub(crate) assertion: Option<CompiledAssertion>,
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
