//! Permission codes: `module:resource:action`, as text. What a code grants is decided in `authz`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A permission such as `tenant:user:list`, or a grant of several: `tenant:user:*`, `tenant:*`, `*:*:*`.
///
/// Segments are 1 to 64 of `a-z`, `0-9`, `-` and `_`. `*` stands only as the last segment and there for all that
/// could follow; `*:*:*` is everything and reserved for platform staff.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Permission(Box<str>);

/// The grant of everything.
pub const EVERYTHING: &str = "*:*:*";

impl Permission {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether this grants a whole module, a whole resource or everything, and so can be held but not asked for.
    pub fn is_wildcard(&self) -> bool {
        self.0.ends_with('*')
    }
    /// The first segment.
    pub fn module(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

impl FromStr for Permission {
    type Err = PermissionError;
    fn from_str(text: &str) -> Result<Self, PermissionError> {
        let fail = || PermissionError { text: text.into() };
        if text == EVERYTHING {
            return Ok(Self(text.into()));
        }
        let mut parts = text.split(':');
        let named = |part: &str| {
            (1..=64).contains(&part.len())
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        let ok = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(module), Some("*"), None, None) => named(module),
            (Some(module), Some(resource), Some(action), None) => {
                named(module) && named(resource) && (action == "*" || named(action))
            }
            _ => false,
        };
        if ok { Ok(Self(text.into())) } else { Err(fail()) }
    }
}

/// Why a text is not a [`Permission`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a permission such as `orders:order:list`, `orders:order:*` or `orders:*`")]
pub struct PermissionError {
    text: String,
}

impl TryFrom<String> for Permission {
    type Error = PermissionError;
    fn try_from(text: String) -> Result<Self, PermissionError> {
        text.parse()
    }
}
impl From<Permission> for String {
    fn from(permission: Permission) -> Self {
        permission.0.into()
    }
}
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[test]
fn a_star_stands_only_at_the_end() {
    for good in ["tenant:user:list", "tenant:user:*", "tenant:*", "*:*:*"] {
        assert_eq!(good.parse::<Permission>().unwrap().as_str(), good);
    }
    for bad in [
        "",
        "*",
        "tenant",
        "tenant:user",
        "*:user:list",
        "tenant:*:list",
        "tenant:us*:list",
        "a:b:c:d",
        "A:b:c",
        "a::c",
        "a:b:",
    ] {
        assert!(bad.parse::<Permission>().is_err(), "{bad}");
    }
}
