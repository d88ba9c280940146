//! Token buckets in one atomic word each (GCRA, ITU-T I.371): the word is the theoretical arrival time of the next
//! request that fits the rate.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use domain::{BootInstant, snapshot::RateLimit};
use quick_cache::sync::Cache;

/// One bucket.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one request's worth at `now`, if there is one.
    pub fn take(&self, limit: RateLimit, now: BootInstant) -> bool {
        self.step(limit, now, true)
    }

    /// Whether one request's worth is there at `now`; takes nothing.
    pub fn has(&self, limit: RateLimit, now: BootInstant) -> bool {
        self.step(limit, now, false)
    }

    fn step(&self, limit: RateLimit, now: BootInstant, take: bool) -> bool {
        let interval = 1_000_000_000 / u64::from(limit.rps.max(1));
        // The first request of a burst takes no time of its own.
        let tolerance = interval.saturating_mul(u64::from(limit.burst.max(1)) - 1);
        let now = now.nanos();
        let fits = |next: u64| {
            let due = next.max(now);
            (due - now <= tolerance).then(|| due.saturating_add(interval))
        };
        if take {
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
        } else {
            fits(self.0.load(Ordering::Relaxed)).is_some()
        }
    }
}

/// Buckets by key, the least used forgotten first. A forgotten bucket is a full one: the capacity bounds memory, and
/// an attacker who overflows it must first fill the address limit of as many addresses.
#[derive(Debug)]
pub struct Buckets<K: Eq + Hash>(Cache<K, Arc<Bucket>>);

impl<K: Eq + Hash + Copy> Buckets<K> {
    /// At most `capacity` buckets.
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// The bucket of this key; made when it is new.
    pub fn of(&self, key: K) -> Arc<Bucket> {
        match self.0.get(&key) {
            Some(bucket) => bucket,
            None => {
                let made: Result<_, std::convert::Infallible> = self.0.get_or_insert_with(&key, || Ok(Arc::default()));
                match made {
                    Ok(bucket) => bucket,
                    Err(never) => match never {},
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: RateLimit = RateLimit { rps: 10, burst: 3 };

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let bucket = Bucket::default();
        let start = BootInstant::from_nanos(5_000_000_000);
        assert_eq!((0..5).filter(|_| bucket.take(LIMIT, start)).count(), 3);
        assert!(!bucket.take(LIMIT, start + Duration::from_millis(99)));
        assert!(bucket.take(LIMIT, start + Duration::from_millis(100)));
        assert!(!bucket.take(LIMIT, start + Duration::from_millis(100)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..5).filter(|_| bucket.take(LIMIT, later)).count(), 3, "rest fills it, but not beyond its size");
    }

    #[test]
    fn asking_takes_nothing() {
        let bucket = Bucket::default();
        let now = BootInstant::from_nanos(1);
        assert!((0..10).all(|_| bucket.has(LIMIT, now)));
        assert_eq!((0..10).filter(|_| bucket.take(LIMIT, now)).count(), 3);
        assert!(!bucket.has(LIMIT, now));
    }

    #[test]
    fn parallel_takers_never_get_more_than_the_burst() {
        let buckets = Buckets::new(10);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if buckets.of(1_u64).take(LIMIT, BootInstant::from_nanos(1)) {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 3);
    }
}
