//! What is printed when the node is ready: commands to paste, or one JSON line for a program.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use domain::Secret;
use serde::Serialize;

use crate::demo::{CONSOLE, Demo, DemoTenant, Login};

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The edge, TLS.
    pub edge_https: SocketAddr,
    /// The edge, plain.
    pub edge_http: SocketAddr,
    /// The control API's `admin` listener.
    pub control_api: SocketAddr,
    /// The control API's `internal` listener.
    pub internal: SocketAddr,
    /// `/metrics` of the edge.
    pub metrics: SocketAddr,
    /// Where the demo tenants' requests go.
    pub upstream: SocketAddr,
    /// The development authority's certificate.
    pub ca: PathBuf,
}

/// The JSON line. Its shape is API: other programs read it.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    ready: bool,
    pid: u32,
    edge_https: SocketAddr,
    edge_http: SocketAddr,
    control_api: SocketAddr,
    internal: SocketAddr,
    metrics: SocketAddr,
    upstream: SocketAddr,
    ca: &'a Path,
    #[serde(serialize_with = "domain::secret::exposed")]
    service_key: &'a Secret<String>,
    console_hostname: &'static str,
    platform_admin: &'a Login,
    tenants: &'a [DemoTenant],
}

/// Everything a program needs, on one line.
///
/// # Errors
/// A path that is not Unicode.
pub fn json(endpoints: &Endpoints, demo: &Demo, service_key: &Secret<String>) -> serde_json::Result<String> {
    serde_json::to_string(&Ready {
        ready: true,
        pid: std::process::id(),
        edge_https: endpoints.edge_https,
        edge_http: endpoints.edge_http,
        control_api: endpoints.control_api,
        internal: endpoints.internal,
        metrics: endpoints.metrics,
        upstream: endpoints.upstream,
        ca: &endpoints.ca,
        service_key,
        console_hostname: CONSOLE,
        platform_admin: &demo.platform_admin,
        tenants: &demo.tenants,
    })
}

/// What a person pastes, step by step. `path` is one that the demo serves to who is signed in.
pub fn text(endpoints: &Endpoints, demo: &Demo, path: &str) -> String {
    let mut out = String::new();
    let (Some(acme), Some(globex)) = (demo.tenants.first(), demo.tenants.get(1)) else { return out };
    let Some(member) = acme.users.iter().find(|user| user.role == "member") else { return out };
    let port = endpoints.edge_https.port();
    let address = endpoints.edge_https.ip();
    let ca = shell(&endpoints.ca.display().to_string());
    let (a, g) = (&acme.hostname, &globex.hostname);
    let mut line = |text: String| _ = writeln!(out, "{text}");
    line(format!("Portcullis is ready: https://{a}:{port} (upstream {})", endpoints.upstream));
    line(String::new());
    line("  # names under .localhost need no DNS; curl is told where they are and whom to trust".into());
    line(format!("  alias pc='curl -sS --cacert {ca} --resolve {a}:{port}:{address} --resolve {g}:{port}:{address}'"));
    line(String::new());
    line("  # 1. log in".into());
    line(format!(
        "  TOKEN=$(pc https://{a}:{port}/api/v1/tenant/auth/login -H 'content-type: application/json' \\\n    -d '{{\"username\": \"{}\", \"password\": \"{}\"}}' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')",
        member.username, member.password
    ));
    line("  # 2. call through the gateway: the echo shows what the service behind it receives".into());
    line(format!("  pc https://{a}:{port}{path} -H \"authorization: Bearer $TOKEN\"; echo"));
    line("  # 3. be refused: another tenant, and a right the member lacks".into());
    line(format!("  pc https://{g}:{port}{path} -H \"authorization: Bearer $TOKEN\"; echo"));
    line(format!("  pc https://{a}:{port}/demo/orders -X POST -H \"authorization: Bearer $TOKEN\"; echo"));
    line("  # 4. call with an API key, as a program does; it may do what the member may, and within its scopes".into());
    line(format!("  pc https://{a}:{port}{path} -H 'authorization: Bearer {}'; echo", acme.api_key));
    line("  # 5. log out, and be refused".into());
    line(format!(
        "  pc https://{a}:{port}/api/v1/tenant/auth/logout -X POST -H \"authorization: Bearer $TOKEN\"; echo"
    ));
    line(format!("  pc https://{a}:{port}{path} -H \"authorization: Bearer $TOKEN\"; echo"));
    line(String::new());
    for tenant in &demo.tenants {
        for user in &tenant.users {
            line(format!("  {:<20} {:<8} {}", tenant.hostname, user.username, user.password));
        }
    }
    let admin = &demo.platform_admin;
    line(format!("  {CONSOLE:<20} {:<8} {}", admin.username, admin.password));
    line(String::new());
    line(format!("  control API  http://{}/openapi.json", endpoints.control_api));
    line(format!("  metrics      http://{}/metrics", endpoints.metrics));
    line("  Ctrl-C ends it; the data folder keeps everything.".into());
    out
}

/// A text as one word of a POSIX shell.
fn shell(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'-' | b'_')) {
        text.into()
    } else {
        // Within the alias's single quotes a quote would end them; a double-quoted word is safe but for `"$\` and `.
        let escaped: String = text
            .chars()
            .flat_map(|c| matches!(c, '"' | '$' | '\\' | '`').then_some('\\').into_iter().chain([c]))
            .collect();
        format!("\"{escaped}\"")
    }
}
