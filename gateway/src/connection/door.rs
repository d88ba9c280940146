//! Where connections come in.

use std::{future::pending, io, net::SocketAddr, sync::Arc, time::Duration};

use pingora::{
    apps::ServerApp,
    protocols::{ALPN, IO},
    proxy::HttpProxy,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::{Connection, socket::Socket, wire::Wire};
use crate::{
    edge::stage::Stage,
    entrance::Entrance,
    proxy::{EdgeProxy, Shared, watch::Watched},
    tls::{Handshake, Tls},
};

/// Wait after the system had no connection to give, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// One listener's door.
pub(crate) struct Door {
    proxy: Arc<HttpProxy<EdgeProxy>>,
    shared: Arc<Shared>,
    entrance: Entrance,
    /// None for plain HTTP.
    tls: Option<Tls>,
}

impl Door {
    pub(crate) fn new(
        proxy: Arc<HttpProxy<EdgeProxy>>,
        shared: Arc<Shared>,
        entrance: Entrance,
        tls: Option<Tls>,
    ) -> Arc<Self> {
        Arc::new(Self { proxy, shared, entrance, tls })
    }

    /// Lets connections in for as long as the gateway serves, beginning when it does.
    pub(crate) async fn open(self: Arc<Self>, listener: TcpListener, mut stage: watch::Receiver<Stage>) {
        if stage.wait_for(|stage| *stage > Stage::Ready).await.is_err() {
            return;
        }
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stage.wait_for(|stage| *stage > Stage::Serving) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    let (door, stage) = (Arc::clone(&self), stage.clone());
                    tokio::spawn(async move { door.serve(stream, client, stage).await });
                }
                // The client's own doing.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::error!(%error, "a connection cannot be accepted");
                    sleep(BREATH).await;
                }
            }
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, client: SocketAddr, stage: watch::Receiver<Stage>) {
        let mut socket = match Socket::new(stream, client) {
            Ok(socket) => socket,
            Err(error) => return tracing::debug!(client.address = %client, %error, "a connection was gone at once"),
        };
        // Held for as long as the connection.
        let Ok(_place) = self.entrance.enter(&mut socket).await else { return };
        let Some(tls) = &self.tls else { return self.speak(socket, None, stage).await };
        match timeout(self.shared.limits.handshake_timeout.get(), tls.accept(socket)).await {
            Ok(Ok((stream, handshake))) => self.speak(stream, Some(handshake), stage).await,
            Ok(Err(error)) => {
                self.shared.metrics.connection_closed(error.reason());
                let error = &error as &dyn std::error::Error;
                tracing::debug!(client.address = %client, error, "a TLS handshake failed");
            }
            Err(_) => {
                self.shared.metrics.connection_closed("tls_handshake_late");
                tracing::debug!(client.address = %client, "a TLS handshake took too long");
            }
        }
    }

    /// Speaks HTTP on a connection until either end has enough.
    async fn speak<S: IO + 'static>(&self, stream: S, handshake: Option<Handshake>, mut stage: watch::Receiver<Stage>) {
        let limits = &self.shared.limits;
        let connection = Connection::new(limits.max_requests, handshake);
        let http2 = stream.selected_alpn_proto() == Some(ALPN::H2);
        let wire = Wire::new(stream, Arc::clone(&connection), Arc::clone(&self.shared));
        let served = Watched::new(Arc::clone(&self.proxy), Arc::clone(&self.shared), Arc::clone(&connection));
        let (served, retired) = (Arc::new(served), connection.retired.subscribe());
        // Of HTTP/1.1 the wire knows when a client is idle.
        let idle = async { if http2 { connection.idle(limits.idle_timeout.get()).await } else { pending().await } };
        let stopped = async {
            // An edge that is gone stops its connections, too.
            let _ = stage.wait_for(|stage| *stage > Stage::Serving).await;
            connection.retire();
            pending().await
        };
        tokio::select! {
            biased;
            _ = served.process_new(Box::new(wire), &retired) => {}
            () = connection.over.notified() => {}
            () = idle => {}
            () = stopped => {}
        }
    }
}
