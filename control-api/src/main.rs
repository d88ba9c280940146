//! The `control-api` command.

use std::{io::Write as _, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use control_api::{
    App, Config, ControlApi, bootstrap,
    config::{ALIASES, Environment},
    database, enroll,
};
use domain::Clock;
use link::{
    clock::SystemClock,
    file::{Mistakes, Overrides},
    log::{FactCarrier, NoCarrier, RedisCarrier},
    redis, telemetry,
};
use store::{Store, StoreError};
use tokio::signal::unix::{SignalKind, signal};

/// What a shell is told when a file, the command line or the database's schema does not fit this program.
const MISTAKES: u8 = 2;

/// The control plane of Portcullis: tenants, users, keys, routes; signing in; what gateways are told.
#[derive(Debug, Parser)]
#[command(name = "control-api", version, arg_required_else_help = true)]
struct Cli {
    /// The configuration file; alone: serve as it says.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Name every mistake in a configuration file, and serve nothing.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Look at or change the database's schema.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Ensure what every start ensures, and print the platform administrator's password when it is made now.
    Bootstrap,
    /// Gateways.
    #[command(subcommand)]
    Gateways(Gateways),
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Migrate {
    /// Bring the schema up to this release's.
    Up,
    /// Say whether this release can work on it.
    Status,
    /// Print its version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Gateways {
    /// Sign a client certificate for a new gateway; prints it with its key, once, as JSON.
    Enroll {
        /// Gateways of one fleet get the same certificates.
        #[arg(long)]
        fleet: String,
        /// How long the certificate is good for, in days.
        #[arg(long, default_value_t = 90)]
        days: u32,
        /// The gateway's name, unique in its fleet.
        name: String,
    },
}

fn main() -> ExitCode {
    let Err(error) = run(Cli::parse()) else { return ExitCode::SUCCESS };
    if let Some(mistakes) = error.downcast_ref::<Mistakes>() {
        eprintln!("{mistakes}");
        return ExitCode::from(MISTAKES);
    }
    eprintln!("control-api: {error:#}");
    let schema = error.chain().filter_map(|cause| cause.downcast_ref::<StoreError>());
    let newer = schema.into_iter().any(|error| matches!(error, StoreError::SchemaNewer { .. }));
    if newer { ExitCode::from(MISTAKES) } else { ExitCode::FAILURE }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    if let Some(Command::Check { file }) = &cli.command {
        Config::load(file, &Overrides::from_env(&ALIASES))?;
        return say(&format!("{}: ok", file.display()));
    }
    let file = cli.config.context("`--config FILE` is needed")?;
    let config = Config::load(&file, &Overrides::from_env(&ALIASES))?;
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        tracing::debug!("a cryptographic provider was installed before");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match cli.command {
            None => serve(config).await,
            Some(Command::Check { .. }) => Ok(()),
            Some(Command::Migrate(step)) => migrate(&config, step).await,
            Some(Command::Bootstrap) => ensure(config).await,
            Some(Command::Gateways(Gateways::Enroll { fleet, days, name })) => {
                enroll_gateway(&config, &fleet, &name, days)
            }
        }
    })
}

/// The database, of this release's schema.
async fn open(config: &Config) -> anyhow::Result<Store> {
    let store = database::open(&config.database)?;
    if config.database.migrate {
        store.migrate().await?;
    }
    store.check_schema().await?;
    Ok(store)
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let _telemetry = telemetry::init(&config.telemetry, "control-api")?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = open(&config).await?;
    let carrier = carrier(&config, &clock).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = ControlApi::start(config, store, carrier, clock).await?;
    if running.bootstrapped().platform_admin.is_some() {
        tracing::warn!(
            "a platform administrator was made whose password nobody knows: set one, or run `bootstrap` first"
        );
    }
    tracing::info!(
        public = %running.public(),
        admin = %running.admin(),
        internal = %running.internal(),
        metrics = ?running.metrics(),
        "serving"
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping");
    running.shutdown().await;
    Ok(())
}

/// What carries facts early: Redis where there is one.
async fn carrier(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn FactCarrier>> {
    let Some(url) = &config.redis.revocation else { return Ok(Arc::new(NoCarrier)) };
    let redis = redis::connect(url, redis::Role::Revocation).await?;
    match redis.check_fitness().await {
        // A developer's Redis may evict: facts are fetched then.
        Err(error) if config.environment == Environment::Dev => {
            tracing::warn!(error = %error, "Redis may lose revocations; they are fetched");
        }
        fit => fit?,
    }
    Ok(Arc::new(RedisCarrier::new(redis, Arc::clone(clock))))
}

async fn migrate(config: &Config, step: Migrate) -> anyhow::Result<()> {
    let store = database::open(&config.database)?;
    match step {
        Migrate::Up => {
            store.migrate().await?;
            say(&format!("schema {}", store.schema_version().await?))
        }
        Migrate::Status => {
            store.check_schema().await?;
            say(&format!("schema {}: up to date", store.schema_version().await?))
        }
        Migrate::Version => say(&store.schema_version().await?.to_string()),
    }
}

/// The bootstrap on its own. The upstream that leads here is ensured when the listener's address is known: by `serve`.
async fn ensure(config: Config) -> anyhow::Result<()> {
    let store = open(&config).await?;
    let app = App::new(config, store, Arc::new(NoCarrier), Arc::new(SystemClock))?;
    let made = bootstrap::ensure(&app, None).await?;
    let admin = made
        .platform_admin
        .as_ref()
        .map(|(username, password)| serde_json::json!({ "username": username, "password": password.expose() }));
    say(&serde_json::json!({ "platform_admin": admin }).to_string())
}

fn enroll_gateway(config: &Config, fleet: &str, name: &str, days: u32) -> anyhow::Result<()> {
    let tls =
        config.listeners.internal_tls.as_ref().context("`listeners.internal_tls` is needed to enroll gateways")?;
    let ca_key = tls.ca_key.as_ref().context("`listeners.internal_tls.ca_key` is needed to enroll gateways")?;
    let read =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()));
    let enrolled = enroll::enroll(fleet, name, days, (&read(&tls.ca)?, &read(ca_key)?), &SystemClock)?;
    say(&serde_json::to_string_pretty(&enrolled)?)
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("the answer cannot be written")
}
