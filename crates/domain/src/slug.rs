//! Slugs: the short names of tenants and projects that people type.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name such as `acme`: `^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$`, 3 to 63 bytes.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$"))]
pub struct Slug(Box<str>);

impl Slug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names that no tenant gets: the platform's own projects and hostnames, and what people would take for them.
const RESERVED: [&str; 48] = [
    "about",
    "account",
    "accounts",
    "admin",
    "administrator",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "billing",
    "blog",
    "cdn",
    "cloud",
    "console",
    "control",
    "default",
    "docs",
    "edge",
    "ftp",
    "gateway",
    "help",
    "id",
    "identity",
    "imap",
    "internal",
    "localhost",
    "login",
    "mail",
    "metrics",
    "ns1",
    "ns2",
    "oauth",
    "platform",
    "portal",
    "portcullis",
    "root",
    "security",
    "signup",
    "smtp",
    "sso",
    "static",
    "status",
    "support",
    "system",
    "test",
    "webmail",
    "www",
];

impl Slug {
    /// Whether it is kept for the platform, or looks like an encoded international name (RFC 5890 §2.3.1): a tenant's
    /// slug is the first label of its hostname.
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.as_str()) || self.0.get(2..4) == Some("--")
    }
}

impl FromStr for Slug {
    type Err = SlugError;
    fn from_str(text: &str) -> Result<Self, SlugError> {
        let bytes = text.as_bytes();
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
        if (3..=63).contains(&bytes.len()) && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last()) {
            Ok(Self(text.into()))
        } else {
            Err(SlugError { text: text.into() })
        }
    }
}

/// Why a text is not a [`Slug`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a slug: 3 to 63 of a-z, 0-9 and `-`, no `-` at either end")]
pub struct SlugError {
    text: String,
}

impl TryFrom<String> for Slug {
    type Error = SlugError;
    fn try_from(text: String) -> Result<Self, SlugError> {
        text.parse()
    }
}
impl From<Slug> for String {
    fn from(slug: Slug) -> Self {
        slug.0.into()
    }
}
impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[test]
fn rejects_what_is_too_short_dashed_upper_case_or_underscored() {
    assert!("acme".parse::<Slug>().is_ok());
    assert!("a-1".parse::<Slug>().is_ok());
    for bad in ["", "ab", "-abc", "abc-", "Acme", "a_b", "a b", &"a".repeat(64)] {
        assert!(bad.parse::<Slug>().is_err(), "{bad}");
    }
}

#[test]
fn the_platforms_own_names_and_encoded_ones_are_reserved() {
    assert!(RESERVED.is_sorted());
    for reserved in ["root", "cloud", "console", "www", "xn--bcher-kva", "ab--cd"] {
        assert!(reserved.parse::<Slug>().unwrap().is_reserved(), "{reserved}");
    }
    for free in ["acme", "globex", "a--b", "root-cause", "cloud9"] {
        assert!(!free.parse::<Slug>().unwrap().is_reserved(), "{free}");
    }
}
