//! Who is let in at the edge, and how much of it at once.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Network, network};

/// Networks that a list holds at most: each request looks through it.
pub const MAX_NETWORKS: usize = 256;

/// Who is let in to a tenant or a hostname, and how much at once.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admission {
    /// Only clients of these networks, at most 256; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_NETWORKS))]
    pub allow: Vec<Network>,
    /// No clients of these networks, whatever `allow` says; at most 256.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_NETWORKS))]
    pub deny: Vec<Network>,
    /// Requests that are served at once by one gateway; absent for its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub in_flight: Option<u32>,
    /// WebSockets that are open at once at one gateway; absent for its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub websockets: Option<u32>,
    /// TLS connections that are open at once at one gateway; absent for its default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<u32>,
}

impl Admission {
    /// Whether a client of this address is let in.
    pub fn lets_in(&self, client: IpAddr) -> bool {
        !network::any_contains(&self.deny, client)
            && (self.allow.is_empty() || network::any_contains(&self.allow, client))
    }

    /// Whether it restricts nobody and nothing.
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether its lists and numbers are within their bounds.
    ///
    /// # Errors
    /// Which is not.
    pub fn check(&self) -> Result<(), AdmissionError> {
        for (field, list) in [("allow", &self.allow), ("deny", &self.deny)] {
            if list.len() > MAX_NETWORKS {
                return Err(AdmissionError { field, reason: "at most 256 networks are allowed" });
            }
        }
        let numbers =
            [("in_flight", self.in_flight), ("websockets", self.websockets), ("connections", self.connections)];
        for (field, number) in numbers {
            if number.is_some_and(|number| !(1..=1_000_000).contains(&number)) {
                return Err(AdmissionError { field, reason: "1 to 1,000,000 are allowed" });
            }
        }
        Ok(())
    }
}

/// What of an [`Admission`] is out of bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{field}`: {reason}")]
pub struct AdmissionError {
    /// The field.
    pub field: &'static str,
    /// Its bounds.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(allow: &[&str], deny: &[&str]) -> Admission {
        let networks = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        Admission { allow: networks(allow), deny: networks(deny), ..Admission::default() }
    }

    #[test]
    fn deny_wins_over_allow_and_an_empty_list_allows_all() {
        let lets = |it: &Admission, address: &str| it.lets_in(address.parse().unwrap());
        let both = admission(&["192.0.2.0/24", "2001:db8::/32"], &["192.0.2.128/25"]);
        assert!(lets(&both, "192.0.2.1") && lets(&both, "2001:db8::1") && lets(&both, "::ffff:192.0.2.1"));
        assert!(!lets(&both, "192.0.2.200") && !lets(&both, "::ffff:192.0.2.200"), "denied though allowed");
        assert!(!lets(&both, "203.0.113.1") && !lets(&both, "2001:db9::1"), "not allowed");
        let denying = admission(&[], &["192.0.2.0/24"]);
        assert!(lets(&denying, "203.0.113.1") && !lets(&denying, "192.0.2.1"));
        assert!(lets(&Admission::default(), "203.0.113.1"));
    }

    #[test]
    fn lists_and_numbers_have_bounds() {
        let long = Admission { deny: vec!["192.0.2.0/24".parse().unwrap(); MAX_NETWORKS + 1], ..Admission::default() };
        assert_eq!(long.check().unwrap_err().field, "deny");
        let none = Admission { in_flight: Some(0), ..Admission::default() };
        assert_eq!(none.check().unwrap_err().field, "in_flight");
        assert_eq!(Admission { websockets: Some(1), ..Admission::default() }.check(), Ok(()));
    }
}
