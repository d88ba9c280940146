//! The doors: bound, served and closed.
//!
//! `public` is reached through the edge only, from other machines by mutual TLS, `admin` from this machine, `internal` by gateways over mTLS, `metrics` by
//! Prometheus. Without TLS `internal` answers whether the process is well and nothing else, unless a developer says
//! otherwise: what gateways are given holds the keys of all certificates. Ports are bound before anything is written, so that a port in use costs nothing.

use std::{
    io,
    net::SocketAddr,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use domain::{
    Clock, Secret,
    snapshot::{Peer, UpstreamTls},
};
use link::{
    log::{ControlPlane, FactCarrier},
    rpc::{AdmitAll, RpcServer, ServerTls},
};
use store::Store;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    App,
    bootstrap::{self, Bootstrapped, WayIn},
    config::{Config, InternalTls, ListenAddress, ListenersConfig, PublicTls},
    error::AppError,
    internal::Plane,
    mutual_tls::{self, MutualTls, TlsError},
    problem, router,
};

/// How long open requests may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// The control API.
#[derive(Clone, Copy, Debug)]
pub struct ControlApi;

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum StartError {
    #[error("`{address}` cannot be listened on")]
    Listen { address: ListenAddress, source: io::Error },
    #[error("`{path}` cannot be read")]
    File { path: PathBuf, source: io::Error },
    #[error("`listeners.public_tls` cannot be used")]
    PublicTls(#[from] TlsError),
    #[error("what every start ensures cannot be ensured")]
    Bootstrap(#[source] AppError),
    #[error("the control API cannot be put together")]
    Setup(#[source] AppError),
}

impl ControlApi {
    /// Starts it on a migrated database. Port 0 picks a port.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(
        config: Config,
        store: Store,
        carrier: Arc<dyn FactCarrier>,
        clock: Arc<dyn Clock>,
    ) -> Result<RunningControlApi, StartError> {
        let listeners = config.listeners.clone();
        let app = App::new(config, store, carrier, clock).map_err(StartError::Setup)?;
        let public = Door::bind(&listeners.public).await?;
        let admin = Door::bind(&listeners.admin).await?;
        let internal = Door::bind(&listeners.internal).await?;
        let metrics = match &listeners.metrics {
            Some(address) => Some(Door::bind(address).await?),
            None => None,
        };
        let tls = listeners.internal_tls.as_ref().map(server_tls).transpose()?;
        let public_tls = listeners.public_tls.as_ref().map(public_tls).transpose()?;
        for door in [Some(&admin), Some(&internal), metrics.as_ref()].into_iter().flatten() {
            app.add_door(door.address.clone());
        }
        let bootstrapped = bootstrap::ensure(&app, Some(way_in(&listeners, &public.address))).await;
        let bootstrapped = bootstrapped.map_err(StartError::Bootstrap)?;

        let plane: Arc<dyn ControlPlane> = Arc::new(Plane::new(Arc::clone(&app.hub)));
        let (stop, stopped) = watch::channel(false);
        let mut serving = JoinSet::new();
        let (public_address, admin_address, internal_address) = (public.address.clone(), admin.tcp(), internal.tcp());
        let metrics_address = metrics.as_ref().map(Door::tcp);
        match public_tls {
            Some(tls) => serving.spawn(public.serve_edges(tls, router::public(&app), stopped.clone())),
            None => serving.spawn(public.serve(router::public(&app), stopped.clone())),
        };
        serving.spawn(admin.serve(router::admin(&app), stopped.clone()));
        if let Some(metrics) = metrics {
            serving.spawn(metrics.serve(router::metrics(&app), stopped.clone()));
        }
        if tls.is_some() || listeners.internal_plaintext {
            serving.spawn(internal.serve_gateways(Arc::clone(&plane), tls, stopped));
        } else {
            serving.spawn(internal.serve(router::health(&app), stopped));
        }
        let jobs = tokio::spawn(Arc::clone(&app.hub).run_jobs(app.config.log.clone()));
        Ok(RunningControlApi {
            app,
            plane,
            bootstrapped,
            public: public_address,
            admin: admin_address,
            internal: internal_address,
            metrics: metrics_address,
            stop,
            serving,
            jobs,
        })
    }
}

/// A control API that runs. Dropping it ends it at once.
pub struct RunningControlApi {
    app: App,
    plane: Arc<dyn ControlPlane>,
    bootstrapped: Bootstrapped,
    public: ListenAddress,
    admin: SocketAddr,
    internal: SocketAddr,
    metrics: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
    jobs: JoinHandle<()>,
}

impl std::fmt::Debug for RunningControlApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningControlApi").field("admin", &self.admin).finish_non_exhaustive()
    }
}

impl RunningControlApi {
    /// The use cases.
    pub const fn app(&self) -> &App {
        &self.app
    }
    /// The control plane for a gateway in this process.
    pub fn plane(&self) -> Arc<dyn ControlPlane> {
        Arc::clone(&self.plane)
    }
    /// What the start made that somebody has to be told.
    pub const fn bootstrapped(&self) -> &Bootstrapped {
        &self.bootstrapped
    }
    /// Where `public` listens.
    pub const fn public(&self) -> &ListenAddress {
        &self.public
    }
    /// Where `admin` listens; the unspecified address and port 0 for a Unix socket.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }
    /// Where `internal` listens; the unspecified address and port 0 for a Unix socket.
    pub const fn internal(&self) -> SocketAddr {
        self.internal
    }
    /// Where `/metrics` is served.
    pub const fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Takes no more requests, lets open ones finish for a while, then ends.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        let drained = async { while self.serving.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(drain_s = DRAIN.as_secs(), "requests were cut off at the end");
        }
        self.serving.shutdown().await;
    }
}

impl Drop for RunningControlApi {
    fn drop(&mut self) {
        self.jobs.abort();
    }
}

/// A bound listener.
struct Door {
    address: ListenAddress,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Door {
    async fn bind(address: &ListenAddress) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address: address.clone(), source };
        match address {
            ListenAddress::Tcp(wanted) => {
                let listener = TcpListener::bind(wanted).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                Ok(Self { address: ListenAddress::Tcp(bound), socket: Socket::Tcp(listener) })
            }
            ListenAddress::Unix(path) => {
                remove_socket(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                Ok(Self { address: address.clone(), socket: Socket::Unix(listener) })
            }
        }
    }

    fn tcp(&self) -> SocketAddr {
        match &self.address {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        }
    }

    async fn serve(self, router: Router, stopped: watch::Receiver<bool>) {
        let address = self.address.to_string();
        let outcome = match self.socket {
            Socket::Tcp(listener) => {
                let service = router.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, service).with_graceful_shutdown(until(stopped)).await
            }
            Socket::Unix(listener) => axum::serve(listener, router).with_graceful_shutdown(until(stopped)).await,
        };
        if let Err(error) = outcome {
            tracing::error!(listener = address, error = problem::chain(&error), "a listener failed");
        }
    }

    /// Serves gateways that show their certificate.
    async fn serve_edges(self, tls: rustls::ServerConfig, router: Router, stopped: watch::Receiver<bool>) {
        let address = self.address.to_string();
        let Socket::Tcp(listener) = self.socket else {
            tracing::error!(listener = address, "mutual TLS is served over TCP only");
            return;
        };
        let listener = MutualTls::new(listener, tls);
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(until(stopped)).await {
            tracing::error!(listener = address, error = problem::chain(&error), "a listener failed");
        }
    }

    async fn serve_gateways(
        self,
        plane: Arc<dyn ControlPlane>,
        tls: Option<ServerTls>,
        stopped: watch::Receiver<bool>,
    ) {
        let address = self.address.to_string();
        let Socket::Tcp(listener) = self.socket else {
            tracing::error!(listener = address, "gateways are served over TCP only");
            return;
        };
        let server = RpcServer::new(Arc::new(AdmitAll(plane)));
        if let Err(error) = link::rpc::serve(listener, tls.as_ref(), server, until(stopped)).await {
            tracing::error!(listener = address, error = problem::chain(&error), "a listener failed");
        }
    }
}

/// Removes the socket that an earlier process left behind; one that still runs holds the lock of its data, not the
/// socket. What is no socket is somebody's file and stays.
fn remove_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something that is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone: then, too, it is the end.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

fn server_tls(files: &InternalTls) -> Result<ServerTls, StartError> {
    Ok(ServerTls { chain: read(&files.certificate)?, key: read(&files.key)?.into(), client_ca: read(&files.ca)? })
}

fn public_tls(files: &PublicTls) -> Result<rustls::ServerConfig, StartError> {
    let (chain, key, ca) = (read(&files.certificate)?, Secret::from(read(&files.key)?), read(&files.ca)?);
    Ok(mutual_tls::server_config(&chain, &key, &ca, &files.name)?)
}

fn read(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(|source| StartError::File { path: path.into(), source })
}

/// How the edge reaches the `public` listener that is bound to `address`.
fn way_in(listeners: &ListenersConfig, address: &ListenAddress) -> WayIn {
    match (&listeners.public_tls, address) {
        (Some(tls), ListenAddress::Tcp(address)) => WayIn {
            peer: Peer::Name(tls.name.to_string(), tls.port.unwrap_or(address.port())),
            tls: Some(UpstreamTls { sni: tls.name.clone(), ca_pem: None, control_plane: true }),
        },
        (None, ListenAddress::Tcp(address)) => WayIn { peer: Peer::Socket(*address), tls: None },
        (_, ListenAddress::Unix(path)) => WayIn { peer: Peer::Unix(path.display().to_string()), tls: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_door_takes_the_place_of_a_left_socket_and_of_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let (socket, file) = (folder.path().join("left.sock"), folder.path().join("precious"));
        for _ in 0..2 {
            Door::bind(&ListenAddress::Unix(socket.clone())).await.unwrap();
        }
        std::fs::write(&file, "kept").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&socket, &link).unwrap();
        for path in [&file, &link] {
            let refused = Door::bind(&ListenAddress::Unix(path.clone())).await;
            assert!(matches!(refused, Err(StartError::Listen { .. })), "{}", path.display());
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        assert!(link.is_symlink());
    }
}
