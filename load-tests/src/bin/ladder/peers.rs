//! The peers: one thread, TLS, an access log to a file, connections kept to the upstream. And the gateway as the steps have it.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use load_tests::{
    Alpn, Edge, Node,
    job::{FIELDS, Job, Rung},
    node::Options,
    process,
    process::Child,
    world::{DEMO, HOST, World},
};
use reqwest::Method;
use serde_json::json;

use crate::configs;

/// What stands in front of the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Peer {
    /// Bare Pingora with as many headers as the gateway sets. Checks nothing.
    Floor,
    /// The gateway: routing, token, tenant, permission, limits, headers, metrics, access log.
    Portcullis,
    /// The same for an upstream that names four of the headers.
    PortcullisFew,
    /// nginx without any check.
    Nginx,
    /// `jwt_verify`, one public key.
    Haproxy,
    /// `jwt_authn` with its token cache.
    Envoy,
    /// `forward_auth`, and the program that it asks.
    Caddy,
}

impl Peer {
    pub(crate) const ALL: [Self; 7] =
        [Self::Floor, Self::Portcullis, Self::PortcullisFew, Self::Nginx, Self::Haproxy, Self::Envoy, Self::Caddy];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Floor => "bare Pingora, no check",
            Self::Portcullis => "Portcullis",
            Self::PortcullisFew => "Portcullis, four headers",
            Self::Nginx => "nginx, no check",
            Self::Haproxy => "HAProxy, jwt_verify",
            Self::Envoy => "Envoy, jwt_authn",
            Self::Caddy => "Caddy, forward_auth",
        }
    }

    /// Whether it checks tokens.
    pub(crate) const fn checks(self) -> bool {
        !matches!(self, Self::Floor | Self::Nginx)
    }

    /// Whether its upstream gets the gateway's identity headers.
    pub(crate) const fn is_gateway(self) -> bool {
        matches!(self, Self::Portcullis | Self::PortcullisFew)
    }
}

/// Where programs are, and which cores they get.
pub(crate) struct Programs {
    pub(crate) gateway: PathBuf,
    pub(crate) envoy: PathBuf,
    pub(crate) caddy: PathBuf,
    /// Of what is measured.
    pub(crate) cores: String,
}

impl Programs {
    /// Starts a peer on a free port and waits until it answers.
    pub(crate) async fn peer(&self, peer: Peer, world: &World) -> anyhow::Result<Running> {
        let address = process::free_address()?;
        let mut command = self.pinned();
        let mut beside = Vec::new();
        match peer {
            Peer::Floor => command.args(world.floor(&own("floor")?, address, FIELDS)),
            Peer::Portcullis => command.args(world.gateway(&self.gateway, address, &Job::WHOLE)?),
            Peer::PortcullisFew => command.args(world.gateway(&self.gateway, address, &Job::FEW_HEADERS)?),
            Peer::Nginx => {
                let config = world.write("nginx.conf", &configs::nginx(world, address))?;
                command.args(["nginx", "-p", &world.text("."), "-c", &config])
            }
            Peer::Haproxy => {
                let config = world.write("haproxy.cfg", &configs::haproxy(world, address))?;
                command.args(["haproxy", "-db", "-f", &config])
            }
            Peer::Envoy => {
                let config = world.write("envoy.json", &configs::envoy(world, address))?;
                let arguments = ["-c", &config, "--concurrency", "1", "-l", "error", "--disable-hot-restart"];
                command.arg(&self.envoy).args(arguments)
            }
            Peer::Caddy => {
                let checker = process::free_address()?;
                let mut checking = self.pinned();
                checking.arg(own("checker")?).args([
                    "--listen",
                    &checker.to_string(),
                    "--jwks",
                    &world.text("jwks.json"),
                ]);
                beside.push(Child::start(&mut checking).context("checker")?);
                let config = world.write("Caddyfile", &configs::caddy(world, address, checker))?;
                command.env("GOMAXPROCS", "1").env("HOME", world.text("."));
                command.arg(&self.caddy).args(["run", "--adapter", "caddyfile", "--config", &config])
            }
        };
        start(peer.title(), address, world, command, beside).await
    }

    /// Starts what a step has, and waits until it answers.
    pub(crate) async fn rung(&self, rung: &Rung, world: &World) -> anyhow::Result<Running> {
        let address = process::free_address()?;
        let mut command = self.pinned();
        match &rung.job {
            None => command.args(world.floor(&own("floor")?, address, 0)),
            Some(job) => command.args(world.gateway(&self.gateway, address, job)?),
        };
        start(rung.title, address, world, command, Vec::new()).await
    }

    /// Starts a node, with a token and an API key of one user's in the files `node.token` and `node.key`.
    pub(crate) async fn node(&self, world: &World) -> anyhow::Result<Running> {
        let plenty = ["ADDRESS", "TENANT", "ADDRESS_HANDSHAKES", "HOSTNAME_HANDSHAKES"].into_iter();
        let settings = plenty.flat_map(|limit| {
            ["RPS", "BURST"].map(|part| (variable(&format!("LIMITS__{limit}__{part}")), "1000000".to_owned()))
        });
        let single =
            [(variable("THREADS"), "1".to_owned()), (variable("CONNECTIONS__MAX_REQUESTS"), "1000000".to_owned())];
        let node = Node::start(&Options {
            upstream: Some(world.fast),
            cores: Some(self.cores.clone()),
            settings: settings.chain(single).collect(),
            ..Options::default()
        })
        .await?;
        let limits = json!({ "rate_limit": { "rps": 1_000_000, "burst": 1_000_000 } });
        let path = format!("/v1/tenants/{}?wait=applied", node.tenant_id("acme"));
        node.admin(&node.staff().await?, Method::PATCH, &path, &limits).await?;
        let token = node.login("acme", "member").await?.access;
        let key = node.tenant("acme")["api_key"].as_str().context("the demo has no API key")?.to_owned();
        world.write("node.token", &(token + "\n"))?;
        world.write("node.key", &(key + "\n"))?;
        let edge = node.edge()?;
        Ok(Running {
            title: "a node with its control API",
            host: DEMO.to_owned(),
            path: "/demo/orders",
            address: edge.address(),
            edge,
            processes: Processes::Node(Box::new(node)),
        })
    }

    /// A command on the cores of what is measured.
    fn pinned(&self) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", &self.cores]);
        command
    }
}

fn variable(key: &str) -> String {
    format!("PORTCULLIS_GATEWAY__{key}")
}

/// A program of the same build as this one.
pub(crate) fn own(name: &str) -> anyhow::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

async fn start(
    title: &'static str,
    address: SocketAddr,
    world: &World,
    mut command: Command,
    mut processes: Vec<Child>,
) -> anyhow::Result<Running> {
    let log = world.log(&format!("{}.log", address.port()));
    let output = std::fs::File::create(&log)?;
    command.stdout(output.try_clone()?).stderr(output);
    processes.push(Child::start(&mut command).context(title)?);
    let edge = Edge::new(address, &world.ca().pem())?;
    for _ in 0..600 {
        if edge.connect(HOST, Alpn::Http1, [127, 0, 0, 1].into()).await.is_ok() {
            let processes = Processes::Own(processes);
            return Ok(Running { title, host: HOST.to_owned(), path: "/orders", address, edge, processes });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("{title} does not answer:\n{}", std::fs::read_to_string(&log).unwrap_or_default())
}

/// Something that runs and is asked.
pub(crate) struct Running {
    pub(crate) title: &'static str,
    pub(crate) host: String,
    pub(crate) path: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) edge: Edge,
    processes: Processes,
}

enum Processes {
    Own(Vec<Child>),
    Node(Box<Node>),
}

impl Running {
    /// Its processes: nginx has a master and a worker, Caddy the program that it asks.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        let first = match &self.processes {
            Processes::Own(processes) => processes.iter().map(Child::id).collect(),
            Processes::Node(node) => vec![node.pid()],
        };
        first.into_iter().flat_map(process::family)
    }

    /// Memory of all of them that is in RAM, in MiB.
    pub(crate) fn resident_mib(&self) -> u64 {
        self.pids().map(process::resident_bytes).sum::<u64>() / 1024 / 1024
    }
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
