//! A clock that stands still until a test turns it.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use domain::{BootInstant, Clock, Timestamp};

/// Both clocks of [`Clock`], moved by hand. Share it as `Arc<FixedClock>`, which is a [`Clock`] too.
#[derive(Debug)]
pub struct FixedClock {
    unix_millis: AtomicI64,
    boot_nanos: AtomicU64,
}

impl FixedClock {
    /// Stands at `unix`, one hour after boot.
    pub fn at(unix: Timestamp) -> Self {
        Self { unix_millis: AtomicI64::new(unix.millis()), boot_nanos: AtomicU64::new(3_600_000_000_000) }
    }

    /// Time passes: both clocks move.
    pub fn advance(&self, by: Duration) {
        self.set_unix(self.unix_now() + by);
        self.set_boot(self.boot_now() + by);
    }

    /// The wall clock jumps, as when it is set; the boot-time clock does not notice.
    pub fn set_unix(&self, to: Timestamp) {
        self.unix_millis.store(to.millis(), Ordering::SeqCst);
    }

    /// Sets the boot-time clock. A real one never goes back.
    pub fn set_boot(&self, to: BootInstant) {
        self.boot_nanos.store(to.nanos(), Ordering::SeqCst);
    }
}

/// Stands at 2026-01-01T00:00:00Z.
impl Default for FixedClock {
    fn default() -> Self {
        Self::at(Timestamp::from_secs(1_767_225_600))
    }
}

impl Clock for FixedClock {
    fn unix_now(&self) -> Timestamp {
        Timestamp::from_millis(self.unix_millis.load(Ordering::SeqCst))
    }
    fn boot_now(&self) -> BootInstant {
        BootInstant::from_nanos(self.boot_nanos.load(Ordering::SeqCst))
    }
}

#[test]
fn a_jump_of_the_wall_clock_leaves_the_boot_clock_alone() {
    let clock = FixedClock::default();
    let (wall, boot) = (clock.unix_now(), clock.boot_now());
    clock.advance(Duration::from_secs(5));
    clock.set_unix(wall);
    assert_eq!(clock.unix_now(), wall);
    assert_eq!(clock.boot_now().since(boot), Duration::from_secs(5));
}
