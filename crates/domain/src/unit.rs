//! Durations and sizes as people write them in files.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A duration such as `500ms`, `30s`, `5m`, `24h` or `7d`: one whole number and one unit.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+(ms|s|m|h|d)$"))]
pub struct HumanDuration(Duration);

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl HumanDuration {
    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
    /// From seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
    /// The duration.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for HumanDuration {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &DURATION_UNITS).map(Self::from_millis).ok_or_else(|| UnitError {
            text: text.into(),
            expected: "a duration such as `500ms`, `30s`, `5m`, `24h` or `7d`",
        })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_scaled(f, millis, DURATION_UNITS.iter().rev())
    }
}

/// A number of bytes such as `64KiB`, `1MiB` or `512B`: one whole number and one unit (IEC 80000-13).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9]+(B|KiB|MiB|GiB)$"))]
pub struct ByteSize(u64);

impl ByteSize {
    /// From bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }
    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &SIZE_UNITS).map(Self).ok_or_else(|| UnitError {
            text: text.into(),
            expected: "a size such as `512B`, `64KiB`, `1MiB` or `1GiB`",
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, SIZE_UNITS.iter())
    }
}

/// Why a text is not a duration or size.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Writes `value` in the largest unit that divides it.
fn write_scaled<'u>(
    f: &mut fmt::Formatter<'_>,
    value: u64,
    mut largest_first: impl Iterator<Item = &'u (&'u str, u64)> + Clone,
) -> fmt::Result {
    let smallest = largest_first.clone().last();
    let fitting = largest_first.find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor)).or(smallest);
    match fitting {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}"),
    }
}

macro_rules! string_form {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = UnitError;
            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}
string_form!(HumanDuration);
string_form!(ByteSize);

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn every_duration_reads_back(millis in 0..10_000_000_000_u64) {
            let duration = HumanDuration::from_millis(millis);
            proptest::prop_assert_eq!(duration.to_string().parse::<HumanDuration>(), Ok(duration));
        }
        #[test]
        fn every_size_reads_back(bytes in 0..u64::MAX) {
            let size = ByteSize::from_bytes(bytes);
            proptest::prop_assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for bad in ["", "5", "s", "5 s", "-5s", "1.5h", "99999999999999999999d"] {
            assert!(bad.parse::<HumanDuration>().is_err(), "{bad}");
        }
        assert_eq!("90s".parse::<HumanDuration>().unwrap().to_string(), "90s");
        assert_eq!("120s".parse::<HumanDuration>().unwrap().to_string(), "2m");
    }
}
