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

mod load;
mod peers;
mod right;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser as _;
use load_tests::{
    process::{self, Instructions},
    world::World,
};
use serde_json::json;

use crate::{load::Load, peers::Peer};

#[derive(clap::Parser)]
struct Arguments {
    /// Runs of each load against each peer.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only these peers; all by default.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Only these loads; all by default.
    #[arg(long, value_delimiter = ',')]
    loads: Vec<Load>,
    /// Core of the proxies, and cores of everything else, as taskset(1) takes them.
    #[arg(long, num_args = 2, value_names = ["PROXY", "REST"], default_values = ["0", "1"])]
    cores: Vec<String>,
    /// Where `envoy` is.
    #[arg(long, default_value = "envoy")]
    envoy: PathBuf,
    /// Where to write the numbers as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// One run of one load against one peer.
#[derive(Clone, Copy, Debug, serde::Serialize)]
struct Run {
    cpu_us: f64,
    /// None where nothing counts them.
    instructions: Option<f64>,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
}

fn main() -> ExitCode {
    load_tests::install_crypto();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(climb(&arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ladder: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn climb(arguments: &Arguments) -> anyhow::Result<()> {
    let [proxy_cores, cores] = [&arguments.cores[0], &arguments.cores[1]];
    let peers = if arguments.peers.is_empty() { Peer::ALL.to_vec() } else { arguments.peers.clone() };
    let loads = if arguments.loads.is_empty() { Load::ALL.to_vec() } else { arguments.loads.clone() };
    let world = World::build(process::free_address()?).await?;
    world.write_tokens()?;
    let _upstream = peers::upstream(&world, cores)?;
    let mut running = Vec::new();
    for peer in peers {
        let started = peer.start(&world, proxy_cores, &arguments.envoy).await?;
        right::check(&world, &started).await?;
        running.push(started);
    }
    let lasting = Duration::from_secs(arguments.seconds);
    let mut all = BTreeMap::new();
    for load in loads {
        println!("\n### {}\n", load.title());
        println!(
            "| Peer | CPU, µs a request | × floor | user instructions | requests a second | p50, µs | p99, µs | memory, MiB |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        let mut runs: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
        for _ in 0..arguments.runs {
            for (number, peer) in running.iter().enumerate().filter(|(_, peer)| load.suits(peer.peer)) {
                runs.entry(number).or_default().push(run(load, &world, peer, cores, lasting)?);
            }
        }
        let floor = runs.get(&0).map(|runs| median(runs, |run| run.cpu_us));
        for (number, runs) in &runs {
            let peer = &running[*number];
            let cpu = median(runs, |run| run.cpu_us);
            let ratio = floor.map(|floor| format!("{:.2}", cpu / floor)).unwrap_or_default();
            let [rate, p50, p99] =
                [median(runs, |run| run.per_second), median(runs, |run| run.p50_us), median(runs, |run| run.p99_us)];
            let resident = peer.pids().map(process::resident_bytes).sum::<u64>() / 1024 / 1024;
            let counted = runs.iter().all(|run| run.instructions.is_some());
            let instructions = counted.then(|| median(runs, |run| run.instructions.unwrap_or_default()));
            let instructions = instructions.map(|count| format!("{count:.0}")).unwrap_or_default();
            println!(
                "| {} | {cpu:.1} | {ratio} | {instructions} | {rate:.0} | {p50:.0} | {p99:.0} | {resident} |",
                peer.peer.title()
            );
            all.entry(load.title()).or_insert_with(Vec::new).push(json!({
                "peer": peer.peer.title(), "cpu_us": cpu, "resident_mib": resident, "runs": runs,
            }));
        }
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&all)? + "\n")?;
    }
    Ok(())
}

fn run(load: Load, world: &World, peer: &peers::Running, cores: &str, lasting: Duration) -> anyhow::Result<Run> {
    // What is kept from the run before, connections and tokens alike, is warmed up first and not counted.
    load.run(world, peer, cores, Duration::from_secs(1))?;
    let time = || peer.pids().map(process::processor_time).sum::<Duration>();
    let counting = Instructions::of(peer.pids());
    let before = time();
    let result = load.run(world, peer, cores, lasting)?;
    let used = time() - before;
    let instructions = counting.and_then(Instructions::end).map(|count| count / result.requests);
    Ok(Run {
        cpu_us: used.as_secs_f64() * 1e6 / result.requests,
        instructions,
        per_second: result.requests / lasting.as_secs_f64(),
        p50_us: result.p50_us,
        p99_us: result.p99_us,
    })
}

fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
