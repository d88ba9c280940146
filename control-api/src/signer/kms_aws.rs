//! Keys that AWS KMS holds: it signs, and the private part never leaves it.
//!
//! Two operations of its JSON API are used, `GetPublicKey` once when a key is taken up and `Sign` for each token. What is
//! sent is the SHA-256 of the token's header and claims, so KMS learns nothing of who signs in. ES256 and RS256; KMS's
//! signatures over P-256 are DER and are turned into the form of RFC 7518 §3.4.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use authn::jwks::algorithm_name;
use aws_lc_rs::digest;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use domain::{Clock, Secret, model::SigningKey, snapshot::Algorithm};
use http::header;
use reqwest::{Client, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use x509_parser::{prelude::FromDer, public_key::PublicKey, x509::SubjectPublicKeyInfo};

use super::{
    Signer, SignerError,
    sigv4::{self, Credentials, Request, Scope},
};
use crate::config::KmsAwsConfig;

/// Longest wait for a signature: somebody is signing in.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest answer, in bytes.
const LONGEST: usize = 64 * 1024;

/// The version of the API, in each operation's name.
const TARGET: &str = "TrentService";

/// Why KMS gives nothing.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum KmsError {
    #[error("`signing.kms_aws` cannot be used: {0}")]
    Setting(String),
    #[error("KMS cannot be reached")]
    Transport(#[source] reqwest::Error),
    #[error("KMS answers {status}: {kind}")]
    Refused { status: u16, kind: String },
    #[error("the answer of KMS cannot be read: {0}")]
    Answer(&'static str),
    #[error("KMS key `{key_id}` is no signing key for ES256 (ECC_NIST_P256) or RS256 (RSA of 2048 bits or more)")]
    Kind { key_id: String },
}

/// AWS KMS of one region.
#[derive(Debug)]
pub struct Kms {
    client: Client,
    endpoint: Url,
    host: String,
    region: String,
    credentials: Credentials,
}

/// The public half of a key of KMS.
#[derive(Clone, Debug)]
pub struct Described {
    /// What it signs with.
    pub algorithm: Algorithm,
    /// Members of its JWK, without `kid`.
    pub jwk: Value,
}

impl Kms {
    /// As configured. Nothing is asked yet.
    ///
    /// # Errors
    /// [`KmsError::Setting`].
    pub fn new(config: &KmsAwsConfig) -> Result<Self, KmsError> {
        let setting = |error: &dyn std::error::Error| KmsError::Setting(crate::problem::chain(error));
        let secret = |reference: &link::file::SecretRef| {
            reference.resolve(std::path::Path::new(".")).map_err(|error| setting(&error))
        };
        let endpoint = config.endpoint.clone();
        let endpoint = endpoint.unwrap_or_else(|| format!("https://kms.{}.amazonaws.com/", config.region));
        let endpoint = Url::parse(&endpoint).map_err(|error| setting(&error))?;
        let host = endpoint.host_str().ok_or_else(|| KmsError::Setting("`endpoint` has no host".into()))?;
        let host = endpoint.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .build()
            .map_err(|error| setting(&error))?;
        let credentials = Credentials {
            access_key_id: secret(&config.access_key_id)?.expose().clone(),
            secret_access_key: secret(&config.secret_access_key)?,
            session_token: config.session_token.as_ref().map(secret).transpose()?,
        };
        Ok(Self { client, endpoint, host, region: config.region.clone(), credentials })
    }

    /// The public half of a key.
    ///
    /// # Errors
    /// [`KmsError`].
    pub async fn describe(&self, key_id: &str, clock: &dyn Clock) -> Result<Described, KmsError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            public_key: String,
            key_usage: String,
        }
        let kind = || KmsError::Kind { key_id: key_id.into() };
        let answer: Answer = self.call("GetPublicKey", &json!({ "KeyId": key_id }), clock).await?;
        if answer.key_usage != "SIGN_VERIFY" {
            return Err(kind());
        }
        let der = STANDARD.decode(answer.public_key).map_err(|_| KmsError::Answer("the public key is not base64"))?;
        public_jwk(&der).ok_or_else(kind)
    }

    async fn sign(
        &self,
        key_id: &str,
        algorithm: Algorithm,
        message: &[u8],
        clock: &dyn Clock,
    ) -> Result<Vec<u8>, KmsError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            signature: String,
        }
        let name = match algorithm {
            Algorithm::Es256 => "ECDSA_SHA_256",
            Algorithm::Rs256 => "RSASSA_PKCS1_V1_5_SHA_256",
            Algorithm::EdDsa => return Err(KmsError::Kind { key_id: key_id.into() }),
        };
        let digest = STANDARD.encode(digest::digest(&digest::SHA256, message).as_ref());
        let body = json!({ "KeyId": key_id, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": name });
        let answer: Answer = self.call("Sign", &body, clock).await?;
        let signature =
            STANDARD.decode(answer.signature).map_err(|_| KmsError::Answer("the signature is not base64"))?;
        match algorithm {
            Algorithm::Es256 => fixed(&signature).ok_or(KmsError::Answer("the signature is not DER of two numbers")),
            Algorithm::Rs256 | Algorithm::EdDsa => Ok(signature),
        }
    }

    async fn call<T: DeserializeOwned>(&self, action: &str, body: &Value, clock: &dyn Clock) -> Result<T, KmsError> {
        let (at, target, body) = (sigv4::instant(clock.unix_now()), format!("{TARGET}.{action}"), body.to_string());
        let mut headers = vec![
            ("content-type", "application/x-amz-json-1.1"),
            ("host", self.host.as_str()),
            ("x-amz-date", at.as_str()),
        ];
        if let Some(token) = &self.credentials.session_token {
            headers.push(("x-amz-security-token", token.expose().as_str()));
        }
        headers.push(("x-amz-target", target.as_str()));
        let request = Request { method: "POST", path: "/", query: "", headers: &headers, body: body.as_bytes() };
        let scope = Scope { region: &self.region, service: "kms" };
        let authorization = sigv4::authorization(&request, &at, scope, &self.credentials);
        let mut call = self.client.post(self.endpoint.clone()).header(header::AUTHORIZATION, authorization);
        for (name, value) in headers {
            call = call.header(name, value);
        }
        let mut response = call.body(body).send().await.map_err(KmsError::Transport)?;
        let status = response.status();
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(KmsError::Transport)? {
            if text.len() + chunk.len() > LONGEST {
                return Err(KmsError::Answer("it is too long"));
            }
            text.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            let problem: Value = serde_json::from_slice(&text).unwrap_or_default();
            let kind = problem.get("__type").and_then(Value::as_str).unwrap_or("no reason");
            return Err(KmsError::Refused { status: status.as_u16(), kind: kind.chars().take(100).collect() });
        }
        serde_json::from_slice(&text).map_err(|_| KmsError::Answer("it is not the JSON that was asked for"))
    }
}

/// Signs as a key of KMS.
pub struct KmsSigner {
    kms: Arc<Kms>,
    clock: Arc<dyn Clock>,
    kid: String,
    key_id: String,
    algorithm: Algorithm,
}

impl KmsSigner {
    /// Of a key whose material is its id in KMS.
    ///
    /// # Errors
    /// [`KmsError::Kind`] when the material is no id.
    pub fn new(
        kms: Arc<Kms>,
        clock: Arc<dyn Clock>,
        key: &SigningKey,
        material: &Secret<Vec<u8>>,
    ) -> Result<Self, KmsError> {
        let key_id = String::from_utf8(material.expose().clone());
        let key_id = key_id.map_err(|_| KmsError::Kind { key_id: key.kid.to_string() })?;
        Ok(Self { kms, clock, kid: key.kid.to_string(), key_id, algorithm: key.algorithm })
    }
}

#[async_trait]
impl Signer for KmsSigner {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    async fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.kms.sign(&self.key_id, self.algorithm, message, &*self.clock).await?)
    }
}

/// The JWK of a SubjectPublicKeyInfo (RFC 5280 §4.1), of a kind we sign with.
fn public_jwk(der: &[u8]) -> Option<Described> {
    let (_, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let unpadded = |bytes: &[u8]| encode(bytes.strip_prefix(&[0]).unwrap_or(bytes));
    let (algorithm, mut jwk) = match info.parsed().ok()? {
        PublicKey::EC(point) => {
            // Uncompressed, on a curve of 32 bytes. That it is P-256 is judged when the set is parsed.
            let (4, xy) = point.data().split_first().map(|(form, xy)| (*form, xy))? else { return None };
            let (x, y) = xy.split_at_checked(32)?;
            (Algorithm::Es256, json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) }))
        }
        PublicKey::RSA(key) => {
            let (n, e) = (unpadded(key.modulus), unpadded(key.exponent));
            (Algorithm::Rs256, json!({ "kty": "RSA", "n": n, "e": e }))
        }
        _ => return None,
    };
    let members = jwk.as_object_mut()?;
    members.insert("alg".into(), algorithm_name(algorithm).into());
    members.insert("use".into(), "sig".into());
    members.insert("kid".into(), "probe".into());
    authn::Jwks::parse(&json!({ "keys": [&jwk] })).ok().filter(|keys| !keys.is_empty())?;
    Some(Described { algorithm, jwk })
}

/// `ECDSA-Sig-Value` (RFC 3279 §2.2.3) as the two numbers one after the other, 32 bytes each (RFC 7518 §3.4).
fn fixed(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, length, rest @ ..] = der else { return None };
    if usize::from(*length) != rest.len() {
        return None;
    }
    let (r, rest) = number(rest)?;
    let (s, rest) = number(rest)?;
    rest.is_empty().then(|| [r, s].concat())
}

/// A positive DER integer of at most 32 bytes, padded to them, and what follows it.
fn number(der: &[u8]) -> Option<([u8; 32], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (digits, rest) = rest.split_at_checked(usize::from(*length))?;
    let digits = digits.strip_prefix(&[0]).unwrap_or(digits);
    let mut padded = [0; 32];
    padded.get_mut(32_usize.checked_sub(digits.len())?..)?.copy_from_slice(digits);
    Some((padded, rest))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{
            ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
        },
    };

    use super::*;

    #[test]
    fn a_der_signature_verifies_in_the_form_of_a_jws() {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref()).unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
        // Often enough that numbers with a leading zero and short ones are among them.
        for at in 0..600_u32 {
            let message = at.to_be_bytes();
            let der = pair.sign(&random, &message).unwrap();
            public.verify(&message, &fixed(der.as_ref()).unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_no_der_signature_is_none() {
        for wrong in
            [&[][..], &[0x30, 0], &[0x30, 3, 2, 1, 1], &[0x30, 7, 2, 1, 1, 2, 1, 1, 9], &[0x31, 6, 2, 1, 1, 2, 1, 1]]
        {
            assert_eq!(fixed(wrong), None, "{wrong:?}");
        }
        assert_eq!(fixed(&[0x30, 6, 2, 1, 1, 2, 1, 2]).unwrap().len(), 64);
        let long = [&[0x30, 0x26, 2, 33][..], &[1; 33], &[2, 1, 1]].concat();
        assert_eq!(fixed(&long), None);
    }
}
