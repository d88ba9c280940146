//! The real clock. Made in `main` and nowhere else; everything below is given a [`domain::Clock`].

use std::time::Duration;

use domain::{BootInstant, Clock, Timestamp};

/// The machine's clocks: `CLOCK_REALTIME` for token times, `CLOCK_BOOTTIME` for leases and ages.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// For what is written beside an event of now; nothing is judged by it.
pub(crate) fn since_1970() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), nanos.min(999_999_999))
}

impl Clock for SystemClock {
    fn unix_now(&self) -> Timestamp {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        Timestamp::from_millis(now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000))
    }

    fn boot_now(&self) -> BootInstant {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let secs = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
        BootInstant::from_nanos(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}

#[test]
fn the_boot_clock_never_goes_back_and_the_wall_clock_is_of_this_century() {
    let (first, second) = (SystemClock.boot_now(), SystemClock.boot_now());
    assert!(second >= first);
    assert!(SystemClock.unix_now() > Timestamp::from_secs(1_600_000_000));
}
