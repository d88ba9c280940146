//! Twenty minutes of good and bad traffic with changes and failures in between: what `scripts/soak.sh` runs.
//!
//! Every answer is judged. A run fails on one wrong decision, one answer of somebody else's request, one request without
//! an answer, or memory that grows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measuring program: a step that fails ends it and says where"
)]

mod changes;
mod failures;
mod good;
mod hostile;
mod memory;
mod tally;

use std::{
    future::Future,
    net::Ipv4Addr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Parser as _;
use load_tests::{Alpn, Connection, Edge, Node, node::Options, process, upstream};
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::{memory::Memory, tally::Tally};

/// Whoever it is that calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Caller {
    tenant: &'static str,
    role: &'static str,
}

#[derive(clap::Parser)]
struct Arguments {
    /// Minutes it lasts.
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// Requests a second of each of the good workers.
    #[arg(long, default_value_t = 25)]
    rate: u32,
    /// Where to write the result as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What all workers share.
struct World {
    node: Node,
    /// The upstream that comes and goes.
    flaky: failures::Flaky,
    edge: Edge,
    authority: changes::Authority,
    tally: Tally,
    rate: u32,
    ends_at: Instant,
}

impl World {
    fn goes_on(&self) -> bool {
        Instant::now() < self.ends_at
    }

    fn host(&self, tenant: &str) -> String {
        self.node.tenant(tenant)["hostname"].as_str().unwrap().to_owned()
    }

    async fn connect(&self, tenant: &str, alpn: Alpn, from: Ipv4Addr) -> anyhow::Result<Connection> {
        self.edge.connect(&self.host(tenant), alpn, from).await
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    load_tests::install_crypto();
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (upstream, _serving) = upstream::start().await?;
    let authority = changes::Authority::new()?;
    let options = Options { upstream: Some(upstream), also_trusted: authority.pem(), ..Options::default() };
    let node = Node::start(&options).await?;
    let flaky = failures::Flaky::start().await?;
    let lasting = Duration::from_secs_f64(arguments.minutes * 60.0);
    let world = Arc::new(World {
        flaky,
        edge: node.edge()?,
        authority,
        tally: Tally::default(),
        rate: arguments.rate,
        ends_at: Instant::now() + lasting,
        node,
    });
    prepare(&world).await?;
    println!("{} minutes; node is process {}", arguments.minutes, world.node.pid());

    let mut workers = Workers { world: Arc::clone(&world), running: Vec::new(), started: 0 };
    for (caller, alpn) in [
        (Caller { tenant: "acme", role: "member" }, Alpn::Http1),
        (Caller { tenant: "globex", role: "member" }, Alpn::Http1),
        (Caller { tenant: "acme", role: "auditor" }, Alpn::Http2),
        (Caller { tenant: "globex", role: "auditor" }, Alpn::Http2),
    ] {
        workers.start("good requests", move |world, from| good::requests(world, caller, alpn, from));
    }
    workers.start("WebSockets", good::websockets);
    workers.start("refused requests", hostile::refused);
    workers.start("malformed requests", hostile::malformed);
    workers.start("half requests", hostile::half_requests);
    workers.start("reset floods", hostile::resets);
    workers.start("failing upstreams", failures::answers);
    workers.start("lost upstreams", failures::outages);
    workers.start("sessions", changes::sessions);
    workers.start("changed routes", changes::routes);
    workers.start("changed rights", changes::rights);
    workers.start("changed certificates", changes::certificates);

    let memory = Memory::watch(&world, Duration::from_secs(5)).await;
    for worker in workers.running {
        worker.await?;
    }
    let cpu = process::processor_time(world.node.pid());
    println!("{}", world.tally);
    println!("{memory}");
    println!("processor time of the node: {} s", cpu.as_secs());
    if let Some(path) = &arguments.json {
        let result = json!({ "minutes": arguments.minutes, "tally": world.tally.json(), "memory": memory.json() });
        std::fs::write(path, serde_json::to_string_pretty(&result)? + "\n")?;
    }
    let log = world.node.log();
    let panics = log.lines().filter(|line| line.contains("panicked")).count();
    ensure!(panics == 0, "the node panicked {panics} times:\n{log}");
    ensure!(world.tally.is_clean(), "answers were wrong or missing; the node's log:\n{}", tail(&log));
    ensure!(memory.is_flat(), "memory grew");
    Ok(())
}

/// Limits that the good workers stay below, and the route to the upstream that comes and goes.
async fn prepare(world: &World) -> anyhow::Result<()> {
    let staff = world.node.staff().await?;
    for slug in ["acme", "globex"] {
        let path = format!("/v1/tenants/{}?wait=applied", world.node.tenant_id(slug));
        let body = json!({ "rate_limit": { "rps": 5000, "burst": 5000 } });
        world.node.admin(&staff, Method::PATCH, &path, &body).await?;
    }
    let service = world.node.find(&staff, "/v1/services", "name", "demo").await?;
    let peer = world.flaky.address().to_string();
    let body = json!({ "name": "flaky", "peers": [peer], "plaintext": true, "assertion": "off" });
    let made = world.node.admin(&staff, Method::POST, "/v1/upstreams", &body).await?;
    let body = json!({
        "service_id": service["id"], "path": "/demo/flaky/**", "access": "authenticated", "upstream_id": made["id"],
    });
    world.node.admin(&staff, Method::POST, "/v1/routes?wait=applied", &body).await?;
    Ok(())
}

/// The workers, each with an address of its own.
struct Workers {
    world: Arc<World>,
    running: Vec<tokio::task::JoinHandle<()>>,
    started: u8,
}

impl Workers {
    /// Starts one. An error of its own is an answer that did not come.
    fn start<F>(&mut self, name: &'static str, work: impl Fn(Arc<World>, Ipv4Addr) -> F + Send + 'static)
    where
        F: Future<Output = anyhow::Result<()>> + Send,
    {
        self.started += 1;
        let from = Ipv4Addr::new(127, 0, 1, self.started);
        let world = Arc::clone(&self.world);
        self.running.push(tokio::spawn(async move {
            while world.goes_on() {
                if let Err(error) = work(Arc::clone(&world), from).await {
                    world.tally.lost(name, &format!("{error:#}"));
                    sleep(Duration::from_millis(500)).await;
                }
            }
        }));
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
