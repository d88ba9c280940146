//! From a bearer text to a [`VerifiedToken`].
//!
//! ```text
//! Presented::read ─▶ issuer by `iss` ─▶ Presented::check (kid, alg, typ, aud, exp: cheap) ─▶ Checked::verify (signature)
//! ```
//!
//! What is cheap is judged first, so that garbage costs no signature check; what a caller is told of all this is one
//! code per failure and never a claim's value.

mod token;

use std::{borrow::Cow, sync::Arc, time::Duration};

use domain::{Acr, AmrSet, Assurance, Timestamp, snapshot::TenantBinding};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    claims::{ACCESS_TOKEN_TYPE, AccessClaims, ContextKind, token_id},
    issuer::{Issuer, Reading},
    jwks::{PublicKey, algorithm_name},
    jws::{Header, Jws, JwsError},
};

use token::{External, NamedTenant, Own, Says};
pub use token::{TenantClaim, TokenKind, VerifiedToken};

/// How far `exp`, `nbf` and `iat` may differ from our clock (RFC 7519 §4.1.4).
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Longest subject, in bytes.
const MAX_SUBJECT_BYTES: usize = 256;

/// Why a token is not believed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read in one way.
    #[error("the token cannot be read")]
    Malformed(#[from] JwsError),
    /// No issuer of this hostname's project or tenant has this `iss`.
    #[error("no issuer here is named like the token's `iss`")]
    IssuerUnknown,
    /// The issuer has no such key, or the token names none.
    #[error("the issuer has no key of the token's `kid`")]
    KeyUnknown,
    /// The token claims another algorithm than its key's, or one the issuer may not use.
    #[error("the token's `alg` is not its key's")]
    Algorithm,
    /// Not an access token.
    #[error("the token's `typ` is not that of an access token")]
    Type,
    /// For somebody else.
    #[error("the token's `aud` is not ours")]
    Audience,
    /// Past its `exp`.
    #[error("the token has expired")]
    Expired,
    /// Before its `nbf` or `iat`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The signature does not hold.
    #[error("the token's signature does not hold")]
    Signature,
    /// A claim is missing or of another type than its registration says.
    #[error("claim `{name}` is missing or not of its type")]
    Claim {
        /// Which.
        name: Cow<'static, str>,
    },
}

impl TokenError {
    /// Stable public code. Codes are API: add, never reuse.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "token_malformed",
            Self::IssuerUnknown => "issuer_unknown",
            Self::KeyUnknown => "key_unknown",
            Self::Algorithm => "token_algorithm",
            Self::Type => "token_type",
            Self::Audience => "token_audience",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Signature => "token_signature",
            Self::Claim { .. } => "token_claim",
        }
    }
}

/// A bearer text taken apart, with its `iss`; nothing of it is verified.
#[derive(Debug)]
pub struct Presented<'t> {
    jws: Jws<'t>,
}

impl<'t> Presented<'t> {
    /// Takes a bearer text apart.
    ///
    /// # Errors
    /// [`TokenError::Malformed`], or [`TokenError::Claim`] when `iss` is not a text.
    pub fn read(token: &'t str) -> Result<Self, TokenError> {
        let jws = Jws::parse(token)?;
        if !jws.claims.0.get("iss").is_some_and(Value::is_string) {
            return Err(TokenError::Claim { name: "iss".into() });
        }
        Ok(Self { jws })
    }

    /// Its header as it was read.
    pub const fn header(&self) -> &Header {
        &self.jws.header
    }

    /// The issuer the token claims.
    pub fn issuer(&self) -> &str {
        self.jws.claims.0.get("iss").and_then(Value::as_str).unwrap_or_default()
    }

    /// Every claim as it was read. What is asked here before [`Checked::verify`] may only choose what to verify with.
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.jws.claims.0
    }

    /// The audiences the token claims (RFC 7519 §4.1.3: a text or a list of texts); nothing for another type.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        let aud = self.jws.claims.0.get("aud");
        let single = aud.and_then(Value::as_str);
        let list = aud.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let list = if list.iter().all(Value::is_string) { list } else { &[] };
        single.into_iter().chain(list.iter().filter_map(Value::as_str))
    }

    /// Everything that is judged before the signature.
    ///
    /// # Errors
    /// The first [`TokenError`] in the order of the module's picture.
    pub fn check<'i>(&self, issuer: &'i Arc<Issuer>, now: Timestamp) -> Result<Checked<'_, 't, 'i>, TokenError> {
        if self.issuer() != &*issuer.issuer {
            return Err(TokenError::IssuerUnknown);
        }
        let header = &self.jws.header;
        let key = header.kid.as_deref().and_then(|kid| issuer.keys.key(kid)).ok_or(TokenError::KeyUnknown)?;
        if header.alg != algorithm_name(key.algorithm()) || !issuer.algorithms.contains(&key.algorithm()) {
            return Err(TokenError::Algorithm);
        }
        let typ = header.typ.as_deref().map(str::to_ascii_lowercase);
        let typ = typ.as_deref().map(|t| t.strip_prefix("application/").unwrap_or(t));
        let accepted = match issuer.reading {
            Reading::Own => typ == Some(ACCESS_TOKEN_TYPE),
            // Many issuers still write `JWT` or nothing; an ID token or an assertion says what it is.
            Reading::External { .. } => matches!(typ, None | Some("jwt" | ACCESS_TOKEN_TYPE)),
        };
        if !accepted {
            return Err(TokenError::Type);
        }
        if !issuer.accepts_audience(self.audiences()) {
            return Err(TokenError::Audience);
        }
        let claims = &self.jws.claims.0;
        let expires_at = date(claims, "exp")?.ok_or(TokenError::Claim { name: "exp".into() })?;
        let (nbf, iat) = (date(claims, "nbf")?, date(claims, "iat")?);
        let not_before = nbf.max(iat);
        in_time(expires_at, not_before, now)?;
        Ok(Checked { presented: self, issuer, key, expires_at, not_before, issued_at: iat })
    }
}

/// A token of which only the signature, and what it says beyond its times, is still to be judged.
#[derive(Debug)]
pub struct Checked<'p, 't, 'i> {
    presented: &'p Presented<'t>,
    issuer: &'i Arc<Issuer>,
    key: &'i Arc<PublicKey>,
    expires_at: Timestamp,
    not_before: Option<Timestamp>,
    issued_at: Option<Timestamp>,
}

impl Checked<'_, '_, '_> {
    /// Checks the signature, then reads who it is.
    ///
    /// # Errors
    /// [`TokenError::Signature`], or [`TokenError::Claim`] for a claim that the issuer's reading needs.
    pub fn verify(self) -> Result<VerifiedToken, TokenError> {
        let jws = &self.presented.jws;
        if !self.key.verifies(jws.signing_input, &jws.signature) {
            return Err(TokenError::Signature);
        }
        match &self.issuer.reading {
            Reading::Own => self.own(),
            Reading::External { tenant, subject_claim, roles_claim, required } => {
                let claims = &jws.claims.0;
                if let Some((name, _)) = required.iter().find(|(name, value)| claims.get(*name) != Some(value)) {
                    return Err(TokenError::Claim { name: name.clone().into() });
                }
                let subject = text(claims, subject_claim)?;
                let says = Says::External(Box::new(External {
                    token: claims.get("jti").and_then(Value::as_str).map(token_id),
                    user: subject.parse().ok(),
                    tenant: match tenant {
                        TenantBinding::Tenant(id) => NamedTenant::Id(*id),
                        TenantBinding::Claim(name) => NamedTenant::Name(text(claims, name)?.into()),
                    },
                    issued_at: self.issued_at.unwrap_or_default(),
                    roles: roles_claim.as_deref().map_or(Ok(Box::default()), |name| names(claims, name))?,
                }));
                let username = claims.get("preferred_username").and_then(Value::as_str);
                Ok(self.verified(subject, username, says))
            }
        }
    }

    fn own(&self) -> Result<VerifiedToken, TokenError> {
        let claims = &self.presented.jws.claims.0;
        let own = AccessClaims::deserialize(claims).map_err(|error| TokenError::Claim { name: offender(&error) })?;
        if own.pid != self.issuer.project_id {
            return Err(TokenError::Claim { name: "pid".into() });
        }
        if own.ctx == ContextKind::Tenant && own.tid.is_none() {
            return Err(TokenError::Claim { name: "tid".into() });
        }
        let says = Says::Own(Own {
            token: own.jti,
            session: own.sid,
            user: own.sub,
            tenant: own.tid,
            context: own.ctx,
            org_unit: own.ou,
            user_generation: own.ug,
            tenant_generation: own.tg,
            assurance: Assurance {
                acr: if own.acr.as_deref() == Some(Acr::Aal2.name()) { Acr::Aal2 } else { Acr::Aal1 },
                amr: AmrSet::read(own.amr.iter().map(String::as_str)),
                auth_time: Timestamp::from_secs(own.auth_time),
            },
        });
        Ok(self.verified(&own.sub.to_string(), own.username.as_deref(), says))
    }

    /// What both readings share.
    fn verified(&self, subject: &str, username: Option<&str>, says: Says) -> VerifiedToken {
        VerifiedToken {
            issuer: Arc::clone(self.issuer),
            subject: subject.into(),
            username: username.map(Into::into),
            expires_at: self.expires_at,
            not_before: self.not_before.unwrap_or_default(),
            key: Arc::clone(self.key),
            says,
        }
    }
}

pub(crate) fn in_time(expires_at: Timestamp, not_before: Option<Timestamp>, now: Timestamp) -> Result<(), TokenError> {
    if now >= expires_at + CLOCK_SKEW {
        return Err(TokenError::Expired);
    }
    if not_before.is_some_and(|from| now + CLOCK_SKEW < from) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// A `NumericDate` in whole seconds. A fraction, a text or a null is an error, not an absence (CVE-2026-25537).
pub(crate) fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(secs) if secs >= 0 => Ok(Some(Timestamp::from_secs(secs))),
            _ => Err(TokenError::Claim { name: name.into() }),
        },
    }
}

pub(crate) fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Result<&'c str, TokenError> {
    claims
        .get(name)
        .and_then(Value::as_str)
        .filter(|text| (1..=MAX_SUBJECT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control))
        .ok_or_else(|| TokenError::Claim { name: name.to_owned().into() })
}

/// A list of texts, or one text with spaces between.
fn names(claims: &Map<String, Value>, name: &str) -> Result<Box<[Box<str>]>, TokenError> {
    let wrong = || TokenError::Claim { name: name.to_owned().into() };
    match claims.get(name) {
        None => Ok(Box::default()),
        Some(Value::String(text)) => Ok(text.split_ascii_whitespace().map(Into::into).collect()),
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(Into::into).ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

/// The claim serde complains about, where its text names one.
fn offender(error: &serde_json::Error) -> Cow<'static, str> {
    let text = error.to_string();
    match text.split('`').nth(1) {
        Some(name) if text.starts_with("missing field") => name.to_owned().into(),
        _ => "of an access token".into(),
    }
}

#[cfg(test)]
mod tests;
