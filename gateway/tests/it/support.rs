//! An edge fed by a declarative file, an issuer, a canary behind it, and requests over either protocol.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use domain::{Clock, snapshot::Algorithm};
use gateway::{Edge, EdgeParts, GatewayConfig, RunningEdge, Source};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    Canary, Claims, FixedClock, Leaf, TestCa, TestIssuer,
    raw::{self, Http2, Http2Outcome, Http2Request, Response},
};

pub(crate) const ACME: &str = "acme.example.test";
pub(crate) const GLOBEX: &str = "globex.example.test";
pub(crate) const ACME_ID: &str = "00000000-0000-0000-0000-000000000001";

/// Hostnames, tenants, an issuer, two roles, and a service with a route of each kind. `UPSTREAM` and `MORE` are
/// replaced by the test.
pub(crate) const EDGE_FILE: &str = r#"
hostnames:
  - { hostname: acme.example.test, tenant: acme, certificate: { chain: acme.crt, key: acme.key }, services: [orders] }
  - { hostname: globex.example.test, tenant: globex, certificate: { chain: globex.crt, key: globex.key }, services: [orders] }
tenants:
  - { slug: acme, id: 00000000-0000-0000-0000-000000000001, rate_limit: { rps: 100000, burst: 100000 } }
  - { slug: globex, id: 00000000-0000-0000-0000-000000000002, rate_limit: { rps: 100000, burst: 100000 } }
issuers:
  - issuer: "https://id.example.test"
    jwks: { file: jwks.json }
    audiences: [orders]
    algorithms: [ES256]
    tenant_claim: tid
    roles_claim: roles
roles:
  - { name: member, permissions: ["orders:order:list"] }
  - { name: boss, permissions: ["orders:*"] }
upstreams:
  - { name: orders, UPSTREAM, assertion: off }
services:
  - name: orders
    upstream: orders
    routes:
      - { path: /public/**, access: public }
      - { path: /optional/**, access: optional }
      - { path: /echo/**, access: authenticated }
      - { path: /orders, methods: [GET], permission: "orders:order:list" }
      - { path: /orders/**, permission: "orders:order:manage" }
MORE
"#;

/// The protocol of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

pub(crate) const BOTH: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

/// An edge and everything around it.
pub(crate) struct Fixture {
    pub(crate) edge: RunningEdge,
    pub(crate) canary: Canary,
    pub(crate) ca: TestCa,
    pub(crate) issuer: TestIssuer,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) folder: TempDir,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) host: &'a str,
    pub(crate) sni: &'a str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: &'a [u8],
}

impl<'a> Ask<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self { method: "GET", path, host: ACME, sni: ACME, headers: Vec::new(), body: b"" }
    }
    pub(crate) fn method(self, method: &'a str) -> Self {
        Self { method, ..self }
    }
    pub(crate) fn host(self, host: &'a str) -> Self {
        Self { host, ..self }
    }
    pub(crate) fn at(self, name: &'a str) -> Self {
        Self { host: name, sni: name, ..self }
    }
    pub(crate) fn body(self, body: &'a [u8]) -> Self {
        Self { body, ..self }
    }
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// None when the connection or stream ended without a response.
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().into()
    }
    /// Refused for what it is: a 400, or an end without a response.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.status, None | Some(400))
    }
}

impl Fixture {
    /// An edge in front of a plain canary.
    pub(crate) async fn start() -> Self {
        let canary = Canary::start().await;
        let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
        Self::with(canary, TestCa::new(), &upstream, "").await
    }

    /// An edge whose upstream is written like this.
    pub(crate) async fn with(canary: Canary, ca: TestCa, upstream: &str, more: &str) -> Self {
        Self::configured(config(), canary, ca, upstream, more).await
    }

    /// An edge with these settings.
    pub(crate) async fn configured(
        config: GatewayConfig,
        canary: Canary,
        ca: TestCa,
        upstream: &str,
        more: &str,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let issuer = TestIssuer::new("https://id.example.test", Algorithm::Es256).with_audience("orders");
        write_leaf(folder.path(), "acme", &ca.leaf(&[ACME]));
        write_leaf(folder.path(), "globex", &ca.leaf(&[GLOBEX]));
        fs::write(folder.path().join("jwks.json"), issuer.jwks().to_string()).unwrap();
        fs::write(folder.path().join("edge.yaml"), edge_file(upstream, more)).unwrap();
        let clock = Arc::new(FixedClock::default());
        let source = Source::File(folder.path().join("edge.yaml"));
        let parts = EdgeParts::new(config, source, Arc::<FixedClock>::clone(&clock));
        let edge = Edge::start(parts).await.unwrap();
        Self { edge, canary, ca, issuer, clock, folder }
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.edge.https()[0]
    }

    /// Claims of a member of a tenant.
    pub(crate) fn claims(&self, tenant: &str, roles: &[&str]) -> Claims {
        self.issuer.external_claims(self.clock.unix_now()).set("tid", tenant).set("roles", roles)
    }

    pub(crate) fn token(&self, tenant: &str, roles: &[&str]) -> String {
        self.issuer.mint(self.claims(tenant, roles))
    }

    pub(crate) async fn ask(&self, protocol: Protocol, ask: &Ask<'_>) -> Reply {
        match protocol {
            Protocol::Http1 => self.ask_http1(ask).await,
            Protocol::Http2 => self.ask_http2(ask).await,
        }
    }

    async fn ask_http1(&self, ask: &Ask<'_>) -> Reply {
        let bytes = http1(ask);
        let answer = raw::tls_http1(self.https(), ask.sni, &self.ca.ca_pem(), &bytes).await.unwrap();
        let response = Response::parse(&answer);
        let status = (response.status != 0).then_some(response.status);
        Reply { status, headers: response.headers, body: response.body }
    }

    async fn ask_http2(&self, ask: &Ask<'_>) -> Reply {
        let mut connection = Http2::connect(self.https(), ask.sni, &self.ca.ca_pem()).await.unwrap();
        let fields = [(":method", ask.method), (":scheme", "https"), (":authority", ask.host), (":path", ask.path)];
        let mut request = Http2Request::new(&fields);
        for (name, value) in &ask.headers {
            // HTTP/2 has no upper case (RFC 9113 §8.2.1).
            request = request.field(name.to_ascii_lowercase(), value);
        }
        match connection.send(&request.body(ask.body)).await.unwrap() {
            Http2Outcome::Response { status, headers, body, .. } => Reply { status: Some(status), headers, body },
            _ => Reply { status: None, headers: Vec::new(), body: Vec::new() },
        }
    }

    /// Sends these bytes, and gives what came back before the peer closed or answered.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Response {
        Response::parse(&raw::tls_http1(self.https(), ACME, &self.ca.ca_pem(), bytes).await.unwrap())
    }

    pub(crate) fn rewrite(&self, upstream: &str, more: &str) {
        fs::write(self.folder.path().join("edge.yaml"), edge_file(upstream, more)).unwrap();
    }

    pub(crate) fn upstream(&self) -> String {
        format!("peers: [\"{}\"], plaintext: true", self.canary.addr())
    }
}

/// Free ports, limits that no test reaches.
pub(crate) fn config() -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.listen.https = "localhost:0".parse().unwrap();
    config.listen.http = Some("localhost:0".parse().unwrap());
    config.listen.metrics = "localhost:0".parse().unwrap();
    config.limits.address = domain::snapshot::RateLimit { rps: 100_000, burst: 100_000 };
    config.limits.failed_signatures = config.limits.address;
    config.limits.hostname_failed_signatures = config.limits.address;
    config.threads = Some(2);
    config
}

pub(crate) fn edge_file(upstream: &str, more: &str) -> String {
    EDGE_FILE.replace("UPSTREAM", upstream).replace("MORE", more)
}

pub(crate) fn write_leaf(folder: &Path, name: &str, leaf: &Leaf) {
    fs::write(folder.join(format!("{name}.crt")), &leaf.chain_pem).unwrap();
    fs::write(folder.join(format!("{name}.key")), &leaf.key_pem).unwrap();
}

pub(crate) fn http1(ask: &Ask<'_>) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", ask.method, ask.path, ask.host);
    for (name, value) in &ask.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !ask.body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", ask.body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(ask.body);
    bytes
}
