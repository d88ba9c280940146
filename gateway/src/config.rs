//! The gateway's configuration: one YAML file, read so that every mistake is named at once.
//!
//! ```yaml
//! listen: { https: "0.0.0.0:8443", http: "0.0.0.0:8080" }
//! feed: { file: edge.yaml }
//! ```
//!
//! Relative paths are relative to the file's folder. `PORTCULLIS_SECTION__KEY` overrides a key; `REDIS_URL` stands for
//! `redis.revocation`.

mod address;
mod check;
mod connection;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use domain::{FleetName, GatewayId, HumanDuration, Network, snapshot::RateLimit};
use link::{
    file::{Document, Mistakes, Overrides, SecretRef},
    telemetry::TelemetryConfig,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    address::{ListenAddress, ListenAddressError},
    connection::{ConnectionConfig, Http2Config},
};

/// Environment variables that other programs set, and the keys they stand for.
const ALIASES: [(&str, &str); 1] = [("REDIS_URL", "/redis/revocation")];

/// Everything a gateway is told by its operator.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where it listens.
    pub listen: ListenConfig,
    /// Which gateway this is.
    pub gateway: IdentityConfig,
    /// Where its snapshot comes from.
    pub feed: FeedConfig,
    /// Where revocations come from when the snapshot comes from a file.
    pub revocations: Revocations,
    /// Redis, if there is one.
    pub redis: RedisConfig,
    /// How long what is known may be used.
    pub snapshot: SnapshotConfig,
    /// How clients' connections are bounded in time and size.
    pub connections: ConnectionConfig,
    /// What one client or tenant may use.
    pub limits: LimitConfig,
    /// How tokens are treated.
    pub tokens: TokenConfig,
    /// How upstreams are spoken to.
    pub upstreams: UpstreamConfig,
    /// Which decisions are told to the control API, so that they can be explained.
    pub explain: ExplainConfig,
    /// Which requests that are about organisational units are told to the control API.
    pub access_log: AccessLogConfig,
    /// Logs and traces.
    pub telemetry: TelemetryConfig,
    /// What kind of deployment this is.
    pub environment: Environment,
    /// Folder for what must survive a restart: the encrypted snapshot and its key, this gateway's certificate and its
    /// key. Needed with a control API over `https://`.
    pub data_dir: Option<PathBuf>,
    /// The port clients see in redirects to HTTPS, where it is neither 443 nor that of `listen.https`.
    pub public_https_port: Option<u16>,
    /// Worker threads for requests; by default one for each core.
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<usize>,
    /// On SIGTERM `/readyz` says 503 for this long while everything is still served, so that balancers send their clients
    /// elsewhere; then the listeners close. At least as long as a balancer takes to notice. Default 5 s; a second signal,
    /// and SIGINT, end it.
    pub shutdown_notice: Option<HumanDuration>,
    /// How long open requests may go on once the listeners are closed. Default 10 s.
    pub shutdown_grace: Option<HumanDuration>,
    /// How another process takes this one's place.
    pub handover: HandoverConfig,
}

/// How another process takes this one's place without a connection lost: `gateway --config FILE --take-over`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HandoverConfig {
    /// Unix socket at which this process offers its place, to processes of the same user only. Default: none, and nobody
    /// can take over. The same in the old configuration and the new one.
    pub socket: Option<PathBuf>,
    /// How long what is open, WebSockets too, may go on in the old process once the new one serves, 1 s to 7 d. Default
    /// 1 h. Clients are told before to come again (`Connection: close`, GOAWAY), for `shutdown_notice`.
    pub grace: HumanDuration,
}

impl Default for HandoverConfig {
    fn default() -> Self {
        Self { socket: None, grace: HumanDuration::from_secs(3600) }
    }
}

/// Where the gateway listens: `IP:PORT`, or `localhost:PORT` for 127.0.0.1 and, where the machine has it, ::1. Port 0
/// picks a free one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenConfig {
    /// HTTPS: HTTP/1.1 and HTTP/2.
    pub https: ListenAddress,
    /// Plain HTTP, which only redirects to HTTPS; none for no such listener.
    pub http: Option<ListenAddress>,
    /// `/metrics`, `/healthz` and `/readyz`, in plain HTTP. Not for the public.
    pub metrics: ListenAddress,
    /// Proxies of ours in front, as networks. Their `X-Forwarded-For` says who a client is; nobody else's does.
    /// Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Every connection to `https` comes from a trusted proxy and begins with a PROXY header (version 1 or 2), which
    /// says who the client is; others are closed. Default: false.
    pub https_proxy_protocol: bool,
    /// The same for `http`. Default: false.
    pub http_proxy_protocol: bool,
    /// How long a connection may take to send its whole PROXY header. Default: 5s.
    pub proxy_header_timeout: HumanDuration,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            https: ListenAddress::localhost(8443),
            http: Some(ListenAddress::localhost(8080)),
            metrics: ListenAddress::localhost(9100),
            trusted_proxies: Vec::new(),
            https_proxy_protocol: false,
            http_proxy_protocol: false,
            proxy_header_timeout: HumanDuration::from_secs(5),
        }
    }
}

/// Which gateway this is, where no certificate says it: with `feed.control_api.url: https://…` its enrolment does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Its id; without a control API a random one.
    pub id: Option<GatewayId>,
    /// Its name, unique in its fleet.
    pub name: String,
    /// Gateways of one fleet serve the same hostnames.
    pub fleet: FleetName,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self { id: None, name: "gateway".into(), fleet: FleetName::default() }
    }
}

/// Where the snapshot comes from: exactly one of these.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FeedConfig {
    /// A control API.
    pub control_api: Option<ControlApiConfig>,
    /// A declarative file or folder, read again whenever it changes.
    pub file: Option<PathBuf>,
}

/// How the control API is reached.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlApiConfig {
    /// Its internal listener, such as `https://control-api.internal:9090`; on this machine also `unix:PATH` and
    /// `http://127.0.0.1:9090`.
    pub url: String,
    /// PEM file of the authorities trusted for the control API; needed for `https://`.
    pub ca: Option<PathBuf>,
    /// The token that `control-api gateways enroll` printed, for this gateway's first certificate over `https://`. It is
    /// looked at while `data_dir` holds no certificate that is good.
    pub join_token: Option<SecretRef>,
}

/// Where revocations come from when the snapshot comes from a file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Revocations {
    /// There is no revocation list: tokens are good until they expire.
    #[default]
    None,
    /// Redis is the record.
    Redis,
}

/// The roles of Redis. One that may evict and one that must not are one instance in development only.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedisConfig {
    /// URL of the Redis that carries revocations; it must never evict (`maxmemory-policy noeviction`).
    pub revocation: Option<String>,
    /// URL of the Redis that remembers nonces of signed requests, the same for all gateways; it must never evict. Default:
    /// that of `revocation`.
    pub nonces: Option<String>,
    /// URL of the Redis that caches role bindings and counts requests for the fleet.
    pub cache: Option<String>,
    /// The key that cached bindings are authenticated with, shared with the other gateways and the control API.
    pub cache_key: Option<SecretRef>,
}

/// How long what is known may be used.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotConfig {
    /// A snapshot that nobody confirmed for this long is not served any more.
    pub max_age: HumanDuration,
    /// Longest wait at the start for the first snapshot before the listeners open without one.
    pub wait: HumanDuration,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self { max_age: HumanDuration::from_secs(24 * 3600), wait: HumanDuration::from_secs(10) }
    }
}

/// What one client or tenant may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitConfig {
    /// For each client address, before authentication.
    pub address: RateLimit,
    /// Connections of each client address that are open at once, 1 to 1,000,000. Those of trusted proxies are not
    /// counted. Default: 1024.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub address_connections: u32,
    /// Connections that each client address may make, before TLS. Those of trusted proxies are not counted. Default:
    /// 500 a second, burst 1000.
    pub address_handshakes: RateLimit,
    /// TLS handshakes for each hostname, whoever asks for them. More end with an alert. Default: 500 a second, burst 1000.
    pub hostname_handshakes: RateLimit,
    /// For each tenant that has none of its own.
    pub tenant: RateLimit,
    /// For each principal in its tenant, where the tenant says nothing else. Default: none.
    pub principal: Option<RateLimit>,
    /// Of what a tenant's strangers may send together, which is as much as its principals may, how many hundredths one
    /// address may, 1 to 100: so that one cannot keep the others from signing in. Default: 50.
    #[schemars(range(min = 1, max = 100))]
    pub stranger_percent: u32,
    /// Requests of each tenant that are served at once, where it says nothing else, 1 to 1,000,000. Default: 10000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tenant_in_flight: u32,
    /// WebSockets of each tenant that are open at once, where it says nothing else, 1 to 1,000,000. Default: 5000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tenant_websockets: u32,
    /// TLS connections of each tenant that are open at once, where it says nothing else, 1 to 1,000,000: of
    /// whoever, so that a low number is one that strangers can use up. Default: 1000000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub tenant_connections: u32,
    /// Failed signatures, for each client address and hostname.
    pub failed_signatures: RateLimit,
    /// Failed signatures and unknown API keys of all addresses together, for each hostname. Beyond it, an address that
    /// failed there in the last second waits for the rest of that second; others are judged as ever.
    pub hostname_failed_signatures: RateLimit,
    /// Limits of tenants, principals and routes are the fleet's, counted in `redis.cache`; without it each gateway has
    /// them for itself. Default: true.
    pub shared: bool,
    /// How many gateways the fleet has, 1 to 10,000: while Redis has not said it, each keeps to its part of the limits.
    /// Default: 1.
    #[schemars(range(min = 1, max = 10_000))]
    pub gateways: u32,
    /// Answers say what is left, in `RateLimit` and `RateLimit-Policy`. Default: true.
    pub headers: bool,
}

impl Default for LimitConfig {
    fn default() -> Self {
        let gate = gate::GateConfig::default();
        Self {
            address: gate.address_limit,
            address_connections: 1024,
            address_handshakes: RateLimit { rps: 500, burst: 1_000 },
            hostname_handshakes: RateLimit { rps: 500, burst: 1_000 },
            tenant: gate.tenant_limit,
            principal: gate.principal_limit,
            stranger_percent: gate.stranger_percent,
            tenant_in_flight: gate.tenant_load.requests,
            tenant_websockets: gate.tenant_load.websockets,
            tenant_connections: gate.tenant_load.connections,
            failed_signatures: gate.signature_budget,
            hostname_failed_signatures: gate.hostname_signature_budget,
            shared: true,
            gateways: 1,
            headers: true,
        }
    }
}

/// How tokens are treated.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenConfig {
    /// Verified tokens kept in memory.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub cache_entries: usize,
    /// A token this close to its end is answered with `x-token-refresh: advised`, 0 s to 1 d. Default 5 m. An advice:
    /// no refresh is refused for being early.
    pub refresh_threshold: HumanDuration,
    /// Users whose role bindings are kept in memory.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub binding_cache_entries: u64,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            cache_entries: gate::GateConfig::default().token_cache_entries,
            refresh_threshold: HumanDuration::from_secs(300),
            binding_cache_entries: 100_000,
        }
    }
}

/// How upstreams are spoken to.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamConfig {
    /// Addresses that no upstream may be, beside this gateway's own metrics listener: the control API's `admin`,
    /// `internal` and metrics listeners.
    #[schemars(with = "Vec<String>")]
    pub forbidden: Vec<SocketAddr>,
    /// Unix sockets that no upstream may be, under any name, beside that of `feed.control_api`.
    pub forbidden_sockets: Vec<PathBuf>,
    /// Idle connections kept.
    pub keepalive: usize,
    /// PEM file of the authorities trusted for upstreams that name none; by default the system's.
    pub ca: Option<PathBuf>,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self { forbidden: Vec::new(), forbidden_sockets: Vec::new(), keepalive: 1024, ca: None }
    }
}

/// Which decisions are told to the control API, so that they can be explained. With `feed.file` there is nobody to tell.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExplainConfig {
    /// Tell of refused requests. Default true.
    pub denials: bool,
    /// Share of permitted requests that are told of, 0 to 1. Default 0.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub permits: f64,
    /// Decisions told in all. Default 100 a second, 200 at once.
    pub total: RateLimit,
    /// Decisions told of one hostname; of known principals, of each tenant there. Default 10 a second, 50 at once.
    pub hostname: RateLimit,
}

impl Default for ExplainConfig {
    fn default() -> Self {
        Self {
            denials: true,
            permits: 0.0,
            total: RateLimit { rps: 100, burst: 200 },
            hostname: RateLimit { rps: 10, burst: 50 },
        }
    }
}

/// Which requests that are about organisational units are told to the control API, for who administers them. How much each
/// unit asks for is told whatever stands here. With `feed.file` there is nobody to tell.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogConfig {
    /// Tell of requests. Default true.
    pub records: bool,
    /// Requests told of in all; those of more are counted in `portcullis_access_records_total` and lost. Default 500 a
    /// second, 2,000 at once.
    pub total: RateLimit,
    /// Requests told of one tenant. Default 100 a second, 500 at once.
    pub tenant: RateLimit,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self { records: true, total: RateLimit { rps: 500, burst: 2000 }, tenant: RateLimit { rps: 100, burst: 500 } }
    }
}

/// What kind of deployment this is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// A developer's machine.
    Dev,
    /// Before production.
    Stage,
    /// Production: the control API is reached by mutual TLS only.
    #[default]
    Prod,
}

impl GatewayConfig {
    /// Reads and checks a file, with the overrides of this process's environment. Paths in it become relative to the
    /// working directory.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        Self::read(Document::open(path)?, &Overrides::from_env(&ALIASES), path.parent().unwrap_or(Path::new("")))
    }

    /// Reads and checks a document; its relative paths start at `base`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(document: Document, overrides: &Overrides, base: &Path) -> Result<Self, Mistakes> {
        let mut config = link::file::load::<Self>(document, overrides)?.checked(check::check)?;
        config.paths_from(base);
        Ok(config)
    }

    /// Checks all but the feed, for a process that feeds the gateway itself.
    pub fn check_fed(&self, checks: &mut link::file::Checks<'_>) {
        check::check_fed(self, checks);
    }

    /// What the gate is told.
    pub fn gate(&self, https_port: u16) -> gate::GateConfig {
        gate::GateConfig {
            address_limit: self.limits.address,
            tenant_limit: self.limits.tenant,
            principal_limit: self.limits.principal,
            stranger_percent: self.limits.stranger_percent,
            gateways: self.limits.gateways,
            tenant_load: gate::load::LoadLimits {
                requests: self.limits.tenant_in_flight,
                websockets: self.limits.tenant_websockets,
                connections: self.limits.tenant_connections,
            },
            signature_budget: self.limits.failed_signatures,
            hostname_signature_budget: self.limits.hostname_failed_signatures,
            refresh_threshold: self.tokens.refresh_threshold.get(),
            token_cache_entries: self.tokens.cache_entries,
            trusted_proxies: self.listen.trusted_proxies.clone(),
            public_https_port: Some(self.public_https_port.unwrap_or(https_port)).filter(|port| *port != 443),
        }
    }

    /// The Unix sockets that no upstream may be.
    pub(crate) fn forbidden_sockets(&self) -> Vec<PathBuf> {
        let control_api = self.feed.control_api.iter().filter_map(|control_api| control_api.url.strip_prefix("unix:"));
        self.upstreams.forbidden_sockets.iter().cloned().chain(control_api.map(PathBuf::from)).collect()
    }

    /// Makes paths that are relative to the file, which is in `base`, relative to the process.
    pub fn paths_from(&mut self, base: &Path) {
        let control_api = self.feed.control_api.as_mut();
        let (ca, token) = control_api.map(|c| (&mut c.ca, &mut c.join_token)).unzip();
        let others = [&mut self.feed.file, &mut self.data_dir, &mut self.upstreams.ca];
        let others = others.into_iter().chain([&mut self.handover.socket]);
        for path in ca.into_iter().chain(others).flatten().chain(&mut self.upstreams.forbidden_sockets) {
            *path = base.join(&*path);
        }
        for secret in token.into_iter().chain([&mut self.redis.cache_key]).flatten() {
            if let SecretRef::File(path) = secret {
                *path = base.join(&*path);
            }
        }
    }
}
