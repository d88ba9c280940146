//! The doors: bound, served and closed.
//!
//! `public` is reached through the edge only, from other machines by mutual TLS, `admin` from this machine, `internal` by
//! gateways over mTLS and by services with a key, `metrics` by Prometheus. Without TLS `internal` serves no gateway, unless
//! a developer says otherwise: what gateways are given holds the keys of all certificates. Ports are bound before anything
//! is written, so that a port in use costs nothing.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use domain::{
    Clock, FleetName, Secret,
    snapshot::{Peer, UpstreamTls},
};
use link::{
    LinkError,
    log::{ControlPlane, FactCarrier},
    rpc::{Enroller, Routes, RpcServer, ServerTls},
};
use store::{Store, StoreError};
use tokio::{
    net::{TcpListener, UnixListener},
    runtime::{Handle, Runtime},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    App,
    app::{access_log, account, identity_verifications, key_schedule, life_cycle, names, org_units, second_factor},
    audit_upkeep,
    authority::{Authority, AuthorityError},
    bootstrap::{self, Bootstrapped, WayIn},
    config::{Config, InternalTls, ListenAddress, ListenersConfig, ProcessRole, PublicTls},
    error::AppError,
    internal::{Certifier, Enrolled, Hub, Plane},
    issuer_keys::{self, fetch::Fetcher},
    keys_file::{self, KeysFileError},
    mail,
    mutual_tls::{self, Edge, MutualTls, TlsError},
    outbound::OutboundError,
    problem, provisioning, reproof, router, signer, sms,
    webhooks::{self, send::Sender},
};

/// How long open requests may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(10);

/// Threads for what gateways ask.
const FEED_THREADS: usize = 2;

/// Of a listener that has no address and port.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

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
    #[error("threads cannot be started")]
    Threads(#[source] io::Error),
    #[error("the threads for gateways have ended")]
    Feed(#[source] tokio::task::JoinError),
    #[error("the database cannot be opened a second time")]
    Store(#[source] StoreError),
    #[error("the authority of gateways' certificates cannot be used")]
    Authority(#[from] AuthorityError),
    #[error("keys of external issuers cannot be fetched")]
    Issuers(#[source] OutboundError),
    #[error("webhooks cannot be told")]
    Webhooks(#[source] OutboundError),
    #[error(transparent)]
    KeysFile(#[from] KeysFileError),
    #[error("nobody could sign in")]
    SigningKeys(#[source] AppError),
    #[error("the auth RPC cannot be described")]
    Rpc(#[source] LinkError),
    #[error("the control API cannot be put together")]
    Setup(#[source] AppError),
    #[error("`redis.cache` cannot be used")]
    Rates(#[source] LinkError),
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
        let (listeners, roles) = (config.listeners.clone(), config.roles.clone());
        let feed = FeedRuntime::new().map_err(StartError::Threads)?;
        let feed_store = store.separate(config.database.feed_connections).map_err(StartError::Store)?;
        let hub = {
            let _on = feed.handle().enter();
            Hub::start(feed_store, store.clone(), Arc::clone(&clock), carrier)
        };
        let app = App::over(config, store, hub, clock).map_err(StartError::Setup)?;
        app.share_rates().await.map_err(StartError::Rates)?;
        let fetcher = Arc::new(Fetcher::new(&app.config.issuers).map_err(StartError::Issuers)?);
        let sender = Arc::new(Sender::new(&app.config.webhooks).map_err(StartError::Webhooks)?);
        let taken = |role, address: &ListenAddress| Some(address.clone()).filter(|_| roles.contains(&role));
        let public = Door::open(taken(ProcessRole::Identity, &listeners.public)).await?;
        let admin = Door::open(taken(ProcessRole::Admin, &listeners.admin)).await?;
        let internal = taken(ProcessRole::Feed, &listeners.internal);
        let internal = feed.handle().spawn(Door::open(internal)).await.map_err(StartError::Feed)??;
        let metrics = Door::open(listeners.metrics.clone()).await?;
        let tls = listeners.internal_tls.as_ref().filter(|_| internal.is_some()).map(server_tls).transpose()?;
        let public_tls = listeners.public_tls.as_ref().filter(|_| public.is_some()).map(public_tls).transpose()?;
        let gateways = internal.as_ref().map(|_| gateway_server(&app)).transpose()?;
        // What another process of ours serves is no upstream either.
        app.add_door(listeners.admin.clone());
        app.add_door(listeners.internal.clone());
        for door in [&admin, &internal, &metrics].into_iter().flatten() {
            app.add_door(door.address.clone());
        }
        let way = public.as_ref().map(|door| way_in(&listeners, &door.address));
        let bootstrapped = bootstrap::ensure(&app, way).await;
        let bootstrapped = bootstrapped.map_err(StartError::Bootstrap)?;

        if let Some(file) = &app.config.signing.keys_file {
            keys_file::take_over(&app, file).await.map_err(StartError::KeysFile)?;
        }
        key_schedule::run_due(&app).await.map_err(StartError::SigningKeys)?;
        // Who only feeds gateways signs nothing, and goes on feeding them.
        if roles.contains(&ProcessRole::Identity) || roles.contains(&ProcessRole::Admin) {
            signer::check(&app).await.map_err(StartError::SigningKeys)?;
        }

        let (stop, stopped) = watch::channel(false);
        let mut serving = JoinSet::new();
        let tcp = |door: &Option<Door>| door.as_ref().map_or(NOWHERE, Door::tcp);
        let public_address = public.as_ref().map_or(listeners.public, |door| door.address.clone());
        let (admin_address, internal_address) = (tcp(&admin), tcp(&internal));
        let metrics_address = metrics.as_ref().map(Door::tcp);
        match (public, public_tls) {
            (Some(public), Some(tls)) => {
                _ = serving.spawn(public.serve_edges(tls, router::public(&app), stopped.clone()));
            }
            (Some(public), None) => _ = serving.spawn(public.serve(router::public(&app), stopped.clone())),
            (None, _) => {}
        }
        if let Some(admin) = admin {
            serving.spawn(admin.serve(router::admin(&app), stopped.clone()));
        }
        if let Some(metrics) = metrics {
            serving.spawn(metrics.serve(router::metrics(&app), stopped.clone()));
        }
        if let (Some(internal), Some(gateways)) = (internal, gateways) {
            let services = router::internal(&app, gateways.admit());
            let routes = link::rpc::auth::described(Routes::from(services)).await.map_err(StartError::Rpc)?;
            let served = tls.is_some() || listeners.internal_plaintext;
            let routes = if served { gateways.onto(routes) } else { routes };
            serving.spawn_on(internal.serve_internal(routes, tls, stopped), feed.handle());
        }
        let jobs = Arc::clone(&app.hub).run_jobs(app.config.log.clone(), app.config.decisions.clone());
        let jobs = feed.handle().spawn(jobs);
        let upkeep = tokio::spawn(upkeep(app.clone(), fetcher, sender));
        Ok(RunningControlApi {
            app,
            bootstrapped,
            public: public_address,
            admin: admin_address,
            internal: internal_address,
            metrics: metrics_address,
            stop,
            serving,
            jobs,
            upkeep,
            _feed: feed,
        })
    }
}

/// The runtime of feed, tick and proof: whatever the others do, here are threads for what gateways ask.
struct FeedRuntime(Option<Runtime>, Handle);

impl FeedRuntime {
    fn new() -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(FEED_THREADS).thread_name("feed").enable_all().build()?;
        let handle = runtime.handle().clone();
        Ok(Self(Some(runtime), handle))
    }

    const fn handle(&self) -> &Handle {
        &self.1
    }
}

/// Ends without waiting: waiting is not possible within another runtime.
impl Drop for FeedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What becomes of things by themselves: keys, ours and those of others, tenants, what was proven by DNS, the audit trail, and
/// what is kept for a while only; who is told of it. Never ends.
async fn upkeep(app: App, fetcher: Arc<Fetcher>, sender: Arc<Sender>) {
    tokio::join!(
        key_schedule::run(app.clone()),
        life_cycle::run(app.clone()),
        provisioning::run(app.clone()),
        reproof::run(app.clone()),
        issuer_keys::run(app.clone(), fetcher),
        org_units::keep_purging(&app),
        access_log::keep_sweeping(&app),
        second_factor::keep_sweeping(&app),
        audit_upkeep::run(app.clone()),
        webhooks::run(app.clone(), sender),
        mail::run(app.clone()),
        sms::run(app.clone()),
        identity_verifications::run(app.clone()),
        account::run(app.clone()),
        names::run(app.clone()),
    );
}

/// A control API that runs. Dropping it ends it at once.
pub struct RunningControlApi {
    app: App,
    bootstrapped: Bootstrapped,
    public: ListenAddress,
    admin: SocketAddr,
    internal: SocketAddr,
    metrics: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    serving: JoinSet<()>,
    jobs: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    _feed: FeedRuntime,
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
    /// The control plane for a gateway of this fleet in this process.
    pub fn plane(&self, fleet: FleetName) -> Arc<dyn ControlPlane> {
        Arc::new(Plane::of_fleet(Arc::clone(&self.app.hub), fleet))
    }
    /// What the start made that somebody has to be told.
    pub const fn bootstrapped(&self) -> &Bootstrapped {
        &self.bootstrapped
    }
    /// Where `public` listens, here or, without role `identity`, in another process.
    pub const fn public(&self) -> &ListenAddress {
        &self.public
    }
    /// Where `admin` listens; the unspecified address and port 0 for a Unix socket and without role `admin`.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }
    /// Where `internal` listens; the unspecified address and port 0 for a Unix socket and without role `feed`.
    pub const fn internal(&self) -> SocketAddr {
        self.internal
    }
    /// Where `/metrics` is served.
    pub const fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Reads the keys file again, if there is one. With mistakes in it, the keys stay as they are.
    pub async fn reload(&self) {
        let Some(file) = &self.app.config.signing.keys_file else { return };
        if let Err(error) = keys_file::take_over(&self.app, file).await {
            tracing::error!(error = problem::chain(&error), "the keys stay as they are");
        } else if let Err(error) = key_schedule::run_due(&self.app).await {
            tracing::error!(error = problem::chain(&error), "signing keys were not looked after");
        }
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
        self.upkeep.abort();
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
    /// Bound where there is something to bind.
    async fn open(address: Option<ListenAddress>) -> Result<Option<Self>, StartError> {
        match address {
            Some(address) => Self::bind(&address).await.map(Some),
            None => Ok(None),
        }
    }

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
            ListenAddress::Unix(_) => NOWHERE,
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
        let service = router.into_make_service_with_connect_info::<Edge>();
        if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(until(stopped)).await {
            tracing::error!(listener = address, error = problem::chain(&error), "a listener failed");
        }
    }

    /// Gateways are served over TCP only: over a Unix socket their service says that it knows nobody.
    async fn serve_internal(self, routes: Routes, tls: Option<ServerTls>, stopped: watch::Receiver<bool>) {
        let address = self.address.to_string();
        let Socket::Tcp(listener) = self.socket else {
            return self.serve(routes.prepare().into_axum_router(), stopped).await;
        };
        if let Err(error) = link::rpc::serve(listener, tls.as_ref(), routes, until(stopped)).await {
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

/// What answers gateways: those enrolled, and with TLS those that join.
fn gateway_server(app: &App) -> Result<RpcServer, StartError> {
    let server = RpcServer::new(Arc::new(Enrolled::new(Arc::clone(&app.hub))));
    let Some(files) = &app.config.listeners.internal_tls else { return Ok(server) };
    let (hub, life) = (Arc::clone(&app.hub), app.config.enrolment.certificate.get());
    let certifier: Arc<dyn Enroller> = Arc::new(Certifier::new(hub, Authority::open(files)?, life));
    Ok(server.enrolling(certifier))
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
