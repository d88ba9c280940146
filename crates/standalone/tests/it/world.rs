//! What edge tests share: one hostname, its routes, its upstream, and who may call.

use std::{fs, net::SocketAddr};

use domain::{Timestamp, snapshot::Algorithm};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use testkit::{Canary, TestCa, TestIssuer, eventually};

use crate::process::free_port;

/// The hostname.
pub(crate) const HOST: &str = "acme.example.test";

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

/// A folder, an upstream, an issuer, and the certificate of an edge that serves one hostname.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) canary: Canary,
    pub(crate) issuer: TestIssuer,
    edge_ca: TestCa,
    pub(crate) https: SocketAddr,
    metrics: SocketAddr,
    /// Where the routes lead: the canary, unless a test says otherwise.
    pub(crate) upstream: SocketAddr,
}

impl World {
    pub(crate) async fn new() -> Self {
        let canary = Canary::start().await;
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
            upstream: canary.addr(),
            canary,
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

    /// The authority of the edge's certificate, as PEM.
    pub(crate) fn edge_ca(&self) -> String {
        self.edge_ca.ca_pem()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The declarative file; `issuers` only where the file is all there is.
    pub(crate) fn edge_file(&self, issuers: &str) -> String {
        let upstream = self.upstream;
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
      - {{ path: /readable, access: authenticated, on_unproven: read_only }}
"#
        );
        self.write("edge/edge.yaml", &text)
    }

    pub(crate) fn listen(&self) -> String {
        listen(self.https, self.metrics)
    }

    /// A client that trusts the edge's certificate and finds the hostname at an address.
    pub(crate) fn client_at(&self, https: SocketAddr) -> Client {
        let ca = reqwest::Certificate::from_pem(self.edge_ca.ca_pem().as_bytes()).unwrap();
        Client::builder().tls_certs_only([ca]).resolve(HOST, https).no_proxy().build().unwrap()
    }

    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client_at(self.https).request(method, format!("https://{HOST}:{}{path}", self.https.port()))
    }

    pub(crate) fn token(&self, tenant: &str, roles: &[&str]) -> String {
        let now = unix_now();
        self.issuer.mint_as("JWT", self.issuer.external_claims(now).set("tid", tenant).set("roles", roles))
    }

    pub(crate) async fn ready(&self) {
        eventually("the edge serves", async || {
            self.call(Method::GET, "/public/x").send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }
}

/// Where a gateway listens, as its configuration says it.
pub(crate) fn listen(https: SocketAddr, metrics: SocketAddr) -> String {
    format!("listen: {{ https: \"{https}\", http: null, metrics: \"{metrics}\" }}")
}

/// The wall clock, as the processes read it.
pub(crate) fn unix_now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the processes read the real clock")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}
