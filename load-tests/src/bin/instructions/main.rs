//! User instructions of one whole request through a running gateway: what `scripts/request-instructions.sh` runs.
//!
//! The gateway runs under valgrind's callgrind, with TLS in front, an upstream behind, a token that it has seen before, and one
//! connection on which requests are sent one after another. What is counted between the first and the last of them is divided
//! by their number. That is the same on any machine of one kind of processor, idle or busy, but for what runs beside the
//! requests now and then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measuring program: a step that fails ends it and says where"
)]

use std::{ffi::OsString, fs::File, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use load_tests::{
    Alpn, Connection, Edge,
    job::{FIELDS, Job, KEPT, RUNGS},
    process::{self, Counted},
    upstream,
    world::{HOST, World},
};

/// Requests before the counted ones: what they find first, such as a connection to the upstream, is there afterwards.
const WARMING: usize = 100;

/// Longest wait for a program that runs fifty times as slowly as alone.
const START: Duration = Duration::from_secs(300);

#[derive(clap::Parser)]
struct Arguments {
    /// The gateway; one that was built with the feature `countable`.
    #[arg(long)]
    gateway: PathBuf,
    /// Bare Pingora, to be counted beside it.
    #[arg(long)]
    floor: Option<PathBuf>,
    /// Requests that are counted.
    #[arg(long, default_value_t = 1000)]
    requests: usize,
    /// Connections, on which requests are sent in turn.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Tokens that are sent in turn, 1 to 1,000, each seen before.
    #[arg(long, default_value_t = 1)]
    tokens: usize,
    /// What callgrind is told beside that, such as `--cache-sim=yes --LL=2097152,16,64`.
    #[arg(long, allow_hyphen_values = true, default_value = "")]
    callgrind: String,
    /// Over HTTP/2.
    #[arg(long)]
    http2: bool,
    /// The gateway one thing after the other, instead of all of it: each step of the ladder. With `--floor`.
    #[arg(long, requires = "floor")]
    steps: bool,
    /// Where profiles are left, for callgrind_annotate; nowhere by default.
    #[arg(long)]
    profiles: Option<PathBuf>,
}

fn main() -> ExitCode {
    load_tests::install_crypto();
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(count(&arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn count(arguments: &Arguments) -> anyhow::Result<()> {
    let world = World::build(process::free_address()?).await?;
    let _fast = upstream::fast(world.fast).await?;
    if arguments.steps {
        return steps(arguments, &world).await;
    }
    if let Some(floor) = &arguments.floor {
        let address = process::free_address()?;
        let command = world.floor(floor, address, FIELDS);
        println!("floor {}", of_one(arguments, &world, "floor", &command, address, KEPT).await?);
    }
    let address = process::free_address()?;
    let command = world.gateway(&arguments.gateway, address, &Job::WHOLE)?;
    println!("gateway {}", of_one(arguments, &world, "gateway", &command, address, KEPT).await?);
    Ok(())
}

/// A table of the ladder's steps.
async fn steps(arguments: &Arguments, world: &World) -> anyhow::Result<()> {
    println!("| Step | instructions | more |");
    println!("|---|---|---|");
    let mut counts: Vec<u64> = Vec::new();
    for (number, rung) in RUNGS.iter().enumerate() {
        let address = process::free_address()?;
        let command = match (&rung.job, &arguments.floor) {
            (Some(job), _) => world.gateway(&arguments.gateway, address, job)?,
            (None, Some(floor)) => world.floor(floor, address, 0),
            (None, None) => anyhow::bail!("the lowest step is bare Pingora: --floor says where it is"),
        };
        let name = format!("step-{number}");
        let count = of_one(arguments, world, &name, &command, address, rung.tokens).await?;
        let more = rung.above.map(|above| format!("{:+}", count.cast_signed() - counts[above].cast_signed()));
        println!("| {} | {count} | {} |", rung.title, more.unwrap_or_default());
        counts.push(count);
    }
    Ok(())
}

/// Instructions of one request.
async fn of_one(
    arguments: &Arguments,
    world: &World,
    name: &str,
    command: &[OsString],
    address: SocketAddr,
    tokens: &str,
) -> anyhow::Result<u64> {
    let log = world.log(&format!("{name}.log"));
    let profiles = arguments.profiles.as_ref().map_or_else(|| world.log(name), |folder| folder.join(name));
    let counted = Counted::start(command, &arguments.callgrind, profiles, File::create(&log)?)
        .context("valgrind cannot be started")?;
    let counting = async {
        let edge = Edge::new(address, &world.ca().pem())?;
        let alpn = if arguments.http2 { Alpn::Http2 } else { Alpn::Http1 };
        let mut connections = vec![connected(&edge, alpn).await?];
        while connections.len() < arguments.connections {
            connections.push(edge.connect(HOST, alpn, [127, 0, 0, 1].into()).await?);
        }
        let text = std::fs::read_to_string(world.credentials(tokens)?)?;
        // Some again and again, or each once.
        let some = if tokens == KEPT { arguments.tokens } else { usize::MAX };
        let mut tokens = text.lines().take(some).cycle();
        ask(&mut connections, tokens.by_ref().take(WARMING.max(2 * arguments.connections.max(arguments.tokens))))
            .await?;
        counted.begin()?;
        ask(&mut connections, tokens.take(arguments.requests)).await?;
        anyhow::Ok(counted.count()? / u64::try_from(arguments.requests)?)
    };
    counting.await.with_context(|| format!("{name} said:\n{}", std::fs::read_to_string(&log).unwrap_or_default()))
}

/// A connection, once there is somebody to connect to.
async fn connected(edge: &Edge, alpn: Alpn) -> anyhow::Result<Connection> {
    let begun = std::time::Instant::now();
    loop {
        match edge.connect(HOST, alpn, [127, 0, 0, 1].into()).await {
            Ok(connection) => return Ok(connection),
            Err(error) if begun.elapsed() > START => return Err(error.context("it does not answer")),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Sends requests one after another, each with a token, on the connections in turn.
async fn ask(connections: &mut [Connection], tokens: impl Iterator<Item = &str>) -> anyhow::Result<()> {
    for (number, token) in tokens.enumerate() {
        let turn = number % connections.len();
        let connection = &mut connections[turn];
        let bearer = format!("Bearer {token}");
        let answer = connection.get("/orders", &[("authorization", &bearer)]).await?;
        ensure!(answer.status == 200, "a good token is answered {}", answer.status);
    }
    Ok(())
}
