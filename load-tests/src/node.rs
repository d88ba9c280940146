//! A node to load: `portcullis dev` of the same build, on free ports, in a folder of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::Edge;

/// How it is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where the demo's routes lead.
    pub upstream: Option<SocketAddr>,
    /// Cores it may use, as taskset(1) takes them.
    pub cores: Option<String>,
    /// Whether it gets only the processor time that nobody else wants (`SCHED_IDLE`, sched(7)).
    pub idle: bool,
    /// Authorities that its certificates may be of beside its own, in PEM.
    pub also_trusted: String,
    /// Settings that are other than the defaults, by variable.
    pub settings: Vec<(String, String)>,
}

/// A running node. Dropped, it is killed.
pub struct Node {
    child: Child,
    folder: tempfile::TempDir,
    facts: Value,
    client: Client,
    also_trusted: String,
}

/// A sign-in.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

impl Node {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// The binary is not built, or does not get ready; its log says why.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (child, facts) = run(options, folder.path()).await?;
        let client = Client::builder().no_proxy().build()?;
        Ok(Self { child, folder, facts, client, also_trusted: options.also_trusted.clone() })
    }

    /// Ends it at once, as a power cut would, and starts it again on what it left behind.
    ///
    /// # Errors
    /// It does not get ready again.
    pub async fn restart(&mut self, options: &Options) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        (self.child, self.facts) = run(options, self.folder.path()).await?;
        Ok(())
    }

    /// Where its files are; what is put beside them goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An address of its JSON line, such as `control_api`.
    pub fn at(&self, name: &str) -> SocketAddr {
        self.address(name)
    }

    /// The password of the platform's administrator.
    pub fn staff_password(&self) -> &str {
        self.facts["platform_admin"]["password"].as_str().unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.facts[name].as_str().unwrap().parse().unwrap()
    }

    /// The authorities its certificates are of, in PEM.
    pub fn ca_pem(&self) -> String {
        let own = fs::read_to_string(PathBuf::from(self.facts["ca"].as_str().unwrap())).unwrap();
        format!("{own}{}", self.also_trusted)
    }

    /// Its edge.
    ///
    /// # Errors
    /// Its authority's certificate cannot be read.
    pub fn edge(&self) -> anyhow::Result<Edge> {
        Edge::new(self.address("edge_https"), &self.ca_pem())
    }

    /// What its JSON line says of a demo tenant.
    pub fn tenant(&self, slug: &str) -> &Value {
        self.facts["tenants"].as_array().unwrap().iter().find(|tenant| tenant["slug"] == slug).unwrap()
    }

    /// A demo tenant's id.
    pub fn tenant_id(&self, slug: &str) -> &str {
        self.tenant(slug)["id"].as_str().unwrap()
    }

    /// A call to the control API's `admin` listener.
    ///
    /// # Errors
    /// It is not answered with success.
    pub async fn admin(&self, token: &str, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("http://{}{path}", self.address("control_api"));
        let mut request = self.client.request(method, url);
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let answer = if body.is_null() { request } else { request.json(body) }.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(if status == StatusCode::NO_CONTENT { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// The item of a list that has a value in a member.
    ///
    /// # Errors
    /// The list has none.
    pub async fn find(&self, token: &str, path: &str, member: &str, value: &str) -> anyhow::Result<Value> {
        let list = self.admin(token, Method::GET, path, &Value::Null).await?;
        let found = list["items"].as_array().into_iter().flatten().find(|item| item[member] == value);
        found.cloned().with_context(|| format!("{path}: none with {member} {value}"))
    }

    /// Signs the platform's administrator in.
    ///
    /// # Errors
    /// It is refused.
    pub async fn staff(&self) -> anyhow::Result<String> {
        let login = self.facts["platform_admin"].clone();
        let tokens = self.admin("", Method::POST, "/api/v1/auth/login", &login).await?;
        Ok(tokens["access_token"].as_str().context("no access token")?.to_owned())
    }

    /// Signs a demo user in through the edge.
    ///
    /// # Errors
    /// It is refused.
    pub async fn login(&self, slug: &str, role: &str) -> anyhow::Result<Tokens> {
        let tenant = self.tenant(slug);
        let users = tenant["users"].as_array().context("no users")?;
        let user = users.iter().find(|user| user["role"] == role).context("no such user")?;
        let body = json!({ "username": user["username"], "password": user["password"] }).to_string();
        let host = tenant["hostname"].as_str().context("no hostname")?;
        let mut connection = self.edge()?.connect(host, crate::Alpn::Http1, [127, 0, 0, 1].into()).await?;
        let json = [("content-type", "application/json")];
        let path = "/api/v1/tenant/auth/login";
        let answer = connection.call(http::Method::POST, path, &json, body.into()).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        ensure!(answer.status == StatusCode::OK, "login of {role} at {slug}: {} {text}", answer.status);
        let tokens: Value = serde_json::from_str(&text)?;
        let member = |name: &str| Ok::<_, anyhow::Error>(tokens[name].as_str().context("no token")?.to_owned());
        Ok(Tokens { access: member("access_token")?, refresh: member("refresh_token")? })
    }
}

/// Starts the binary, and gives what its JSON line says once it is ready.
async fn run(options: &Options, folder: &Path) -> anyhow::Result<(Child, Value)> {
    let program = portcullis()?;
    let mut command = Command::new("env");
    if options.idle {
        command.args(["chrt", "--idle", "0"]);
    }
    if let Some(cores) = &options.cores {
        command.args(["taskset", "-c", cores]);
    }
    command.arg(&program).args(["dev", "--print-json", "--free-ports", "--data-dir"]).arg(folder.join("data"));
    if let Some(upstream) = options.upstream {
        command.args(["--demo-upstream", &upstream.to_string()]);
    }
    command.envs(options.settings.iter().map(|(name, value)| (name, value)));
    let log = folder.join("log");
    let mut child = command.stdout(Stdio::piped()).stderr(fs::File::create(&log)?).spawn()?;
    let stdout = child.stdout.take().context("no standard output")?;
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| line)
    });
    let line = line.await??;
    if line.is_empty() {
        drop(child.kill());
        bail!("the node did not get ready:\n{}", fs::read_to_string(&log)?);
    }
    Ok((child, serde_json::from_str(&line)?))
}

/// The command of the same build as this program.
///
/// # Errors
/// It is not built.
pub fn portcullis() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("portcullis");
    ensure!(program.exists(), "{} is not built: build `standalone` with the same profile", program.display());
    Ok(program)
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
