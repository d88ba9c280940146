//! API keys as gateways verify by them: what the control plane says of one, as of a place in the log.
//!
//! A key is state, as role bindings are: it is cached with the place in the log at which it was read, and used only while
//! no later fact names it ([`crate::Fact::KeyChanged`]). So disabling, revoking and rotating one are in force everywhere
//! with the log's guarantee, and enabling it again needs nothing of its own.

use std::{fmt, ops::Deref, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ApiKeyId, History, Network, Permission, ProjectId, Secret, Seq, TenantId, Timestamp, UserId, secret,
    snapshot::RateLimit,
};

/// How a key's holder proves to have it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyScheme {
    /// By sending it: `Authorization: Bearer pck_…`.
    Bearer,
    /// By signing each request with it; it is never sent.
    Hmac,
}

impl ApiKeyScheme {
    /// What its keys begin with.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Bearer => "pck_",
            Self::Hmac => "pcs_",
        }
    }
}

/// The public part of a key, by which it is found: `pck_` or `pcs_`, and 16 of `a`–`z`, `2`–`7`. Unique, and no secret.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("examples" = ["pck_abcdefghijklmnop"]))]
pub struct KeyPrefix(Box<str>);

impl KeyPrefix {
    /// Its length, in bytes.
    pub const BYTES: usize = 20;

    /// The scheme of the key.
    pub fn scheme(&self) -> ApiKeyScheme {
        if self.0.starts_with(ApiKeyScheme::Hmac.mark()) { ApiKeyScheme::Hmac } else { ApiKeyScheme::Bearer }
    }
}

/// Whether a byte may stand in a key's public part and in its secret (the alphabet of RFC 4648 §6, in lower case).
pub const fn is_key_char(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'2'..=b'7')
}

impl FromStr for KeyPrefix {
    type Err = KeyPrefixError;
    fn from_str(text: &str) -> Result<Self, KeyPrefixError> {
        let marks = [ApiKeyScheme::Bearer, ApiKeyScheme::Hmac].map(ApiKeyScheme::mark);
        let rest = marks.into_iter().find_map(|mark| text.strip_prefix(mark)).ok_or(KeyPrefixError)?;
        if text.len() == Self::BYTES && rest.bytes().all(is_key_char) {
            Ok(Self(text.into()))
        } else {
            Err(KeyPrefixError)
        }
    }
}
impl Deref for KeyPrefix {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl TryFrom<String> for KeyPrefix {
    type Error = KeyPrefixError;
    fn try_from(text: String) -> Result<Self, KeyPrefixError> {
        text.parse()
    }
}
impl From<KeyPrefix> for String {
    fn from(prefix: KeyPrefix) -> Self {
        prefix.0.into()
    }
}

/// A text is not a [`KeyPrefix`]. Does not repeat it: it may be a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the public part of a key is `pck_` or `pcs_` and 16 of a–z, 2–7")]
pub struct KeyPrefixError;

/// What is known of a key, and as of when.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiKeyState {
    /// Who counts `as_of`. A state of another history is of no use.
    pub history: History,
    /// The log's head in the SQL state this was read from. Usable while no newer fact names the key.
    pub as_of: Seq,
    /// The key.
    pub id: ApiKeyId,
    /// Its public part.
    pub prefix: KeyPrefix,
    /// Its tenant's project.
    pub project: ProjectId,
    /// The tenant it acts in.
    pub tenant: TenantId,
    /// Whose it is: it acts as this user.
    pub owner: UserId,
    /// The owner's sign-in name.
    pub owner_name: Option<String>,
    /// What accepts it: one, and while it is being rotated the one before, too.
    pub verifiers: Vec<Verifier>,
    /// What it may do at most, of what its owner may do then.
    pub scopes: Vec<Permission>,
    /// Where it may be used from; empty for everywhere.
    pub networks: Vec<Network>,
    /// Requests a second with it.
    pub rate_limit: Option<RateLimit>,
    /// From when on it is not accepted.
    pub expires_at: Option<Timestamp>,
    /// Whether it is out of use for now.
    pub disabled: bool,
}

impl ApiKeyState {
    /// How its holder proves to have it.
    pub fn scheme(&self) -> ApiKeyScheme {
        self.prefix.scheme()
    }
}

/// By what a key is accepted: of a bearer key the SHA-256 of its text, of a signing key the text itself.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Verifier {
    /// Of a bearer key 32 bytes.
    #[serde(serialize_with = "secret::exposed")]
    pub secret: Secret<Vec<u8>>,
    /// From when on it accepts nothing; none for the newest.
    pub until: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_one_form() {
        let prefix: KeyPrefix = "pcs_abcdefghijklmn27".parse().unwrap();
        assert_eq!(prefix.scheme(), ApiKeyScheme::Hmac);
        assert_eq!("pck_abcdefghijklmnop".parse::<KeyPrefix>().unwrap().scheme(), ApiKeyScheme::Bearer);
        for bad in [
            "",
            "pck_",
            "pck_abcdefghijklmno",
            "pck_abcdefghijklmnopq",
            "pck_ABCDEFGHIJKLMNOP",
            "pcx_abcdefghijklmnop",
            "pck_abcdefghijklmno1",
        ] {
            assert_eq!(bad.parse::<KeyPrefix>(), Err(KeyPrefixError), "{bad}");
        }
    }
}
