//! What authentication in front of a service costs, against what else one would put there: what `scripts/ladder.sh` runs.
//!
//! Every peer stands in front of the same upstream, one thread on one core; the load comes from the others. Runs are
//! interleaved (A B C A B C …), and before any of them each peer must be right: a good token passes, bad ones do not,
//! nothing forged reaches the upstream. The figure to trust is the processor time of the proxy for each request.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measuring program: a step that fails ends it and says where"
)]

mod configs;
mod load;
mod peers;
mod right;
mod table;
mod waits;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::ensure;
use clap::Parser as _;
use load_tests::{job::RUNGS, process, world::World};
use serde_json::Value;

use crate::{
    load::{Load, Requests},
    peers::{Peer, Programs, Running},
    table::{Line, Plan},
};

#[derive(clap::Parser)]
struct Arguments {
    /// Runs of each line.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only these parts; all by default.
    #[arg(long, value_delimiter = ',')]
    parts: Vec<Part>,
    /// Only these peers; all by default.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Only these loads of the peers; all by default.
    #[arg(long, value_delimiter = ',')]
    loads: Vec<Load>,
    /// Requests a second at which waits are measured.
    #[arg(long, default_value_t = 1500)]
    rate: u32,
    /// Core of what is measured, and cores of everything else, as taskset(1) takes them.
    #[arg(long, num_args = 2, value_names = ["PROXY", "REST"], default_values = ["0", "1"])]
    cores: Vec<String>,
    /// Which gateway; by default that of the same build as this program.
    #[arg(long)]
    gateway: Option<PathBuf>,
    /// Where `envoy` is.
    #[arg(long, default_value = "envoy")]
    envoy: PathBuf,
    /// Where `caddy` is.
    #[arg(long, default_value = "caddy")]
    caddy: PathBuf,
    /// Where to write the numbers as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Part {
    /// Each load against each peer.
    Peers,
    /// The gateway, one thing after the other.
    Steps,
    /// A token and an API key, at a node with its control API.
    Keys,
    /// What clients wait for.
    Waits,
}

fn main() -> ExitCode {
    load_tests::install_crypto();
    let arguments = Arguments::parse();
    match climb(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ladder: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn climb(arguments: &Arguments) -> anyhow::Result<()> {
    // Before there are threads, so that all of them stay there.
    let me = std::process::id().to_string();
    let pinned = std::process::Command::new("taskset").args(["-p", "-c", &arguments.cores[1], &me]).output()?;
    ensure!(pinned.status.success(), "taskset: {}", String::from_utf8_lossy(&pinned.stderr));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let tables = runtime.block_on(tables(arguments))?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&tables)? + "\n")?;
    }
    Ok(())
}

async fn tables(arguments: &Arguments) -> anyhow::Result<Vec<Value>> {
    let cores = &arguments.cores[1];
    let programs = Programs {
        gateway: arguments.gateway.clone().map_or_else(|| peers::own("gateway"), Ok)?,
        envoy: arguments.envoy.clone(),
        caddy: arguments.caddy.clone(),
        cores: arguments.cores[0].clone(),
    };
    let world = World::build(process::free_address()?).await?;
    let _upstream = peers::upstream(&world, cores)?;
    let plan = Plan { world: &world, cores, runs: arguments.runs, lasting: Duration::from_secs(arguments.seconds) };
    let does = |part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    let mut tables = Vec::new();
    if does(Part::Peers) || does(Part::Waits) {
        let kinds = if arguments.peers.is_empty() { Peer::ALL.to_vec() } else { arguments.peers.clone() };
        let mut peers = Vec::new();
        for kind in kinds {
            let started = programs.peer(kind, &world).await?;
            right::check(&world, kind, &started).await?;
            peers.push((kind, started));
        }
        if does(Part::Peers) {
            let loads = if arguments.loads.is_empty() { Load::ALL.to_vec() } else { arguments.loads.clone() };
            for load in loads {
                tables.push(of_peers(load, &peers, plan)?);
            }
        }
        if does(Part::Waits) {
            let peers: Vec<&Running> = peers.iter().map(|(_, running)| running).collect();
            tables.push(waits::measure(&peers, arguments.rate, plan).await?);
        }
    }
    if does(Part::Steps) {
        tables.push(of_steps(&programs, plan).await?);
    }
    if does(Part::Keys) {
        tables.push(of_keys(&programs, plan).await?);
    }
    Ok(tables)
}

/// One load against each peer.
fn of_peers(load: Load, peers: &[(Peer, Running)], plan: Plan<'_>) -> anyhow::Result<Value> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (_, running) in peers.iter().filter(|(kind, _)| load.suits(*kind)) {
        lines.push(Line {
            title: running.title,
            running,
            load: Box::new(move |running, lasting| load.run(plan.world, running, plan.cores, lasting)),
            beside: (!lines.is_empty()).then_some(0),
        });
    }
    table::measure(load.title(), &lines, plan)
}

/// The gateway, one thing after the other.
async fn of_steps(programs: &Programs, plan: Plan<'_>) -> anyhow::Result<Value> {
    let mut running = Vec::new();
    for rung in &RUNGS {
        running.push(programs.rung(rung, plan.world).await?);
    }
    let lines: Vec<Line<'_>> = RUNGS
        .iter()
        .zip(&running)
        .map(|(rung, running)| Line { beside: rung.above, ..good(rung.title, rung.tokens, running, plan) })
        .collect();
    table::measure(
        "the steps of the gateway, HTTP/1.1, ES256: each with what the one it is compared with does",
        &lines,
        plan,
    )
}

/// A token and an API key of one user's.
async fn of_keys(programs: &Programs, plan: Plan<'_>) -> anyhow::Result<Value> {
    let node = programs.node(plan.world).await?;
    let lines = [
        good("a token seen before", "node.token", &node, plan),
        Line { beside: Some(0), ..good("an API key seen before", "node.key", &node, plan) },
    ];
    table::measure("a token and an API key, HTTP/1.1, at a node with its control API", &lines, plan)
}

/// Good requests with credentials of a file.
fn good<'a>(title: &'a str, credentials: &'a str, running: &'a Running, plan: Plan<'a>) -> Line<'a> {
    let load =
        move |running: &Running, lasting| Requests::good(credentials).run(plan.world, running, plan.cores, lasting);
    Line { title, running, load: Box::new(load), beside: None }
}
