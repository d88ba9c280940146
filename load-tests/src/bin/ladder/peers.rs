//! The peers, each with its configuration: one thread, TLS, an access log to a file, connections kept to the upstream.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::Context as _;
use load_tests::{
    Alpn, Edge, process,
    process::Child,
    world::{AUDIENCE, HOST, ISSUER, World},
};

/// What stands in front of the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Peer {
    /// Bare Pingora with as many headers as the gateway sets. Checks nothing.
    Floor,
    /// The gateway: routing, token, tenant, permission, limits, headers, metrics, access log.
    Portcullis,
    /// nginx without any check.
    Nginx,
    /// `jwt_verify`, one public key.
    Haproxy,
    /// `jwt_authn` with its token cache.
    Envoy,
}

impl Peer {
    pub(crate) const ALL: [Self; 5] = [Self::Floor, Self::Portcullis, Self::Nginx, Self::Haproxy, Self::Envoy];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Floor => "bare Pingora, no check",
            Self::Portcullis => "Portcullis",
            Self::Nginx => "nginx, no check",
            Self::Haproxy => "HAProxy, jwt_verify",
            Self::Envoy => "Envoy, jwt_authn",
        }
    }

    /// Whether it checks tokens.
    pub(crate) const fn checks(self) -> bool {
        !matches!(self, Self::Floor | Self::Nginx)
    }

    /// Starts it on a free port and waits until it answers.
    pub(crate) async fn start(self, world: &World, cores: &str, envoy: &Path) -> anyhow::Result<Running> {
        let address = process::free_address()?;
        let me = std::env::current_exe()?;
        let mut command = Command::new("taskset");
        command.args(["-c", cores]);
        match self {
            Self::Floor => {
                command.args(world.floor(&me.with_file_name("floor"), address));
            }
            Self::Portcullis => {
                command.args(world.gateway(&me.with_file_name("gateway"), address)?);
            }
            Self::Nginx => {
                let config = world.write("nginx.conf", &nginx(world, address))?;
                command.args(["nginx", "-p", &world.text("."), "-c", &config]);
            }
            Self::Haproxy => {
                let config = world.write("haproxy.cfg", &haproxy(world, address))?;
                command.args(["haproxy", "-db", "-f", &config]);
            }
            Self::Envoy => {
                let config = world.write("envoy.json", &envoy_config(world, address))?;
                command.arg(envoy).args(["-c", &config, "--concurrency", "1", "-l", "error", "--disable-hot-restart"]);
            }
        }
        let log = std::fs::File::create(world.log(&format!("{self:?}.log")))?;
        command.stdout(log.try_clone()?).stderr(log);
        let child = Child::start(&mut command).with_context(|| self.title())?;
        let edge = Edge::new(address, &world.ca_pem)?;
        let running = Running { peer: self, address, edge, child };
        for _ in 0..300 {
            if running.edge.connect(HOST, Alpn::Http1, [127, 0, 0, 1].into()).await.is_ok() {
                return Ok(running);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let log = std::fs::read_to_string(world.log(&format!("{self:?}.log"))).unwrap_or_default();
        anyhow::bail!("{} does not answer:\n{log}", self.title())
    }
}

/// A peer that runs.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) address: SocketAddr,
    pub(crate) edge: Edge,
    child: Child,
}

impl Running {
    /// Its processes: nginx has a master and a worker.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        process::family(self.child.id()).into_iter()
    }
}

fn nginx(world: &World, address: SocketAddr) -> String {
    let (fast, echo) = (world.fast, world.echo);
    let forward = |upstream: &str| {
        format!(
            "proxy_pass http://{upstream}; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header Authorization \"\"; proxy_set_header X-User fixed; proxy_set_header X-Tenant fixed; \
             proxy_set_header X-Roles fixed;"
        )
    };
    format!(
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr;\nevents {{ worker_connections 8192; }}\n\
         http {{ access_log nginx.access.log; keepalive_requests 100000000; keepalive_timeout 1h;\n\
         upstream fast {{ server {fast}; keepalive 1024; keepalive_requests 100000000; }}\n\
         upstream echo {{ server {echo}; keepalive 16; }}\n\
         server {{ listen {address} ssl http2; server_name {HOST}; ssl_certificate edge.crt; ssl_certificate_key edge.key;\n\
         location / {{ {} }}\nlocation /echo {{ {} }} }} }}\n",
        forward("fast"),
        forward("echo")
    )
}

fn haproxy(world: &World, address: SocketAddr) -> String {
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 4096\n  log stdout format raw local0\n\
         defaults\n  mode http\n  log global\n  option httplog\n  timeout connect 5s\n  timeout client 1h\n  timeout server 60s\n\
         frontend edge\n  bind {address} ssl crt {} alpn h2,http/1.1\n\
         \x20 http-request set-var(txn.bearer) http_auth_bearer\n\
         \x20 http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')\n\
         \x20 http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')\n\
         \x20 http-request set-var(txn.now) date()\n\
         \x20 http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {ISSUER} }}\n\
         \x20 http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {AUDIENCE} }}\n\
         \x20 http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}\n",
        world.text("edge.pem")
    );
    for (alg, key) in [("ES256", "es256.pub"), ("RS256", "rs256.pub")] {
        _ = writeln!(
            text,
            "  http-request set-var(txn.good) var(txn.bearer),jwt_verify(txn.alg,\"{}\") if {{ var(txn.alg) -m str {alg} }}",
            world.text(key)
        );
    }
    let (fast, echo) = (world.fast, world.echo);
    _ = write!(
        text,
        "  http-request deny deny_status 401 unless {{ var(txn.good) -m int 1 }}\n\
         \x20 http-request set-header x-user %[var(txn.bearer),jwt_payload_query('$.sub')]\n\
         \x20 http-request set-header x-tenant %[var(txn.bearer),jwt_payload_query('$.tid')]\n\
         \x20 http-request set-header x-issuer %[var(txn.bearer),jwt_payload_query('$.iss')]\n\
         \x20 http-request del-header authorization\n\
         \x20 use_backend echo if {{ path_beg /echo }}\n  default_backend fast\n\
         backend fast\n  http-reuse always\n  server fast {fast}\nbackend echo\n  server echo {echo}\n"
    );
    text
}

fn envoy_config(world: &World, address: SocketAddr) -> String {
    let jwks = std::fs::read_to_string(world.path("jwks.json")).unwrap();
    let cluster = |name: &str, to: SocketAddr| {
        serde_json::json!({
            "name": name, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": {
                "socket_address": { "address": to.ip().to_string(), "port_value": to.port() } } } }] }] },
            "circuit_breakers": { "thresholds": [{ "max_connections": 10000, "max_pending_requests": 10000,
                "max_requests": 10000 }] },
        })
    };
    let http = "type.googleapis.com/envoy.extensions.filters";
    let manager = serde_json::json!({
        "@type": format!("{http}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge", "codec_type": "AUTO",
        "access_log": [{ "name": "envoy.access_loggers.file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": world.text("envoy.access.log") } }],
        "http_filters": [
            { "name": "envoy.filters.http.jwt_authn", "typed_config": {
                "@type": format!("{http}.http.jwt_authn.v3.JwtAuthentication"),
                "providers": { "id": {
                    "issuer": ISSUER, "audiences": [AUDIENCE], "forward": false,
                    "local_jwks": { "inline_string": jwks },
                    "claim_to_headers": [
                        { "header_name": "x-user", "claim_name": "sub" },
                        { "header_name": "x-tenant", "claim_name": "tid" },
                        { "header_name": "x-issuer", "claim_name": "iss" },
                    ],
                    "jwt_cache_config": { "jwt_cache_size": 100_000 },
                } },
                "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "id" } }],
            } },
            { "name": "envoy.filters.http.router", "typed_config": {
                "@type": format!("{http}.http.router.v3.Router") } },
        ],
        "route_config": { "name": "edge", "virtual_hosts": [{ "name": "edge", "domains": ["*"], "routes": [
            { "match": { "prefix": "/echo" }, "route": { "cluster": "echo" } },
            { "match": { "prefix": "/" }, "route": { "cluster": "fast" } },
        ] }] },
    });
    let tls = serde_json::json!({
        "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{ "certificate_chain": { "filename": world.text("edge.crt") },
                    "private_key": { "filename": world.text("edge.key") } }],
            },
        },
    });
    serde_json::json!({ "static_resources": {
        "listeners": [{ "name": "edge", "address": { "socket_address": {
                "address": address.ip().to_string(), "port_value": address.port() } },
            "filter_chains": [{ "transport_socket": tls, "filters": [{
                "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }] }],
        "clusters": [cluster("fast", world.fast), cluster("echo", world.echo)],
    } })
    .to_string()
}

/// nginx as the upstream that answers at once.
pub(crate) fn upstream(world: &World, cores: &str) -> anyhow::Result<Child> {
    let text = format!(
        "daemon off;\nworker_processes 1;\npid upstream.pid;\nerror_log /dev/null;\n\
         events {{ worker_connections 8192; }}\n\
         http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 1h;\n\
         server {{ listen {}; default_type text/plain; location / {{ return 200 \"ok\"; }} }} }}\n",
        world.fast
    );
    let config = world.write("upstream.conf", &text)?;
    let mut command = Command::new("taskset");
    command.args(["-c", cores, "nginx", "-p", &world.text("."), "-c", &config]).stderr(Stdio::null());
    Child::start(command.stdout(Stdio::null())).context("nginx, as the upstream")
}
