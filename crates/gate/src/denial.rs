//! Every way to say no, and every answer the gate gives itself. Nothing is answered beside these.

use std::{borrow::Cow, sync::Arc};

use authn::{CertificateError, KeyError, Refusal, TokenError};
use domain::Requirement;
use http::StatusCode;

use crate::{cors::CompiledCors, load::Full};

/// How a request ends when it is not forwarded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Stop {
    /// The gate answers itself.
    Answer(Answer),
    /// The gate refuses.
    Deny(Denial),
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Deny(denial)
    }
}

/// What the gate answers itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// 308 to the same resource over HTTPS (RFC 9110 §15.4.9).
    RedirectToHttps {
        /// `Location`.
        location: String,
    },
    /// 204 to a preflight (Fetch Standard §3.2.2), whether or not its origin may call.
    Preflight {
        /// The hostname's rules.
        cors: Arc<CompiledCors>,
    },
}

impl Answer {
    /// The redirect of the plain listener.
    pub(crate) fn to_https(request: &crate::CanonicalRequest<'_>, port: Option<u16>) -> Self {
        let port = port.map(|p| format!(":{p}")).unwrap_or_default();
        let query = request.query.map(|q| format!("?{q}")).unwrap_or_default();
        Self::RedirectToHttps { location: format!("https://{}{port}{}{query}", request.host, request.path) }
    }
}

/// Every reason to refuse. Codes are API: add, never reuse.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum Denial {
    // 1. canonical
    #[error("the request has more than one reading: {0}")]
    RequestMalformed(&'static str),
    #[error("the path is not in canonical form: {0}")]
    PathRefused(&'static str),
    #[error("the host is missing, repeated or not a hostname: {0}")]
    HostInvalid(&'static str),
    #[error("the header `{0}` is another spelling of a name that services trust")]
    HeaderRefused(Cow<'static, str>),
    #[error("the request target is too long")]
    TargetTooLong,
    #[error("the request's head is too large")]
    HeadTooLarge,
    #[error("the request did not come in time")]
    RequestTimeout,
    #[error("the method is not served here")]
    MethodNotAllowed,
    #[error("the host is not the name the TLS connection was made for")]
    HostMismatch,
    // 2. tenant
    #[error("no such hostname is served here")]
    HostnameUnknown,
    #[error("the gateway has no snapshot yet, or one that is too old")]
    SnapshotUnavailable,
    #[error("this gateway is too old for what it was told about the hostname")]
    SnapshotUnsupported,
    #[error("the project is suspended")]
    ProjectSuspended,
    #[error("the tenant is suspended")]
    TenantSuspended,
    #[error("the tenant is frozen; reading and signing out are possible")]
    TenantFrozen,
    #[error("the customer's payment is blocked")]
    PaymentRequired,
    #[error("the customer's identity is not verified yet")]
    KycRequired,
    // 3. admit, 9. limit
    #[error("too many requests ({0})")]
    RateLimited(Limit),
    #[error("the {0} is used up")]
    QuotaExceeded(Limit),
    #[error("the client's address is not let in")]
    AddressRefused,
    #[error("the connection was made without the client certificate that is needed here")]
    CertificateMissing,
    #[error("too many at once ({0})")]
    ConcurrencyLimited(Full),
    // 4. route
    #[error("no route is here")]
    RouteNotFound,
    // 5. credential
    #[error("a credential is needed")]
    CredentialMissing,
    #[error("more than one credential was sent")]
    CredentialAmbiguous,
    #[error("the credential is not one this route takes")]
    CredentialRefused,
    // 6. verify
    #[error("the client certificate is not believed")]
    Certificate(#[from] CertificateError),
    #[error("the token is not believed")]
    Token(#[from] TokenError),
    #[error("the API key is not accepted")]
    Key(#[from] KeyError),
    #[error("what the API key is worth cannot be found out now")]
    KeysUnavailable,
    #[error("whether the signature was used before cannot be found out now")]
    NoncesUnavailable,
    // 7. revoke
    #[error("the token was revoked ({0:?})")]
    TokenRevoked(Refusal),
    #[error("whether the token was revoked cannot be proven now")]
    RevocationUnproven,
    // 8. bind
    #[error("the token is of another tenant of the project")]
    TenantMismatch,
    #[error("the token's tenant is not known here")]
    TenantUnknown,
    #[error("the principal is not active in the tenant")]
    PrincipalInactive,
    #[error("the tenant is not entitled to product `{product}`")]
    NotEntitled { product: Box<str> },
    #[error("this route is for the platform's staff, or not for them")]
    ContextMismatch,
    // 10. authorize
    #[error("permission `{permission}` is not held")]
    PermissionDenied { permission: Box<str> },
    #[error("the sign-in is not sure or recent enough for the route")]
    AuthenticationInsufficient(Requirement),
    #[error("the request names no organisational unit of the tenant")]
    OrgUnitNotFound,
    #[error("the principal is not in the organisational unit")]
    OrgUnitDenied,
    #[error("what the principal may do cannot be found out now")]
    PermissionsUnavailable,
    // 11. forward
    #[error("the upstream cannot be reached")]
    UpstreamUnreachable,
    #[error("the upstream did not answer in time")]
    UpstreamTimeout,
    #[error("the upstream's answer cannot be passed on")]
    UpstreamInvalid,
    #[error("the request body is larger than may be sent here")]
    BodyTooLarge,
    #[error("the response or WebSocket went on for as long as its route lets one")]
    StreamTooLong,
    #[error("nothing was said on the stream for too long")]
    StreamSilent,
    #[error("the assertion for the upstream could not be made")]
    AssertionFailed,
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// Of the client's address.
    Address,
    /// Of the tenant.
    Tenant,
    /// Of one address among the tenant's strangers.
    Stranger,
    /// Of the principal in its tenant.
    Principal,
    /// Of the API key.
    Key,
    /// Of the tenant on this route.
    Route,
    /// Of the tenant, for the route's product in a day.
    QuotaOfDay,
    /// Of the tenant, for the route's product in a month.
    QuotaOfMonth,
    /// Of failed signatures.
    Signatures,
}

impl Limit {
    /// Its name in the `RateLimit` fields.
    pub const fn policy(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Tenant => "tenant",
            Self::Stranger => "stranger",
            Self::Principal => "principal",
            Self::Key => "key",
            Self::Route => "route",
            Self::QuotaOfDay => "quota-day",
            Self::QuotaOfMonth => "quota-month",
            Self::Signatures => "signatures",
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Address => "client address",
            Self::Tenant => "tenant",
            Self::Stranger => "client address in the tenant",
            Self::Principal => "principal",
            Self::Key => "API key",
            Self::Route => "route",
            Self::QuotaOfDay => "tenant's quota of the day",
            Self::QuotaOfMonth => "tenant's quota of the month",
            Self::Signatures => "failed signatures",
        })
    }
}

impl Denial {
    /// Status and stable public code.
    pub fn public(&self) -> (StatusCode, &'static str) {
        match self {
            Self::RequestMalformed(_) => (StatusCode::BAD_REQUEST, "request_malformed"),
            Self::PathRefused(_) => (StatusCode::BAD_REQUEST, "path_refused"),
            Self::HostInvalid(_) => (StatusCode::BAD_REQUEST, "host_invalid"),
            Self::HeaderRefused(_) => (StatusCode::BAD_REQUEST, "header_refused"),
            Self::TargetTooLong => (StatusCode::URI_TOO_LONG, "target_too_long"),
            Self::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large"),
            Self::RequestTimeout => (StatusCode::REQUEST_TIMEOUT, "request_timeout"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::HostMismatch => (StatusCode::MISDIRECTED_REQUEST, "host_mismatch"),
            Self::HostnameUnknown => (StatusCode::NOT_FOUND, "hostname_unknown"),
            Self::SnapshotUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "snapshot_unavailable"),
            Self::SnapshotUnsupported => (StatusCode::SERVICE_UNAVAILABLE, "snapshot_unsupported"),
            Self::ProjectSuspended => (StatusCode::FORBIDDEN, "project_suspended"),
            Self::TenantSuspended => (StatusCode::FORBIDDEN, "tenant_suspended"),
            Self::TenantFrozen => (StatusCode::FORBIDDEN, "tenant_frozen"),
            Self::PaymentRequired => (StatusCode::FORBIDDEN, "payment_required"),
            Self::KycRequired => (StatusCode::FORBIDDEN, "kyc_required"),
            Self::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::QuotaExceeded(_) => (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded"),
            Self::AddressRefused => (StatusCode::FORBIDDEN, "address_refused"),
            Self::CertificateMissing => (StatusCode::UNAUTHORIZED, "certificate_missing"),
            Self::Certificate(_) => (StatusCode::UNAUTHORIZED, "certificate_refused"),
            Self::ConcurrencyLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "concurrency_limited"),
            Self::RouteNotFound => (StatusCode::NOT_FOUND, "route_not_found"),
            Self::CredentialMissing => (StatusCode::UNAUTHORIZED, "credential_missing"),
            Self::CredentialAmbiguous => (StatusCode::BAD_REQUEST, "credential_ambiguous"),
            Self::CredentialRefused => (StatusCode::UNAUTHORIZED, "credential_refused"),
            Self::Token(error) => (StatusCode::UNAUTHORIZED, error.code()),
            Self::Key(error) => (StatusCode::UNAUTHORIZED, error.code()),
            Self::KeysUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "api_keys_unavailable"),
            Self::NoncesUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "nonces_unavailable"),
            Self::TokenRevoked(_) => (StatusCode::UNAUTHORIZED, "token_revoked"),
            Self::RevocationUnproven => (StatusCode::SERVICE_UNAVAILABLE, "revocation_unproven"),
            Self::TenantMismatch => (StatusCode::FORBIDDEN, "tenant_mismatch"),
            Self::TenantUnknown => (StatusCode::FORBIDDEN, "tenant_unknown"),
            Self::PrincipalInactive => (StatusCode::UNAUTHORIZED, "principal_inactive"),
            Self::NotEntitled { .. } => (StatusCode::FORBIDDEN, "entitlement_missing"),
            Self::ContextMismatch => (StatusCode::FORBIDDEN, "context_mismatch"),
            Self::PermissionDenied { .. } => (StatusCode::FORBIDDEN, "permission_denied"),
            Self::AuthenticationInsufficient(_) => (StatusCode::UNAUTHORIZED, "insufficient_user_authentication"),
            Self::OrgUnitNotFound => (StatusCode::NOT_FOUND, "org_unit_not_found"),
            Self::OrgUnitDenied => (StatusCode::FORBIDDEN, "org_unit_denied"),
            Self::PermissionsUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "permissions_unavailable"),
            Self::UpstreamUnreachable => (StatusCode::BAD_GATEWAY, "upstream_unreachable"),
            Self::UpstreamTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
            Self::UpstreamInvalid => (StatusCode::BAD_GATEWAY, "upstream_invalid"),
            Self::StreamTooLong => (StatusCode::REQUEST_TIMEOUT, "stream_too_long"),
            Self::StreamSilent => (StatusCode::REQUEST_TIMEOUT, "stream_silent"),
            Self::AssertionFailed => (StatusCode::INTERNAL_SERVER_ERROR, "assertion_failed"),
        }
    }

    /// What the caller is told in words: no claim, key, tenant or route of anybody.
    pub fn title(&self) -> &'static str {
        match self.public().0 {
            StatusCode::BAD_REQUEST => "The request cannot be accepted as it is",
            StatusCode::UNAUTHORIZED => "A valid credential is needed",
            StatusCode::FORBIDDEN => "That is not allowed here",
            StatusCode::NOT_FOUND => "Nothing is here",
            StatusCode::METHOD_NOT_ALLOWED => "The method is not served here",
            StatusCode::MISDIRECTED_REQUEST => "The connection was made for another host",
            StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::PAYLOAD_TOO_LARGE => {
                "The request is too large"
            }
            StatusCode::REQUEST_TIMEOUT => "The request took too long",
            StatusCode::TOO_MANY_REQUESTS => "Too many requests",
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => "The service behind this address does not answer",
            _ => "The service cannot answer now",
        }
    }

    /// Seconds after which trying again makes sense, for `Retry-After` (RFC 9110 §10.2.3).
    pub const fn retry_after(&self) -> Option<u32> {
        match self {
            Self::RateLimited(_)
            | Self::QuotaExceeded(_)
            | Self::ConcurrencyLimited(_)
            | Self::RevocationUnproven
            | Self::KeysUnavailable
            | Self::NoncesUnavailable
            | Self::PermissionsUnavailable => Some(1),
            Self::SnapshotUnavailable => Some(5),
            _ => None,
        }
    }

    /// The `WWW-Authenticate` challenge of a 401 (RFC 6750 §3, RFC 9470 §3).
    pub fn challenge(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::CredentialMissing => Some("Bearer".into()),
            // No field can ask for a certificate; a new connection does.
            Self::CertificateMissing | Self::Certificate(_) => Some("Bearer".into()),
            Self::AuthenticationInsufficient(require) => Some(require.challenge().into()),
            denial if denial.public().0 == StatusCode::UNAUTHORIZED => Some(r#"Bearer error="invalid_token""#.into()),
            _ => None,
        }
    }
}
