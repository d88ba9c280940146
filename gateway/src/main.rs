//! The `gateway` command.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use domain::declarative::ReadAs;
use gateway::{Edge, EdgeError, EdgeParts, GatewayConfig, Inherited};
use link::{clock::SystemClock, file::Mistakes, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// glibc's keeps what password hashes and bursts of requests once took, an arena for each thread (ADR 0019).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a shell is told when a file or the command line has mistakes.
const MISTAKES: u8 = 2;

/// The data plane of Portcullis: terminates TLS, decides who may do what, forwards.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, arg_required_else_help = true, args_conflicts_with_subcommands = true)]
struct Cli {
    /// Serve as this file says.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take the place of the gateway that offers it at `handover.socket`. It goes on serving until this one does.
    #[arg(long, requires = "config")]
    take_over: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Name every mistake in a configuration file, and in the declarative file it names, and serve nothing.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (cli.command, cli.config) {
        (Some(Command::Check { file }), _) => check(&file),
        (None, Some(file)) => serve(&file, cli.take_over),
        (None, None) => Err(anyhow::anyhow!("`--config FILE` is needed")),
    };
    let Err(error) = done else { return ExitCode::SUCCESS };
    if let Some(mistakes) = mistakes(&error) {
        eprintln!("{mistakes}");
        return ExitCode::from(MISTAKES);
    }
    eprintln!("gateway: {error:#}");
    ExitCode::FAILURE
}

fn mistakes(error: &anyhow::Error) -> Option<&Mistakes> {
    if let Some(EdgeError::File(mistakes)) = error.downcast_ref() {
        return Some(mistakes);
    }
    error.downcast_ref()
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = GatewayConfig::load(file)?;
    if let Some(declarative) = &config.feed.file {
        link::declarative::load(declarative, ReadAs::EdgeFile)?;
    }
    writeln!(io::stdout(), "{}: ok", file.display()).context("the answer cannot be written")
}

fn serve(file: &Path, take_over: bool) -> anyhow::Result<()> {
    let config = GatewayConfig::load(file)?;
    gateway::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let _telemetry = telemetry::init(&config.telemetry, "gateway")?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let offered_at = config.handover.socket.clone();
        let mut parts = EdgeParts::from_config(config, Arc::new(SystemClock)).await?;
        if take_over {
            let socket = offered_at.context("`handover.socket` is needed to take over")?;
            parts.inherited = Some(Inherited::ask(&socket).await?);
        }
        let edge = Edge::start(parts).await?;
        tracing::info!(https = ?edge.https(), http = ?edge.http(), metrics = ?edge.metrics(), "serving");
        loop {
            tokio::select! {
                _ = terminate.recv() => {
                    tracing::info!("not ready any more");
                    tokio::select! {
                        () = edge.give_notice() => break,
                        _ = terminate.recv() => break,
                        _ = interrupt.recv() => break,
                    }
                }
                _ = interrupt.recv() => break,
                _ = hangup.recv() => edge.reload(),
                () = edge.taken_over() => {
                    tracing::info!("another process serves now; what is open here may end");
                    tokio::select! {
                        () = edge.retire() => break,
                        _ = terminate.recv() => break,
                        _ = interrupt.recv() => break,
                    }
                }
            }
        }
        tracing::info!("stopping");
        edge.shutdown().await;
        Ok(())
    })
}
