//! Hostnames in the one spelling under which everything is stored and compared.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A hostname: lower-case ASCII (punycode for international names, UTS 46), no port, no trailing dot, at most 253
/// bytes. No wildcard, no IP address.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct HostName(Box<str>);

impl HostName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = HostNameError;
    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let fail = |reason| HostNameError { text: text.into(), reason };
        let ascii = idna::domain_to_ascii_strict(text.strip_suffix('.').unwrap_or(text))
            .map_err(|_| fail("not a valid internationalised domain name"))?;
        if ascii.is_empty() || ascii.len() > 253 {
            return Err(fail("1 to 253 bytes are allowed"));
        }
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && !l.starts_with('-')
                && !l.ends_with('-')
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !ascii.split('.').all(label) {
            return Err(fail("labels are 1 to 63 of a-z, 0-9 and `-`"));
        }
        if ascii.parse::<std::net::Ipv4Addr>().is_ok() || ascii.rsplit('.').next().is_some_and(numeric) {
            return Err(fail("an address is not a hostname"));
        }
        Ok(Self(ascii.into()))
    }
}

/// A last label of digits only makes a text an IPv4 address to some readers (WHATWG URL §3.5) and a name to others.
fn numeric(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
}

/// Why a text is not a [`HostName`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a hostname: {reason}")]
pub struct HostNameError {
    text: String,
    reason: &'static str,
}

impl TryFrom<String> for HostName {
    type Error = HostNameError;
    fn try_from(text: String) -> Result<Self, HostNameError> {
        text.parse()
    }
}
impl From<HostName> for String {
    fn from(host: HostName) -> Self {
        host.0.into()
    }
}
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_one_value() {
        let acme: HostName = "acme.example.com".parse().unwrap();
        for spelling in ["ACME.example.com", "acme.example.com.", "Acme.Example.Com"] {
            assert_eq!(spelling.parse::<HostName>().as_ref(), Ok(&acme), "{spelling}");
        }
        assert_eq!("bücher.example".parse::<HostName>().unwrap().as_str(), "xn--bcher-kva.example");
    }

    #[test]
    fn refuses_what_is_read_two_ways() {
        for bad in
            ["", ".", "a..b", "-a.com", "a_b.com", "1.2.3.4", "a.1", "*.example.com", "a b", "xn--example-.com", "a:80"]
        {
            assert!(bad.parse::<HostName>().is_err(), "{bad}");
        }
    }
}
