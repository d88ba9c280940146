//! What a gateway on its own is told to do: all of its job, or the part of it that a rung of the ladder stands for.

use std::{ffi::OsString, fs, net::SocketAddr, path::Path};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PKCS_ED25519};
use serde_json::{Value, json};

use crate::{
    process,
    world::{AUDIENCE, HOST, ISSUER, TENANT, World},
};

/// Hostnames beside the loaded one, each with a certificate of its own, from the second rung on.
pub const NAMES: usize = 10_000;

/// Identity headers of an upstream that names those it reads.
const FEW: &[&str] = &["x-md-global-user-id", "x-md-global-tenant-id", "x-md-global-roles", "x-md-global-request-id"];

/// The permission that the loaded route asks for.
const PERMISSION: &str = "orders:order:list";

/// Fields that bare Pingora sets where it is compared with the whole job: as many as the gateway does.
pub const FIELDS: usize = 14;

/// Tokens that are seen before ([`World::credentials`]).
pub const KEPT: &str = "es256.kept";

/// Who passes the loaded route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Anybody.
    Public,
    /// Anybody whose token holds.
    Authenticated,
    /// Whose role holds a permission.
    Permission,
}

/// Which identity headers the upstream gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Headers {
    /// None.
    None,
    /// Four that it names.
    Few,
    /// All.
    All,
}

/// How identity is proven to the upstream, beside the headers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Assertion {
    /// Not at all.
    Off,
    /// HMAC-SHA256.
    Hmac,
    /// Ed25519.
    Eddsa,
}

/// What a gateway does.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Hostnames beside the loaded one.
    pub names: usize,
    /// Who passes.
    pub access: Access,
    /// Whether tokens that held are kept.
    pub keeps_tokens: bool,
    /// What the upstream is told.
    pub headers: Headers,
    /// How that is proven.
    pub assertion: Assertion,
    /// Whether each principal has a limit, and answers say what is left.
    pub limits: bool,
    /// Whether each request is a line of the log.
    pub access_log: bool,
}

impl Job {
    /// The least that a gateway can be told to do: one reading, a hostname, the limits of its address and tenant, a route, metrics.
    pub const ROUTING: Self = Self {
        names: 0,
        access: Access::Public,
        keeps_tokens: true,
        headers: Headers::None,
        assertion: Assertion::Off,
        limits: false,
        access_log: false,
    };

    /// All of it: what is compared with others.
    pub const WHOLE: Self =
        Self { access: Access::Permission, headers: Headers::All, limits: true, access_log: true, ..Self::ROUTING };

    /// The same with four headers, as others are told to send.
    pub const FEW_HEADERS: Self = Self { headers: Headers::Few, ..Self::WHOLE };
}

/// One step of the ladder.
pub struct Rung {
    /// What is added to the step that it stands on.
    pub title: &'static str,
    /// What the gateway does; none for bare Pingora.
    pub job: Option<Job>,
    /// Which step it stands on, by number; none for the lowest.
    pub above: Option<usize>,
    /// Which file of tokens is sent.
    pub tokens: &'static str,
}

/// All steps, over HTTP/1.1 with ES256: each adds one thing to an earlier one.
pub const RUNGS: [Rung; 11] = {
    let kept = KEPT;
    let names = Job { names: NAMES, ..Job::ROUTING };
    let token = Job { access: Access::Authenticated, ..names };
    let fresh = Job { keeps_tokens: false, ..token };
    let permission = Job { access: Access::Permission, ..token };
    let headers = Job { headers: Headers::All, ..permission };
    let hmac = Job { assertion: Assertion::Hmac, ..headers };
    let eddsa = Job { assertion: Assertion::Eddsa, ..headers };
    let limits = Job { limits: true, ..headers };
    let log = Job { access_log: true, ..limits };
    [
        Rung { title: "bare Pingora", job: None, above: None, tokens: kept },
        Rung { title: "one reading, hostname, route, metrics", job: Some(Job::ROUTING), above: Some(0), tokens: kept },
        Rung { title: "10,000 hostnames with certificates", job: Some(names), above: Some(1), tokens: kept },
        Rung { title: "a token seen before", job: Some(token), above: Some(2), tokens: kept },
        Rung { title: "a token verified each time", job: Some(fresh), above: Some(2), tokens: "es256.fresh" },
        Rung { title: "a permission", job: Some(permission), above: Some(3), tokens: kept },
        Rung { title: "identity headers", job: Some(headers), above: Some(5), tokens: kept },
        Rung { title: "an assertion by HMAC", job: Some(hmac), above: Some(6), tokens: kept },
        Rung { title: "an assertion by Ed25519", job: Some(eddsa), above: Some(6), tokens: kept },
        Rung { title: "limits of principals, told to clients", job: Some(limits), above: Some(6), tokens: kept },
        Rung { title: "access log to a file", job: Some(log), above: Some(9), tokens: kept },
    ]
};

impl World {
    /// The gateway at an address with a job. Its files are in a folder of its own.
    ///
    /// # Errors
    /// Its configuration cannot be written.
    pub fn gateway(&self, program: &Path, address: SocketAddr, job: &Job) -> anyhow::Result<Vec<OsString>> {
        let name = format!("gateway-{}", address.port());
        fs::create_dir(self.path(&name))?;
        self.write(&format!("{name}/edge.yaml"), &self.edge(job)?.to_string())?;
        let config = self.write(&format!("{name}/gateway.yaml"), &settings(address, job)?.to_string())?;
        Ok(vec![program.into(), "--config".into(), config.into()])
    }

    /// Bare Pingora at an address, which drops `Authorization` and sets so many headers.
    pub fn floor(&self, program: &Path, address: SocketAddr, headers: usize) -> Vec<OsString> {
        let (address, upstream, headers) = (address.to_string(), self.fast.to_string(), headers.to_string());
        let (chain, key) = (self.text("edge.crt"), self.text("edge.key"));
        let arguments =
            ["--headers", &headers, "--listen", &address, "--upstream", &upstream, "--cert", &chain, "--key", &key];
        [program.into()].into_iter().chain(arguments.map(Into::into)).collect()
    }

    /// The declarative file.
    fn edge(&self, job: &Job) -> anyhow::Result<Value> {
        let hostname = |name: &str, chain: String, key: String| {
            json!({ "hostname": name, "tenant": "acme", "certificate": { "chain": chain, "key": key },
                "services": ["orders"] })
        };
        let mut hostnames = vec![hostname(HOST, self.text("edge.crt"), self.text("edge.key"))];
        for (number, [chain, key]) in self.names(job.names)?.into_iter().enumerate() {
            hostnames.push(hostname(&other_name(number), chain, key));
        }
        let upstream = |name: &str, peer: SocketAddr| -> anyhow::Result<Value> {
            let mut upstream = json!({ "name": name, "peers": [peer.to_string()], "plaintext": true });
            match job.headers {
                Headers::None => upstream["headers"] = json!([]),
                Headers::Few => upstream["headers"] = json!(FEW),
                Headers::All => {}
            }
            match job.assertion {
                Assertion::Off => upstream["assertion"] = json!("off"),
                Assertion::Hmac => {
                    upstream["assertion"] = json!("hmac");
                    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
                    upstream["assertion_key"] = json!(self.write("assertion.hmac", key)?);
                }
                Assertion::Eddsa => {
                    upstream["assertion"] = json!("eddsa");
                    let key = KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem();
                    upstream["assertion_key"] = json!(self.write("assertion.pem", &key)?);
                }
            }
            Ok(upstream)
        };
        let route = |path: &str| {
            let mut route = json!({ "path": path, "methods": ["GET"] });
            match job.access {
                Access::Public => route["access"] = json!("public"),
                Access::Authenticated => route["access"] = json!("authenticated"),
                Access::Permission => route["permission"] = json!(PERMISSION),
            }
            route
        };
        let mut echo = route("/echo");
        echo["upstream"] = json!("echo");
        let mut tenant = json!({ "slug": "acme", "id": TENANT, "project": "acme", "status": "active" });
        if job.limits {
            tenant["principal_rate_limit"] = plenty();
        }
        Ok(json!({
            "projects": [{ "slug": "acme" }],
            "tenants": [tenant],
            "hostnames": hostnames,
            "issuers": [{
                "issuer": ISSUER, "jwks": { "file": self.text("jwks.json") }, "audiences": [AUDIENCE],
                "algorithms": ["RS256", "ES256"], "tenant_claim": "tid", "roles_claim": "roles", "project": "acme",
            }],
            "roles": [{ "name": "member", "tenant": "acme", "permissions": [PERMISSION] }],
            "upstreams": [upstream("fast", self.fast)?, upstream("echo", self.echo)?],
            "services": [{ "name": "orders", "upstream": "fast", "routes": [route("/orders"), echo] }],
        }))
    }

    /// Certificates of other hostnames, each as the files of its chain and key. Made once.
    fn names(&self, count: usize) -> anyhow::Result<Vec<[String; 2]>> {
        fs::create_dir_all(self.path("names"))?;
        let one = |number| {
            let [chain, key] = ["crt", "key"].map(|kind| format!("names/{number}.{kind}"));
            if !self.path(&key).exists() {
                let pair = KeyPair::generate()?;
                let mut params = CertificateParams::new([other_name(number)])?;
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                self.write(&chain, &params.signed_by(&pair, self.ca())?.pem())?;
                self.write(&key, &pair.serialize_pem())?;
            }
            Ok([self.text(&chain), self.text(&key)])
        };
        (0..count).map(one).collect()
    }
}

fn other_name(number: usize) -> String {
    format!("name-{number}.example.test")
}

/// A limit that no load here comes near.
fn plenty() -> Value {
    json!({ "rps": 1_000_000, "burst": 1_000_000 })
}

/// The gateway's own configuration.
fn settings(address: SocketAddr, job: &Job) -> anyhow::Result<Value> {
    let metrics = process::free_address()?;
    let mut settings = json!({
        "listen": { "https": address.to_string(), "http": null, "metrics": metrics.to_string() },
        "feed": { "file": "edge.yaml" },
        "threads": 1,
        "environment": "dev",
        "limits": {
            "address": plenty(), "tenant": plenty(), "address_connections": 100_000, "address_handshakes": plenty(),
            "hostname_handshakes": plenty(), "failed_signatures": plenty(), "hostname_failed_signatures": plenty(),
            "headers": job.limits,
        },
        "connections": { "max_requests": 1_000_000 },
    });
    if !job.access_log {
        settings["telemetry"] = json!({ "filter": "info,access=off" });
    }
    if !job.keeps_tokens {
        settings["tokens"] = json!({ "cache_entries": 1 });
    }
    Ok(settings)
}
