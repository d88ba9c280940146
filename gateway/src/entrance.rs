//! What happens to a connection before its first byte is TLS or HTTP: who is it from?
//!
//! Behind a load balancer that speaks TCP only, each connection begins with a PROXY header ([`proxy_header`]) and comes
//! from one of the trusted proxies, or it is closed without an answer. What the header says takes the place of the
//! connection's address for everything that follows: limits, address lists, logs, what upstreams are told. Then the
//! connection is counted for its address ([`connections`]).
//!
//! ```text
//! accept ─▶ Entrance ─▶ TLS handshake ─▶ HTTP        https
//! accept ─▶ Entrance ─▶ HTTP                         http
//! ```

pub(crate) mod connections;
pub(crate) mod handshakes;
mod proxy_header;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use domain::{Clock, Network, network};
use pingora::protocols::{GetSocketDigest, SocketDigest, UniqueID, l4::socket};
use tokio::{io::AsyncRead, time::timeout};

use self::{
    connections::{Connections, Place, TooMany},
    proxy_header::HeaderError,
};
use crate::{config::ListenConfig, metrics::Metrics};

/// Lets connections in, each under the address it is really from.
pub(crate) struct Entrance {
    proxy_protocol: bool,
    proxies: Vec<Network>,
    patience: Duration,
    connections: Arc<Connections>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

/// Why a connection is closed before anything is read of it but its PROXY header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("it is not from a trusted proxy")]
    Stranger,
    #[error("its PROXY header did not come in time")]
    Late,
    #[error("its PROXY header cannot be used")]
    Header(#[from] HeaderError),
    #[error("its address has too many connections")]
    Connections,
    #[error("its address makes connections too fast")]
    Handshakes,
}

impl Closed {
    /// The label in metrics.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Stranger => "proxy_untrusted",
            Self::Late => "proxy_header_late",
            Self::Header(_) => "proxy_header_invalid",
            Self::Connections => "address_connections",
            Self::Handshakes => "address_handshakes",
        }
    }
}

impl Entrance {
    /// The entrance of a listener.
    pub(crate) fn new(
        listen: &ListenConfig,
        proxy_protocol: bool,
        connections: Arc<Connections>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (proxies, patience) = (listen.trusted_proxies.clone(), listen.proxy_header_timeout.get());
        Self { proxy_protocol, proxies, patience, connections, clock, metrics }
    }

    /// Reads what stands in front of the first byte, notes whose connection it is, and counts it for as long as its place
    /// is held.
    ///
    /// # Errors
    /// It is not let in, which is noted.
    pub(crate) async fn enter<S>(&self, stream: &mut S) -> Result<Option<Place>, Closed>
    where
        S: AsyncRead + GetSocketDigest + UniqueID + Send + Sync + Unpin + ?Sized,
    {
        self.entered(stream).await.inspect_err(|closed| {
            self.metrics.connection_closed(closed.reason());
            tracing::debug!(client.address = ?address(stream), error = closed as &dyn std::error::Error, "closed");
        })
    }

    async fn entered<S>(&self, stream: &mut S) -> Result<Option<Place>, Closed>
    where
        S: AsyncRead + GetSocketDigest + UniqueID + Send + Sync + Unpin + ?Sized,
    {
        if self.proxy_protocol
            && let Some(client) = self.named(stream).await?
        {
            let digest = SocketDigest::from_raw_fd(stream.id());
            // New, so that nothing is in it yet.
            drop(digest.peer_addr.set(Some(socket::SocketAddr::Inet(client))));
            stream.set_socket_digest(digest);
        }
        let Some(client) = address(stream) else { return Ok(None) };
        self.connections.enter(client, self.clock.boot_now()).map_err(|too_many| match too_many {
            TooMany::Open => Closed::Connections,
            TooMany::Handshakes => Closed::Handshakes,
        })
    }

    /// The address that a PROXY header names; none when the proxy speaks for itself.
    async fn named<S>(&self, stream: &mut S) -> Result<Option<SocketAddr>, Closed>
    where
        S: AsyncRead + GetSocketDigest + Send + Sync + Unpin + ?Sized,
    {
        if !address(stream).is_some_and(|proxy| network::any_contains(&self.proxies, proxy)) {
            return Err(Closed::Stranger);
        }
        let read = timeout(self.patience, proxy_header::read(stream)).await;
        Ok(read.map_err(|_| Closed::Late)??)
    }
}

/// The address of the connection itself.
fn address<S: GetSocketDigest + ?Sized>(stream: &S) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip)
}
