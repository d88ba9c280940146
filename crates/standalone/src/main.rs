//! The `portcullis` command: a whole node in one process, and what an operator types.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use control_api::config::{RatesConfig, ServiceKey, ServiceMethod};
use gateway::config::ListenAddress as EdgeAddress;
use link::{
    clock::SystemClock,
    file::SecretRef,
    telemetry::{self, LogFormat, TelemetryConfig},
};
use standalone::{
    admin::{self, ContextCommand, Failure},
    announce,
    config::NodeConfig,
    demo::{CLOUD, CONSOLE, Demo},
    echo,
    node::{Node, NodeError, OfflineNode},
    resources::{self, check},
    seed::{self, Front},
};
use tokio::signal::unix::{SignalKind, signal};

/// glibc's keeps what password hashes and bursts of requests once took, an arena for each thread (ADR 0019).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An edge gateway for multi-tenant services, with its control plane, in one process.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a node with demo tenants, an echo upstream and certificates of a development authority. Variables such as
    /// `PORTCULLIS_GATEWAY__LIMITS__ADDRESS__RPS` set what has no flag.
    Dev(Dev),
    /// Runs a node from a configuration file, without demo data.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Reads a configuration file and says what is wrong with it.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Loads a declarative file or folder into a running control API. Doing it twice changes nothing.
    Apply(standalone::apply::Apply),
    /// Lists or rotates the keys that a running control API signs with.
    #[command(subcommand)]
    Keys(standalone::keys::Keys),
    /// Checks an export of the audit trail.
    #[command(subcommand)]
    Audit(standalone::audit::Audit),
    /// Checks the certificates of hostnames.
    #[command(subcommand)]
    Certs(check::Certs),
    /// Checks routes.
    #[command(subcommand)]
    Routes(check::Routes),
    /// Takes users over from another system.
    #[command(subcommand)]
    Users(standalone::import::Users),
    /// Keeps places that you come back to, so that flags need not name them.
    #[command(subcommand)]
    Context(ContextCommand),
    /// Signs in, and keeps the session in a context until `logout`.
    Login(admin::Login),
    /// Ends the session that a context keeps.
    Logout(admin::Logout),
    /// Prints a script by which a shell completes this command.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Sets a customer's emergency administrator up, or up anew: prints password and authenticator secret as JSON, once.
    /// The node must be stopped.
    BreakGlass {
        /// Code of the customer; `root` for the platform's own.
        #[arg(long)]
        customer: String,
        #[command(flatten)]
        offline: Offline,
    },
    /// Gives one of the platform's staff a new password, and lets them sign in again: prints it as JSON, once. The node
    /// must be stopped.
    ResetPassword {
        /// Their user name or email.
        #[arg(long, default_value = "platform-admin")]
        username: String,
        #[command(flatten)]
        offline: Offline,
    },
    /// Says why the edge decided a request as it did, stage by stage.
    Explain(standalone::explain::Explain),
    /// Asks a running control API about tokens and rights, as services do: JSON in and out.
    Rpc(standalone::rpc::Rpc),
}

/// Which node, while it is stopped.
#[derive(Args)]
struct Offline {
    /// Its configuration file.
    #[arg(long, conflicts_with = "data_dir")]
    config: Option<PathBuf>,
    /// Its data folder.
    #[arg(long, default_value = ".portcullis")]
    data_dir: PathBuf,
}

impl Offline {
    /// Its use cases, and what keeps it from being started meanwhile.
    async fn open(&self) -> anyhow::Result<OfflineNode> {
        let config = match &self.config {
            Some(file) => NodeConfig::load(file)?,
            None => NodeConfig { data_dir: self.data_dir.clone(), ..NodeConfig::default() },
        };
        Ok(OfflineNode::open(config, Arc::new(SystemClock)).await?)
    }
}

async fn break_glass(customer: &str, offline: &Offline) -> anyhow::Result<String> {
    let node = offline.open().await?;
    Ok(control_api::emergency::set_up(node.app(), customer).await?.to_string())
}

async fn reset_password(username: &str, offline: &Offline) -> anyhow::Result<String> {
    let node = offline.open().await?;
    Ok(control_api::emergency::reset_password(node.app(), Some(username)).await?.to_string())
}

#[derive(Args)]
struct Dev {
    /// Folder for everything that is kept. Deleting it starts afresh.
    #[arg(long, default_value = ".portcullis")]
    data_dir: PathBuf,
    /// Puts the demo tenants in front of this service, on every path but the identity routes, authenticated.
    #[arg(long, value_name = "IP:PORT", conflicts_with = "demo_upstream")]
    upstream: Option<SocketAddr>,
    /// Sends the demo routes there instead of to the built-in echo.
    #[arg(long, value_name = "IP:PORT")]
    demo_upstream: Option<SocketAddr>,
    /// Prints one JSON line when ready, and nothing else on stdout.
    #[arg(long)]
    print_json: bool,
    /// Picks a free port for everything.
    #[arg(long)]
    free_ports: bool,
    /// Port of the edge, TLS.
    #[arg(long, default_value_t = 8443)]
    https_port: u16,
    /// Port of the edge, plain HTTP.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Port of the control API's admin listener.
    #[arg(long, default_value_t = 9080)]
    admin_port: u16,
    /// Port of the control API's internal listener.
    #[arg(long, default_value_t = 9090)]
    internal_port: u16,
    /// Port of /metrics, /healthz and /readyz.
    #[arg(long, default_value_t = 9100)]
    metrics_port: u16,
    /// Port of the echo upstream.
    #[arg(long, default_value_t = 9200)]
    echo_port: u16,
    /// What is logged on stderr, such as `info,gateway=debug`.
    #[arg(long, default_value = "warn")]
    log: String,
}

fn main() -> ExitCode {
    let typed = resources::graft(Cli::command()).get_matches();
    gateway::install_crypto();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let done = match resources::asked(&typed) {
        Some(asked) => runtime.block_on(asked.run(&SystemClock)).map(|()| ExitCode::SUCCESS),
        None => match Cli::from_arg_matches(&typed) {
            Ok(cli) => runtime.block_on(run(cli.command)),
            Err(error) => error.exit(),
        },
    };
    done.unwrap_or_else(|error| fail(&error))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let clock = &SystemClock;
    let report = match command {
        Command::Dev(dev) => return run_dev(dev).await.map(|()| ExitCode::SUCCESS),
        Command::Serve { config } => return run_serve(config).await.map(|()| ExitCode::SUCCESS),
        Command::Check { file } => {
            NodeConfig::load(&file)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Certs(certs) => return Ok(judged(check::certs(certs, clock).await?)),
        Command::Routes(routes) => return Ok(judged(check::routes(routes, clock).await?)),
        Command::Users(users) => {
            let (report, well) = standalone::import::run(users, clock).await?;
            say(&report);
            return Ok(judged(well));
        }
        Command::Completions { shell } => {
            let mut command = resources::graft(Cli::command());
            clap_complete::generate(shell, &mut command, "portcullis", &mut std::io::stdout());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Keys(keys) => standalone::keys::run(keys, clock).await?,
        Command::Apply(apply) => standalone::apply::run(apply, clock).await?,
        Command::Audit(audit) => standalone::audit::run(audit)?,
        Command::Context(context) => context.run()?,
        Command::Login(it) => admin::login(it, clock).await?,
        Command::Logout(it) => admin::logout(it, clock).await?,
        Command::BreakGlass { customer, offline } => break_glass(&customer, &offline).await?,
        Command::ResetPassword { username, offline } => reset_password(&username, &offline).await?,
        Command::Explain(explain) => standalone::explain::run(explain, clock).await?,
        Command::Rpc(rpc) => standalone::rpc::run(rpc).await?,
    };
    say(&report);
    Ok(ExitCode::SUCCESS)
}

/// The exit code of a check.
fn judged(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What failed and why; mistakes in a file each on their own. The exit code says which kind of failure it was
/// (`docs/cli.md`); bad input is 2.
fn fail(error: &anyhow::Error) -> ExitCode {
    let input = error.downcast_ref::<link::file::Mistakes>().is_some()
        || error.downcast_ref::<NodeError>().is_some_and(NodeError::is_input);
    let failure = error.downcast_ref::<Failure>().map(Failure::exit_code);
    complain(&format!("{error:#}"));
    ExitCode::from(failure.unwrap_or(if input { 2 } else { 1 }))
}

#[expect(clippy::print_stderr, reason = "what an operator reads")]
fn complain(text: &str) {
    eprintln!("portcullis: {text}");
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn say(text: &str) {
    println!("{text}");
}

async fn run_serve(path: PathBuf) -> anyhow::Result<()> {
    let config = NodeConfig::load(&path)?;
    let _guard = telemetry::init(&config.gateway.telemetry, "portcullis")?;
    let node = Node::start(config, Arc::new(SystemClock)).await?;
    tracing::info!(edge.https = %node.endpoint(), "ready");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => tokio::select! {
                () = node.give_notice() => break,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            },
            _ = interrupt.recv() => break,
            _ = hangup.recv() => node.reload().await,
        }
    }
    node.shutdown().await;
    Ok(())
}

async fn run_dev(dev: Dev) -> anyhow::Result<()> {
    let telemetry = TelemetryConfig { format: LogFormat::Text, filter: dev.log.clone(), otlp_endpoint: None };
    let _guard = telemetry::init(&telemetry, "portcullis")?;
    standalone::node::make_folder(&dev.data_dir)?;
    let demo = Demo::open(&dev.data_dir)?;
    let node = Node::start(dev.config(&demo)?, Arc::new(SystemClock)).await?;
    let mut echo_task = None;
    let front = match (dev.upstream, dev.demo_upstream) {
        (Some(own), _) => Front::Own(own),
        (None, Some(other)) => Front::Demo(other),
        (None, None) => {
            let port = if dev.free_ports { 0 } else { dev.echo_port };
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let (address, task) = echo::start(address).await.map_err(|error| {
                anyhow::anyhow!(
                    "port {port} of the echo upstream cannot be had ({error}); choose another with --echo-port"
                )
            })?;
            echo_task = Some(task);
            Front::Demo(address)
        }
    };
    seed::demo(&node, &demo, &front).await?;
    let endpoints = node.endpoints(front.address());
    let (_, service_key) = Demo::service_key(&dev.data_dir)?;
    if dev.print_json {
        say(&announce::json(&endpoints, &demo, &service_key)?);
    } else {
        say(&announce::text(&endpoints, &demo, front.example_path()));
    }
    stopped().await?;
    node.shutdown().await;
    if let Some(task) = echo_task {
        task.abort();
    }
    Ok(())
}

/// SIGINT or SIGTERM.
async fn stopped() -> std::io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

impl Dev {
    fn config(&self, demo: &Demo) -> anyhow::Result<NodeConfig> {
        let port = |port: u16| if self.free_ports { 0 } else { port };
        let loopback = |port: u16| control_api::config::ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut config = NodeConfig { data_dir: self.data_dir.clone(), ..NodeConfig::from_env()? };
        config.gateway.listen.https = EdgeAddress::localhost(port(self.https_port));
        config.gateway.listen.http = Some(EdgeAddress::localhost(port(self.http_port)));
        config.gateway.listen.metrics = EdgeAddress::localhost(port(self.metrics_port));
        config.gateway.environment = gateway::config::Environment::Dev;
        // Nobody is watched on a developer's machine, and every request can be asked about.
        config.gateway.explain.permits = 1.0;
        config.control_api.listeners.admin = loopback(port(self.admin_port));
        config.control_api.listeners.internal = loopback(port(self.internal_port));
        config.control_api.environment = control_api::config::Environment::Dev;
        config.control_api.internal.service_keys = vec![ServiceKey {
            name: "standalone".into(),
            key: SecretRef::File(Demo::service_key(&self.data_dir)?.0),
            methods: ServiceMethod::ALL.to_vec(),
            tenants: Vec::new(),
        }];
        let rates = &mut config.control_api.identity.rates;
        // All clients of a developer's machine are one address. Who tries the limit out sets another than the default.
        if rates.login == RatesConfig::default().login {
            rates.login = 0;
        }
        let bootstrap = &mut config.control_api.bootstrap;
        bootstrap.console_hostname = Some(CONSOLE.parse()?);
        bootstrap.cloud_hostname = Some(CLOUD.parse()?);
        if !self.free_ports && self.https_port != 443 {
            bootstrap.root_issuer = Some(format!("https://{CONSOLE}:{}", self.https_port));
            bootstrap.cloud_issuer = Some(format!("https://{CLOUD}:{}", self.https_port));
        }
        bootstrap.admin_username.clone_from(&demo.platform_admin.username);
        bootstrap.admin_password = Some(SecretRef::File(demo.admin_password_file(&self.data_dir)?));
        Ok(config)
    }
}
