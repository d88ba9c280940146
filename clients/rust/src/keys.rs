//! Keys that assertions are verified with: the service's own (HS256), the fleet's (EdDSA), or where to ask for one.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::{
    hmac,
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

/// One key. It fixes the algorithm; the assertion never does.
#[derive(Clone)]
pub struct Key(Kind);

#[derive(Clone)]
enum Kind {
    Hmac(Arc<hmac::Key>),
    Ed25519([u8; 32]),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.algorithm()).finish()
    }
}

/// Why a text is no key.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// Not base64url of at least 32 bytes.
    #[error("key `{kid}` is not base64url of at least 32 bytes")]
    Hmac {
        /// Its id.
        kid: String,
    },
    /// Not a JWK set.
    #[error("the key set is not a JWK set (RFC 7517 §5)")]
    Set,
    /// A key of the set is no Ed25519 key.
    #[error("key `{kid}` of the set is not an Ed25519 key (RFC 8037)")]
    Ed25519 {
        /// Its id.
        kid: String,
    },
    /// Two keys have one id.
    #[error("two keys have the id `{kid}`")]
    Duplicate {
        /// The id.
        kid: String,
    },
}

impl Key {
    /// The key of an upstream of mode `hmac`, as the control API shows it: base64url.
    ///
    /// # Errors
    /// `None` for what is not base64url of at least 32 bytes.
    pub fn hmac(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() >= 32)?;
        Some(Self(Kind::Hmac(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))))
    }

    /// An Ed25519 public key: `x` of its JWK (RFC 8037 §2).
    pub fn ed25519(x: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(x).ok()?;
        Some(Self(Kind::Ed25519(bytes.try_into().ok()?)))
    }

    /// `alg` of what it verifies.
    pub const fn algorithm(&self) -> &'static str {
        match self.0 {
            Kind::Hmac(_) => "HS256",
            Kind::Ed25519(_) => "EdDSA",
        }
    }

    /// Whether the signature holds. HMACs are compared in constant time.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Kind::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Kind::Ed25519(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
        }
    }
}

/// Where keys come from. A closure is one, so that a service can keep its key set fresh as it likes:
///
/// ```
/// # use std::sync::{Arc, RwLock};
/// # use portcullis_assertion::{KeySet, Keys, Verifier};
/// let current = Arc::new(RwLock::new(KeySet::default())); // replaced now and then by a task of the service's
/// let keys = Arc::clone(&current);
/// let verifier = Verifier::new("orders", move |kid: &str| keys.read().ok()?.key(kid));
/// ```
pub trait Keys: Send + Sync + 'static {
    /// The key of this id. Asked on every request: it does not wait and does not fetch.
    fn key(&self, kid: &str) -> Option<Key>;
}

impl<F: Fn(&str) -> Option<Key> + Send + Sync + 'static> Keys for F {
    fn key(&self, kid: &str) -> Option<Key> {
        self(kid)
    }
}

/// Keys by their ids. While a key is changed, two are valid: give both.
#[derive(Clone, Debug, Default)]
pub struct KeySet(HashMap<String, Key>);

impl Keys for KeySet {
    fn key(&self, kid: &str) -> Option<Key> {
        self.0.get(kid).cloned()
    }
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: String,
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
}

impl KeySet {
    /// Adds the service's own key, as the control API shows it.
    ///
    /// # Errors
    /// [`KeyError::Hmac`], [`KeyError::Duplicate`].
    pub fn hmac(self, kid: &str, key: &str) -> Result<Self, KeyError> {
        let key = Key::hmac(key).ok_or_else(|| KeyError::Hmac { kid: kid.into() })?;
        self.with(kid, key)
    }

    /// Adds the fleet's keys: the body of `/.well-known/portcullis-assertion-jwks.json`, which every hostname of the
    /// gateway serves. A key stands there a day before it signs; reading the set once an hour is enough.
    ///
    /// # Errors
    /// [`KeyError::Set`], [`KeyError::Ed25519`], [`KeyError::Duplicate`]; the whole set is refused then.
    pub fn jwks(self, text: &str) -> Result<Self, KeyError> {
        let set: JwkSet = serde_json::from_str(text).map_err(|_| KeyError::Set)?;
        set.keys.into_iter().try_fold(self, |keys, jwk| {
            let key = Key::ed25519(&jwk.x).filter(|_| jwk.kty == "OKP" && jwk.crv == "Ed25519");
            let key = key.ok_or_else(|| KeyError::Ed25519 { kid: jwk.kid.clone() })?;
            keys.with(&jwk.kid, key)
        })
    }

    fn with(mut self, kid: &str, key: Key) -> Result<Self, KeyError> {
        match self.0.insert(kid.into(), key) {
            None => Ok(self),
            Some(_) => Err(KeyError::Duplicate { kid: kid.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"; // RFC 8037 appendix A.2

    #[test]
    fn a_key_set_is_taken_whole_or_not_at_all() {
        let set = |keys: &str| KeySet::default().jwks(&format!(r#"{{"keys": [{keys}]}}"#));
        let good = format!(r#"{{"kid": "a", "kty": "OKP", "crv": "Ed25519", "x": "{X}"}}"#);
        assert!(set(&good).unwrap().key("a").is_some());
        assert_eq!(set(&format!("{good}, {good}")).unwrap_err(), KeyError::Duplicate { kid: "a".into() });
        let other = r#"{"kid": "b", "kty": "RSA", "n": "AQAB", "e": "AQAB"}"#;
        assert_eq!(set(&format!("{good}, {other}")).unwrap_err(), KeyError::Ed25519 { kid: "b".into() });
        assert_eq!(KeySet::default().jwks("[]").unwrap_err(), KeyError::Set);
    }

    #[test]
    fn a_short_key_is_refused_and_none_is_printed() {
        let short = URL_SAFE_NO_PAD.encode([7; 31]);
        assert_eq!(KeySet::default().hmac("k", &short).unwrap_err(), KeyError::Hmac { kid: "k".into() });
        let key = KeySet::default().hmac("k", &URL_SAFE_NO_PAD.encode([7; 32])).unwrap();
        assert_eq!(format!("{key:?}"), r#"KeySet({"k": Key("HS256")})"#);
    }
}
