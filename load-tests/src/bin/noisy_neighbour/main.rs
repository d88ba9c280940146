//! Does one tenant at a hundred times its share slow another down? What `scripts/noisy-neighbour.sh` runs.
//!
//! `noisy_neighbour` measures a quiet tenant's answers with and without each kind of attack by the tenant beside it, in
//! turn, and prints the ratio of the two p99s. Attacks run in a process of their own that gets only what processor time
//! is left over, so that what is measured is the node and not the generator. Without an attack means that the same attack
//! goes to another node, on the generator's cores, which gets such time only, too: cores that share caches, memory or a
//! physical core slow each other down, and that is not the tenant's doing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measuring program: a step that fails ends it and says where"
)]

mod attack;

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use load_tests::{
    Latencies, Node,
    node::Options,
    open::{Clients, Door},
    process, upstream,
    world::DEMO,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::attack::{Kind, Plan};

/// Requests a second that the noisy tenant is entitled to.
const SHARE: u32 = 20;

/// Requests of the noisy tenant that may be served at once.
const SHARE_AT_ONCE: u32 = 20;

/// Connections of the noisy tenant that may be open at once.
const SHARE_OF_CONNECTIONS: u32 = 100;

#[derive(clap::Parser)]
struct Arguments {
    #[command(subcommand)]
    attack: Option<Attack>,
    /// Rounds; in each the tenant is measured without and with the attack.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Requests a second of the quiet tenant.
    #[arg(long, default_value_t = 150)]
    rate: u32,
    /// How many times its share the noisy tenant asks for.
    #[arg(long, default_value_t = 100)]
    times: u32,
    /// Only these attacks; all by default.
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// Cores of the node and of the rest, as taskset(1) takes them; they should not overlap.
    #[arg(long, num_args = 2, value_names = ["NODE", "REST"])]
    cores: Option<Vec<String>>,
    /// Where to write the numbers as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum Attack {
    /// Attacks until its standard input ends; reads its plan from there.
    #[command(hide = true)]
    Attack,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    load_tests::install_crypto();
    let arguments = Arguments::parse();
    let done = if arguments.attack.is_some() { attack::run().await } else { measure(&arguments).await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("noisy_neighbour: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let cores = |at: usize| arguments.cores.as_ref().map(|cores| cores[at].clone());
    let (upstream, _serving) = upstream::start().await?;
    let options = Options { upstream: Some(upstream), cores: cores(0), ..Options::default() };
    let node = Node::start(&options).await?;
    let decoy = Node::start(&Options { cores: cores(1), idle: true, ..options }).await?;
    let quiet = node.login("acme", "member").await?;
    let (attacked, elsewhere) = (target(&node, arguments.times).await?, target(&decoy, arguments.times).await?);
    let victim = Clients::new(Door::Edge(node.edge()?), DEMO, "/demo/me", &quiet.access, 16).await?;

    let kinds: Vec<Kind> = if arguments.kinds.is_empty() { Kind::ALL.to_vec() } else { arguments.kinds.clone() };
    println!(
        "{} times its share of {SHARE} requests a second, {SHARE_AT_ONCE} at once; the quiet tenant asks {} times a second; \
         {} rounds of {} s\n",
        arguments.times, arguments.rate, arguments.rounds, arguments.seconds
    );
    println!(
        "| Attack | p99 without, µs | p99 with, µs | ratio | p50 without, µs | p50 with, µs | what the attack was answered |"
    );
    println!("|---|---|---|---|---|---|---|");
    let lasting = Duration::from_secs(arguments.seconds);
    drop(victim.load(arguments.rate, lasting).await?);
    let mut lines = Vec::new();
    for kind in kinds {
        let (mut without, mut with) = (Latencies::default(), Latencies::default());
        let mut answered = Value::Null;
        for _ in 0..arguments.rounds {
            let running = Running::start(&Plan { kind, ..elsewhere.clone() }, cores(1).as_deref())?;
            sleep(Duration::from_secs(2)).await;
            without.add(&victim.load(arguments.rate, lasting).await?);
            running.stop()?;
            sleep(Duration::from_secs(1)).await;
            let place = cores(usize::from(kind != Kind::BusyProgram));
            let running = Running::start(&Plan { kind, ..attacked.clone() }, place.as_deref())?;
            sleep(Duration::from_secs(2)).await;
            let before = process::processor_time(node.pid());
            with.add(&victim.load(arguments.rate, lasting).await?);
            let used = process::processor_time(node.pid()) - before;
            answered = running.stop()?;
            answered["node_processor_share"] = json!(used.as_secs_f64() / lasting.as_secs_f64());
            sleep(Duration::from_secs(1)).await;
        }
        let [before, after] = [&without, &with].map(|it| (it.quantile(0.99), it.quantile(0.5)));
        let ratio = f64::from(u32::try_from(after.0)?) / f64::from(u32::try_from(before.0)?);
        println!("| {kind} | {} | {} | {ratio:.2} | {} | {} | {answered} |", before.0, after.0, before.1, after.1);
        lines.push(json!({
            "attack": kind.to_string(), "ratio_p99": ratio, "p99_without_us": before.0, "p99_with_us": after.0,
            "p50_without_us": before.1, "p50_with_us": after.1, "answered": answered,
        }));
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&lines)? + "\n")?;
    }
    Ok(())
}

/// Gives the noisy tenant of a node its share, and says how it will ask for more.
async fn target(node: &Node, times: u32) -> anyhow::Result<Plan> {
    let noisy = node.login("globex", "member").await?;
    let share = json!({
        "rate_limit": { "rps": SHARE, "burst": SHARE },
        "admission": { "in_flight": SHARE_AT_ONCE, "websockets": SHARE_AT_ONCE, "connections": SHARE_OF_CONNECTIONS },
    });
    let path = format!("/v1/tenants/{}?wait=applied", node.tenant_id("globex"));
    node.admin(&node.staff().await?, Method::PATCH, &path, &share).await?;
    Ok(Plan {
        kind: Kind::Requests,
        edge: node.edge()?.address(),
        ca_pem: node.ca_pem(),
        host: node.tenant("globex")["hostname"].as_str().context("no hostname")?.to_owned(),
        token: noisy.access,
        per_second: SHARE * times,
        at_once: SHARE_AT_ONCE * times,
    })
}

/// The attack's own process.
struct Running(Child);

impl Running {
    fn start(plan: &Plan, cores: Option<&str>) -> anyhow::Result<Self> {
        // SCHED_IDLE: it gets what nobody else wants (sched(7)).
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]);
        if let Some(cores) = cores {
            command.args(["taskset", "-c", cores]);
        }
        let mut child = command
            .arg(std::env::current_exe()?)
            .arg("attack")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("chrt (util-linux)")?;
        let mut plan = serde_json::to_string(plan)?;
        plan.push('\n');
        std::io::Write::write_all(child.stdin.as_mut().context("no standard input")?, plan.as_bytes())?;
        Ok(Self(child))
    }

    /// Ends it; what it was answered.
    fn stop(mut self) -> anyhow::Result<Value> {
        drop(self.0.stdin.take());
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().context("no standard output")?).read_line(&mut line)?;
        ensure!(self.0.wait()?.success(), "the attack failed");
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
