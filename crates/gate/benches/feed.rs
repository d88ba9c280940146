//! A thousand revocations a second, or a thousand changes of tenants, each of another one of 100,000: what do they do to the
//! decisions that are made meanwhile?
//!
//! Each decision is timed on its own, at first with nothing else going on and then while another thread applies what comes at
//! that pace; each fact has every cached token looked up again at its next use. With two processors or more there is one for
//! either. What a change takes is the time from when it is there until it is in force.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a measuring program")]
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it prints what it measured")]

#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

mod warm;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use domain::{
    Fact, Timestamp,
    snapshot::{Entity, TenantStatus},
};
use uuid::Uuid;

use crate::{
    warm::Warm,
    world::{MEMBER, Sent, hostname, id, tenant},
};

/// Time between two of what comes.
const PAUSE: Duration = Duration::from_millis(1);

/// Tenants, each with a hostname, beside the one that is decided for.
const TENANTS: u128 = 100_000;

/// Where their ids begin.
const FIRST: u128 = 1_000_000;

fn main() {
    // Without `--bench` it is run as a test, to see that it runs.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (decisions, tenants) = if is_bench { (3_000_000, TENANTS) } else { (1_000, 100) };
    let warm = Warm::new();
    let token = warm.world.token(&warm.world.acme, MEMBER);
    let sent = Sent::get("acme.localhost", "/orders").bearer(&token);
    fill(&warm, tenants);
    time(&warm, &sent, decisions / 10);

    println!("{:<28} {:>9} {:>9} {:>9} {:>9} {:>7}", "in ns", "p50", "p99", "p99.9", "max", "count");
    print("decisions, nothing else", time(&warm, &sent, decisions));
    let revoke = |_| {
        let exp = Timestamp::from_secs(4_000_000_000);
        warm.world.say(Fact::TokenRefused { jti: id(Uuid::new_v4().as_u128()), exp });
    };
    let (busy, applied) = meanwhile(&revoke, || time(&warm, &sent, decisions));
    print("decisions, 1,000 facts/s", busy);
    print("facts", applied);
    let change = |n| change(&warm, (n * 7_919) % tenants, n);
    let (busy, applied) = meanwhile(&change, || time(&warm, &sent, decisions));
    print("decisions, 1,000 changes/s", busy);
    print("changes", applied);
}

/// So many tenants beside the one that is decided for.
fn fill(warm: &Warm, tenants: u128) {
    let project = warm.world.cloud.project;
    let both = (0..tenants).flat_map(|n| {
        let (at, slug) = (FIRST + 2 * n, format!("other-{n}"));
        let host = hostname(at + 1, &format!("{slug}.localhost"), project, Some(id(at)));
        [Entity::Tenant(tenant(at, project, &slug)), Entity::Hostname(host)]
    });
    warm.world.put(both.collect());
}

/// The `n`th change: a tenant is suspended, or in service again.
fn change(warm: &Warm, which: u128, n: u128) {
    let mut changed = tenant(FIRST + 2 * which, warm.world.cloud.project, &format!("other-{which}"));
    changed.status = if n.is_multiple_of(2) { TenantStatus::Suspended } else { TenantStatus::Active };
    warm.world.put_one(Entity::Tenant(changed));
}

/// What `measured` says while another thread does `apply` each [`PAUSE`]; and what each of those took.
fn meanwhile(apply: &(dyn Fn(u128) + Sync), measured: impl FnOnce() -> Vec<u128>) -> (Vec<u128>, Vec<u128>) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let applying = scope.spawn(|| {
            let (began, mut times) = (Instant::now(), Vec::new());
            while !over.load(Ordering::SeqCst) {
                let this = Instant::now();
                apply(times.len() as u128);
                times.push(this.elapsed().as_nanos());
                let due = began + PAUSE * u32::try_from(times.len()).unwrap();
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            times
        });
        let measured = measured();
        over.store(true, Ordering::SeqCst);
        let mut applied = applying.join().unwrap();
        applied.sort_unstable();
        (measured, applied)
    })
}

fn time(warm: &Warm, sent: &Sent, decisions: usize) -> Vec<u128> {
    let head = sent.head();
    let mut times: Vec<u128> = (0..decisions)
        .map(|_| {
            let began = Instant::now();
            warm.decide(&head);
            began.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    times
}

/// Of times in order.
fn print(case: &str, times: Vec<u128>) {
    let at = |per_mille: usize| times.get((times.len() - 1) * per_mille / 1000).copied().unwrap_or_default();
    println!("{case:<28} {:>9} {:>9} {:>9} {:>9} {:>7}", at(500), at(990), at(999), at(1000), times.len());
}
