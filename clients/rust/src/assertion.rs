//! What an assertion says, and why one is refused.

use std::net::IpAddr;

use serde::Deserialize;

/// The header field that carries the assertion.
pub const HEADER: &str = "x-md-global-assertion";

/// What the gateway says of a request. Holding one means that it was verified against that request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Assertion {
    /// Who signed: `portcullis`.
    #[serde(rename = "iss")]
    pub issuer: String,
    /// For which service: the upstream's name.
    #[serde(rename = "aud")]
    pub audience: String,
    /// When it was signed, in seconds since the epoch.
    #[serde(rename = "iat")]
    pub issued_at: i64,
    /// From when on it holds no more, in seconds since the epoch.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// The tenant the request runs as; none on hostnames of several tenants for anonymous callers.
    #[serde(rename = "tid", default)]
    pub tenant: Option<String>,
    /// Who is calling; none for anonymous callers.
    #[serde(rename = "sub", default)]
    pub subject: Option<String>,
    /// Method.
    #[serde(rename = "htm")]
    pub method: String,
    /// Path in canonical form, without the query.
    #[serde(rename = "htu")]
    pub path: String,
    /// The hostname the client asked for, without port.
    pub host: String,
    /// The request's id, the same in the gateway's log.
    #[serde(rename = "rid")]
    pub request_id: String,
    /// The client's address.
    #[serde(rename = "cip", default)]
    pub client: Option<IpAddr>,
}

/// Why a request is not believed to have come through the gateway.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AssertionError {
    /// There is no assertion.
    #[error("the request carries no assertion")]
    Missing,
    /// A field that decides stands there more than once.
    #[error("header `{0}` occurs more than once")]
    Repeated(&'static str),
    /// The assertion cannot be read in one way.
    #[error("the assertion cannot be read: {0}")]
    Malformed(&'static str),
    /// A token of another type, such as an access token.
    #[error("the token's `typ` is not that of an assertion")]
    Type,
    /// No key has its `kid`.
    #[error("no key has the assertion's `kid`")]
    KeyUnknown,
    /// Another algorithm than its key's.
    #[error("the assertion's `alg` is not its key's")]
    Algorithm,
    /// The signature does not hold.
    #[error("the assertion's signature does not hold")]
    Signature,
    /// Not the gateway's.
    #[error("the assertion is not the gateway's")]
    Issuer,
    /// For another service.
    #[error("the assertion is for another service")]
    Audience,
    /// Past its `exp`.
    #[error("the assertion has expired")]
    Expired,
    /// Signed in the future.
    #[error("the assertion is not valid yet")]
    NotYetValid,
    /// For another method.
    #[error("the assertion is for another method")]
    Method,
    /// For another path.
    #[error("the assertion is for another path")]
    Path,
    /// For another host.
    #[error("the assertion is for another host")]
    Host,
    /// For another tenant than the request's header or this service's.
    #[error("the assertion is for another tenant")]
    Tenant,
    /// For another caller than the request's header says.
    #[error("the assertion is for another subject")]
    Subject,
    /// For another request than the request's header says.
    #[error("the assertion is for another request")]
    RequestId,
}

impl AssertionError {
    /// Stable code, for logs and metrics; the same in the Go library.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "assertion_missing",
            Self::Repeated(_) => "header_repeated",
            Self::Malformed(_) => "assertion_malformed",
            Self::Type => "assertion_type",
            Self::KeyUnknown => "assertion_key_unknown",
            Self::Algorithm => "assertion_algorithm",
            Self::Signature => "assertion_signature",
            Self::Issuer => "assertion_issuer",
            Self::Audience => "assertion_audience",
            Self::Expired => "assertion_expired",
            Self::NotYetValid => "assertion_not_yet_valid",
            Self::Method => "assertion_method",
            Self::Path => "assertion_path",
            Self::Host => "assertion_host",
            Self::Tenant => "assertion_tenant",
            Self::Subject => "assertion_subject",
            Self::RequestId => "assertion_request_id",
        }
    }
}
