//! Fleets: gateways that serve the same hostnames.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Longest name of a fleet or gateway, in bytes.
const MAX_BYTES: usize = 63;

/// The name of a fleet, such as `eu-1`: 1 to 63 of `a-z`, `0-9`, `-`, `.` and `_`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z0-9._-]{1,63}$"))]
pub struct FleetName(Box<str>);

impl FleetName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `default`: where hostnames and gateways are that name none.
impl Default for FleetName {
    fn default() -> Self {
        Self("default".into())
    }
}

/// Whether a text may name a gateway or a fleet: 1 to 63 of `a-z`, `0-9`, `-`, `.` and `_`.
pub fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    (1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

impl FromStr for FleetName {
    type Err = FleetNameError;
    fn from_str(text: &str) -> Result<Self, FleetNameError> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(FleetNameError { text: text.into() }) }
    }
}

/// Why a text is not a [`FleetName`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is no name of a gateway or fleet: 1 to {MAX_BYTES} of a-z, 0-9, `-`, `.` and `_`")]
pub struct FleetNameError {
    text: String,
}

impl TryFrom<String> for FleetName {
    type Error = FleetNameError;
    fn try_from(text: String) -> Result<Self, FleetNameError> {
        text.parse()
    }
}
impl From<FleetName> for String {
    fn from(name: FleetName) -> Self {
        name.0.into()
    }
}
impl fmt::Display for FleetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[test]
fn a_fleet_has_a_name_that_a_certificate_can_carry() {
    for good in ["default", "eu-1", "a.b_c"] {
        assert_eq!(good.parse::<FleetName>().unwrap().as_str(), good);
    }
    for bad in ["", "EU", "eu/1", "eu 1", "é", &"x".repeat(64)] {
        assert!(bad.parse::<FleetName>().is_err(), "{bad}");
    }
}
