//! A warm decision: cached token, mirror, permission set. The goal is 2 µs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a measuring program")]

#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

mod warm;

use criterion::{Criterion, criterion_group, criterion_main};

use crate::{
    warm::Warm,
    world::{MEMBER, Sent},
};

fn decide(criterion: &mut Criterion) {
    let warm = Warm::new();
    let token = warm.world.token(&warm.world.acme, MEMBER);
    let mut group = criterion.benchmark_group("a warm decision");
    for (case, sent) in [
        ("permission", Sent::get("acme.localhost", "/orders").bearer(&token)),
        ("authenticated", Sent::get("acme.localhost", "/me?x=1").bearer(&token)),
        ("public", Sent::get("acme.localhost", "/public/x/y")),
    ] {
        let head = sent.head();
        group.bench_function(case, |bencher| bencher.iter(|| warm.decide(&head)));
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
