//! The mirror with a million refused ids: what a look-up costs (the goal is 100 ns), and what one more fact does.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measuring program")]

use std::{hint::black_box, iter};

use authn::{
    Mirror,
    mirror::{Identity, Refusal},
};
use criterion::{Criterion, criterion_group, criterion_main};
use domain::{Fact, Id, NumberedFact, Seq, Tag, Timestamp};
use uuid::Uuid;

const REFUSED: u64 = 1_000_000;

/// Look-ups go through this many tokens, so that what was asked last is not what is at hand.
const TOKENS: u64 = 1 << 16;

fn id<K>(n: u64) -> Id<K> {
    // SplitMix64 twice: ids are random.
    let mix = |n: u64| {
        let z = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let (high, low) = (mix(n.wrapping_add(0x9e37_79b9_7f4a_7c15)), mix(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    Id::new(Uuid::from_u64_pair(high, low))
}

fn refused(n: u64) -> Fact {
    Fact::TokenRefused { jti: id(n), exp: Timestamp::from_secs(4_000_000_000) }
}

fn mirror() -> Mirror {
    let mirror = Mirror::default();
    for n in 0..REFUSED {
        mirror.apply(&NumberedFact { seq: Seq(n + 1), tag: Tag(1), fact: refused(n) });
    }
    mirror
}

fn token(n: u64) -> Identity {
    Identity { token: Some(id(n)), ..Identity::default() }
}

fn look_up(criterion: &mut Criterion) {
    let mirror = mirror();
    let mut group = criterion.benchmark_group("mirror of 1,000,000");
    let mut measure = |case: &str, tokens: Vec<Identity>, expected: Result<(), Refusal>| {
        assert!(tokens.iter().all(|token| mirror.judge(token) == expected), "{case}");
        let mut next = tokens.iter().cycle();
        group.bench_function(case, |bencher| bencher.iter(|| next.next().map(|token| mirror.judge(black_box(token)))));
    };
    let clear = || REFUSED..REFUSED + TOKENS;
    measure("an id, not refused", clear().map(token).collect(), Ok(()));
    measure("an id, refused", (0..TOKENS).map(token).collect(), Err(Refusal::Token));
    let whole = clear().map(|n| Identity {
        session: Some(id(n + REFUSED)),
        tenant: Some(id(3 * REFUSED)),
        user: Some(id(n + 4 * REFUSED)),
        ..token(n)
    });
    measure("a whole token: id, session, user and tenant, not refused", whole.collect(), Ok(()));

    let mut facts = iter::successors(Some(REFUSED + TOKENS), |n| Some(n + 1)).map(|n| {
        let seq = mirror.position().seq.next();
        NumberedFact { seq, tag: Tag(1), fact: refused(n) }
    });
    group.bench_function("one more fact", |bencher| bencher.iter(|| facts.next().map(|fact| mirror.apply(&fact))));
    group.finish();
}

criterion_group!(benches, look_up);
criterion_main!(benches);
