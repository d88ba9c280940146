//! How much longer a client waits for what stands in front of a service: at a constant rate, whatever the answers take, and one
//! request after another.

use std::time::Duration;

use load_tests::{
    Latencies,
    open::{Clients, Door},
    world::HOST,
};
use serde_json::{Value, json};

use crate::{peers::Running, table::Plan};

/// Connections of the clients.
const CONNECTIONS: usize = 32;

/// A line: times at a constant rate, and those of one request after another.
#[derive(Default)]
struct Times {
    open: Latencies,
    single: Latencies,
}

/// Measures the service itself and each peer in turn, prints the table, and gives it as JSON.
pub(crate) async fn measure(peers: &[&Running], rate: u32, plan: Plan<'_>) -> anyhow::Result<Value> {
    let token = plan.world.es256.token(7, |_| ())?;
    let mut doors = vec![("the service itself, without TLS", Door::Service(plan.world.fast))];
    doors.extend(peers.iter().map(|peer| (peer.title, Door::Edge(peer.edge.clone()))));
    let mut lines = Vec::new();
    for (title, door) in doors {
        let clients = Clients::new(door, HOST, "/orders", &token, CONNECTIONS).await?;
        // What comes once, such as connections to the upstream, is there before anything is measured.
        drop(clients.load(rate, Duration::from_secs(1)).await?);
        lines.push((title, clients, Times::default()));
    }
    for _ in 0..plan.runs {
        for (_, clients, times) in &mut lines {
            times.open.add(&clients.load(rate, plan.lasting).await?);
            times.single.add(&clients.one_after_another(plan.lasting).await?);
        }
    }
    println!("\n### What is waited for: one request after another, and {rate} a second\n");
    println!("| | one p50, µs | added | {rate}/s p50, µs | added | p99, µs | added | p99.9, µs | added |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let (_, _, alone) = &lines[0];
    let mut rows = Vec::new();
    for (title, _, times) in &lines {
        let single = (times.single.quantile(0.5), alone.single.quantile(0.5));
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| (times.open.quantile(share), alone.open.quantile(share)));
        let cells = [single, p50, p99, p999].map(|(took, alone)| format!("{took} | {}", took.saturating_sub(alone)));
        println!("| {title} | {} |", cells.join(" | "));
        rows.push(json!({
            "what": title, "single_p50_us": single.0, "p50_us": p50.0, "p99_us": p99.0, "p999_us": p999.0,
            "requests": times.open.count(),
        }));
    }
    Ok(json!({ "title": "waits", "rate": rate, "lines": rows }))
}
