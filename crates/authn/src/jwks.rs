//! Key sets (RFC 7517 §5), each key parsed once when the set arrives.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rsa::PublicKeyComponents,
    signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::snapshot::Algorithm;
use serde::Deserialize;

/// Most keys a set may hold.
pub const MAX_KEYS: usize = 64;

/// Names a key within an issuer's set (`kid`, RFC 7517 §4.5).
pub type KeyId = Box<str>;

/// The SHA-256 thumbprint of a key (RFC 7638): two keys with one thumbprint are one key.
pub type Thumbprint = [u8; 32];

/// An issuer's keys by their `kid`.
#[derive(Debug, Default)]
pub struct Jwks {
    keys: HashMap<KeyId, Arc<PublicKey>>,
}

/// A public key that verifies signatures of exactly one algorithm.
pub struct PublicKey {
    algorithm: Algorithm,
    thumbprint: Thumbprint,
    parsed: ParsedPublicKey,
}

impl Jwks {
    /// Reads a set. Keys for other uses than signing and of kinds no [`Algorithm`] uses are passed over, as the RFC
    /// asks (§5); a key we would use must be whole, and its `kid` must be there and unique.
    ///
    /// # Errors
    /// [`JwksError`] names the key.
    pub fn parse(document: &serde_json::Value) -> Result<Self, JwksError> {
        let set = RawSet::deserialize(document).map_err(|_| JwksError::Document)?;
        if set.keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany { count: set.keys.len() });
        }
        let mut keys = HashMap::new();
        for (at, value) in set.keys.iter().enumerate() {
            let raw = RawKey::deserialize(value).map_err(|_| JwksError::Key { at, reason: "it is not a JWK" })?;
            if raw.usage.as_deref().is_some_and(|usage| usage != "sig") {
                continue;
            }
            let Some(key) = raw.public_key().map_err(|reason| JwksError::Key { at, reason })? else { continue };
            let kid: KeyId = raw.kid.ok_or(JwksError::Key { at, reason: "it has no `kid`" })?.into();
            if keys.insert(kid.clone(), Arc::new(key)).is_some() {
                return Err(JwksError::Duplicate { kid });
            }
        }
        Ok(Self { keys })
    }

    /// Whether it has this key, for one of these algorithms.
    pub fn holds(&self, key: &Thumbprint, algorithms: &[Algorithm]) -> bool {
        self.keys.values().any(|own| own.thumbprint() == key && algorithms.contains(&own.algorithm()))
    }

    /// The id and algorithm of this key.
    pub fn named(&self, key: &Thumbprint) -> Option<(&str, Algorithm)> {
        let mut keys = self.keys.iter();
        keys.find(|(_, own)| own.thumbprint() == key).map(|(kid, own)| (&**kid, own.algorithm()))
    }

    /// The key of this id.
    pub fn key(&self, kid: &str) -> Option<&Arc<PublicKey>> {
        self.keys.get(kid)
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl PublicKey {
    /// The one algorithm it is for.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its thumbprint.
    pub const fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The `alg` text of an algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
pub const fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Es256 => "ES256",
        Algorithm::Rs256 => "RS256",
        Algorithm::EdDsa => "EdDSA",
    }
}

/// Why a document is no key set we use.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum JwksError {
    /// Not an object with `keys`.
    #[error("the key set is not a JSON object with a list `keys`")]
    Document,
    /// Too many keys.
    #[error("the key set has {count} keys; at most {MAX_KEYS} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// One key is broken.
    #[error("key {at} of the set cannot be used: {reason}")]
    Key {
        /// Which, from 0.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// Two keys of one id: which one verifies would depend on the reader.
    #[error("the key set has two keys `{kid}`")]
    Duplicate {
        /// The id.
        kid: KeyId,
    },
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl RawKey {
    fn public_key(&self) -> Result<Option<PublicKey>, &'static str> {
        let algorithm = match (self.kty.as_str(), self.crv.as_deref()) {
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            ("RSA", _) => Algorithm::Rs256,
            _ => return Ok(None),
        };
        // An RSA key that says it is for another algorithm (PS256, RSA-OAEP) is not ours to use.
        if self.alg.as_deref().is_some_and(|alg| alg != algorithm_name(algorithm)) {
            return Ok(None);
        }
        let (parsed, canonical) = match algorithm {
            Algorithm::Es256 => {
                let (x, y) = (coordinate(self.x.as_deref())?, coordinate(self.y.as_deref())?);
                let point = [&[4_u8][..], &x, &y].concat();
                let parsed =
                    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| "its point is not on P-256")?;
                let (x, y) = (URL_SAFE_NO_PAD.encode(&x), URL_SAFE_NO_PAD.encode(&y));
                (parsed, format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
            }
            Algorithm::EdDsa => {
                let x = coordinate(self.x.as_deref())?;
                let parsed = ParsedPublicKey::new(&ED25519, &x).map_err(|_| "it is not an Ed25519 key")?;
                let x = URL_SAFE_NO_PAD.encode(&x);
                (parsed, format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
            }
            Algorithm::Rs256 => {
                let (n, e) = (number(self.n.as_deref())?, number(self.e.as_deref())?);
                // aws-lc checks the size only when it verifies; a weak key should not come that far.
                if !(256..=1024).contains(&n.len()) {
                    return Err("it is not an RSA key of 2048 to 8192 bits");
                }
                let components = PublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
                let parsed = components
                    .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                    .map_err(|_| "it is not an RSA key of 2048 to 8192 bits")?;
                let (n, e) = (URL_SAFE_NO_PAD.encode(&n), URL_SAFE_NO_PAD.encode(&e));
                (parsed, format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#))
            }
        };
        let mut thumbprint = Thumbprint::default();
        for (to, from) in thumbprint.iter_mut().zip(digest(&SHA256, canonical.as_bytes()).as_ref()) {
            *to = *from;
        }
        Ok(Some(PublicKey { algorithm, thumbprint, parsed }))
    }
}

fn coordinate(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let bytes = number(text)?;
    if bytes.len() == 32 { Ok(bytes) } else { Err("a coordinate is not 32 bytes long") }
}

fn number(text: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let text = text.ok_or("a member of its kind is missing")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member is not base64url")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 8037 appendix A.2 and its thumbprint of appendix A.3.
    const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn computes_the_thumbprint_of_rfc_8037() {
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "kid": "a"}]});
        let jwks = Jwks::parse(&set).unwrap();
        let thumbprint = URL_SAFE_NO_PAD.encode(jwks.key("a").unwrap().thumbprint());
        assert_eq!(thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn refuses_two_keys_of_one_kid() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "kid": "a"});
        let error = Jwks::parse(&json!({"keys": [key, key]})).unwrap_err();
        assert_eq!(error, JwksError::Duplicate { kid: "a".into() });
    }

    #[test]
    fn passes_over_keys_that_are_not_for_us_and_names_broken_ones() {
        let jwks = Jwks::parse(&json!({"keys": [
            {"kty": "oct", "k": "AAAA", "kid": "secret"},
            {"kty": "EC", "crv": "P-521", "kid": "large"},
            {"kty": "OKP", "crv": "Ed25519", "x": ED25519_X, "kid": "enc", "use": "enc"},
            {"kty": "RSA", "alg": "PS256", "kid": "pss"},
        ]}));
        assert!(jwks.unwrap().is_empty());
        for (key, at) in [
            (json!({"kty": "OKP", "crv": "Ed25519", "x": ED25519_X}), 0),
            (json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "a"}), 0),
            (json!({"kty": "EC", "crv": "P-256", "x": ED25519_X, "y": ED25519_X, "kid": "a"}), 0),
            (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "small"}), 0),
            (json!("text"), 0),
        ] {
            let error = Jwks::parse(&json!({"keys": [key]})).unwrap_err();
            assert!(matches!(error, JwksError::Key { at: found, .. } if found == at), "{error}");
        }
        assert_eq!(Jwks::parse(&json!({})).unwrap_err(), JwksError::Document);
    }
}
