//! Signing: our access tokens and the assertions upstreams get.

use std::fmt;

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Secret, snapshot::Algorithm};
use serde::Serialize;
use serde_json::{Value, json};

use crate::jwks::algorithm_name;

/// A private key with its id, ready to sign.
pub struct SigningKey {
    kid: Box<str>,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// Why a key cannot be made or used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MintError {
    /// The key is not PKCS #8 of its algorithm (RFC 5208).
    #[error("the private key is not PKCS #8 of a key for {}", algorithm_name(*.0))]
    Key(Algorithm),
    /// The random source or the signature failed.
    #[error("the cryptographic library failed to make a key or a signature")]
    Library,
    /// The claims are no JSON object.
    #[error("the claims cannot be written as JSON")]
    Claims,
}

/// Makes a private key, as PKCS #8 DER. RSA keys have 2048 bits.
///
/// # Errors
/// [`MintError::Library`].
pub fn generate(algorithm: Algorithm) -> Result<Secret<Vec<u8>>, MintError> {
    let random = SystemRandom::new();
    let failed = |_| MintError::Library;
    let pkcs8 = match algorithm {
        Algorithm::Es256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(failed)?.as_ref().to_vec()
        }
        Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?.as_ref().to_vec(),
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
            pair.as_der().map_err(failed)?.as_ref().to_vec()
        }
    };
    Ok(Secret::new(pkcs8))
}

/// What is signed of a compact JWS: its header and claims (RFC 7515 §5.1).
///
/// # Errors
/// [`MintError::Claims`].
pub fn signing_input(algorithm: Algorithm, kid: &str, typ: &str, claims: &impl Serialize) -> Result<String, MintError> {
    let header = json!({"alg": algorithm_name(algorithm), "kid": kid, "typ": typ});
    let claims = serde_json::to_vec(claims).map_err(|_| MintError::Claims)?;
    let mut input = URL_SAFE_NO_PAD.encode(header.to_string());
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut input);
    Ok(input)
}

/// A compact JWS of what was signed and its signature.
pub fn compact(signing_input: String, signature: &[u8]) -> String {
    let mut token = signing_input;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

impl SigningKey {
    /// From PKCS #8 DER.
    ///
    /// # Errors
    /// [`MintError::Key`].
    pub fn from_pkcs8(kid: &str, algorithm: Algorithm, pkcs8: &Secret<Vec<u8>>) -> Result<Self, MintError> {
        let wrong = |_| MintError::Key(algorithm);
        let der = pkcs8.expose();
        let pair = match algorithm {
            Algorithm::Es256 => {
                Pair::Ec(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(wrong)?)
            }
            Algorithm::Rs256 => Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(wrong)?),
            Algorithm::EdDsa => Pair::Ed(Ed25519KeyPair::from_pkcs8(der).map_err(wrong)?),
        };
        Ok(Self { kid: kid.into(), pair })
    }

    /// Its id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        match self.pair {
            Pair::Ec(_) => Algorithm::Es256,
            Pair::Rsa(_) => Algorithm::Rs256,
            Pair::Ed(_) => Algorithm::EdDsa,
        }
    }

    /// Its public half as a JWK (RFC 7517), with `kid`, `alg` and `use`.
    pub fn public_jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let half = |at: usize| point.get(at..at + 32).map(encode).unwrap_or_default();
                json!({"kty": "EC", "crv": "P-256", "x": half(1), "y": half(33)})
            }
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let unpadded = |bytes: &[u8]| encode(bytes.strip_prefix(&[0]).unwrap_or(bytes));
                json!({
                    "kty": "RSA",
                    "n": unpadded(n.big_endian_without_leading_zero()),
                    "e": unpadded(e.big_endian_without_leading_zero()),
                })
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())}),
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".into(), self.kid.as_ref().into());
            members.insert("alg".into(), algorithm_name(self.algorithm()).into());
            members.insert("use".into(), "sig".into());
        }
        jwk
    }

    /// Signs claims as a compact JWS of this `typ`.
    ///
    /// # Errors
    /// [`MintError::Claims`] or [`MintError::Library`].
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, MintError> {
        let input = signing_input(self.algorithm(), &self.kid, typ, claims)?;
        let signature = self.signature(input.as_bytes())?;
        Ok(compact(input, &signature))
    }

    /// The signature of a message as a JWS carries it (RFC 7518 §3, RFC 8037 §3.1).
    ///
    /// # Errors
    /// [`MintError::Library`].
    pub fn signature(&self, message: &[u8]) -> Result<Vec<u8>, MintError> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ec(pair) => pair.sign(&random, message).map(|s| s.as_ref().to_vec()).map_err(|_| MintError::Library),
            Pair::Ed(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| MintError::Library)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{jwks::Jwks, jws::Jws};

    #[test]
    fn what_each_algorithm_signs_its_published_key_verifies() {
        for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
            let key = SigningKey::from_pkcs8("k1", algorithm, &generate(algorithm).unwrap()).unwrap();
            let token = key.sign("at+jwt", &json!({"iss": "i"})).unwrap();
            let jws = Jws::parse(&token).unwrap();
            let jwks = Jwks::parse(&json!({"keys": [key.public_jwk()]})).unwrap();
            let public = jwks.key("k1").unwrap();
            assert_eq!(public.algorithm(), algorithm);
            assert!(public.verifies(jws.signing_input, &jws.signature), "{algorithm:?}");
            assert!(!public.verifies(b"another message", &jws.signature), "{algorithm:?}");
        }
    }

    #[test]
    fn a_key_of_another_algorithm_is_refused() {
        let ed25519 = generate(Algorithm::EdDsa).unwrap();
        let error = SigningKey::from_pkcs8("k", Algorithm::Es256, &ed25519).unwrap_err();
        assert_eq!(error, MintError::Key(Algorithm::Es256));
    }
}
