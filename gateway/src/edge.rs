//! A whole gateway in this process: sockets, feed, log, proxy. `gateway` runs one, and so does `portcullis`.
//!
//! ```text
//! bind sockets ─▶ first snapshot (or the one on disk) ─▶ listeners accept
//! ```

mod background;
mod setup;
pub(crate) mod stage;

use std::{future::pending, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use authn::Mirror;
use domain::{Clock, GatewayId};
use gate::{Gate, Listener};
use link::{
    bindings_cache::BindingsCache,
    file::Mistakes,
    log::{ControlPlane, FactCarrier, GatewayIdentity, RedisCarrier},
    nonces::Nonces,
    redis_record::RedisRecord,
    rpc::RpcClient,
    shared_limits::SharedLimits,
};
use moka::future::Cache;
use pingora::{
    apps::HttpServerApp as _, protocols::http::v2::server::H2Options, proxy::http_proxy,
    server::configuration::ServerConf,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use uuid::Uuid;

pub use self::setup::SetupError;
use self::stage::Stage;
use crate::{
    api_keys::{self, ApiKeys},
    config::{ConnectionConfig, GatewayConfig},
    connection::door::{self, Door},
    control_tls::ControlTls,
    enrolment::Enrolled,
    entrance::{Entrance, connections::Connections, handshakes::Handshakes},
    explain::{self, Explainer},
    feed::{Applier, disk::DiskError},
    handover::{Estate, HandoverError, Inherited, Offer},
    issuer_keys::{self, IssuerKeys},
    limits::LimitExchange,
    listen::{Bound, ListenError},
    metrics::Metrics,
    permissions::Permissions,
    proxy::{EdgeProxy, Shared, forbidden::Forbidden, peers::Peers, resolver::Resolver},
    tls::Tls,
    units::UnitBook,
    usage::UsageBook,
};

/// How long [`RunningEdge::give_notice`] takes, unless the configuration says otherwise.
const NOTICE: Duration = Duration::from_secs(5);

/// How long open requests may go on after [`RunningEdge::shutdown`], unless the configuration says otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// The keys of the listeners.
const HTTPS: &str = "listen.https";
const HTTP: &str = "listen.http";
const METRICS: &str = "listen.metrics";

/// How often a stopping edge looks whether the last request is over.
const GRACE_STEP: Duration = Duration::from_millis(10);

/// Attempts to reach an upstream for one request, over all its addresses.
const MAX_ATTEMPTS: usize = 8;

/// Where an edge's snapshot and facts come from.
pub enum Source {
    /// A control API, in this process or over gRPC.
    ControlPlane {
        /// Whom to ask.
        plane: Arc<dyn ControlPlane>,
        /// Who brings facts early.
        carrier: Arc<dyn FactCarrier>,
    },
    /// A declarative file or folder.
    File(PathBuf),
}

/// What an edge is made of.
pub struct EdgeParts {
    /// What the operator wants.
    pub config: GatewayConfig,
    /// Where the snapshot and facts come from.
    pub source: Source,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who can be asked about one token while nothing is proven.
    pub revocations: Option<RedisCarrier>,
    /// The record of revocations beside a declarative file; without one there is no revocation list.
    pub record: Option<RedisRecord>,
    /// Role bindings shared by the fleet, in Redis.
    pub bindings: Option<BindingsCache>,
    /// Nonces of signed requests, which all gateways share; without them none is accepted.
    pub nonces: Option<Arc<dyn Nonces>>,
    /// Limits of the fleet, in Redis.
    pub limits: Option<SharedLimits>,
    /// Who this gateway is towards a control plane on another machine.
    pub control_tls: Arc<ControlTls>,
    /// What keeps the certificate good that the control API knows this gateway by.
    pub(crate) renewal: Option<(Enrolled, RpcClient)>,
    /// What the process gave whose place this one takes.
    pub inherited: Option<Inherited>,
}

impl EdgeParts {
    /// An edge without Redis.
    pub fn new(config: GatewayConfig, source: Source, clock: Arc<dyn Clock>) -> Self {
        let control_tls = Arc::default();
        Self {
            config,
            source,
            clock,
            revocations: None,
            record: None,
            bindings: None,
            nonces: None,
            limits: None,
            control_tls,
            renewal: None,
            inherited: None,
        }
    }
}

/// Why an edge does not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum EdgeError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Handover(#[from] HandoverError),
    #[error(transparent)]
    File(#[from] Mistakes),
    #[error("the data folder cannot be used")]
    Disk(#[from] DiskError),
    #[error("the folder of the declarative file cannot be watched")]
    Watch(#[from] notify::Error),
    #[error("the metrics cannot be registered")]
    Metrics(#[from] prometheus::Error),
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    #[error("threads cannot be started")]
    Threads(#[from] std::io::Error),
}

/// A gateway that serves. Dropping it ends it at once; [`RunningEdge::shutdown`] lets requests finish.
pub struct RunningEdge {
    https: Vec<SocketAddr>,
    http: Vec<SocketAddr>,
    metrics_at: Vec<SocketAddr>,
    shared: Arc<Shared>,
    /// Whether it will stop soon.
    leaving: watch::Sender<bool>,
    notice: Duration,
    stage: watch::Sender<Stage>,
    /// Whether another process serves in its place.
    taken_over: watch::Receiver<bool>,
    handover_grace: Duration,
    reload: mpsc::Sender<()>,
    grace: Duration,
    usage: Arc<UsageBook>,
    /// Whom to tell what was counted last.
    plane: Option<Arc<dyn ControlPlane>>,
    doors: Option<Runtime>,
    workers: Option<Runtime>,
    background: Option<Runtime>,
}

/// Starts edges.
#[derive(Debug)]
pub struct Edge;

impl Edge {
    /// Binds, waits for the first snapshot (at most `snapshot.wait`), and serves.
    ///
    /// # Errors
    /// [`EdgeError`]: a port in use, a broken declarative file, an unwritable data folder.
    pub async fn start(parts: EdgeParts) -> Result<RunningEdge, EdgeError> {
        crate::install_crypto();
        let EdgeParts {
            config,
            source,
            clock,
            revocations,
            record,
            bindings,
            nonces,
            limits,
            control_tls,
            renewal,
            inherited,
        } = parts;
        let mut inherited = inherited;
        let mut bind = |key, address| match inherited.as_mut().map(|inherited| inherited.sockets(key)) {
            Some(given) => Bound::inherited(key, address, given),
            None => Bound::new(key, address),
        };
        let https = bind(HTTPS, config.listen.https)?;
        let http = config.listen.http.map(|address| bind(HTTP, address)).transpose()?;
        let status = bind(METRICS, config.listen.metrics)?;
        let metrics = Arc::new(Metrics::new()?);
        let mirror = Arc::new(Mirror::default());
        let plane = match &source {
            Source::ControlPlane { plane, .. } => Some(Arc::clone(plane)),
            Source::File(_) => None,
        };
        let (keys, lacking) = IssuerKeys::new();
        let entries = config.tokens.binding_cache_entries;
        let (api_keys, key_uses) = ApiKeys::new(Arc::clone(&mirror), plane.clone(), nonces, entries);
        let permissions = Arc::new(Permissions {
            mirror: Arc::clone(&mirror),
            metrics: Arc::clone(&metrics),
            clock: Arc::clone(&clock),
            memory: Cache::new(entries),
            shared: bindings,
            plane,
            store: revocations,
            issuer_keys: keys,
            api_keys,
            follower: Arc::default(),
        });
        let https_port = https.address().map_or(443, |address| address.port());
        let gate = Gate::new(config.gate(https_port), mirror, Arc::<Permissions>::clone(&permissions));
        let gate = Arc::new(gate);
        if limits.is_some() || (config.redis.cache.is_some() && config.limits.shared) {
            gate.share().begin(config.limits.gateways);
        }
        let applier = Arc::new(Applier::new(Arc::clone(&gate), Arc::clone(&clock), Arc::clone(&metrics)));
        let addresses = config.upstreams.forbidden.iter().chain(status.addresses()).copied();
        let forbidden = Forbidden::new(addresses, config.forbidden_sockets());
        // Beside a declarative file there is nobody to tell.
        let (explainer, chosen) = match source {
            Source::ControlPlane { .. } => Some(Explainer::new(&config.explain, &metrics)).unzip(),
            Source::File(_) => (None, None),
        };
        let (units, accesses) = match source {
            Source::ControlPlane { .. } => {
                let (book, accesses) = UnitBook::new(&config.access_log, &metrics);
                (Some(Arc::new(book)), Some(accesses))
            }
            Source::File(_) => (None, None),
        };
        let shared = Arc::new(Shared {
            gate,
            explainer,
            units: units.clone(),
            peers: Peers::new(forbidden, Resolver::new(Arc::clone(&clock)), Arc::clone(&control_tls)),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            traced: config.telemetry.otlp_endpoint.is_some(),
            limits: config.connections.clone(),
            tells_limits: config.limits.headers,
        });
        let usage =
            UsageBook::new(Arc::clone(&shared.gate), limits.clone(), permissions.plane.clone(), Arc::clone(&clock));
        let usage = Arc::new(usage);
        let (leaving, left) = watch::channel(false);
        let (stage, _) = watch::channel(if inherited.is_some() { Stage::Ready } else { Stage::Serving });
        let (handed, taken_over) = watch::channel(false);
        let (reload, reloads) = mpsc::channel(1);
        let background = Builder::new_multi_thread().worker_threads(2).thread_name("edge-feed").enable_all().build()?;
        let (doors, workers) = (door::doors(config.threads)?, workers(&config)?);
        let mut edge = RunningEdge {
            https: https.addresses().to_vec(),
            http: http.as_ref().map(|bound| bound.addresses().to_vec()).unwrap_or_default(),
            metrics_at: status.addresses().to_vec(),
            shared,
            leaving,
            notice: config.shutdown_notice.map_or(NOTICE, |notice| notice.get()),
            stage,
            taken_over,
            handover_grace: config.handover.grace.get(),
            reload,
            grace: config.shutdown_grace.map_or(GRACE, |grace| grace.get()),
            usage: Arc::clone(&usage),
            plane: permissions.plane.clone(),
            doors: Some(doors),
            workers: Some(workers),
            background: Some(background),
        };
        let tasks = background::Tasks {
            config: &config,
            applier: &applier,
            clock: &clock,
            permissions: &permissions,
            stage: edge.stage.subscribe(),
            beside: inherited.as_ref().map(|inherited| inherited.beside.clone()),
        };
        let handle = edge.background_handle();
        if let Some((enrolled, client)) = renewal {
            // Also while another process serves: what is open here may need it for longer than it is good for.
            handle.spawn(enrolled.keep_renewing(client, Arc::clone(&control_tls), Arc::clone(&clock)));
        }
        let listeners = [(HTTPS, Some(&https)), (HTTP, http.as_ref()), (METRICS, Some(&status))];
        let listeners = listeners.into_iter().filter_map(|(key, bound)| Some(bound?.duplicated(key)));
        let listeners: Vec<_> = listeners.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        if let Some(limits) = limits {
            let (gate, clock) = (Arc::clone(&edge.shared.gate), Arc::clone(&clock));
            handle.spawn(LimitExchange { gate, limits, clock, metrics: Arc::clone(&metrics) }.run());
        }
        let revocations = record.is_some() || matches!(source, Source::ControlPlane { .. });
        tasks.status(&handle, status, revocations, record.clone(), left)?;
        match source {
            Source::ControlPlane { plane, carrier } => {
                handle.spawn(issuer_keys::tell(Arc::clone(&plane), lacking));
                handle.spawn(api_keys::tell(Arc::clone(&plane), key_uses));
                if let Some(chosen) = chosen {
                    handle.spawn(explain::report(Arc::clone(&plane), chosen, metrics));
                }
                if let (Some(units), Some(accesses)) = (&units, accesses) {
                    handle.spawn(Arc::clone(units).run_records(Arc::clone(&plane), accesses));
                    handle.spawn(Arc::clone(units).run_counts(Arc::clone(&plane), Arc::clone(&clock)));
                }
                tasks.control_plane(&handle, plane, carrier).await?;
                if timeout(config.snapshot.wait.get(), applier.loaded()).await.is_err() {
                    tracing::error!("there is no snapshot yet; every request is refused until there is one");
                }
            }
            Source::File(path) => {
                tasks.revocations(&handle, record);
                tasks.file(&handle, &path, edge.reload.clone(), reloads)?;
            }
        }
        usage.open().await;
        handle.spawn(Arc::clone(&usage).run_tellings());
        handle.spawn(usage.run());
        // Before the other process is told to go: from then on nothing may fail.
        let offer = {
            let _context = handle.enter();
            config.handover.socket.as_deref().map(Offer::new).transpose()?
        };
        if let Some(inherited) = &inherited {
            tasks.fit_to_take_over(inherited).await?;
        }
        edge.listen(&config, https, http)?;
        if let Some(inherited) = &mut inherited {
            inherited.go().await?;
            edge.stage.send_replace(Stage::Serving);
        }
        if let Some(offer) = offer {
            let follower = Arc::clone(&permissions.follower);
            let estate = Estate { shared: Arc::clone(&edge.shared), follower };
            handle.spawn(offer.run(listeners, estate, handed));
        }
        Ok(edge)
    }
}

impl RunningEdge {
    /// Where it serves HTTPS.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// Where it serves plain HTTP.
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// Where it serves `/metrics`, `/healthz` and `/readyz`.
    pub fn metrics(&self) -> &[SocketAddr] {
        &self.metrics_at
    }

    /// What it judges by.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.shared.gate
    }

    /// Reads the declarative file again, as on SIGHUP. Without one, nothing.
    pub fn reload(&self) {
        // A full channel has been told already.
        let _ = self.reload.try_send(());
    }

    /// Says on `/readyz` that it is not ready any more, goes on serving everything, and waits as long as balancers may need
    /// to hear of it. Comes before [`RunningEdge::shutdown`], and may be cut short.
    pub async fn give_notice(&self) {
        self.leaving.send_replace(true);
        sleep(self.notice).await;
    }

    /// Returns once another process serves in the place of this one. Cancel-safe.
    pub async fn taken_over(&self) {
        let mut taken_over = self.taken_over.clone();
        if taken_over.wait_for(|it| *it).await.is_err() {
            // Nobody is there who could say so.
            pending::<()>().await;
        }
    }

    /// Accepts nothing more, because another process does. Every client is told to come again with its next answer;
    /// who has none within `shutdown_notice` is let go, and what is open may go on for `handover.grace`.
    pub async fn retire(&self) {
        self.stage.send_replace(Stage::Retiring);
        sleep(self.notice).await;
        self.stage.send_replace(Stage::Stopping);
        if timeout(self.handover_grace, self.over()).await.is_err() {
            tracing::warn!(requests = self.shared.metrics.active_requests.get(), "open requests are not waited for");
        }
    }

    /// Accepts nothing more, waits for open requests, at most the configured grace, and ends.
    pub async fn shutdown(mut self) {
        self.stage.send_replace(Stage::Stopping);
        if timeout(self.grace, self.over()).await.is_err() {
            tracing::warn!(requests = self.shared.metrics.active_requests.get(), "open requests are cut off");
        }
        self.usage.close().await;
        if let (Some(units), Some(plane)) = (&self.shared.units, &self.plane) {
            units.close(&**plane).await;
        }
        self.end();
    }

    /// Returns when no request is served.
    async fn over(&self) {
        while self.shared.metrics.active_requests.get() > 0 {
            sleep(GRACE_STEP).await;
        }
    }

    fn listen(&mut self, config: &GatewayConfig, https: Bound, http: Option<Bound>) -> Result<(), EdgeError> {
        let conf = Arc::new(ServerConf {
            upstream_keepalive_pool_size: config.upstreams.keepalive,
            ca_file: config.upstreams.ca.as_ref().map(|path| path.display().to_string()),
            max_retries: MAX_ATTEMPTS,
            ..ServerConf::default()
        });
        let Shared { gate, clock, metrics, .. } = &*self.shared;
        let handshakes = Handshakes::new(config.limits.hostname_handshakes, Arc::clone(clock), Arc::clone(metrics));
        let load = config.gate(0).tenant_load;
        let tls = Tls::new(Arc::clone(gate), Arc::clone(clock), Arc::clone(metrics), handshakes, load);
        let tls = tls.map_err(EdgeError::Tls)?;
        let (Some(doors), Some(workers)) = (&self.doors, &self.workers) else { return Ok(()) };
        // A socket of tokio's belongs to the runtime it is made in.
        let _entered = doors.enter();
        let limits = &config.limits;
        let proxies = config.listen.trusted_proxies.clone();
        let connections = Connections::new(limits.address_connections, limits.address_handshakes, proxies);
        let entrance = |on| {
            let Shared { clock, metrics, .. } = &*self.shared;
            Entrance::new(&config.listen, on, Arc::clone(&connections), Arc::clone(clock), Arc::clone(metrics))
        };
        let encrypted = (https, Listener::Tls, entrance(config.listen.https_proxy_protocol), Some(tls));
        let plain = http.map(|http| (http, Listener::Plain, entrance(config.listen.http_proxy_protocol), None));
        for (bound, listener, entrance, tls) in [Some(encrypted), plain].into_iter().flatten() {
            let mut proxy = http_proxy(&conf, EdgeProxy { shared: Arc::clone(&self.shared), listener });
            proxy.h2_options = Some(http2(&config.connections));
            let proxy = Arc::new(proxy);
            let handle = workers.handle().clone();
            let door = Door::new(Arc::clone(&proxy), Arc::clone(&self.shared), entrance, tls, handle);
            for socket in bound.into_sockets() {
                doors.spawn(Arc::clone(&door).open(TcpListener::from_std(socket)?, self.stage.subscribe()));
            }
            let mut stage = self.stage.subscribe();
            workers.spawn(async move {
                // An edge that is gone has stopped, too.
                let _ = stage.wait_for(|stage| *stage == Stage::Stopping).await;
                proxy.http_cleanup().await;
            });
        }
        Ok(())
    }

    fn background_handle(&self) -> tokio::runtime::Handle {
        match &self.background {
            Some(runtime) => runtime.handle().clone(),
            None => tokio::runtime::Handle::current(),
        }
    }

    /// Ends all runtimes without waiting: waiting is not possible within another runtime.
    fn end(&mut self) {
        for runtime in [self.doors.take(), self.workers.take(), self.background.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for RunningEdge {
    fn drop(&mut self) {
        self.end();
    }
}

/// What one HTTP/2 connection may do.
fn http2(limits: &ConnectionConfig) -> H2Options {
    let mut options = H2Options::new();
    options
        .max_concurrent_streams(limits.http2.max_streams)
        .max_header_list_size(u32::try_from(limits.max_head.bytes()).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.http2.max_early_resets)
        .max_local_error_reset_streams(Some(limits.http2.max_forced_resets));
    options
}

fn workers(config: &GatewayConfig) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = config.threads {
        builder.worker_threads(threads.max(1));
    }
    builder.thread_name("edge").enable_all().build()
}

/// Who this gateway is to the control plane.
fn identity(config: &GatewayConfig) -> GatewayIdentity {
    GatewayIdentity {
        id: config.gateway.id.unwrap_or_else(|| GatewayId::new(Uuid::new_v4())),
        name: config.gateway.name.clone(),
        fleet: config.gateway.fleet.to_string(),
    }
}
