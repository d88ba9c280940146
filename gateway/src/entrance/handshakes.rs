//! How fast TLS handshakes are made for one hostname: they are the dearest thing a stranger can ask for, and the
//! processors that pay are everybody's. A flood at one hostname, from however many addresses, leaves the others theirs.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use domain::{Clock, snapshot::RateLimit};
use gate::bucket::Buckets;

use crate::metrics::Metrics;

/// Hostnames whose handshakes are counted. Some 100 bytes each.
const CAPACITY: usize = 100_000;

/// The handshakes of all listeners.
pub(crate) struct Handshakes {
    limit: RateLimit,
    hostnames: Buckets<u64>,
    hasher: RandomState,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Handshakes {
    pub(crate) fn new(limit: RateLimit, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self { limit, hostnames: Buckets::new(CAPACITY), hasher: RandomState::new(), clock, metrics }
    }

    /// Whether one more may go on for this hostname, which is served here.
    pub(crate) fn allow(&self, hostname: &str) -> bool {
        let allowed = self.hostnames.of(self.hasher.hash_one(hostname)).take(self.limit, self.clock.boot_now()).is_ok();
        if !allowed {
            self.metrics.connection_closed("hostname_handshakes");
        }
        allowed
    }
}

impl fmt::Debug for Handshakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").field("limit", &self.limit).finish_non_exhaustive()
    }
}

#[test]
fn a_flood_at_one_hostname_leaves_the_others_theirs() {
    let clock = Arc::new(testkit::FixedClock::default());
    let limit = RateLimit { rps: 1, burst: 3 };
    let handshakes = Handshakes::new(limit, clock.clone(), Arc::new(Metrics::new().unwrap()));
    assert_eq!((0..10).filter(|_| handshakes.allow("acme.example.test")).count(), 3);
    assert!(handshakes.allow("globex.example.test"));
    clock.advance(std::time::Duration::from_secs(1));
    assert!(handshakes.allow("acme.example.test") && !handshakes.allow("acme.example.test"));
}
