//! Where connections come in: on threads of their own, which the system runs when the workers leave it the time.
//!
//! A handshake costs as much as several requests and must not be interrupted by any; a thousand that come at once would
//! keep a worker from its requests for half a second. So connections are accepted, and shake hands, on the doors' threads,
//! and are given to the workers when there is something to serve (ADR 24).

use std::{future::pending, io, net::SocketAddr, sync::Arc, time::Duration};

use pingora::{
    apps::ServerApp,
    protocols::{ALPN, IO},
    proxy::HttpProxy,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    time::{sleep, timeout},
};

use super::{Connection, quiet::Quiet, socket::Socket, wire::Wire};
use crate::{
    edge::stage::Stage,
    entrance::{Entrance, connections::Place},
    proxy::{EdgeProxy, Shared, watch::Watched},
    tls::{Handshake, Tls},
};

/// Wait after the system had no connection to give, such as for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Where doors are: as many threads as there are workers, which step back for those.
pub(crate) fn doors(threads: Option<usize>) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.max(1));
    }
    builder.thread_name("edge-door").on_thread_start(link::priority::step_back).enable_all().build()
}

/// One listener's door.
pub(crate) struct Door {
    proxy: Arc<HttpProxy<EdgeProxy>>,
    shared: Arc<Shared>,
    entrance: Entrance,
    /// None for plain HTTP.
    tls: Option<Tls>,
    workers: Handle,
}

impl Door {
    pub(crate) fn new(
        proxy: Arc<HttpProxy<EdgeProxy>>,
        shared: Arc<Shared>,
        entrance: Entrance,
        tls: Option<Tls>,
        workers: Handle,
    ) -> Arc<Self> {
        Arc::new(Self { proxy, shared, entrance, tls, workers })
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
                    tokio::spawn(async move { door.let_in(stream, client, stage).await });
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

    async fn let_in(self: Arc<Self>, stream: TcpStream, client: SocketAddr, stage: watch::Receiver<Stage>) {
        let mut socket = match Socket::new(stream, client) {
            Ok(socket) => socket,
            Err(error) => return tracing::debug!(client.address = %client, %error, "a connection was gone at once"),
        };
        let Ok(place) = self.entrance.enter(&mut socket).await else { return };
        let Some(tls) = &self.tls else {
            let workers = self.workers.clone();
            workers.spawn(async move {
                if moved(&mut socket) {
                    self.speak(socket, None, place, stage).await;
                }
            });
            return;
        };
        match timeout(self.shared.limits.handshake_timeout.get(), tls.accept(socket)).await {
            Ok(Ok((mut stream, handshake))) => {
                let workers = self.workers.clone();
                workers.spawn(async move {
                    if moved(stream.socket_mut()) {
                        self.speak(stream, Some(handshake), place, stage).await;
                    }
                });
            }
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

    /// Speaks HTTP on a connection until either end has enough. Its place is held for as long.
    async fn speak<S: IO + 'static>(
        &self,
        stream: S,
        handshake: Option<Handshake>,
        _place: Option<Place>,
        mut stage: watch::Receiver<Stage>,
    ) {
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
        // What hardly ever happens is not asked about each time that something of a request does.
        let ended = Quiet::new(async {
            tokio::select! {
                biased;
                () = connection.over.notified() => {}
                () = idle => {}
                () = stopped => {}
            }
        });
        tokio::select! {
            biased;
            _ = served.process_new(Box::new(wire), &retired) => {}
            () = ended => {}
        }
    }
}

/// Whether the worker this is called by has the connection now.
fn moved(socket: &mut Socket) -> bool {
    socket.moved().inspect_err(|error| tracing::warn!(%error, "a connection cannot be given to a worker")).is_ok()
}
