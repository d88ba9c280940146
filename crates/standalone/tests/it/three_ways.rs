//! The same edge calls against the three ways to run the same code: one process, two binaries with PostgreSQL and
//! Redis, and the gateway alone from a file.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use domain::{Timestamp, snapshot::Algorithm};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::{Canary, TestCa, TestIssuer, eventually};

use crate::node::problem;

const HOST: &str = "acme.example.test";
/// The issuers of the declarative file, where it is all there is.
pub(crate) const ISSUERS: &str = r#"
issuers:
  - issuer: "https://id.example.test"
    jwks: { file: jwks.json }
    audiences: [orders]
    algorithms: [ES256]
    tenant_claim: tid
    roles_claim: roles
    project: acme
"#;

const PASSWORD: &str = "P7-correct-horse-battery";

/// A process of ours. Dropped, it is killed, and what it logged is shown.
pub(crate) struct Process(Child, &'static str, PathBuf);

impl Process {
    pub(crate) fn start(name: &'static str, folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = folder.join(format!("{name}-{}.log", free_port().port()));
        let child = Command::new(binary(name))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self(child, name, log)
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn terminate(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
        if std::thread::panicking() {
            let mut log = String::new();
            drop(fs::File::open(&self.2).and_then(|mut file| file.read_to_string(&mut log)));
            eprintln!("--- {}\n{log}", self.1);
        }
    }
}

/// A binary of the workspace, beside the one that cargo names.
fn binary(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_portcullis")).with_file_name(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace` first", path.display());
    path
}

/// Runs a command to its end and gives what it printed.
fn output(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = Command::new(binary(name)).args(arguments).envs(environment.iter().copied()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What is the same in all three ways.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) canary: Canary,
    issuer: TestIssuer,
    edge_ca: TestCa,
    https: SocketAddr,
    metrics: SocketAddr,
}

impl World {
    pub(crate) async fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            canary: Canary::start().await,
            issuer: TestIssuer::new("https://id.example.test", Algorithm::Es256).with_audience("orders"),
            edge_ca: TestCa::new(),
            https: free_port(),
            metrics: free_port(),
        };
        let leaf = world.edge_ca.leaf(&[HOST]);
        world.write("edge/acme.crt", &leaf.chain_pem);
        world.write("edge/acme.key", &leaf.key_pem);
        world.write("edge/jwks.json", &world.issuer.jwks().to_string());
        world
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The declarative file; `issuers` only where the file is all there is.
    pub(crate) fn edge_file(&self, issuers: &str) -> String {
        let upstream = self.canary.addr();
        let text = format!(
            r#"
projects: [{{ slug: acme }}]
tenants:
  - {{ slug: acme, id: 00000000-0000-0000-0000-000000000001, project: acme, status: active }}
  - {{ slug: other, id: 00000000-0000-0000-0000-000000000002, project: acme, status: active }}
hostnames:
  - {{ hostname: {HOST}, tenant: acme, certificate: {{ chain: acme.crt, key: acme.key }}, services: [orders] }}
{issuers}
roles:
  - {{ name: clerk, tenant: acme, permissions: ["orders:order:list"] }}
upstreams:
  - {{ name: orders, peers: ["{upstream}"], plaintext: true, assertion: off }}
services:
  - name: orders
    upstream: orders
    routes:
      - {{ path: /public/**, access: public }}
      - {{ path: /orders, methods: [GET], permission: "orders:order:list" }}
      - {{ path: /echo/**, access: authenticated }}
      - {{ path: /strict, access: authenticated, on_unproven: refuse }}
"#
        );
        self.write("edge/edge.yaml", &text)
    }

    pub(crate) fn listen(&self) -> String {
        format!("listen: {{ https: \"{}\", http: null, metrics: \"{}\" }}", self.https, self.metrics)
    }

    fn client(&self) -> Client {
        let ca = reqwest::Certificate::from_pem(self.edge_ca.ca_pem().as_bytes()).unwrap();
        Client::builder().tls_certs_only([ca]).resolve(HOST, self.https).no_proxy().build().unwrap()
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client().request(method, format!("https://{HOST}:{}{path}", self.https.port()))
    }

    fn token(&self, tenant: &str, roles: &[&str]) -> String {
        let now = Timestamp::from_secs(i64::try_from(unix_now()).unwrap());
        self.issuer.mint_as("JWT", self.issuer.external_claims(now).set("tid", tenant).set("roles", roles))
    }

    pub(crate) async fn ready(&self) {
        eventually("the edge serves", async || {
            self.call(Method::GET, "/public/x").send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }

    /// The calls that are the same whichever way the code runs.
    async fn the_same_calls(&self) {
        let clerk = self.token("acme", &["clerk"]);
        let orders = || self.call(Method::GET, "/orders");
        assert_eq!(problem(orders()).await, (401, "credential_missing".into()));
        assert_eq!(problem(orders().bearer_auth(self.token("acme", &[]))).await, (403, "permission_denied".into()));
        let others = self.token("00000000-0000-0000-0000-000000000002", &["clerk"]);
        assert_eq!(problem(orders().bearer_auth(others)).await, (403, "tenant_mismatch".into()));
        assert_eq!(
            problem(self.call(Method::GET, "/nowhere").bearer_auth(&clerk)).await,
            (404, "route_not_found".into())
        );
        let stranger = TestIssuer::new("https://evil.example", Algorithm::Es256);
        let forged = stranger.mint_as("JWT", stranger.external_claims(Timestamp::from_secs(4_000_000_000)));
        assert_eq!(problem(orders().bearer_auth(forged)).await, (401, "issuer_unknown".into()));

        let before = self.canary.requests().len();
        let answer = orders().bearer_auth(&clerk).header("x-md-global-roles", "forged").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let requests = self.canary.requests();
        assert_eq!(requests.len(), before + 1, "only what was permitted reached the upstream");
        let arrived = requests.last().unwrap();
        assert_eq!(arrived.header("x-md-global-roles"), ["clerk"]);
        assert_eq!(arrived.header("x-md-global-tenant-slug"), ["acme"]);
        assert!(arrived.header("authorization").is_empty());
        let echo = self.call(Method::POST, "/echo/x").bearer_auth(&clerk).body("hello").send().await.unwrap();
        assert_eq!(echo.status(), StatusCode::OK);
    }
}

fn unix_now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the processes read the real clock")]
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn the_gateway_alone() {
    let world = World::new().await;
    world.edge_file(ISSUERS);
    let config = world.write("gateway.yaml", &format!("{}\nfeed: {{ file: edge/edge.yaml }}\n", world.listen()));
    let _gateway = Process::start("gateway", world.folder.path(), &["--config", &config], &[]);
    world.ready().await;
    world.the_same_calls().await;
}

/// A control API on its admin listener, with the platform administrator signed in.
struct Admin {
    address: SocketAddr,
    token: String,
    client: Client,
}

impl Admin {
    async fn sign_in(address: SocketAddr) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        let login = json!({ "username": "platform-admin", "password": PASSWORD });
        let mut token = String::new();
        eventually("the control API signs staff in", async || {
            let sent = client.post(format!("http://{address}/api/v1/auth/login")).json(&login).send().await;
            let Ok(answer) = sent else { return false };
            let body: Value = answer.json().await.unwrap_or_default();
            token = body["access_token"].as_str().unwrap_or_default().to_owned();
            !token.is_empty()
        })
        .await;
        Self { address, token, client }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> Value {
        let request = self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(&self.token);
        let answer = if body.is_null() { request } else { request.json(body) }.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    async fn find(&self, path: &str, member: &str, value: &str) -> Value {
        let list = self.send(Method::GET, path, &Value::Null).await;
        list["items"].as_array().unwrap().iter().find(|item| item[member] == value).unwrap().clone()
    }

    /// What the declarative file cannot say: an issuer with its keys at hand, and a user who signs in.
    async fn complete(&self, world: &World) {
        let project = self.find("/v1/projects", "slug", "acme").await["id"].clone();
        let issuer = json!({
            "project_id": project, "issuer": "https://id.example.test", "audiences": ["orders"],
            "algorithms": ["ES256"], "tenant_claim": "tid", "subject_claim": "sub", "roles_claim": "roles",
            "jwks": world.issuer.jwks(),
        });
        self.send(Method::POST, "/v1/issuers?wait=applied", &issuer).await;
        let tenant = self.find("/v1/tenants", "slug", "acme").await["id"].as_str().unwrap().to_owned();
        let user = json!({ "username": "ann", "email": "ann@acme.example", "password": PASSWORD });
        self.send(Method::POST, &format!("/v1/tenants/{tenant}/users"), &user).await;
        let services = [
            self.find("/v1/services", "name", "orders").await["id"].clone(),
            self.find("/v1/services", "name", "identity").await["id"].clone(),
        ];
        let hostname = self.find("/v1/hostnames", "hostname", HOST).await["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/hostnames/{hostname}?wait=applied");
        self.send(Method::PATCH, &path, &json!({ "services": services })).await;
    }
}

/// Signing in and out through the edge, where there is a control API.
async fn sign_in_and_out(world: &World) {
    let login = json!({ "username": "ann", "password": PASSWORD });
    let answer = world.call(Method::POST, "/api/v1/tenant/auth/login").json(&login).send().await.unwrap();
    let status = answer.status();
    let body: Value = answer.json().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    let token = body["access_token"].as_str().unwrap();
    let strict = || world.call(Method::GET, "/strict").bearer_auth(token);
    assert_eq!(strict().send().await.unwrap().status(), StatusCode::OK);
    let logout = world.call(Method::POST, "/api/v1/tenant/auth/logout").bearer_auth(token).send().await.unwrap();
    assert!(logout.status().is_success(), "{}", logout.text().await.unwrap());
    assert_eq!(problem(strict()).await, (401, "token_revoked".into()));
}

#[tokio::test]
async fn one_process() {
    let world = World::new().await;
    world.edge_file("");
    let admin = free_port();
    let password = world.write("admin.password", PASSWORD);
    let config = format!(
        "data_dir: data\ngateway:\n  {}\n  environment: dev\ncontrol_api:\n  environment: dev\n  listeners: {{ admin: \"{admin}\", \
         internal: \"{}\" }}\n  bootstrap: {{ admin_password: \"file:{password}\" }}\n",
        world.listen(),
        free_port(),
    );
    let config = world.write("portcullis.yaml", &config);
    let _node = Process::start("portcullis", world.folder.path(), &["serve", "--config", &config], &[]);
    let staff = Admin::sign_in(admin).await;
    apply_twice(&world, admin, &password);
    staff.complete(&world).await;
    world.ready().await;
    world.the_same_calls().await;
    sign_in_and_out(&world).await;
}

/// Loads the declarative folder; a second time changes nothing.
fn apply_twice(world: &World, admin: SocketAddr, password_file: &str) {
    let (folder, url) = (world.path("edge"), format!("http://{admin}"));
    let apply = || {
        let arguments = ["apply", "-f", &folder, "--url", &url, "--password-file", password_file];
        output("portcullis", &arguments, &[])
    };
    let first = apply();
    assert!(!first.starts_with("0 created"), "{first}");
    let second = apply();
    assert!(second.starts_with("0 created, 0 updated, "), "{second}");
}

/// A database of its own on the server that the tests were given, dropped at the end.
struct Database {
    url: String,
    name: String,
    server: String,
}

impl Database {
    async fn new() -> Self {
        let server =
            std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run `make test`, which starts PostgreSQL");
        let name = format!("three_ways_{}", uuid::Uuid::new_v4().simple());
        run_sql(&server, &format!("CREATE DATABASE {name}")).await;
        let (base, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{base}/{name}"), name, server }
    }

    async fn drop(self) {
        run_sql(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)).await;
    }
}

async fn run_sql(url: &str, sql: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn two_binaries_with_postgresql_and_redis() {
    let world = World::new().await;
    world.edge_file("");
    let database = Database::new().await;
    let redis = std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `make test`, which starts Redis");
    // Other tests use the server's first database.
    let redis = format!("{}/9", redis.trim_end_matches('/'));
    let environment = [("DATABASE_URL", database.url.as_str()), ("REDIS_URL", redis.as_str())];

    let internal_ca = TestCa::new();
    let server = internal_ca.leaf(&["localhost"]);
    let (certificate, key) =
        (world.write("internal.crt", &server.chain_pem), world.write("internal.key", &server.key_pem));
    let ca = world.write("internal-ca.pem", &internal_ca.ca_pem());
    let ca_key = world.write("internal-ca.key", &internal_ca.key_pem());
    let master_key = world.write("master.key", &"5a".repeat(32));
    let password = world.write("admin.password", PASSWORD);
    let (admin, internal, public) = (free_port(), free_port(), free_port());
    let control = world.write(
        "control-api.yaml",
        &format!(
            "environment: dev\ndatabase: {{ url: \"postgres://set-by-the-environment\", migrate: true, master_key: \"file:{master_key}\" }}\n\
             listeners:\n  public: \"{public}\"\n  admin: \"{admin}\"\n  internal: \"{internal}\"\n  internal_tls: {{ certificate: \
             \"{certificate}\", key: \"{key}\", ca: \"{ca}\", ca_key: \"{ca_key}\" }}\nbootstrap: {{ admin_password: \"file:{password}\" }}\n"
        ),
    );
    let enrolled =
        output("control-api", &["--config", &control, "gateways", "enroll", "--fleet", "test", "edge-1"], &environment);
    let enrolled: Value = serde_json::from_str(&enrolled).unwrap();
    let pem = |name: &str| enrolled[name].as_str().unwrap().to_owned();
    let (own_certificate, own_key) =
        (world.write("edge-1.crt", &pem("certificate")), world.write("edge-1.key", &pem("key")));
    let gateway = world.write(
        "gateway.yaml",
        &format!(
            "{}\ngateway: {{ name: edge-1, fleet: test, id: {} }}\nfeed: {{ control_api: {{ url: \"https://localhost:{}\", certificate: \
             \"{own_certificate}\", key: \"{own_key}\", ca: \"{ca}\" }} }}\ndata_dir: gateway-data\n",
            world.listen(),
            pem("id"),
            internal.port(),
        ),
    );
    let gateway_environment = [("REDIS_URL", redis.as_str())];
    let control_api = Process::start("control-api", world.folder.path(), &["--config", &control], &environment);
    let staff = Admin::sign_in(admin).await;
    let edge = Process::start("gateway", world.folder.path(), &["--config", &gateway], &gateway_environment);
    apply_twice(&world, admin, &password);
    world.ready().await;
    staff.complete(&world).await;
    world.the_same_calls().await;
    sign_in_and_out(&world).await;

    // The snapshot is on disk some seconds after the last change; then the control API goes, and the gateway restarts.
    let kept = world.folder.path().join("gateway-data");
    eventually("the snapshot is kept on disk", async || fs::read_dir(&kept).is_ok_and(|files| files.count() >= 2))
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    control_api.kill();
    let clerk = world.token("acme", &["clerk"]);
    let orders = || world.call(Method::GET, "/orders").bearer_auth(&clerk);
    assert_eq!(orders().send().await.unwrap().status(), StatusCode::OK, "the gateway serves on its own");
    let strict = || world.call(Method::GET, "/strict").bearer_auth(&clerk);
    eventually("the lease runs out", async || {
        strict().send().await.unwrap().status() == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    assert_eq!(problem(strict()).await, (503, "revocation_unproven".into()));
    assert_eq!(orders().send().await.unwrap().status(), StatusCode::OK, "`serve` goes on while Redis answers");
    edge.kill();
    let _again = Process::start("gateway", world.folder.path(), &["--config", &gateway], &gateway_environment);
    world.ready().await;
    assert_eq!(orders().send().await.unwrap().status(), StatusCode::OK, "from the disk, with the last proof kept");
    assert_eq!(problem(strict()).await, (503, "revocation_unproven".into()));
    database.drop().await;
}
