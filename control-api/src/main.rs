//! The `control-api` command.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use authz::{
    Authorized,
    action::{ManageGateways, ManageSigningKeys},
};
use clap::{Parser, Subcommand};
use control_api::{
    App, Config, ControlApi,
    api::{gateways::GatewayView, signing_keys::SigningKeyView},
    app::{gateways, signing_keys},
    bootstrap,
    config::{ALIASES, Environment},
    database, emergency,
    internal::CLOCK_SKEW,
};
use domain::{
    Clock, FleetName,
    model::{EnrolmentState, KeyPurpose},
};
use link::{
    LinkError,
    clock::SystemClock,
    file::{Document, Mistakes, Overrides},
    log::{FactCarrier, LEASE, NoCarrier, RedisCarrier},
    redis, telemetry,
};
use store::{Store, StoreError, read::*};
use tokio::signal::unix::{SignalKind, signal};

/// glibc's keeps what password hashes and bursts of requests once took, an arena for each thread (ADR 0019).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    /// Keys that sign tokens and assertions.
    #[command(subcommand)]
    Keys(Keys),
    /// The key that secrets in the database are sealed with.
    #[command(subcommand)]
    MasterKey(MasterKey),
    /// The log of restrictions.
    #[command(subcommand)]
    Log(Log),
    /// The audit trail.
    #[command(subcommand)]
    Audit(Audit),
    /// Set a customer's emergency administrator up, or up anew: prints password and authenticator secret as JSON, once.
    /// Needs nothing but the database.
    BreakGlass {
        /// Code of the customer; `root` for the platform's own.
        #[arg(long)]
        customer: String,
    },
    /// Give one of the platform's staff a new password, and let them sign in again: prints it as JSON, once. Needs nothing
    /// but the database.
    ResetPassword {
        /// Their user name or email. Default `bootstrap.admin_username`.
        #[arg(long)]
        username: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Log {
    /// After a restored backup, before anything serves: let gateways forget what the database has forgotten.
    NewHistory,
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// After an upgrade that was cut off: say which heads wait to be sealed and are under no key (the first thousand), and by the
    /// digest of all vouch for them. Compare them with your logs, or a backup of before the upgrade, first.
    Unsealed {
        /// SHA-256 of the list, as this command prints it without: seals its heads.
        #[arg(long, value_name = "DIGEST")]
        vouch: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Keys {
    /// Make the successor of a project's active key; prints it as JSON. It signs after `signing.publish_ahead`.
    Rotate {
        /// Slug of the project.
        #[arg(long)]
        project: String,
        /// Follow the key of the fleet's assertions (project `root`), not that of the project's tokens.
        #[arg(long)]
        assertions: bool,
        /// Let it sign as soon as every live gateway knows it.
        #[arg(long)]
        now: bool,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum MasterKey {
    /// Seal everything with `database.master_key` that one of `database.older_master_keys` sealed. Stopped, it goes on
    /// where it was when it is run again.
    Reseal,
    /// Say how much is sealed with an older key.
    Status,
}

#[derive(Clone, Debug, Subcommand)]
enum Migrate {
    /// Bring the schema up to this release's.
    Up,
    /// Take all of it away, with what is in it: of a database on this machine, where the configuration says `environment: dev`.
    Down {
        /// The database's name, or its file's as the configuration has it: so that nobody means another one.
        #[arg(long, value_name = "NAME")]
        yes_drop: String,
    },
    /// Say whether this release can work on it.
    Status,
    /// Print its version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Gateways {
    /// Enrol a gateway: prints its join token, once. It is used once, within the hour.
    Enroll {
        /// Gateways of one fleet serve the same hostnames, and get the same certificates.
        #[arg(long, default_value_t = FleetName::default())]
        fleet: FleetName,
        /// The gateway's name, unique in its fleet.
        name: String,
    },
    /// List gateways as JSON: enrolments with their state, and what each gateway has applied.
    List,
    /// Revoke a gateway: it is answered nothing more, and its last lease runs out.
    Revoke {
        /// Its fleet; needed where several have a gateway of this name.
        #[arg(long)]
        fleet: Option<FleetName>,
        /// The gateway's name.
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
            Some(Command::Migrate(step)) => migrate(&config, &file, step).await,
            Some(Command::Log(Log::NewHistory)) => new_history(&config).await,
            Some(Command::Audit(Audit::Unsealed { vouch })) => {
                say(&emergency::unsealed_heads(&alone(config).await?, vouch.as_deref()).await?.to_string())
            }
            Some(Command::Bootstrap) => ensure(config).await,
            Some(Command::Keys(Keys::Rotate { project, assertions, now })) => {
                rotate(config, &project, if assertions { KeyPurpose::Assertions } else { KeyPurpose::Tokens }, now)
                    .await
            }
            Some(Command::MasterKey(step)) => master_key(&config, step).await,
            Some(Command::Gateways(command)) => manage_gateways(config, command).await,
            Some(Command::BreakGlass { customer }) => {
                say(&emergency::set_up(&alone(config).await?, &customer).await?.to_string())
            }
            Some(Command::ResetPassword { username }) => {
                say(&emergency::reset_password(&alone(config).await?, username.as_deref()).await?.to_string())
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
    let mut hangup = signal(SignalKind::hangup())?;
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
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => running.reload().await,
        }
    }
    tracing::info!("stopping");
    running.shutdown().await;
    Ok(())
}

/// What carries facts early: Redis where there is one. SQL proves, so one that does not answer yet is no reason to wait.
async fn carrier(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Arc<dyn FactCarrier>> {
    let Some(url) = &config.redis.revocation else { return Ok(Arc::new(NoCarrier)) };
    let redis = match redis::connect_late(url, redis::Role::Revocation).await {
        // A developer's Redis may evict: it carries nothing then, and facts are fetched.
        Err(error @ LinkError::Unfit { .. }) if config.environment == Environment::Dev => {
            tracing::warn!(error = %error, "doing without Redis");
            return Ok(Arc::new(NoCarrier));
        }
        connected => connected?,
    };
    let carrier = RedisCarrier::new(redis, Arc::clone(clock));
    match carrier.check_rights(true).await {
        Err(error) if error.is_unreachable() => {}
        checked => checked?,
    }
    Ok(Arc::new(match config.redis.foreign_prefix.as_str() {
        "" => carrier,
        prefix => carrier.adopting(prefix),
    }))
}

async fn migrate(config: &Config, file: &Path, step: Migrate) -> anyhow::Result<()> {
    let store = database::open(&config.database)?;
    match step {
        Migrate::Up => {
            store.migrate().await?;
            say(&format!("schema {}", store.schema_version().await?))
        }
        Migrate::Down { yes_drop } => {
            // `dev` is the default, too: nobody has said so then.
            let said = Document::open(file)?.value().get("environment").is_some_and(|it| it == "dev")
                || std::env::var("PORTCULLIS_ENVIRONMENT").is_ok_and(|it| it == "dev");
            if !said || config.environment != Environment::Dev {
                anyhow::bail!(
                    "all there is would be gone: this is for where the configuration says `environment: dev`"
                );
            }
            match database::on_this_machine(&config.database.url) {
                None => anyhow::bail!("the database is not on this machine"),
                Some(name) if name != yes_drop => anyhow::bail!("the database is called `{name}`, not `{yes_drop}`"),
                Some(_) => {}
            }
            store.migrate_down().await?;
            say("schema 0")
        }
        Migrate::Status => {
            store.check_schema().await?;
            say(&format!("schema {}: up to date", store.schema_version().await?))
        }
        Migrate::Version => say(&store.schema_version().await?.to_string()),
    }
}

/// Begins another history, and waits until every lease of the lost one has run out that a gateway may hold and this
/// database does not know of.
async fn new_history(config: &Config) -> anyhow::Result<()> {
    let store = open(config).await?;
    let lost = store.head().await?.history;
    let begun = store.begin_history(lost).await?;
    tokio::time::sleep(LEASE + CLOCK_SKEW).await;
    let history = store.head().await?.history;
    say(&serde_json::json!({ "begun": begun, "history": format!("{:016x}", history.0) }).to_string())
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

/// Works on the database; what runs hears of it with its next call.
async fn manage_gateways(config: Config, command: Gateways) -> anyhow::Result<()> {
    let store = open(&config).await?;
    let app = App::new(config, store, Arc::new(NoCarrier), Arc::new(SystemClock))?;
    let by = Authorized::<ManageGateways>::system("control-api gateways");
    let view = |gateway| GatewayView::new(gateway, app.now());
    match command {
        Gateways::Enroll { fleet, name } => {
            let (_, token) = gateways::enroll_gateway(&app, &by, fleet, &name).await?;
            say(token.expose())
        }
        Gateways::List => {
            let listed: Vec<_> = gateways::known(&app).await?.into_iter().filter_map(view).collect();
            say(&serde_json::to_string_pretty(&listed)?)
        }
        Gateways::Revoke { fleet, name } => {
            let known = gateways::known(&app).await?;
            let named = known.into_iter().filter_map(|gateway| gateway.enrolment).filter(|it| {
                let asked = it.name == name && fleet.as_ref().is_none_or(|fleet| it.fleet == *fleet);
                asked && it.state(app.now()) != EnrolmentState::Revoked
            });
            let named: Vec<_> = named.collect();
            let [gateway] = &named[..] else {
                let found = named.len();
                anyhow::bail!("{found} gateways are called `{name}`{}", if found > 1 { ": say `--fleet`" } else { "" });
            };
            gateways::revoke_gateway(&app, &by, gateway.id).await?;
            say(&format!("revoked {} of fleet {}", gateway.name, gateway.fleet))
        }
    }
}

/// The use cases over the database alone: what runs hears of it with its next tick.
async fn alone(config: Config) -> anyhow::Result<App> {
    let store = open(&config).await?;
    Ok(App::new(config, store, Arc::new(NoCarrier), Arc::new(SystemClock))?)
}

async fn rotate(config: Config, project: &str, purpose: KeyPurpose, at_once: bool) -> anyhow::Result<()> {
    let store = open(&config).await?;
    let app = App::new(config, store, Arc::new(NoCarrier), Arc::new(SystemClock))?;
    let found = app.store.project_by_slug(project).await?;
    let found = found.with_context(|| format!("there is no project `{project}`"))?;
    let by = Authorized::<ManageSigningKeys>::system("keys-rotate");
    let (key, _) = signing_keys::rotate_signing_key(&app, &by, found.id, purpose, at_once).await?;
    say(&serde_json::to_string(&SigningKeyView::from(key))?)
}

/// Values sealed anew in one transaction.
const RESEALED_AT_ONCE: u32 = 100;

async fn master_key(config: &Config, step: MasterKey) -> anyhow::Result<()> {
    let store = open(config).await?;
    let mut resealed = 0;
    if matches!(step, MasterKey::Reseal) {
        loop {
            match store.reseal(RESEALED_AT_ONCE).await? {
                0 => break,
                done => resealed += done,
            }
        }
    }
    let left = store.sealed_with_older_keys().await?;
    say(&serde_json::json!({ "resealed": resealed, "left": left }).to_string())
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("the answer cannot be written")
}
