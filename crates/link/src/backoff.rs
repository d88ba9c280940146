//! Pauses between attempts: doubling, and spread at random, so that a fleet does not come back all at once.

use std::time::Duration;

/// Pauses that grow from a first to a longest one. Each is drawn from the upper half of its bound.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    bound: Duration,
    state: u64,
}

impl Backoff {
    /// `seed` decides the spread; two gateways take two seeds.
    pub const fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, bound: first, state: seed }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(self.longest);
        // SplitMix64 (Steele, Lea, Flood 2014): a spread, not a secret.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let half = bound / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        half + Duration::from_nanos((z ^ (z >> 31)) % spread)
    }

    /// After a success: the next pause is a first one again.
    pub fn reset(&mut self) {
        self.bound = self.first;
    }
}

#[test]
fn pauses_grow_to_the_longest_and_begin_anew_after_a_success() {
    let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
    let mut backoff = Backoff::new(first, longest, 1);
    let pauses: Vec<Duration> = (0..10).map(|_| backoff.pause()).collect();
    assert!(pauses[0] >= first / 2 && pauses[0] <= first);
    assert!(pauses[5..].iter().all(|pause| *pause >= longest / 2 && *pause <= longest), "{pauses:?}");
    backoff.reset();
    assert!(backoff.pause() <= first);
    assert_ne!(Backoff::new(first, longest, 2).pause(), Backoff::new(first, longest, 3).pause());
}
