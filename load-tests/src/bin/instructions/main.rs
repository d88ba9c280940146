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
    /// Over HTTP/2.
    #[arg(long)]
    http2: bool,
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
    if let Some(floor) = &arguments.floor {
        let address = process::free_address()?;
        println!("floor {}", of_one(arguments, &world, "floor", &world.floor(floor, address), address).await?);
    }
    let address = process::free_address()?;
    let command = world.gateway(&arguments.gateway, address)?;
    println!("gateway {}", of_one(arguments, &world, "gateway", &command, address).await?);
    Ok(())
}

/// Instructions of one request.
async fn of_one(
    arguments: &Arguments,
    world: &World,
    name: &str,
    command: &[OsString],
    address: SocketAddr,
) -> anyhow::Result<u64> {
    let log = world.log(&format!("{name}.log"));
    let profiles = arguments.profiles.as_ref().map_or_else(|| world.log(name), |folder| folder.join(name));
    let counted = Counted::start(command, profiles, File::create(&log)?).context("valgrind cannot be started")?;
    let counting = async {
        let edge = Edge::new(address, &world.ca_pem)?;
        let alpn = if arguments.http2 { Alpn::Http2 } else { Alpn::Http1 };
        let mut connection = connected(&edge, alpn).await?;
        let bearer = format!("Bearer {}", world.es256.token(7, |_| ())?);
        ask(&mut connection, &bearer, WARMING).await?;
        counted.begin()?;
        ask(&mut connection, &bearer, arguments.requests).await?;
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

/// Sends requests one after another.
async fn ask(connection: &mut Connection, bearer: &str, requests: usize) -> anyhow::Result<()> {
    for _ in 0..requests {
        let answer = connection.get("/orders", &[("authorization", bearer)]).await?;
        ensure!(answer.status == 200, "a good token is answered {}", answer.status);
    }
    Ok(())
}
