//! A thousand revocations a second: what do they do to the decisions that are made meanwhile?
//!
//! Each decision is timed on its own, at first with nothing else going on and then while another thread applies facts at
//! that pace; each fact has every cached token looked up again at its next use.

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

use domain::{Fact, Timestamp};
use uuid::Uuid;

use crate::{
    warm::Warm,
    world::{MEMBER, Sent, id},
};

/// Time between two facts.
const PAUSE: Duration = Duration::from_millis(1);

fn main() {
    // Without `--bench` it is run as a test, to see that it runs.
    let decisions = if std::env::args().any(|argument| argument == "--bench") { 3_000_000 } else { 1_000 };
    let warm = Warm::new();
    let token = warm.world.token(&warm.world.acme, MEMBER);
    let sent = Sent::get("acme.localhost", "/orders").bearer(&token);
    time(&warm, &sent, decisions / 10);

    println!("{:<28} {:>9} {:>9} {:>9} {:>9} {:>7}", "decisions, in ns", "p50", "p99", "p99.9", "max", "facts");
    let quiet = time(&warm, &sent, decisions);
    print("nothing else", quiet, 0);
    let (over, facts) = (AtomicBool::new(false), &mut 0);
    let busy = thread::scope(|scope| {
        let facts_applied = scope.spawn(|| revoke(&warm, &over));
        let times = time(&warm, &sent, decisions);
        over.store(true, Ordering::SeqCst);
        *facts = facts_applied.join().unwrap();
        times
    });
    print("1,000 revocations a second", busy, *facts);
}

/// Applies a fact each [`PAUSE`] until it is told to stop; how many.
fn revoke(warm: &Warm, over: &AtomicBool) -> usize {
    let (began, mut applied) = (Instant::now(), 0);
    while !over.load(Ordering::SeqCst) {
        let exp = Timestamp::from_secs(4_000_000_000);
        warm.world.say(Fact::TokenRefused { jti: id(Uuid::new_v4().as_u128()), exp });
        applied += 1;
        let due = began + PAUSE * u32::try_from(applied).unwrap();
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    applied
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

fn print(case: &str, times: Vec<u128>, facts: usize) {
    let at = |per_mille: usize| times.get((times.len() - 1) * per_mille / 1000).copied().unwrap_or_default();
    println!("{case:<28} {:>9} {:>9} {:>9} {:>9} {facts:>7}", at(500), at(990), at(999), at(1000));
}
