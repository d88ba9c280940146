//! `portcullis certs check` and `portcullis routes lint`: what an operator would rather hear from us than from callers.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use domain::{Clock, HumanDuration, Timestamp};
use serde_json::{Value, json};

use super::print::{Output, Printer};
use crate::admin::{Connection, SignedIn};

const COLUMNS: &[&str] = &["severity", "finding", "subject", "detail"];

/// What can be checked about certificates.
#[derive(Debug, Subcommand)]
pub enum Certs {
    /// Names verified hostnames whose certificate is missing, has expired, will soon, or does not cover them. Exit code 1
    /// where there is one.
    Check(CertsCheck),
}

/// What `portcullis certs check` is told.
#[derive(Args, Debug)]
pub struct CertsCheck {
    /// How soon is soon.
    #[arg(long, default_value = "21d")]
    within: HumanDuration,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// What can be checked about routes.
#[derive(Debug, Subcommand)]
pub enum Routes {
    /// Names routes that serve nobody, or more people than their owner may think. Exit code 1 where one cannot work;
    /// with --strict for any finding.
    Lint(RoutesLint),
}

/// What `portcullis routes lint` is told.
#[derive(Args, Debug)]
pub struct RoutesLint {
    /// Fails for warnings, too.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

/// One thing that was found.
#[derive(Debug, Eq, PartialEq)]
struct Finding {
    /// Whether it cannot work as it is.
    error: bool,
    name: &'static str,
    subject: String,
    detail: String,
}

/// Checks, and prints what was found; whether all is well.
///
/// # Errors
/// What the control API answers.
pub async fn certs(Certs::Check(it): Certs, clock: &dyn Clock) -> anyhow::Result<bool> {
    let session = it.connection.sign_in(clock).await?;
    let hostnames = list(&session, "/v1/hostnames").await?;
    let certificates = list(&session, "/v1/certificates").await?;
    let findings = judge_certificates(&hostnames, &certificates, clock.unix_now(), it.within)?;
    print(&findings, it.output)?;
    Ok(findings.is_empty())
}

/// Checks, and prints what was found; whether all is well.
///
/// # Errors
/// What the control API answers.
pub async fn routes(Routes::Lint(it): Routes, clock: &dyn Clock) -> anyhow::Result<bool> {
    let session = it.connection.sign_in(clock).await?;
    let found = Served {
        routes: list(&session, "/v1/routes").await?,
        services: list(&session, "/v1/services").await?,
        hostnames: list(&session, "/v1/hostnames").await?,
        products: list(&session, "/v1/products").await?,
    };
    let findings = judge_routes(&found);
    print(&findings, it.output)?;
    Ok(!findings.iter().any(|finding| finding.error || it.strict))
}

async fn list(session: &SignedIn, path: &str) -> anyhow::Result<Vec<Value>> {
    super::all(session, path.trim_start_matches("/v1/"), path).await
}

fn print(findings: &[Finding], output: Output) -> anyhow::Result<()> {
    let mut printer = Printer::new(output, COLUMNS);
    let line = |it: &Finding| {
        let severity = if it.error { "error" } else { "warning" };
        json!({ "id": it.subject, "severity": severity, "finding": it.name, "subject": it.subject, "detail": it.detail })
    };
    printer.items(findings.iter().map(line).collect())?;
    Ok(printer.end()?)
}

fn judge_certificates(
    hostnames: &[Value],
    certificates: &[Value],
    now: Timestamp,
    within: HumanDuration,
) -> anyhow::Result<Vec<Finding>> {
    let by_id: BTreeMap<&str, &Value> = certificates.iter().map(|it| (text(it, "id"), it)).collect();
    let soon = Timestamp::from_millis(now.millis().saturating_add(i64::try_from(within.get().as_millis())?));
    let mut findings = Vec::new();
    for hostname in hostnames.iter().filter(|it| text(it, "verify_state") == "verified") {
        let name = text(hostname, "hostname");
        let mut say = |error, finding, detail: String| {
            findings.push(Finding { error, name: finding, subject: name.to_owned(), detail });
        };
        let Some(certificate) = by_id.get(text(hostname, "certificate_id")) else {
            say(true, "certificate_missing", "its clients get no connection".into());
            continue;
        };
        let until = text(certificate, "not_after");
        let not_after: Timestamp =
            serde_json::from_value(until.into()).with_context(|| format!("`{until}` is no time"))?;
        if not_after <= now {
            say(true, "certificate_expired", format!("on {until}"));
        } else if not_after <= soon {
            say(false, "certificate_expires", format!("on {until}"));
        }
        let names: Vec<&str> = strings(certificate, "names").collect();
        if !names.iter().any(|it| covers(it, name)) {
            say(true, "certificate_of_others", format!("it is for {}", names.join(", ")));
        }
    }
    Ok(findings)
}

/// Whether a name of a certificate is, or stands for, a hostname (RFC 9525 §6.3): a `*` is one label, the first.
fn covers(name: &str, hostname: &str) -> bool {
    let below = name.strip_prefix("*.").zip(hostname.split_once('.'));
    name.eq_ignore_ascii_case(hostname) || below.is_some_and(|(zone, (_, rest))| zone.eq_ignore_ascii_case(rest))
}

/// What is served, as the control API lists it.
struct Served {
    routes: Vec<Value>,
    services: Vec<Value>,
    hostnames: Vec<Value>,
    products: Vec<Value>,
}

fn judge_routes(it: &Served) -> Vec<Finding> {
    let offered: BTreeSet<&str> = it.hostnames.iter().flat_map(|hostname| strings(hostname, "services")).collect();
    let products: BTreeSet<&str> = it.products.iter().map(|product| text(product, "key")).collect();
    let mut findings = Vec::new();
    for service in it.services.iter().filter(|service| !offered.contains(text(service, "id"))) {
        let detail = "no hostname offers it, so that its routes serve nobody".to_owned();
        findings.push(Finding {
            error: false,
            name: "service_unused",
            subject: text(service, "name").to_owned(),
            detail,
        });
    }
    for route in &it.routes {
        let (path, methods) = (text(route, "path"), strings(route, "methods").collect::<Vec<_>>());
        let subject = format!("{} {path}", if methods.is_empty() { "*".into() } else { methods.join(",") });
        let mut say = |error, name, detail: String| {
            findings.push(Finding { error, name, subject: format!("{subject} ({})", text(route, "id")), detail });
        };
        let product = text(route, "product");
        if !product.is_empty() && !products.contains(product) {
            say(true, "product_unknown", format!("nobody can have `{product}`, so that everybody is refused"));
        }
        if route.get("enabled") == Some(&Value::Bool(false)) {
            say(false, "route_disabled", "the edge is not told of it".into());
            continue;
        }
        let harmless = |method: &&str| matches!(*method, "GET" | "HEAD" | "OPTIONS");
        let open = matches!(text(route, "access"), "public" | "optional");
        if open && path == "/**" {
            say(false, "everything_open", "every path that no other route has is open to anyone".into());
        } else if open && (methods.is_empty() || !methods.iter().all(harmless)) {
            say(false, "open_to_write", "anyone may call it with methods that change something".into());
        }
    }
    findings
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn strings<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a str> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(findings: &[Finding]) -> Vec<(&'static str, &str)> {
        findings.iter().map(|it| (it.name, it.subject.as_str())).collect()
    }

    #[test]
    fn a_hostname_without_a_good_certificate_is_named() {
        let hostname = |name: &str, certificate: Value| json!({ "hostname": name, "verify_state": "verified", "certificate_id": certificate });
        let hostnames = [
            hostname("a.example.com", json!("good")),
            hostname("deep.a.example.com", json!("good")),
            hostname("b.example.com", json!("soon")),
            hostname("c.example.com", json!("gone")),
            hostname("d.example.com", Value::Null),
            json!({ "hostname": "pending.example.com", "verify_state": "pending" }),
        ];
        let certificate = |id: &str, until: &str| json!({ "id": id, "names": ["*.example.com"], "not_after": until });
        let certificates = [
            certificate("good", "2026-06-01T00:00:00Z"),
            certificate("soon", "2026-01-10T00:00:00Z"),
            certificate("gone", "2025-12-31T00:00:00Z"),
        ];
        let now = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let findings = judge_certificates(&hostnames, &certificates, now, "21d".parse().unwrap()).unwrap();
        assert_eq!(
            found(&findings),
            [
                ("certificate_of_others", "deep.a.example.com"),
                ("certificate_expires", "b.example.com"),
                ("certificate_expired", "c.example.com"),
                ("certificate_missing", "d.example.com"),
            ]
        );
    }

    #[test]
    fn a_route_that_serves_nobody_or_too_many_is_named() {
        let route = |id: &str, path: &str, access: &str, methods: &[&str]| json!({ "id": id, "path": path, "access": access, "methods": methods, "enabled": true });
        let mut sold = route("4", "/sold", "authenticated", &["GET"]);
        sold["product"] = json!("gone");
        let mut off = route("5", "/off", "public", &[]);
        off["enabled"] = json!(false);
        let served = Served {
            routes: vec![
                route("1", "/read", "public", &["GET"]),
                route("2", "/write", "public", &["GET", "POST"]),
                route("3", "/**", "optional", &["GET"]),
                sold,
                off,
            ],
            services: vec![json!({ "id": "s1", "name": "used" }), json!({ "id": "s2", "name": "unused" })],
            hostnames: vec![json!({ "services": ["s1"] })],
            products: vec![json!({ "key": "orders" })],
        };
        let findings = judge_routes(&served);
        assert_eq!(
            found(&findings),
            [
                ("service_unused", "unused"),
                ("open_to_write", "GET,POST /write (2)"),
                ("everything_open", "GET /** (3)"),
                ("product_unknown", "GET /sold (4)"),
                ("route_disabled", "* /off (5)"),
            ]
        );
        assert_eq!(findings.iter().filter(|it| it.error).count(), 1);
    }
}
