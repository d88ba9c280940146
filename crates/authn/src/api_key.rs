//! API keys: their text, and whether one is accepted.
//!
//! ```text
//! pck_abcdefghijklmnop_<52 of a–z, 2–7>_<8 hexadecimal digits>
//! └─ public part ────┘ └─ 260 random bits ┘ └─ CRC-32 of all before the last `_`
//! ```
//!
//! `pck_` is sent as it is, `pcs_` signs and is never sent. The checksum lets a scanner of leaked secrets tell a key from
//! what looks like one, and lets us refuse what cannot be a key without asking anybody: [`PATTERN`] finds both.
//!
//! Of a bearer key only the SHA-256 is kept. Its secret is random and long, so that nothing is gained by guessing at the
//! hash, and a slow hash would only cost the edge.

use std::net::IpAddr;

use aws_lc_rs::digest;
use domain::{
    ApiKeyScheme, ApiKeyState, KeyPrefix, Secret, Timestamp,
    api_key::{Verifier, is_key_char},
    network,
};

/// A regular expression for keys of both kinds, for scanners.
pub const PATTERN: &str = "pc[ks]_[a-z2-7]{16}_[a-z2-7]{52}_[0-9a-f]{8}";

/// Random bytes that a new key is made of.
pub const RANDOM_BYTES: usize = PUBLIC + SECRET;

const PUBLIC: usize = 16;
const SECRET: usize = 52;
const CHECKSUM: usize = 8;

/// Length of a key, in bytes.
const KEY_BYTES: usize = KeyPrefix::BYTES + 1 + SECRET + 1 + CHECKSUM;

/// Why a key, or a request signed with one, is not accepted. That a key is expired or disabled is told only to who has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum KeyError {
    #[error("the key is not known, or its secret or signature is not right")]
    Invalid,
    #[error("the key has expired")]
    Expired,
    #[error("the key is disabled")]
    Disabled,
    #[error("the fields of the signature are missing, repeated or not of their form")]
    SignatureMalformed,
    #[error("the signature's timestamp is too far from now")]
    SignatureTimestamp,
    #[error("the signature was used before, or may have been")]
    SignatureReplayed,
    #[error("the body is not the one that was signed")]
    SignatureBody,
}

impl KeyError {
    /// Stable public code. Codes are API: add, never reuse.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Invalid => "api_key_invalid",
            Self::Expired => "api_key_expired",
            Self::Disabled => "api_key_disabled",
            Self::SignatureMalformed => "signature_malformed",
            Self::SignatureTimestamp => "signature_timestamp",
            Self::SignatureReplayed => "signature_replayed",
            Self::SignatureBody => "signature_body",
        }
    }
}

/// A bearer key as it was sent: of the right form, and not verified.
#[derive(Clone, Copy, Debug)]
pub struct PresentedKey<'t> {
    text: &'t str,
}

impl<'t> PresentedKey<'t> {
    /// Whether a bearer text is meant to be a key: no token begins like one.
    pub fn looks_like(text: &str) -> bool {
        text.starts_with(ApiKeyScheme::Bearer.mark())
    }

    /// Takes a text for a bearer key.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] for one of another form or with a wrong checksum.
    pub fn read(text: &'t str) -> Result<Self, KeyError> {
        match split(text) {
            Some(mark) if mark == ApiKeyScheme::Bearer.mark() => Ok(Self { text }),
            Some(_) | None => Err(KeyError::Invalid),
        }
    }

    /// Its public part.
    ///
    /// # Errors
    /// None for a key that was read.
    pub fn prefix(&self) -> Result<KeyPrefix, KeyError> {
        let prefix = self.text.get(..KeyPrefix::BYTES).and_then(|text| text.parse().ok());
        prefix.ok_or(KeyError::Invalid)
    }

    /// The one of a key's verifiers that accepts it at `now`.
    ///
    /// # Errors
    /// [`KeyError::Invalid`].
    pub fn accepted<'k>(&self, key: &'k ApiKeyState, now: Timestamp) -> Result<&'k Verifier, KeyError> {
        if key.scheme() != ApiKeyScheme::Bearer {
            return Err(KeyError::Invalid);
        }
        let hash = bearer_verifier(self.text);
        let accepting = key.verifiers.iter().find(|verifier| is_live(verifier, now) && verifier.secret == hash);
        accepting.ok_or(KeyError::Invalid)
    }
}

/// Whether a verifier still accepts.
pub fn is_live(verifier: &Verifier, now: Timestamp) -> bool {
    verifier.until.is_none_or(|until| now < until)
}

/// Whether a key that was proven to be held is accepted at `now`, and from `client`.
///
/// # Errors
/// [`NotInForce`].
pub fn in_force(key: &ApiKeyState, client: Option<IpAddr>, now: Timestamp) -> Result<(), NotInForce> {
    if key.disabled {
        return Err(NotInForce::Key(KeyError::Disabled));
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(NotInForce::Key(KeyError::Expired));
    }
    let elsewhere = client.is_some_and(|client| !network::any_contains(&key.networks, client));
    if elsewhere && !key.networks.is_empty() { Err(NotInForce::Address) } else { Ok(()) }
}

/// Why a key that is held is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotInForce {
    /// It is disabled or has expired.
    Key(KeyError),
    /// It may not be used from there.
    Address,
}

/// A new key: its public part, and the text that is shown once.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its public part.
    pub prefix: KeyPrefix,
    /// All of it.
    pub text: Secret<String>,
}

impl NewKey {
    /// Of random bytes.
    ///
    /// # Errors
    /// None; a prefix is made of the characters it may have.
    pub fn make(scheme: ApiKeyScheme, random: &[u8; RANDOM_BYTES]) -> Result<Self, domain::api_key::KeyPrefixError> {
        let (public, secret) = random.split_at(PUBLIC);
        Self::with_prefix(format!("{}{}", scheme.mark(), words(public)).parse()?, secret)
    }

    /// Another secret for a key that there is.
    pub fn again(prefix: KeyPrefix, random: &[u8; RANDOM_BYTES]) -> Result<Self, domain::api_key::KeyPrefixError> {
        let (_, secret) = random.split_at(PUBLIC);
        Self::with_prefix(prefix, secret)
    }

    /// One that was made before.
    ///
    /// # Errors
    /// [`KeyError::Invalid`] for a text that is no key.
    pub fn read(text: Secret<String>) -> Result<Self, KeyError> {
        let prefix = split(text.expose()).and_then(|_| text.expose().get(..KeyPrefix::BYTES)?.parse().ok());
        Ok(Self { prefix: prefix.ok_or(KeyError::Invalid)?, text })
    }

    fn with_prefix(prefix: KeyPrefix, secret: &[u8]) -> Result<Self, domain::api_key::KeyPrefixError> {
        let mut text = format!("{prefix}_{}", words(secret));
        let checksum = crc32fast::hash(text.as_bytes());
        text.push_str(&format!("_{checksum:08x}"));
        Ok(Self { prefix, text: Secret::new(text) })
    }

    /// What is kept of it.
    pub fn verifier(&self) -> Secret<Vec<u8>> {
        match self.prefix.scheme() {
            ApiKeyScheme::Bearer => bearer_verifier(self.text.expose()),
            ApiKeyScheme::Hmac => Secret::new(self.text.expose().as_bytes().to_vec()),
        }
    }
}

fn bearer_verifier(text: &str) -> Secret<Vec<u8>> {
    Secret::new(digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec())
}

/// Five bits of each byte.
fn words(random: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte & 31))).map(|byte| char::from(*byte)).collect()
}

/// The mark of a text that has the form of a key.
fn split(text: &str) -> Option<&str> {
    let (rest, checksum) = text.rsplit_once('_')?;
    let (prefix, secret) = rest.rsplit_once('_')?;
    prefix.parse::<KeyPrefix>().ok()?;
    let digits = checksum.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let formed = text.len() == KEY_BYTES && secret.len() == SECRET && secret.bytes().all(is_key_char) && digits;
    let whole = formed && u32::from_str_radix(checksum, 16).ok()? == crc32fast::hash(rest.as_bytes());
    whole.then(|| prefix.get(..4)).flatten()
}

#[cfg(test)]
mod tests {
    use domain::{History, Id, Seq};
    use uuid::Uuid;

    use super::*;

    fn state(new: &NewKey) -> ApiKeyState {
        ApiKeyState {
            history: History::default(),
            as_of: Seq::ZERO,
            id: Id::new(Uuid::from_u128(1)),
            prefix: new.prefix.clone(),
            project: Id::new(Uuid::from_u128(2)),
            tenant: Id::new(Uuid::from_u128(3)),
            owner: Id::new(Uuid::from_u128(4)),
            owner_name: None,
            verifiers: vec![Verifier { secret: new.verifier(), until: None }],
            scopes: Vec::new(),
            networks: Vec::new(),
            rate_limit: None,
            expires_at: None,
            disabled: false,
        }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_new_key_has_the_published_form_and_is_accepted_by_what_is_kept_of_it() {
        let new = NewKey::make(ApiKeyScheme::Bearer, &[7; RANDOM_BYTES]).unwrap();
        let text = new.text.expose();
        assert_eq!(text, "pck_hhhhhhhhhhhhhhhh_hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh_0da8812a");
        let presented = PresentedKey::read(text).unwrap();
        assert_eq!(presented.prefix().unwrap(), new.prefix);
        assert!(presented.accepted(&state(&new), at(1)).is_ok());
        let other = NewKey::again(new.prefix.clone(), &[8; RANDOM_BYTES]).unwrap();
        let other = PresentedKey::read(other.text.expose()).map(|it| it.accepted(&state(&new), at(1)).is_err());
        assert_eq!(other, Ok(true), "another secret");
    }

    #[test]
    fn every_change_of_a_character_is_seen_without_asking_anybody() {
        let new = NewKey::make(ApiKeyScheme::Bearer, &std::array::from_fn(|at| at as u8)).unwrap();
        let text = new.text.expose().clone();
        for at in 0..text.len() {
            for with in ["a", "7", "_", "0", "A"] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, with);
                assert!(changed == text || PresentedKey::read(&changed).is_err(), "{changed}");
            }
        }
        for cut in 0..text.len() {
            assert!(PresentedKey::read(&text[..cut]).is_err());
        }
        let signing = NewKey::make(ApiKeyScheme::Hmac, &[1; RANDOM_BYTES]).unwrap();
        assert!(PresentedKey::read(signing.text.expose()).is_err(), "a signing key is never sent");
    }

    #[test]
    fn while_a_key_is_rotated_both_secrets_are_accepted_and_then_one() {
        let old = NewKey::make(ApiKeyScheme::Bearer, &[1; RANDOM_BYTES]).unwrap();
        let new = NewKey::again(old.prefix.clone(), &[2; RANDOM_BYTES]).unwrap();
        let mut key = state(&new);
        key.verifiers.push(Verifier { secret: old.verifier(), until: Some(at(100)) });
        let accepted = |new: &NewKey, secs| {
            PresentedKey::read(new.text.expose()).unwrap().accepted(&key, at(secs)).map(|verifier| verifier.until)
        };
        assert_eq!((accepted(&old, 99), accepted(&new, 99)), (Ok(Some(at(100))), Ok(None)));
        assert_eq!((accepted(&old, 100), accepted(&new, 100)), (Err(KeyError::Invalid), Ok(None)));
    }

    #[test]
    fn a_key_that_is_disabled_expired_or_elsewhere_is_not_in_force() {
        let new = NewKey::make(ApiKeyScheme::Bearer, &[1; RANDOM_BYTES]).unwrap();
        let client = Some(IpAddr::from([192, 0, 2, 1]));
        let base =
            ApiKeyState { expires_at: Some(at(100)), networks: vec!["192.0.2.0/24".parse().unwrap()], ..state(&new) };
        assert_eq!(in_force(&base, client, at(99)), Ok(()));
        assert_eq!(in_force(&base, client, at(100)), Err(NotInForce::Key(KeyError::Expired)));
        assert_eq!(in_force(&base, Some(IpAddr::from([203, 0, 113, 1])), at(99)), Err(NotInForce::Address));
        let disabled = ApiKeyState { disabled: true, ..base };
        assert_eq!(in_force(&disabled, client, at(99)), Err(NotInForce::Key(KeyError::Disabled)));
        assert_eq!(in_force(&state(&new), client, at(i64::MAX / 2000)), Ok(()), "from everywhere, for ever");
    }
}
