//! A running `portcullis dev`, and clients that know where it is.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// A `portcullis dev` of its own, on free ports, in a folder of its own. Dropped, it is killed.
pub(crate) struct Node {
    child: Child,
    pub(crate) facts: Value,
    pub(crate) folder: tempfile::TempDir,
    client: Client,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), &[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    pub(crate) fn start_in(folder: tempfile::TempDir, arguments: &[&str]) -> Self {
        let mut start = command(folder.path());
        start.args(arguments);
        Self::started(start, folder)
    }

    /// By a command of [`command`], with what it was given beside.
    pub(crate) fn started(mut start: Command, folder: tempfile::TempDir) -> Self {
        let mut child =
            start.args(["--print-json", "--free-ports"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut complaint = String::new();
            child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
            panic!("portcullis did not get ready: {complaint}");
        }
        // Nobody reads its log; a full pipe would stop it.
        let mut log = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let facts: Value = serde_json::from_str(&line).unwrap();
        let client = client(&facts);
        Self { child, facts, folder, client }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        drop(self);
        folder
    }

    /// Ends it as Ctrl-C does, and waits.
    pub(crate) fn interrupt(mut self) -> (tempfile::TempDir, std::process::ExitStatus) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        (std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap()), status)
    }

    pub(crate) fn tenant(&self, slug: &str) -> &Value {
        self.facts["tenants"].as_array().unwrap().iter().find(|tenant| tenant["slug"] == slug).unwrap()
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.facts[name].as_str().unwrap().parse().unwrap()
    }

    /// A request through the edge.
    pub(crate) fn edge(&self, method: Method, host: &str, path: &str) -> RequestBuilder {
        let port = self.address("edge_https").port();
        self.client.request(method, format!("https://{host}:{port}{path}"))
    }

    pub(crate) fn get(&self, host: &str, path: &str) -> RequestBuilder {
        self.edge(Method::GET, host, path)
    }

    /// A request to the control API's admin listener.
    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address("control_api")))
    }

    /// Signs a demo user in through the edge.
    pub(crate) async fn login(&self, slug: &str, role: &str) -> Tokens {
        let tenant = self.tenant(slug);
        let user = tenant["users"].as_array().unwrap().iter().find(|user| user["role"] == role).unwrap();
        let body = json!({ "username": user["username"], "password": user["password"] });
        let host = tenant["hostname"].as_str().unwrap();
        let answer = self.edge(Method::POST, host, "/api/v1/tenant/auth/login").json(&body).send().await.unwrap();
        Tokens::of(answer).await
    }

    /// Signs the platform's administrator in on the admin listener.
    pub(crate) async fn staff(&self) -> Tokens {
        let answer = self.admin(Method::POST, "/api/v1/auth/login").json(&self.facts["platform_admin"]).send().await;
        Tokens::of(answer.unwrap()).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Tokens {
    async fn of(answer: Response) -> Self {
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body["token_type"], "Bearer");
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

/// Status and problem code of an answer.
pub(crate) async fn problem(request: RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

/// The echo's answer.
pub(crate) async fn echo(request: RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("dev").arg("--data-dir").arg(folder.join("data"));
    command
}

fn client(facts: &Value) -> Client {
    let ca = PathBuf::from(facts["ca"].as_str().unwrap());
    let certificate = reqwest::Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
    let edge: SocketAddr = facts["edge_https"].as_str().unwrap().parse().unwrap();
    let mut builder = Client::builder().tls_certs_only([certificate]).no_proxy();
    for tenant in facts["tenants"].as_array().unwrap() {
        builder = builder.resolve(tenant["hostname"].as_str().unwrap(), edge);
    }
    for host in ["new.localhost", "console.localhost", "cloud.localhost"] {
        builder = builder.resolve(host, edge);
    }
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
