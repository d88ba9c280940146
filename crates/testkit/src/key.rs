//! Signing keys of the issuers that tests trust, or must not trust.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::snapshot::Algorithm;
use jsonwebtoken::{EncodingKey, jwk::Jwk};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData as _, RsaKeySize};
use serde_json::{Value, json};

/// A fresh key pair with a `kid`.
#[derive(Debug)]
pub struct TestKey {
    kid: String,
    algorithm: Algorithm,
    pair: KeyPair,
}

impl TestKey {
    /// A new key with a random `kid`. RSA keys have 2048 bits.
    pub fn generate(algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::Es256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Algorithm::Rs256 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Algorithm::EdDsa => KeyPair::generate_for(&PKCS_ED25519),
        };
        Self { kid: uuid::Uuid::new_v4().to_string(), algorithm, pair: pair.unwrap() }
    }

    /// The same key under another `kid`.
    #[must_use]
    pub fn with_kid(self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), ..self }
    }

    /// Its name in the key set and in tokens.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The only algorithm it is used with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The private key, PKCS #8 in PEM.
    pub fn private_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The public key, `SubjectPublicKeyInfo` in PEM.
    pub fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The public key, `SubjectPublicKeyInfo` in DER.
    pub fn public_der(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// The public key as a JWK with `kid`, `alg` and `use` (RFC 7517 §4).
    pub fn jwk(&self) -> Value {
        let mut jwk = match self.algorithm {
            // `jsonwebtoken` reads Ed25519 private keys of one encoding only, which is not the one `rcgen` writes.
            Algorithm::EdDsa => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(self.pair.public_key_raw()) })
            }
            _ => serde_json::to_value(Jwk::from_encoding_key(&self.encoding_key(), self.signing()).unwrap()).unwrap(),
        };
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.algorithm);
        jwk
    }

    /// Signs a token made of exactly these bytes, however wrong they are.
    pub fn sign(&self, header: &[u8], payload: &[u8]) -> String {
        sign(header, payload, &self.encoding_key(), self.signing())
    }

    pub(crate) fn encoding_key(&self) -> EncodingKey {
        let pem = self.private_pem();
        match self.algorithm {
            Algorithm::Es256 => EncodingKey::from_ec_pem(pem.as_bytes()),
            Algorithm::Rs256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            Algorithm::EdDsa => EncodingKey::from_ed_pem(pem.as_bytes()),
        }
        .unwrap()
    }

    pub(crate) fn signing(&self) -> jsonwebtoken::Algorithm {
        match self.algorithm {
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// The JWS compact serialization (RFC 7515 §7.1) of exactly these bytes.
pub(crate) fn sign(header: &[u8], payload: &[u8], key: &EncodingKey, algorithm: jsonwebtoken::Algorithm) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = jsonwebtoken::crypto::sign(input.as_bytes(), key, algorithm).unwrap();
    format!("{input}.{signature}")
}
