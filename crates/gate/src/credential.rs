//! Stage 5: exactly one credential, or none where none is needed.

use authn::{api_key::PresentedKey, signature};
use domain::{CredentialKind, snapshot::Access};
use http::header;

use crate::{CanonicalRequest, Denial, ShownCertificate, route::Matched};

/// What the caller shows, borrowed from the request. Nothing of it is verified.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Credential<'r> {
    /// None is needed and none is looked at, or none was sent where none must be.
    Anonymous,
    /// A token in `Authorization: Bearer` (RFC 6750 §2.1).
    Token(&'r str),
    /// An API key in `Authorization: Bearer`.
    ApiKey(&'r str),
    /// The fields of a request that is signed with an API key.
    Signature,
    /// The certificate of the connection, where nothing else is shown and the route takes it.
    Certificate(&'r ShownCertificate),
}

impl Credential<'_> {
    /// Its kind; none of who shows none.
    const fn kind(self) -> Option<CredentialKind> {
        match self {
            Self::Anonymous => None,
            Self::Token(_) => Some(CredentialKind::Token),
            Self::ApiKey(_) => Some(CredentialKind::ApiKey),
            Self::Signature => Some(CredentialKind::Signature),
            Self::Certificate(_) => Some(CredentialKind::Certificate),
        }
    }
}

/// The credential of a request on its route.
///
/// # Errors
/// None where one is needed; two; or one of a kind the route does not take.
pub(crate) fn pick<'r>(matched: &Matched, request: &CanonicalRequest<'r>) -> Result<Credential<'r>, Denial> {
    if *matched.access() == Access::Public {
        return Ok(Credential::Anonymous);
    }
    let credential = match (shown(request)?, request.certificate) {
        // It is there whether or not the caller means it, so that it never counts beside another.
        (Credential::Anonymous, Some(certificate)) if matched.credentials().contains(CredentialKind::Certificate) => {
            Credential::Certificate(certificate)
        }
        (credential, _) => credential,
    };
    match (credential.kind(), matched.access()) {
        (Some(kind), _) if matched.credentials().contains(kind) => Ok(credential),
        (Some(_), _) => Err(Denial::CredentialRefused),
        (None, Access::Public | Access::Optional) => Ok(Credential::Anonymous),
        (None, Access::Authenticated | Access::Permission(_) | Access::Platform(_)) => Err(Denial::CredentialMissing),
    }
}

/// The one that was sent.
fn shown<'r>(request: &CanonicalRequest<'r>) -> Result<Credential<'r>, Denial> {
    let mut signed = request.headers.get_all(signature::KEY_ID).iter();
    match (signed.next(), signed.next()) {
        (None, _) => authorization(request),
        (Some(_), None) if !request.headers.contains_key(header::AUTHORIZATION) => Ok(Credential::Signature),
        (Some(_), _) => Err(Denial::CredentialAmbiguous),
    }
}

/// What `Authorization` holds.
fn authorization<'r>(request: &CanonicalRequest<'r>) -> Result<Credential<'r>, Denial> {
    let mut fields = request.headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(Credential::Anonymous) };
    if fields.next().is_some() {
        return Err(Denial::CredentialAmbiguous);
    }
    let text = std::str::from_utf8(field.as_bytes()).map_err(|_| Denial::CredentialRefused)?;
    let (scheme, token) = text.split_once(' ').ok_or(Denial::CredentialRefused)?;
    // One word. That it is a token, byte for byte, is checked by who decodes it, and only once.
    if !scheme.eq_ignore_ascii_case("Bearer") || token.is_empty() || token.as_bytes().contains(&b' ') {
        return Err(Denial::CredentialRefused);
    }
    Ok(if PresentedKey::looks_like(token) { Credential::ApiKey(token) } else { Credential::Token(token) })
}
