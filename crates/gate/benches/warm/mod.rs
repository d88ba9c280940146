//! A gate that runs on the real clock, under no limit that a measurement would reach.

use std::time::{Duration, Instant, SystemTime};

use domain::{BootInstant, Clock, Timestamp, snapshot::RateLimit};
use futures::FutureExt as _;
use gate::{GateConfig, RawHead, Trace};

use crate::world::World;

/// The world of the tests, and a clock that is read as in production.
pub(crate) struct Warm {
    pub(crate) world: World,
    clock: RealClock,
}

struct RealClock {
    began: Instant,
}

/// Both are read at each call, as the system's clocks are.
#[expect(clippy::disallowed_methods, reason = "reading the clock is a part of what is measured")]
impl Clock for RealClock {
    fn unix_now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
    fn boot_now(&self) -> BootInstant {
        BootInstant::from_nanos(1) + self.began.elapsed()
    }
}

impl Warm {
    /// One that keeps as many verified tokens as by default.
    #[allow(dead_code, reason = "not every program that measures uses it")]
    pub(crate) fn new() -> Self {
        Self::keeping(GateConfig::default().token_cache_entries)
    }

    /// One that keeps so many verified tokens.
    #[expect(clippy::disallowed_methods, reason = "reading the clock is a part of what is measured")]
    pub(crate) fn keeping(token_cache_entries: usize) -> Self {
        let plenty = RateLimit { rps: 1_000_000, burst: 1_000_000 };
        let config =
            GateConfig { address_limit: plenty, tenant_limit: plenty, token_cache_entries, ..GateConfig::default() };
        let (world, clock) = (World::with_config(config), RealClock { began: Instant::now() });
        world.clock.set_unix(clock.unix_now());
        world.gate.mirror().grant(clock.boot_now(), clock.boot_now() + Duration::from_secs(3600));
        Self { world, clock }
    }

    pub(crate) fn decide(&self, head: &RawHead<'_>) {
        let decided = self.world.gate.decide(head, &self.clock, &mut Trace::default()).now_or_never();
        assert!(matches!(decided, Some(Ok(_))), "{decided:?}");
    }
}
