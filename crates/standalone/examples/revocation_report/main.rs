//! Measures how long a revoked credential is still accepted, healthy and while things fail: what
//! `scripts/revocation-report.sh` runs.
//!
//! `revocation_report [--answers N] [--runs N] [--json FILE]` needs `DATABASE_URL`, the `redis-server` program, and the workspace's binaries
//! of the same build. What is measured is described in `docs/revocation.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measuring program"
)]
#![allow(dead_code, reason = "end-to-end tests use more of what is shared with them")]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

#[path = "../../tests/it/database.rs"]
mod database;
#[path = "../../tests/it/installation.rs"]
mod installation;
#[path = "../../tests/it/probing/mod.rs"]
mod probing;
#[path = "../../tests/it/process.rs"]
mod process;
#[path = "../../tests/it/staff.rs"]
mod staff;
mod table;
#[path = "../../tests/it/world.rs"]
mod world;

use std::path::PathBuf;

use clap::Parser as _;

use crate::{
    probing::{
        Fault, Outcome,
        cluster::{Cluster, world},
        revoke,
    },
    table::{Answers, HEAD, Line},
};

const GATEWAYS: usize = 3;

const FAULTS: [Fault; 9] = [
    Fault::None,
    Fault::RedisKilled,
    Fault::RedisRestartedEmpty,
    Fault::RedisPaused,
    Fault::RedisCutOff,
    Fault::RedisFailedOver,
    Fault::ControlApiKilled,
    Fault::ControlApiKilledAndRedisCutOff,
    Fault::GatewayPaused,
];

#[derive(clap::Parser)]
struct Arguments {
    /// Revocations of which only the answer is timed, while nothing is broken.
    #[arg(long, default_value_t = 2000)]
    answers: usize,
    /// Revocations for each fault; 0 leaves the table out.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Where to write the numbers as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() {
    let Arguments { answers, runs, json } = Arguments::parse();
    let (world, recorder) = world().await;
    let mut cluster = Cluster::start(&world, recorder, GATEWAYS).await;
    let staff = cluster.staff().await;
    let mut calls = Vec::with_capacity(answers);
    for _ in 0..answers {
        calls.push(revoke(&cluster, &staff).await);
    }
    let answers = (!calls.is_empty()).then(|| Answers::of(&calls));
    if let Some(answers) = &answers {
        println!("{answers}\n");
    }
    if runs > 0 {
        println!("{HEAD}");
    }
    let mut lines = Vec::new();
    for fault in FAULTS.into_iter().filter(|_| runs > 0) {
        let mut outcomes = Vec::new();
        for _ in 0..runs {
            outcomes.push(Outcome::of(fault, &mut cluster).await);
        }
        let line = Line::of(fault, &outcomes, GATEWAYS);
        println!("{line}");
        lines.push(line);
    }
    cluster.end().await;
    if let Some(path) = json {
        let measured = serde_json::json!({ "answers": answers, "faults": lines });
        std::fs::write(path, serde_json::to_string_pretty(&measured).unwrap() + "\n").unwrap();
    }
    assert!(lines.iter().all(|line| line.accepted_too_late == 0), "a gateway accepted too late");
}
