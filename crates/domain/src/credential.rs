//! The kinds of credentials a caller can show, and which of them a route takes.

use std::{fmt, ops::BitOr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a caller shows to say who they are.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A bearer token (RFC 6750): a JWT of ours or of an external issuer.
    Token,
    /// An API key as a bearer token.
    ApiKey,
    /// A request signed with an API key's secret.
    Signature,
    /// A client certificate of the TLS connection.
    Certificate,
}

impl CredentialKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Token, Self::ApiKey, Self::Signature, Self::Certificate];

    /// Its name, in files, in bodies and in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::ApiKey => "api_key",
            Self::Signature => "signature",
            Self::Certificate => "certificate",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The kinds of credentials that a route takes: a list without repeats, never empty. Default `token`, `api_key` and
/// `signature`.
///
/// A certificate comes with every request of its connection, whether or not the caller means it, so that a route takes
/// one only where it says so.
#[derive(Clone, Copy, Eq, Hash, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<CredentialKind>", into = "Vec<CredentialKind>")]
#[schemars(with = "Vec<CredentialKind>", extend("minItems" = 1, "uniqueItems" = true))]
pub struct Credentials(u8);

impl Credentials {
    /// Of these kinds.
    ///
    /// # Errors
    /// [`NoCredentials`] for none.
    pub fn of(kinds: impl IntoIterator<Item = CredentialKind>) -> Result<Self, NoCredentials> {
        match kinds.into_iter().map(CredentialKind::bit).fold(0, BitOr::bitor) {
            0 => Err(NoCredentials),
            bits => Ok(Self(bits)),
        }
    }

    /// Of every kind.
    pub const ALL: Self = Self((1 << CredentialKind::ALL.len()) - 1);

    /// One kind alone.
    pub const fn only(kind: CredentialKind) -> Self {
        Self(kind.bit())
    }

    /// Whether a kind is among them.
    pub const fn contains(self, kind: CredentialKind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// The kinds, in the order of [`CredentialKind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = CredentialKind> {
        CredentialKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self(CredentialKind::Token.bit() | CredentialKind::ApiKey.bit() | CredentialKind::Signature.bit())
    }
}
impl TryFrom<Vec<CredentialKind>> for Credentials {
    type Error = NoCredentials;
    fn try_from(kinds: Vec<CredentialKind>) -> Result<Self, NoCredentials> {
        Self::of(kinds)
    }
}
impl From<Credentials> for Vec<CredentialKind> {
    fn from(kinds: Credentials) -> Self {
        kinds.iter().collect()
    }
}
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A list of credential kinds is empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a route takes at least one kind of credential; who is to need none is let in by `access`")]
pub struct NoCredentials;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_takes_what_it_lists_and_nothing_else() {
        let kinds: Credentials = serde_json::from_str(r#"["certificate", "token", "token"]"#).unwrap();
        assert!(kinds.contains(CredentialKind::Token) && kinds.contains(CredentialKind::Certificate));
        assert!(!kinds.contains(CredentialKind::ApiKey) && !kinds.contains(CredentialKind::Signature));
        assert_eq!(serde_json::to_string(&kinds).unwrap(), r#"["token","certificate"]"#);
        for kind in CredentialKind::ALL {
            assert_eq!(Credentials::only(kind).iter().collect::<Vec<_>>(), [kind]);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
        }
    }

    #[test]
    fn a_route_that_says_nothing_takes_all_but_certificates() {
        let taken: Vec<_> = Credentials::default().iter().collect();
        assert_eq!(taken, [CredentialKind::Token, CredentialKind::ApiKey, CredentialKind::Signature]);
    }

    #[test]
    fn an_empty_list_is_refused() {
        assert!(serde_json::from_str::<Credentials>("[]").is_err());
    }
}
