//! As many tenants as a large installation has, each with a hostname, created through `portcullis apply`: how long that takes,
//! and how quick the control API and the edge are with them. What `scripts/tenants-load.sh` runs.
//!
//! A run fails where a step goes wrong, not where one is slow: times are for RESULTS.md.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measuring program: a step that fails ends it and says where"
)]

use std::{
    fs,
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Parser;
use load_tests::{Latencies, Node, node};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

/// Creates tenants through `portcullis apply` and measures what they cost.
#[derive(Parser)]
struct Options {
    /// How many.
    #[arg(long, default_value_t = 100_000)]
    tenants: usize,
    /// How many pages, changes and restarts of each kind are measured.
    #[arg(long, default_value_t = 50)]
    samples: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    load_tests::install_crypto();
    let options = Options::parse();
    let start = node::Options::default();
    let mut node = Node::start(&start).await?;
    let file = node.folder().join("tenants.json");
    declare(&file, options.tenants)?;

    let began = Instant::now();
    println!("apply {} tenants: {} in {:.1} s", options.tenants, apply(&node, &file)?, began.elapsed().as_secs_f64());
    let began = Instant::now();
    println!("apply them again: {} in {:.1} s", apply(&node, &file)?, began.elapsed().as_secs_f64());
    println!("memory of the node: {} MiB", memory(node.pid())?);

    let staff = node.staff().await?;
    for path in ["/v1/tenants", "/v1/hostnames", "/v1/projects", "/v1/customers"] {
        println!("pages of {path}: {}", pages(&node, &staff, path, options.samples).await?);
    }
    changes(&node, &staff, options.samples, options.tenants).await?;

    for _ in 0..3 {
        let began = Instant::now();
        node.restart(&start).await?;
        println!("killed and ready again, edge and control API: {:.2} s", began.elapsed().as_secs_f64());
    }
    ensure!(!node.log().contains("panicked"), "the node panicked:\n{}", node.log());
    Ok(())
}

fn slug(n: usize) -> String {
    format!("tenant-{n:06}")
}

fn hostname(n: usize) -> String {
    format!("{}.example.test", slug(n))
}

/// Half of the tenants in one project, the others fifty to a project.
fn declare(file: &std::path::Path, tenants: usize) -> anyhow::Result<()> {
    let project =
        |n: usize| if n.is_multiple_of(2) { "shared-load".to_owned() } else { format!("project-{:05}", n / 100) };
    let mut projects: Vec<String> = (0..tenants).map(project).collect();
    projects.sort_unstable();
    projects.dedup();
    let declared = json!({
        "projects": projects.iter().map(|slug| json!({ "slug": slug })).collect::<Vec<_>>(),
        "tenants": (0..tenants).map(|n| json!({ "slug": slug(n), "project": project(n) })).collect::<Vec<_>>(),
        "hostnames": (0..tenants)
            .map(|n| json!({ "hostname": hostname(n), "tenant": slug(n), "services": ["orders"] }))
            .collect::<Vec<_>>(),
        "upstreams": [{ "name": "orders", "peers": ["127.0.0.1:3000"], "plaintext": true, "assertion": "off" }],
        "services": [{ "name": "orders", "upstream": "orders", "routes": [{ "path": "/**", "access": "public" }] }],
    });
    fs::File::create(file)?.write_all(declared.to_string().as_bytes())?;
    Ok(())
}

fn apply(node: &Node, file: &std::path::Path) -> anyhow::Result<String> {
    let done = Command::new(node::portcullis()?)
        .args(["apply", "--in-parts", "--server", &format!("http://{}", node.at("control_api")), "-f"])
        .arg(file)
        .env("PORTCULLIS_PASSWORD", node.staff_password())
        .output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

fn memory(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    Ok(line.split_whitespace().next().unwrap_or("0").parse::<u64>()? / 1024)
}

/// Times of pages of 50, from the first on.
async fn pages(node: &Node, staff: &str, path: &str, samples: usize) -> anyhow::Result<Latencies> {
    let (mut times, mut cursor) = (Latencies::default(), String::new());
    for _ in 0..samples {
        let began = Instant::now();
        let page = node.admin(staff, Method::GET, &format!("{path}?limit=50{cursor}"), &Value::Null).await?;
        times.record(began.elapsed());
        cursor = page["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    Ok(times)
}

/// How long after the answer to a change the edge serves accordingly: a hostname that is made, and one that goes.
async fn changes(node: &Node, staff: &str, samples: usize, tenants: usize) -> anyhow::Result<()> {
    let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
    let edge = format!("http://{}/", node.at("edge_http"));
    let (mut made, mut gone, mut calls) = (Latencies::default(), Latencies::default(), Latencies::default());
    for n in 0..samples {
        let name = format!("new-{n}.example.test");
        let slug = slug(n * tenants / samples);
        let path = format!("/v1/tenants/by-slug/{slug}");
        let tenant = node.admin(staff, Method::GET, &path, &Value::Null).await?["id"].clone();
        let began = Instant::now();
        let body = json!({ "hostname": name, "tenant_id": tenant });
        let id = node.admin(staff, Method::POST, "/v1/hostnames", &body).await?["id"].as_str().unwrap().to_owned();
        calls.record(began.elapsed());
        made.record(until(&client, &edge, &name, |status| status != StatusCode::NOT_FOUND).await?);
        node.admin(staff, Method::DELETE, &format!("/v1/hostnames/{id}"), &Value::Null).await?;
        gone.record(until(&client, &edge, &name, |status| status == StatusCode::NOT_FOUND).await?);
    }
    println!("POST /v1/hostnames: {calls}");
    println!("a hostname made, until the edge serves it: {made}");
    println!("a hostname deleted, until the edge does not: {gone}");
    Ok(())
}

/// How long until the plain listener answers for a hostname as it should.
async fn until(client: &Client, edge: &str, host: &str, right: fn(StatusCode) -> bool) -> anyhow::Result<Duration> {
    let began = Instant::now();
    loop {
        let status = client.get(edge).header("host", host).send().await?.status();
        if right(status) {
            return Ok(began.elapsed());
        }
        ensure!(began.elapsed() < Duration::from_secs(60), "{host} is answered {status} for a minute");
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}
