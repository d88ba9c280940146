//! Token buckets in one atomic word each (GCRA, ITU-T I.371): the word is the theoretical arrival time of the next
//! request that fits the rate.
//!
//! A second word counts what was taken and not told to the rest of the fleet yet ([`crate::share`]).

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{BootInstant, snapshot::RateLimit};
use quick_cache::sync::Cache;

/// One bucket.
#[derive(Debug, Default)]
pub struct Bucket {
    next: AtomicU64,
    pub(crate) untold: AtomicU32,
    /// Whether it stands among those that have something to tell.
    pub(crate) listed: AtomicBool,
}

/// How full a bucket is after a request was counted, or was not.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Level {
    /// Requests that would fit now.
    pub left: u64,
    /// Until all of its burst would fit.
    pub full_in: Duration,
    /// Until the next one fits; zero where one fits now.
    pub wait: Duration,
}

/// A rate and burst as nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    interval: u64,
    tolerance: u64,
    /// The most that a bucket can owe. One that owes more was filled at another pace.
    most: u64,
}

impl Pace {
    pub(crate) fn of(limit: RateLimit) -> Self {
        let interval = (1_000_000_000 / u64::from(limit.rps.max(1))).max(1);
        // The first request of a burst takes no time of its own.
        let tolerance = interval.saturating_mul(u64::from(limit.burst.max(1)) - 1);
        Self { interval, tolerance, most: tolerance.saturating_add(interval) }
    }

    /// Of a bucket that so many gateways share: each may be ahead of the others by its slack, which together are less than
    /// a burst and one request for each.
    pub(crate) fn of_fleet(self, gateways: u32) -> Self {
        let ahead = self.most.saturating_add(self.interval.saturating_mul(gateways.into()));
        Self { most: self.most.saturating_add(ahead), ..self }
    }

    pub(crate) const fn most(self) -> u64 {
        self.most
    }

    /// The part of one gateway among so many: as long until an empty bucket is full, as fewer requests.
    pub(crate) fn among(self, gateways: u32) -> Self {
        let interval = self.interval.saturating_mul(gateways.max(1).into());
        Self { interval, most: self.most.max(self.tolerance.saturating_add(interval)), ..self }
    }

    pub(crate) const fn interval(self) -> u64 {
        self.interval
    }

    fn level(self, owed: u64) -> Level {
        let room = self.tolerance.checked_sub(owed);
        let left = room.map_or(0, |room| room / self.interval + 1);
        Level {
            left,
            full_in: Duration::from_nanos(owed),
            wait: Duration::from_nanos(owed.saturating_sub(self.tolerance)),
        }
    }
}

impl Bucket {
    /// Takes one request's worth at `now`, if there is one.
    ///
    /// # Errors
    /// The level of a bucket that has none.
    pub fn take(&self, limit: RateLimit, now: BootInstant) -> Result<Level, Level> {
        self.step(Pace::of(limit), now)
    }

    /// Whether one request's worth is there at `now`; takes nothing.
    pub fn has(&self, limit: RateLimit, now: BootInstant) -> bool {
        let pace = Pace::of(limit);
        self.next.load(Ordering::Relaxed).saturating_sub(now.nanos()) <= pace.tolerance
    }

    pub(crate) fn step(&self, pace: Pace, now: BootInstant) -> Result<Level, Level> {
        let now = now.nanos();
        let after = |next: u64| {
            let due = next.clamp(now, now.saturating_add(pace.most));
            if due - now <= pace.tolerance {
                Some(due.saturating_add(pace.interval))
            } else {
                (due < next).then_some(due)
            }
        };
        let (Ok(before) | Err(before)) = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        let owed = before.saturating_sub(now).min(pace.most);
        if owed <= pace.tolerance { Ok(pace.level(owed.saturating_add(pace.interval))) } else { Err(pace.level(owed)) }
    }

    /// Gives back what was taken for nothing.
    pub(crate) fn give_back(&self, limit: RateLimit) {
        let interval = Pace::of(limit).interval;
        let before = |next: u64| Some(next.saturating_sub(interval));
        // Never fails: there is always a before.
        let _ = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, before);
    }

    /// Learns that so much is owed at `now`.
    pub(crate) fn owes(&self, nanos: u64, now: BootInstant) {
        self.next.store(now.nanos().saturating_add(nanos), Ordering::Relaxed);
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
    use super::*;

    const LIMIT: RateLimit = RateLimit { rps: 10, burst: 3 };

    fn takes(bucket: &Bucket, now: BootInstant) -> bool {
        bucket.take(LIMIT, now).is_ok()
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let bucket = Bucket::default();
        let start = BootInstant::from_nanos(5_000_000_000);
        assert_eq!((0..5).filter(|_| takes(&bucket, start)).count(), 3);
        assert!(!takes(&bucket, start + Duration::from_millis(99)));
        assert!(takes(&bucket, start + Duration::from_millis(100)));
        assert!(!takes(&bucket, start + Duration::from_millis(100)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..5).filter(|_| takes(&bucket, later)).count(), 3, "rest fills it, but not beyond its size");
    }

    #[test]
    fn asking_takes_nothing() {
        let bucket = Bucket::default();
        let now = BootInstant::from_nanos(1);
        assert!((0..10).all(|_| bucket.has(LIMIT, now)));
        assert_eq!((0..10).filter(|_| takes(&bucket, now)).count(), 3);
        assert!(!bucket.has(LIMIT, now));
    }

    #[test]
    fn a_level_says_how_much_fits_and_when_there_is_more() {
        let bucket = Bucket::default();
        let now = BootInstant::from_nanos(7_000_000_000);
        let millis = Duration::from_millis;
        let level = |left, full, wait| Level { left, full_in: millis(full), wait: millis(wait) };
        assert_eq!(bucket.take(LIMIT, now), Ok(level(2, 100, 0)));
        assert_eq!(bucket.take(LIMIT, now), Ok(level(1, 200, 0)));
        assert_eq!(bucket.take(LIMIT, now), Ok(level(0, 300, 100)));
        assert_eq!(bucket.take(LIMIT, now), Err(level(0, 300, 100)));
        assert_eq!(bucket.take(LIMIT, now + millis(60)), Err(level(0, 240, 40)));
        assert_eq!(bucket.take(LIMIT, now + millis(100)), Ok(level(0, 300, 100)));
    }

    #[test]
    fn the_parts_of_gateways_are_no_more_than_the_whole() {
        for gateways in 1..=3 {
            let part = Pace::of(LIMIT).among(gateways);
            let start = BootInstant::from_nanos(1);
            let taken: usize = (0..gateways)
                .map(|_| {
                    let bucket = Bucket::default();
                    (0..1_000).filter(|at| bucket.step(part, start + Duration::from_millis(10 * at)).is_ok()).count()
                })
                .sum();
            assert!((90..=103).contains(&taken), "{gateways}: {taken} in ten seconds");
        }
    }

    #[test]
    fn parallel_takers_never_get_more_than_the_burst() {
        let buckets = Buckets::new(10);
        let taken = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if takes(&buckets.of(1_u64), BootInstant::from_nanos(1)) {
                            taken.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 3);
    }
}
