//! Where a permitted request goes: one of its upstream's addresses, and how it is spoken to.
//!
//! Addresses take turns; when one cannot be connected to, the next is tried. Connections are shared between requests
//! to the same upstream only, never between upstreams, even where their addresses are the same.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{UpstreamId, snapshot::Peer};
use gate::snapshot::upstream::CompiledUpstream;
use parking_lot::RwLock;
use pingora::{listeners::ALPN, protocols::tls::CaType, upstreams::peer::HttpPeer};

use super::{forbidden::Forbidden, resolver::Resolver, stream::UpstreamSilence, websocket};
use crate::control_tls::{ControlTls, authorities};

/// How long an unused connection to an upstream is kept.
const IDLE: Duration = Duration::from_secs(60);

/// Streams on one HTTP/2 connection to an upstream.
const H2_STREAMS: usize = 100;

/// Chooses peers.
#[derive(Debug)]
pub(crate) struct Peers {
    prepared: RwLock<HashMap<UpstreamId, Arc<Prepared>>>,
    resolver: Resolver,
    forbidden: Forbidden,
    control: Arc<ControlTls>,
}

/// What one request has tried so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    start: Option<usize>,
    failed: usize,
    candidates: usize,
}

impl Attempts {
    /// Notes that the chosen peer could not be connected to, and says whether there is another to try.
    pub(crate) const fn failed(&mut self) -> bool {
        self.failed += 1;
        self.failed < self.candidates
    }
}

/// What a peer is wanted for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    /// The request asks for a WebSocket.
    pub(crate) for_websocket: bool,
    /// How long the upstream may say nothing.
    pub(crate) silence: UpstreamSilence,
}

/// Why there is no peer to connect to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("upstream `{upstream}` has certificate authorities that are not PEM of certificates")]
    Ca { upstream: Box<str> },
    #[error("upstream `{upstream}` is the control plane, to which this gateway has no certificate")]
    NotEnrolled { upstream: Box<str> },
    #[error("upstream `{upstream}`: `{name}` cannot be resolved")]
    Name { upstream: Box<str>, name: String, source: std::io::Error },
    #[error("upstream `{upstream}` has no address")]
    None { upstream: Box<str> },
    #[error("upstream `{upstream}` would be `{address}`, which is an internal listener of ours")]
    Forbidden { upstream: Box<str>, address: SocketAddr },
    #[error("upstream `{upstream}` would be `{path}`, which is an internal socket of ours")]
    ForbiddenSocket { upstream: Box<str>, path: Box<str> },
    #[error("upstream `{upstream}` has a socket path that cannot be used")]
    Path { upstream: Box<str>, source: Box<pingora::Error> },
}

/// An upstream with what is made of it once.
#[derive(Debug)]
struct Prepared {
    upstream: Arc<CompiledUpstream>,
    ca: Option<Arc<CaType>>,
    /// Keeps the connections of upstreams apart.
    group: u64,
    turn: AtomicUsize,
}

/// One address to try.
enum Candidate<'u> {
    Socket(SocketAddr),
    Unix(&'u str),
}

impl Peers {
    pub(crate) fn new(forbidden: Forbidden, resolver: Resolver, control: Arc<ControlTls>) -> Self {
        Self { prepared: RwLock::default(), resolver, forbidden, control }
    }

    /// The peer whose turn it is, or the one after those that failed.
    pub(crate) async fn choose(
        &self,
        upstream: &Arc<CompiledUpstream>,
        attempts: &mut Attempts,
        errand: Errand,
    ) -> Result<Box<HttpPeer>, PeerError> {
        let prepared = self.prepared(upstream)?;
        let candidates = self.candidates(upstream).await?;
        let start = *attempts.start.get_or_insert_with(|| prepared.turn.fetch_add(1, Ordering::Relaxed));
        attempts.candidates = candidates.len();
        let at = start.wrapping_add(attempts.failed).checked_rem(candidates.len()).unwrap_or_default();
        let name = || upstream.name.clone();
        let tls = upstream.tls.is_some();
        // Pingora verifies no name where the SNI is empty; a `HostName` never is.
        let sni = upstream.tls.as_ref().map(|tls| tls.sni.as_str().to_owned()).unwrap_or_default();
        let mut peer = match candidates.get(at) {
            None => return Err(PeerError::None { upstream: name() }),
            Some(Candidate::Socket(address)) => {
                if self.forbidden.contains(*address) {
                    return Err(PeerError::Forbidden { upstream: name(), address: *address });
                }
                HttpPeer::new(*address, tls, sni)
            }
            Some(Candidate::Unix(path)) => {
                if self.forbidden.contains_socket(Path::new(path)) {
                    return Err(PeerError::ForbiddenSocket { upstream: name(), path: (*path).into() });
                }
                HttpPeer::new_uds(path, tls, sni).map_err(|source| PeerError::Path { upstream: name(), source })?
            }
        };
        prepared.configure(&mut peer);
        match errand.silence {
            UpstreamSilence::Usual => {}
            UpstreamSilence::Longer(silence) => peer.options.read_timeout = Some(silence),
            UpstreamSilence::Unbounded => peer.options.read_timeout = None,
        }
        if errand.for_websocket && !upstream.http2 {
            websocket::configure(&mut peer);
        }
        if upstream.tls.as_ref().is_some_and(|tls| tls.control_plane) {
            let own = self.control.current().ok_or_else(|| PeerError::NotEnrolled { upstream: name() })?;
            // A connection made with an earlier certificate is not used again.
            peer.group_key ^= own.fingerprint;
            peer.options.ca = Some(Arc::clone(&own.ca));
            peer.client_cert_key = Some(Arc::clone(&own.pair));
        }
        Ok(Box::new(peer))
    }

    async fn candidates<'u>(&self, upstream: &'u CompiledUpstream) -> Result<Vec<Candidate<'u>>, PeerError> {
        let mut candidates = Vec::with_capacity(upstream.peers.len());
        let mut unresolved = None;
        for peer in &upstream.peers {
            match peer {
                Peer::Socket(address) => candidates.push(Candidate::Socket(*address)),
                Peer::Unix(path) => candidates.push(Candidate::Unix(path)),
                Peer::Name(name, port) => match self.resolver.resolve(name, *port).await {
                    Ok(addresses) => candidates.extend(addresses.iter().copied().map(Candidate::Socket)),
                    Err(source) => {
                        let upstream = upstream.name.clone();
                        unresolved = Some(PeerError::Name { upstream, name: name.clone(), source });
                    }
                },
            }
        }
        match unresolved {
            Some(error) if candidates.is_empty() => Err(error),
            _ => Ok(candidates),
        }
    }

    fn prepared(&self, upstream: &Arc<CompiledUpstream>) -> Result<Arc<Prepared>, PeerError> {
        if let Some(known) = self.prepared.read().get(&upstream.id)
            && Arc::ptr_eq(&known.upstream, upstream)
        {
            return Ok(Arc::clone(known));
        }
        let prepared = Arc::new(Prepared::new(Arc::clone(upstream))?);
        self.prepared.write().insert(upstream.id, Arc::clone(&prepared));
        Ok(prepared)
    }
}

impl Prepared {
    fn new(upstream: Arc<CompiledUpstream>) -> Result<Self, PeerError> {
        let ca_pem = upstream.tls.as_ref().and_then(|tls| tls.ca_pem.as_deref());
        let broken = || PeerError::Ca { upstream: upstream.name.clone() };
        let ca = ca_pem.map(|pem| authorities(pem).ok_or_else(broken)).transpose()?;
        let mut hasher = DefaultHasher::new();
        (upstream.id, ca_pem).hash(&mut hasher);
        Ok(Self { ca, group: hasher.finish(), turn: AtomicUsize::new(0), upstream })
    }

    fn configure(&self, peer: &mut HttpPeer) {
        peer.group_key = self.group;
        let (upstream, options) = (&self.upstream, &mut peer.options);
        options.connection_timeout = Some(upstream.connect_timeout.get());
        options.total_connection_timeout = Some(upstream.connect_timeout.get());
        options.read_timeout = Some(upstream.read_timeout.get());
        options.write_timeout = Some(upstream.write_timeout.get());
        options.idle_timeout = Some(IDLE);
        options.alpn = if upstream.http2 { ALPN::H2 } else { ALPN::H1 };
        options.max_h2_streams = H2_STREAMS;
        options.ca = self.ca.clone();
    }
}
