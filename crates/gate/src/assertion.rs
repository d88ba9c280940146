//! The signed assertion: what an upstream is told of a request, so that it can tell that the edge said it (a JWS, RFC 7515 §3.1).

use std::{fmt, net::IpAddr};

use authn::SigningKey;
use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use domain::{
    Clock, RequestId, Secret, TenantId,
    snapshot::{self, Algorithm},
};
use http::HeaderValue;
use serde::Serialize;

use crate::{Denial, Permit, snapshot::upstream::UpstreamError};

/// `typ` of an assertion.
const ASSERTION_TYPE: &str = "assertion+jwt";

/// `iss` of the assertion.
const ASSERTION_ISSUER: &str = "portcullis";

/// How long an assertion holds, in seconds.
const ASSERTION_SECS: i64 = 60;

/// Bytes for claims and for an assertion; more are taken where they are longer.
const CLAIMS: usize = 512;
const WHOLE: usize = 1024;

/// What an upstream's assertions are signed with, its keys parsed once.
pub(crate) struct CompiledAssertion {
    /// The JWS header, encoded, with the dot after it.
    header: String,
    key: Key,
}

enum Key {
    Hmac(Box<hmac::Key>),
    Eddsa(Box<SigningKey>),
}

impl CompiledAssertion {
    /// None where an upstream gets no assertion.
    ///
    /// # Errors
    /// [`UpstreamError::AssertionKey`] of a key that cannot be used.
    pub(crate) fn new(assertion: &snapshot::Assertion) -> Result<Option<Self>, UpstreamError> {
        let decode = |key: &Secret<String>| {
            let decoded = URL_SAFE_NO_PAD.decode(key.expose());
            decoded.map(Secret::new).map_err(|_| UpstreamError::AssertionKey)
        };
        let (kid, alg, key) = match assertion {
            snapshot::Assertion::Off => return Ok(None),
            snapshot::Assertion::Hmac { key, kid } => {
                let key = decode(key)?;
                if key.expose().len() < 32 {
                    return Err(UpstreamError::AssertionKey);
                }
                (kid, "HS256", Key::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))))
            }
            snapshot::Assertion::Eddsa { key, kid } => {
                let key = SigningKey::from_pkcs8(kid, Algorithm::EdDsa, &decode(key)?);
                (kid, "EdDSA", Key::Eddsa(Box::new(key.map_err(|_| UpstreamError::AssertionKey)?)))
            }
        };
        let header = serde_json::json!({"alg": alg, "kid": kid, "typ": ASSERTION_TYPE}).to_string();
        let mut header = URL_SAFE_NO_PAD.encode(header);
        header.push('.');
        Ok(Some(Self { header, key }))
    }

    /// The assertion of a permitted request whose upstream sees `path`.
    ///
    /// # Errors
    /// [`Denial::AssertionFailed`] when it cannot be signed.
    pub(crate) fn mint(&self, permit: &Permit, path: &str, clock: &dyn Clock) -> Result<HeaderValue, Denial> {
        let now = clock.unix_now().secs();
        let claims = Claims {
            iss: ASSERTION_ISSUER,
            aud: &permit.route.upstream.name,
            iat: now,
            exp: now + ASSERTION_SECS,
            tid: permit.tenant.as_ref().map(|tenant| tenant.id),
            sub: permit.identity.as_ref().map(|principal| &*principal.subject),
            htm: permit.method,
            htu: path,
            host: &permit.host,
            rid: permit.request_id,
            cip: permit.client,
        };
        let mut written = Vec::with_capacity(CLAIMS);
        serde_json::to_writer(&mut written, &claims).map_err(|_| Denial::AssertionFailed)?;
        let mut token = String::with_capacity(WHOLE);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(written, &mut token);
        match &self.key {
            Key::Hmac(key) => {
                let tag = hmac::sign(key, token.as_bytes());
                token.push('.');
                URL_SAFE_NO_PAD.encode_string(tag, &mut token);
            }
            Key::Eddsa(key) => {
                let signature = key.signature(token.as_bytes()).map_err(|_| Denial::AssertionFailed)?;
                token.push('.');
                URL_SAFE_NO_PAD.encode_string(signature, &mut token);
            }
        }
        HeaderValue::from_maybe_shared(Bytes::from(token)).map_err(|_| Denial::AssertionFailed)
    }
}

impl fmt::Debug for CompiledAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.key {
            Key::Hmac(_) => "Hmac",
            Key::Eddsa(_) => "Eddsa",
        })
    }
}

/// The claims of an assertion.
#[derive(Debug, Serialize)]
struct Claims<'a> {
    iss: &'static str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tid: Option<TenantId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<&'a str>,
    htm: &'a str,
    htu: &'a str,
    host: &'a str,
    rid: RequestId,
    cip: IpAddr,
}
