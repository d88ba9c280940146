//! A million revoked ids: the memory they take, and what a look-up takes.

use authn::{
    Mirror,
    mirror::{Identity, Refusal},
};
use domain::{Fact, Id, NumberedFact, Seq, Tag, Timestamp};
use uuid::Uuid;

const REFUSED: u64 = 1_000_000;

/// What the mirror may take at any moment, growing included.
const MOST_BYTES: u64 = 100_000_000;

/// Ids as random as those of RFC 9562: by SplitMix64.
fn id<K>(n: u64) -> Id<K> {
    let mix = |n: u64| {
        let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 27)
    };
    Id::new(Uuid::from_u64_pair(mix(n), mix(n + REFUSED)))
}

fn token(n: u64) -> Identity {
    Identity { token: Some(id(n)), session: Some(id(n + 7)), ..Identity::default() }
}

#[test]
fn a_million_refused_ids_take_less_than_100_mb_and_look_ups_allocate_nothing() {
    let mirror = Mirror::default();
    let filled = allocation_counter::measure(|| {
        for n in 0..REFUSED {
            let fact = Fact::TokenRefused { jti: id(n), exp: Timestamp::from_secs(4_000_000_000) };
            mirror.apply(&NumberedFact { seq: Seq(n + 1), tag: Tag(1), fact });
        }
    });
    assert_eq!(mirror.refused_count(), usize::try_from(REFUSED).unwrap());
    assert!(filled.bytes_max < MOST_BYTES, "{} bytes at most, {} in the end", filled.bytes_max, filled.bytes_current);

    let asked = allocation_counter::measure(|| {
        for n in 0..1000 {
            assert_eq!(mirror.judge(&token(n * 999)), Err(Refusal::Token));
            assert_eq!(mirror.judge(&token(REFUSED + 7 + n)), Ok(()));
        }
    });
    assert_eq!(asked.count_total, 0, "look-ups allocate nothing");
}
