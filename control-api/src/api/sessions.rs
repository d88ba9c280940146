//! Signing in, refreshing, signing out, and who one is: for tenants and for the platform's staff, on S3's paths.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    OrgUnitId, Permission, RoleId, Secret, Slug, TenantId, UserId,
    model::{ChallengePurpose, Role, Tenant, User},
    snapshot::TenantStatus,
};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{answer::settling, extract::Body, schema::wire};
use crate::{
    App, app,
    app::{
        login::{Credentials, Door},
        sign_in::SignedIn,
        tokens::TokenPair,
    },
    caller::Principal,
    context::RequestContext,
    envelope::{self, Settle, Waiting},
    error::AppError,
    problem,
};

/// A user's name and password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// User name or email.
    username: String,
    /// Password.
    password: Secret<String>,
    /// Slug of the tenant, where the hostname does not say it.
    tenant: Option<String>,
}

/// A refresh token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// As it was given.
    refresh_token: Secret<String>,
}

/// A one-time password, and what follows it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletePassword {
    /// User name or email.
    username: String,
    /// The one-time password.
    password: Secret<String>,
    /// The user's own: 8 to 128 characters, lower-case and upper-case letters, digits and others.
    new_password: Secret<String>,
    /// Slug of the tenant, where the hostname does not say it.
    tenant: Option<String>,
}

/// An access token and the refresh token that follows it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tokens {
    /// For `Authorization: Bearer`.
    #[serde(serialize_with = "domain::secret::exposed")]
    access_token: Secret<String>,
    /// Used once, for the next pair.
    #[serde(serialize_with = "domain::secret::exposed")]
    refresh_token: Secret<String>,
    /// `Bearer`.
    token_type: &'static str,
    /// How long the access token lives, in seconds.
    expires_in: u64,
}

/// What a sign-in answers: tokens or, where a second factor is asked for, how to go on.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum SignIn {
    /// A session.
    Tokens(Tokens),
    /// The question for a second factor, and no tokens.
    SecondFactor {
        /// How to go on.
        second_factor: SecondFactor,
    },
}

/// How a sign-in goes on that waits for a second factor.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SecondFactor {
    /// Names the sign-in that waits; good once.
    #[serde(serialize_with = "domain::secret::exposed")]
    login_challenge_id: Secret<String>,
    /// What is taken: `totp` and `recovery_code`, or `totp_setup` of who has to set an authenticator up first.
    methods: &'static [&'static str],
    /// How long it waits, in seconds.
    expires_in: u64,
}

/// The tenant to switch to, and the other half of the pair that is given up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    /// Slug or id of one of the user's tenants in the same project.
    tenant: String,
    /// The refresh token of the session that asks.
    refresh_token: Secret<String>,
}

/// A pair for another tenant. With 202, gateways that may still accept the old one are named.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Switched {
    /// The new pair.
    #[serde(flatten)]
    tokens: Tokens,
    /// Who is waited for, and until when.
    #[serde(flatten)]
    waiting: Option<Waiting>,
}

/// That the session has ended.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignedOut {
    /// `signed_out`.
    status: &'static str,
}

impl SignedOut {
    /// It has.
    pub(super) const DONE: Self = Self { status: "signed_out" };
}

/// Who the caller is and what it may do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Info {
    /// The user.
    user: InfoUser,
    /// The tenant.
    tenant: InfoTenant,
    /// Roles that count here.
    roles: Vec<InfoRole>,
    /// Roles in one organisational unit.
    unit_roles: Vec<InfoUnitRole>,
    /// What the roles grant together.
    permissions: Vec<Permission>,
}

/// The user of an [`Info`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::model::User`")]
pub struct InfoUser {
    pub id: UserId,
    pub username: Option<String>,
    pub email: Option<String>,
    pub first_name: String,
    pub last_name: String,
    pub is_admin: bool,
    pub is_super_admin: bool,
}

/// The tenant of an [`Info`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::model::Tenant`")]
pub struct InfoTenant {
    pub id: TenantId,
    pub slug: Slug,
    pub name: String,
    pub status: TenantStatus,
    pub plan: Option<String>,
}

/// A role of an [`Info`].
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::model::Role`")]
pub struct InfoRole {
    pub id: RoleId,
    pub name: String,
}

/// A role in a unit.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::model::RoleBinding`")]
pub struct InfoUnitRole {
    pub ou_id: OrgUnitId,
    pub role_id: RoleId,
}

wire!(Login, Refresh, CompletePassword, Tokens, SignIn, Switch, Switched, SignedOut, Info);

impl From<TokenPair> for Tokens {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access_token,
            refresh_token: pair.refresh_token,
            token_type: "Bearer",
            expires_in: pair.expires_in.as_secs(),
        }
    }
}

impl Info {
    fn of(principal: &Principal, user: User, tenant: Tenant) -> Self {
        let caller = &principal.caller;
        let mut permissions: Vec<Permission> =
            principal.roles.iter().flat_map(|role| role.permissions.iter().cloned()).collect();
        permissions.sort();
        permissions.dedup();
        let role = |role: &Role| InfoRole { id: role.id, name: role.name.clone() };
        let unit_role = |&(ou_id, role_id): &(OrgUnitId, RoleId)| InfoUnitRole { ou_id, role_id };
        Self {
            user: InfoUser {
                id: user.id,
                username: user.username,
                email: user.email,
                first_name: user.first_name,
                last_name: user.last_name,
                is_admin: caller.is_admin,
                is_super_admin: caller.is_super_admin,
            },
            tenant: InfoTenant {
                id: tenant.id,
                slug: tenant.slug,
                name: tenant.name,
                status: tenant.status,
                plan: tenant.plan,
            },
            roles: principal.roles.iter().map(role).collect(),
            unit_roles: principal.unit_roles.iter().map(unit_role).collect(),
            permissions,
        }
    }
}

pub(super) fn tokens(pair: TokenPair) -> Response {
    uncached(Json(Tokens::from(pair)).into_response())
}

impl From<SignedIn> for SignIn {
    fn from(outcome: SignedIn) -> Self {
        match outcome {
            SignedIn::Tokens(pair) => Self::Tokens(pair.into()),
            SignedIn::SecondFactor(asked) => Self::SecondFactor {
                second_factor: SecondFactor {
                    login_challenge_id: asked.id,
                    methods: match asked.purpose {
                        ChallengePurpose::Verify => &["totp", "recovery_code"],
                        ChallengePurpose::Enrol => &["totp_setup"],
                    },
                    expires_in: asked.expires_in.as_secs(),
                },
            },
        }
    }
}

/// What a sign-in answers.
pub(super) fn signed_in(outcome: SignedIn) -> Response {
    uncached(Json(SignIn::from(outcome)).into_response())
}

/// A pair in the place of another, of which the access token is refused: answered once no gateway accepts it any more.
/// Waited for here and not by the envelope, whose 202 would drop the pair.
pub(super) async fn exchanged(app: &App, pair: TokenPair) -> Result<Response, AppError> {
    let settle = Settle { commit: None, revokes: true };
    let waiting = match envelope::heard(app, settle, app.config.log.revoke_wait.get()).await {
        Ok(waiting) => waiting,
        // The pair is made and the old one is spent: it is answered whatever is known of the gateways.
        Err(error) => {
            tracing::error!(error = problem::chain(&error), "who has heard of an exchanged pair is not known");
            Some(Waiting { revision: None, waiting_for: Vec::new(), until: None })
        }
    };
    let status = if waiting.is_none() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok(uncached((status, Json(Switched { tokens: pair.into(), waiting })).into_response()))
}

/// Tokens are not for caches (RFC 6749 §5.1).
pub(super) fn uncached(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn sign_in(app: App, context: RequestContext, door: Door, body: Login) -> Result<Response, AppError> {
    let credentials = Credentials { username: body.username, password: body.password, tenant: body.tenant };
    app::login::login(&app, &context, door, credentials).await.map(signed_in)
}

async fn renew(app: App, context: RequestContext, door: Door, body: Refresh) -> Result<Response, AppError> {
    app::sessions::refresh(&app, &context, app::sessions::Through::Door(door), &body.refresh_token).await.map(tokens)
}

async fn sign_out(app: App, principal: Principal, door: Door) -> Result<Response, AppError> {
    at_door(&principal, door)?;
    app::sessions::logout(&app, &principal).await?;
    let response = Json(SignedOut::DONE).into_response();
    Ok(settling(response, Settle { commit: None, revokes: true }))
}

pub(super) async fn who(app: App, principal: Principal, door: Door) -> Result<Json<Info>, AppError> {
    at_door(&principal, door)?;
    let (user, tenant) = app::sessions::info(&app, &principal).await?;
    Ok(Json(Info::of(&principal, user, tenant)))
}

/// A token of one context is none at the other's door.
pub(super) fn at_door(principal: &Principal, door: Door) -> Result<(), AppError> {
    if principal.is_system() == (door == Door::System) { Ok(()) } else { Err(AppError::ContextMismatch) }
}

/// Signs a tenant's user in.
#[utoipa::path(post, path = "/api/v1/tenant/auth/login", tag = "tenant session", request_body = Login,
    responses((status = 200, body = SignIn)))]
pub async fn tenant_login(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Login>,
) -> Result<Response, AppError> {
    sign_in(app, context, Door::Tenant, body).await
}

/// Signs a tenant's user in: as `/api/v1/tenant/auth/login`, beside the other ways of signing in.
#[utoipa::path(post, path = "/v1/auth/login", tag = "identity", request_body = Login,
    responses((status = 200, body = Tokens)))]
pub async fn login(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Login>,
) -> Result<Response, AppError> {
    sign_in(app, context, Door::Tenant, body).await
}

/// Replaces a one-time password by one of the user's own, with which they then sign in.
#[utoipa::path(post, path = "/v1/auth/password/complete", tag = "tenant session", request_body = CompletePassword,
    responses((status = 204)))]
pub async fn complete_password(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<CompletePassword>,
) -> Result<StatusCode, AppError> {
    let shown = Credentials { username: body.username, password: body.password, tenant: body.tenant };
    app::password::complete_password(&app, &context, shown, body.new_password).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Exchanges a refresh token of a tenant's session.
#[utoipa::path(post, path = "/api/v1/tenant/auth/refresh", tag = "tenant session", request_body = Refresh,
    responses((status = 200, body = Tokens)))]
pub async fn tenant_refresh(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Refresh>,
) -> Result<Response, AppError> {
    renew(app, context, Door::Tenant, body).await
}

/// Ends the caller's session: no gateway accepts its tokens any more.
#[utoipa::path(post, path = "/api/v1/tenant/auth/logout", tag = "tenant session",
    responses((status = 200, body = SignedOut)), security(("bearer" = [])))]
pub async fn tenant_logout(principal: Principal, State(app): State<App>) -> Result<Response, AppError> {
    sign_out(app, principal, Door::Tenant).await
}

/// Exchanges the caller's session for one in another of its tenants. No gateway accepts the old one any more.
#[utoipa::path(post, path = "/api/v1/tenant/auth/switch", tag = "tenant session", request_body = Switch,
    responses((status = 200, body = Switched)), security(("bearer" = [])))]
pub async fn switch_tenant(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Switch>,
) -> Result<Response, AppError> {
    at_door(&principal, Door::Tenant)?;
    let pair = app::switch::switch_tenant(&app, &context, &principal, &body.tenant, &body.refresh_token).await?;
    exchanged(&app, pair).await
}

/// Who the caller is.
#[utoipa::path(get, path = "/api/v1/tenant/auth/info", tag = "tenant session",
    responses((status = 200, body = Info)), security(("bearer" = [])))]
pub async fn tenant_info(principal: Principal, State(app): State<App>) -> Result<Json<Info>, AppError> {
    who(app, principal, Door::Tenant).await
}

/// Signs one of the platform's staff in.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "system session", request_body = Login,
    responses((status = 200, body = SignIn)))]
pub async fn system_login(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Login>,
) -> Result<Response, AppError> {
    sign_in(app, context, Door::System, body).await
}

/// Exchanges a refresh token of a system session.
#[utoipa::path(post, path = "/api/v1/auth/refresh", tag = "system session", request_body = Refresh,
    responses((status = 200, body = Tokens)))]
pub async fn system_refresh(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Refresh>,
) -> Result<Response, AppError> {
    renew(app, context, Door::System, body).await
}

/// Ends the caller's session.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "system session",
    responses((status = 200, body = SignedOut)), security(("bearer" = [])))]
pub async fn system_logout(principal: Principal, State(app): State<App>) -> Result<Response, AppError> {
    sign_out(app, principal, Door::System).await
}

/// Who the caller is.
#[utoipa::path(get, path = "/api/v1/auth/userinfo", tag = "system session",
    responses((status = 200, body = Info)), security(("bearer" = [])))]
pub async fn system_userinfo(principal: Principal, State(app): State<App>) -> Result<Json<Info>, AppError> {
    who(app, principal, Door::System).await
}
