//! Why a use case did not do what it was asked. [`crate::problem`] turns this into an answer.

use authn::{KeyError, TokenError};
use domain::{Acr, HumanDuration, Requirement};
use http::StatusCode;
use link::{LinkError, log::TickError};
use store::{StoreError, list::WrongParameter};

/// One field of a request that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct FieldError {
    /// Where, as a JSON pointer into the body (RFC 6901), or `?name` for a query parameter.
    pub pointer: String,
    /// Stable code.
    pub code: &'static str,
    /// What is wrong, in words.
    pub detail: String,
}

impl FieldError {
    /// A field that is wrong.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}

/// Why a request is not answered as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No bearer token where one is needed.
    #[error("a bearer token is needed")]
    CredentialMissing,
    /// The token cannot be believed.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The API key is not accepted.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The API key may not be used from there.
    #[error("the API key may not be used from that address")]
    AddressRefused,
    /// The token was believed and is refused since: signed out, session ended, generation raised.
    #[error("the token was revoked")]
    TokenRevoked,
    /// The principal is disabled, gone, or no active member of the tenant.
    #[error("the principal is not active")]
    PrincipalInactive,
    /// The token's tenant is not the hostname's.
    #[error("the token is for another tenant")]
    TenantMismatch,
    /// The tenant or its project serves nothing now.
    #[error("the tenant is suspended")]
    TenantSuspended,
    /// The tenant is frozen: only reading and signing in and out.
    #[error("the tenant is frozen")]
    TenantFrozen,
    /// A tenant's token at the staff's door, or the other way round.
    #[error("the token is for another context")]
    ContextMismatch,
    /// On `internal`, the service key is none of ours.
    #[error("the service key is not known")]
    ServiceKeyInvalid,
    /// On `internal`, the service key does not name the method.
    #[error("the service key is not good for this method")]
    ServiceKeyScope,
    /// On `public`, the edge's assertion is missing or does not hold.
    #[error("the request did not come through the edge")]
    AssertionInvalid,
    /// No right to do it.
    #[error(transparent)]
    Forbidden(#[from] authz::Forbidden),
    /// The platform decides.
    #[error("{0}")]
    ManagedByPlatform(&'static str),
    /// The granted role holds more than the one who grants it.
    #[error("a role cannot be given that holds more than its giver: {permission}")]
    Escalation {
        /// What the giver lacks.
        permission: String,
    },
    /// It may be done, but not to this, or not here.
    #[error("{detail}")]
    Restricted {
        /// Stable code.
        code: &'static str,
        /// What keeps it as it is.
        detail: &'static str,
    },
    /// There is no such thing, or not for the caller.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// Fields of the request are wrong.
    #[error("{}", wrong_fields(.0))]
    Invalid(Vec<FieldError>),
    /// A query parameter is wrong.
    #[error("{} {}", .0.pointer, .0.detail)]
    Parameter(FieldError),
    /// The body is not JSON of the form that is asked for.
    #[error("the body cannot be read: {0}")]
    Malformed(String),
    /// The body is too long.
    #[error("the body is longer than allowed")]
    TooLarge,
    /// The body is of another media type.
    #[error("the body is not `application/json`")]
    MediaType,
    /// State forbids it.
    #[error("{detail}")]
    Conflict {
        /// Stable code.
        code: &'static str,
        /// What is in the way.
        detail: String,
    },
    /// User name and password do not belong together, or there is no such user.
    #[error("the credentials are not valid")]
    CredentialsInvalid,
    /// Too many failures for that name.
    #[error("sign-in is locked for a while")]
    LoginLocked {
        /// Seconds until it is not.
        retry_after: u64,
    },
    /// The sign-in that waited for a second factor is unknown, used, too old, or has taken all its attempts.
    #[error("the sign-in does not wait for a second factor any more: begin anew")]
    LoginChallengeInvalid,
    /// The sign-in was longer ago than this lets it be.
    #[error("this needs a sign-in of a moment ago, or the password")]
    SignInAnew(HumanDuration),
    /// The session has not shown a second factor, and this needs one.
    #[error("this needs a session with a second factor")]
    StepUp,
    /// Too many requests of one kind from one address, or for one account.
    #[error("too many such requests, from one address or for one account")]
    RateLimited {
        /// Seconds until there may be more.
        retry_after: u64,
    },
    /// The same was sent to that address a moment ago, or too often.
    #[error("that was sent a moment ago, or too often")]
    SendCooldown {
        /// Seconds until it may be sent again.
        retry_after: u64,
    },
    /// The token of a link is unknown, used, too old, or for something else.
    #[error("the link is not good any more")]
    LinkInvalid,
    /// The project key names no project, or is shown twice.
    #[error("the project key is not known")]
    ProjectKeyInvalid,
    /// The project key and the hostname name two projects.
    #[error("the project key is another project's than the hostname")]
    ProjectMismatch,
    /// There is no admin secret.
    #[error("no admin secret is set here")]
    AdminSecretUnset,
    /// It is another.
    #[error("the admin secret is not right")]
    AdminSecretInvalid,
    /// The answer of an identity provider is to nothing that was begun here by who shows it, or comes too late.
    #[error("the sign-in does not wait for this answer any more: begin anew")]
    OauthStateInvalid,
    /// The code that a browser was sent on with is unknown, used, too old, or another browser's.
    #[error("the code is not good any more")]
    OauthCodeInvalid,
    /// The identity provider said no, or what it said is not believed.
    #[error("the identity provider did not say who it is")]
    OauthRefused,
    /// The identity provider cannot be asked now.
    #[error("the identity provider does not answer now")]
    OauthUnavailable,
    /// The password must be changed before a session opens.
    #[error("the password must be changed first")]
    PasswordChangeRequired,
    /// Several tenants, and none was named.
    #[error("name the tenant to sign in to")]
    TenantRequired {
        /// The user's tenants.
        slugs: Vec<String>,
    },
    /// The refresh token is unknown, expired, or its session ended.
    #[error("the refresh token is not valid")]
    RefreshInvalid,
    /// The refresh token was used moments ago: the newer one counts.
    #[error("the refresh token was used moments ago")]
    RefreshSuperseded,
    /// The refresh token was used before: all sessions of its user were ended.
    #[error("the refresh token was used before")]
    RefreshReplayed,
    /// More sign-ins at once than we hash passwords for.
    #[error("too many sign-ins at once")]
    Busy,
    /// No such path or method.
    #[error("nothing is served at this path")]
    NoRoute,
    /// The path is served, but not for this method.
    #[error("the method is not served here")]
    NoMethod,
    /// It took too long.
    #[error("the request took too long")]
    TimedOut,
    /// Redis may forget what it is told to refuse.
    #[error("the revocation store is not fit for use")]
    RevocationStoreUnfit(#[source] LinkError),
    /// The store said no, or nothing.
    #[error(transparent)]
    Store(StoreError),
    /// A failure of ours.
    #[error("{what}")]
    Internal {
        /// What failed.
        what: &'static str,
        /// Why.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

impl AppError {
    /// One wrong field.
    pub fn field(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, code, detail)])
    }

    /// A wrong query parameter.
    pub fn parameter(name: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::Parameter(FieldError::new(format!("?{name}"), code, detail))
    }

    /// A failure of ours, with its cause.
    pub fn internal(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal { what, source: Some(source.into()) }
    }

    /// Status and stable public code. Codes are API: add, never reuse.
    pub fn public(&self) -> (StatusCode, &'static str) {
        match self {
            Self::CredentialMissing => (StatusCode::UNAUTHORIZED, "credential_missing"),
            Self::Token(error) => (StatusCode::UNAUTHORIZED, error.code()),
            Self::Key(error) => (StatusCode::UNAUTHORIZED, error.code()),
            Self::AddressRefused => (StatusCode::FORBIDDEN, "address_refused"),
            Self::TokenRevoked => (StatusCode::UNAUTHORIZED, "token_revoked"),
            Self::PrincipalInactive => (StatusCode::UNAUTHORIZED, "principal_inactive"),
            Self::TenantMismatch => (StatusCode::FORBIDDEN, "tenant_mismatch"),
            Self::TenantSuspended => (StatusCode::FORBIDDEN, "tenant_suspended"),
            Self::TenantFrozen => (StatusCode::FORBIDDEN, "tenant_frozen"),
            Self::ContextMismatch => (StatusCode::FORBIDDEN, "context_mismatch"),
            Self::ServiceKeyInvalid => (StatusCode::UNAUTHORIZED, "service_key_invalid"),
            Self::ServiceKeyScope => (StatusCode::FORBIDDEN, "service_key_scope"),
            Self::AssertionInvalid => (StatusCode::FORBIDDEN, "assertion_invalid"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "permission_denied"),
            Self::ManagedByPlatform(_) => (StatusCode::FORBIDDEN, "managed_by_platform"),
            Self::Escalation { .. } => (StatusCode::FORBIDDEN, "permission_escalation"),
            Self::Restricted { code, .. } => (StatusCode::FORBIDDEN, code),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "validation_failed"),
            Self::Parameter(_) => (StatusCode::BAD_REQUEST, "parameter_invalid"),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "body_malformed"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported"),
            Self::Conflict { code, .. } => (StatusCode::CONFLICT, code),
            Self::CredentialsInvalid => (StatusCode::UNAUTHORIZED, "credentials_invalid"),
            Self::LoginLocked { .. } => (StatusCode::TOO_MANY_REQUESTS, "login_locked"),
            Self::LoginChallengeInvalid => (StatusCode::UNAUTHORIZED, "login_challenge_invalid"),
            Self::StepUp | Self::SignInAnew(_) => (StatusCode::UNAUTHORIZED, "insufficient_user_authentication"),
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::SendCooldown { .. } => (StatusCode::TOO_MANY_REQUESTS, "send_cooldown"),
            Self::LinkInvalid => (StatusCode::UNAUTHORIZED, "link_invalid"),
            Self::ProjectKeyInvalid => (StatusCode::UNAUTHORIZED, "project_key_invalid"),
            Self::ProjectMismatch => (StatusCode::FORBIDDEN, "project_mismatch"),
            Self::AdminSecretUnset => (StatusCode::NOT_IMPLEMENTED, "not_implemented"),
            Self::AdminSecretInvalid => (StatusCode::UNAUTHORIZED, "admin_secret_invalid"),
            Self::OauthStateInvalid => (StatusCode::UNAUTHORIZED, "oauth_state_invalid"),
            Self::OauthCodeInvalid => (StatusCode::UNAUTHORIZED, "oauth_code_invalid"),
            Self::OauthRefused => (StatusCode::UNAUTHORIZED, "oauth_refused"),
            Self::OauthUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "oauth_unavailable"),
            Self::PasswordChangeRequired => (StatusCode::FORBIDDEN, "password_change_required"),
            Self::TenantRequired { .. } => (StatusCode::CONFLICT, "tenant_required"),
            Self::RefreshInvalid => (StatusCode::UNAUTHORIZED, "refresh_invalid"),
            Self::RefreshSuperseded => (StatusCode::UNAUTHORIZED, "refresh_superseded"),
            Self::RefreshReplayed => (StatusCode::UNAUTHORIZED, "refresh_replayed"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::NoRoute => (StatusCode::NOT_FOUND, "route_not_found"),
            Self::NoMethod => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, "timed_out"),
            Self::RevocationStoreUnfit(_) => (StatusCode::SERVICE_UNAVAILABLE, "revocation_store_unfit"),
            Self::Store(error) => store_code(error),
            Self::Internal { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Seconds after which trying again makes sense (RFC 9110 §10.2.3).
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::LoginLocked { retry_after }
            | Self::RateLimited { retry_after }
            | Self::SendCooldown { retry_after } => Some(*retry_after),
            Self::Busy | Self::TimedOut => Some(1),
            _ if self.public().0 == StatusCode::SERVICE_UNAVAILABLE => Some(1),
            _ => None,
        }
    }

    /// The `WWW-Authenticate` challenge of a 401 (RFC 6750 §3, RFC 9470 §3).
    pub fn challenge(&self) -> String {
        match self {
            Self::StepUp => Requirement { acr: Some(Acr::Aal2), ..Requirement::default() }.challenge(),
            Self::SignInAnew(within) => Requirement { max_age: Some(*within), ..Requirement::default() }.challenge(),
            _ => "Bearer".into(),
        }
    }

    /// What is wrong with which field.
    pub fn fields(&self) -> Vec<FieldError> {
        match self {
            Self::Invalid(fields) => fields.clone(),
            Self::Parameter(field) => vec![field.clone()],
            Self::Store(StoreError::Conflict { columns, .. }) => columns
                .iter()
                .map(|column| column.strip_suffix("_fold").unwrap_or(column))
                .filter(|column| !column.ends_with("project_id") && !column.ends_with("tenant_id"))
                .map(|column| FieldError::new(format!("/{column}"), "taken", format!("this `{column}` is taken")))
                .collect(),
            Self::TenantRequired { slugs } => {
                slugs.iter().map(|slug| FieldError::new("/tenant", "choice", slug.clone())).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// What is wrong, field by field.
fn wrong_fields(fields: &[FieldError]) -> String {
    let one = |field: &FieldError| format!("{} {}", field.pointer, field.detail);
    fields.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => Self::NotFound(what),
            // What lies outside the caller's scope does not exist for the caller.
            StoreError::OutOfScope => Self::NotFound("thing"),
            other => Self::Store(other),
        }
    }
}

impl From<WrongParameter> for AppError {
    fn from(wrong: WrongParameter) -> Self {
        Self::parameter(wrong.name, wrong.code, wrong.detail)
    }
}

impl From<TickError<StoreError>> for AppError {
    fn from(error: TickError<StoreError>) -> Self {
        Self::internal("a change was saved and not numbered", error)
    }
}

fn store_code(error: &StoreError) -> (StatusCode, &'static str) {
    match error {
        StoreError::NotFound { .. } | StoreError::OutOfScope => (StatusCode::NOT_FOUND, "not_found"),
        StoreError::Conflict { .. } => (StatusCode::CONFLICT, "already_exists"),
        StoreError::Reference => (StatusCode::CONFLICT, "reference_conflict"),
        StoreError::Check { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "validation_failed"),
        StoreError::Rule { code, .. } => (StatusCode::CONFLICT, code),
        StoreError::VersionMismatch { .. } => (StatusCode::PRECONDITION_FAILED, "version_mismatch"),
        StoreError::TenantState(_) => (StatusCode::CONFLICT, "tenant_state_conflict"),
        StoreError::CustomerState(conflict) => (StatusCode::CONFLICT, conflict.code()),
        StoreError::Tie(_) => (StatusCode::CONFLICT, "route_tie"),
        StoreError::Claimed { alike: true } => (StatusCode::CONFLICT, "idempotency_unanswered"),
        StoreError::Claimed { alike: false } => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
        StoreError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
        StoreError::Serialization | StoreError::Unavailable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
        }
        StoreError::Unaudited { .. }
        | StoreError::Finished
        | StoreError::Failed
        | StoreError::Configuration { .. }
        | StoreError::SchemaNewer { .. }
        | StoreError::SchemaOlder { .. }
        | StoreError::Migration(_)
        | StoreError::Seal(_)
        | StoreError::Corrupt { .. }
        | StoreError::Database(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}
