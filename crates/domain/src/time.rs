//! Instants, and the clock everything is given: only `main` makes a real one.

use std::{fmt, ops::Add, ops::Sub, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 UTC in JSON, kept as a number in SQL.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }
    /// From whole seconds since the epoch, as in JWT claims (RFC 7519 §2, `NumericDate`). Saturates.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }
    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }
    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }
    /// How long ago `earlier` was; zero when it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}
impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let at: jiff::Timestamp =
            text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 instant")))?;
        Ok(Self(at.as_millisecond()))
    }
}
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// Nanoseconds of the boot-time clock (`CLOCK_BOOTTIME`): never goes back, and runs while the machine is suspended.
/// Means nothing on another machine.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BootInstant(u64);

impl BootInstant {
    /// From nanoseconds since boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
    /// Nanoseconds since boot.
    pub const fn nanos(self) -> u64 {
        self.0
    }
    /// How long ago `earlier` was; zero when it is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
impl Add<Duration> for BootInstant {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Where the time comes from. The real clock is made in `main`; tests turn a fixed one by hand.
pub trait Clock: Send + Sync {
    /// Wall-clock time. May jump; used for token times only.
    fn unix_now(&self) -> Timestamp;
    /// Boot-time clock; used for leases, limits and ages.
    fn boot_now(&self) -> BootInstant;
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn unix_now(&self) -> Timestamp {
        (**self).unix_now()
    }
    fn boot_now(&self) -> BootInstant {
        (**self).boot_now()
    }
}

#[test]
fn a_timestamp_reads_back_what_it_wrote() {
    let at = Timestamp::from_millis(1_700_000_000_123);
    assert_eq!(serde_json::to_string(&at).unwrap(), "\"2023-11-14T22:13:20.123Z\"");
    assert_eq!(serde_json::from_str::<Timestamp>("\"2023-11-14T22:13:20.123Z\"").unwrap(), at);
    assert_eq!(Timestamp::from_millis(-1).secs(), -1);
}
