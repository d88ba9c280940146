//! `/v1/internal/…`: the REST twins of the auth RPC, on the `internal` listener only.

use authn::ContextKind;
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    HostName, OrgUnitId, Permission, ProjectId, Secret, SessionId, TenantId, Timestamp, TokenId, UserId, model::Role,
    snapshot::TenantStatus,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::settling,
    extract::{Asked, At, Body},
    schema::wire,
    sessions::{self, Tokens},
};
use crate::{
    App,
    app::auth_rpc::{self, Check, Checked, Place, Verified},
    context::RequestContext,
    envelope::Settle,
    error::AppError,
    service_caller::ServiceCaller,
};

/// An access token, and where it has to be good: exactly one of `tenant_id` and `hostname`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyToken {
    /// The token.
    token: Secret<String>,
    /// A tenant.
    tenant_id: Option<TenantId>,
    /// A hostname.
    hostname: Option<HostName>,
    /// An audience that the token has to name, beside being one of its project's.
    audience: Option<String>,
}

/// A refresh token, and where it has to be good: exactly one of `tenant_id` and `hostname`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshToken {
    /// As it was given.
    refresh_token: Secret<String>,
    /// A tenant.
    tenant_id: Option<TenantId>,
    /// A hostname.
    hostname: Option<HostName>,
}

/// An access token to be ended, and where it is good: exactly one of `tenant_id` and `hostname`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvalidateToken {
    /// The token.
    token: Secret<String>,
    /// A tenant.
    tenant_id: Option<TenantId>,
    /// A hostname.
    hostname: Option<HostName>,
}

/// A token that holds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifiedToken {
    /// Whose.
    user_id: UserId,
    /// Sign-in name.
    username: Option<String>,
    /// The tenant it acts in.
    tenant_id: TenantId,
    /// The project.
    project_id: ProjectId,
    /// Its session.
    session_id: SessionId,
    /// Its own id.
    token_id: TokenId,
    /// `tenant`, or `sys` for the platform's staff.
    context: &'static str,
    /// When it was made.
    issued_at: Timestamp,
    /// From when on it holds no more.
    expires_at: Timestamp,
    /// When the user last proved who they are.
    auth_time: Timestamp,
    /// Names of roles as they are now.
    roles: Vec<String>,
    /// Administers the tenant.
    is_admin: bool,
    /// Administers the platform.
    is_super_admin: bool,
    /// The tenant's state: never suspended or deleted.
    tenant_status: TenantStatus,
}

/// That no gateway accepts the token any more.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Invalidated {
    /// `invalidated`.
    status: &'static str,
}

/// What a user may do in a tenant.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserPermissions {
    /// How far the log of restrictions went in the state this was read from.
    as_of_seq: u64,
    /// Whether the user is an active member. If not, everything below is empty.
    active: bool,
    /// Names of roles in the whole tenant.
    roles: Vec<String>,
    /// What they grant together; wildcards stand as they were granted.
    permissions: Vec<Permission>,
    /// What is held in one organisational unit only.
    units: Vec<UnitPermissions>,
    /// Administers the tenant.
    is_admin: bool,
    /// Administers the platform.
    is_super_admin: bool,
}

/// What is held in one organisational unit only.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UnitPermissions {
    /// The unit.
    ou_id: OrgUnitId,
    /// Names of roles there.
    roles: Vec<String>,
    /// What they grant.
    permissions: Vec<Permission>,
}

/// One question, or 1 to 100 in `checks`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckPermission {
    /// In which tenant.
    tenant_id: Option<TenantId>,
    /// Who.
    user_id: Option<UserId>,
    /// `module:resource:action`
    permission: Option<Permission>,
    /// Also count what is held in this organisational unit.
    ou_id: Option<OrgUnitId>,
    /// Several questions, instead of all of the above.
    checks: Option<Vec<PermissionCheck>>,
}

/// One of several questions.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PermissionCheck {
    /// In which tenant.
    tenant_id: TenantId,
    /// Who.
    user_id: UserId,
    /// `module:resource:action`
    permission: Permission,
    /// Also count what is held in this organisational unit.
    ou_id: Option<OrgUnitId>,
}

/// The answer to one question, or to each of several in their order.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum CheckedPermission {
    /// To one.
    One(CheckAnswer),
    /// To several.
    Several {
        /// In the order of the questions.
        results: Vec<CheckAnswer>,
    },
}

/// The answer to a question.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CheckAnswer {
    /// Whether it is held.
    allowed: bool,
    /// How far the log of restrictions went in the state this was read from.
    as_of_seq: u64,
}

wire!(
    VerifyToken,
    RefreshToken,
    InvalidateToken,
    VerifiedToken,
    Invalidated,
    UserPermissions,
    CheckPermission,
    CheckedPermission
);

/// In which tenant.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InTenant {
    /// The tenant.
    #[param(value_type = String)]
    tenant_id: TenantId,
}

impl From<Verified> for VerifiedToken {
    fn from(Verified { claims, principal, tenant_status }: Verified) -> Self {
        Self {
            user_id: principal.user,
            username: principal.username,
            tenant_id: principal.tenant,
            project_id: principal.project,
            session_id: principal.session,
            token_id: principal.token,
            context: if claims.ctx == ContextKind::System { "sys" } else { "tenant" },
            issued_at: Timestamp::from_secs(claims.iat),
            expires_at: Timestamp::from_secs(claims.exp),
            auth_time: Timestamp::from_secs(claims.auth_time),
            roles: names(&principal.roles),
            is_admin: principal.caller.is_admin,
            is_super_admin: principal.caller.is_super_admin,
            tenant_status,
        }
    }
}

impl From<Checked> for CheckAnswer {
    fn from(answer: Checked) -> Self {
        Self { allowed: answer.allowed, as_of_seq: answer.as_of.0 }
    }
}

impl From<PermissionCheck> for Check {
    fn from(asked: PermissionCheck) -> Self {
        Self { tenant: asked.tenant_id, user: asked.user_id, permission: asked.permission, unit: asked.ou_id }
    }
}

impl CheckPermission {
    /// The one question.
    fn one(self) -> Result<PermissionCheck, AppError> {
        let missing = |name: &str| AppError::field(format!("/{name}"), "required", "is missing");
        Ok(PermissionCheck {
            tenant_id: self.tenant_id.ok_or_else(|| missing("tenant_id"))?,
            user_id: self.user_id.ok_or_else(|| missing("user_id"))?,
            permission: self.permission.ok_or_else(|| missing("permission"))?,
            ou_id: self.ou_id,
        })
    }

    fn is_several(&self) -> Result<bool, AppError> {
        let alone = self.tenant_id.is_none() && self.user_id.is_none() && self.permission.is_none();
        match &self.checks {
            Some(_) if !alone || self.ou_id.is_some() => {
                Err(AppError::field("/checks", "choice", "one question or `checks` is given, not both"))
            }
            checks => Ok(checks.is_some()),
        }
    }
}

fn names(roles: &[Role]) -> Vec<String> {
    roles.iter().map(|role| role.name.clone()).collect()
}

/// Whether an access token of ours holds now at a place. One that does not is refused with the edge's own code.
#[utoipa::path(post, path = "/v1/internal/tokens/verify", tag = "internal", request_body = VerifyToken,
    responses((status = 200, body = VerifiedToken)), security(("service_key" = [])))]
pub async fn verify_token(
    by: ServiceCaller,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<VerifyToken>,
) -> Result<Json<VerifiedToken>, AppError> {
    let place = Place::named(body.tenant_id, body.hostname)?;
    let question = (&body.token, &place, body.audience.as_deref());
    Ok(Json(auth_rpc::verify_token(&app, &by, &context, question).await?.into()))
}

/// Exchanges a refresh token for a new pair.
#[utoipa::path(post, path = "/v1/internal/tokens/refresh", tag = "internal", request_body = RefreshToken,
    responses((status = 200, body = Tokens)), security(("service_key" = [])))]
pub async fn refresh_token(
    by: ServiceCaller,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<RefreshToken>,
) -> Result<Response, AppError> {
    let place = Place::named(body.tenant_id, body.hostname)?;
    auth_rpc::refresh_token(&app, &by, &context, (&body.refresh_token, &place)).await.map(sessions::tokens)
}

/// Ends a token and its session, as signing out does: 202 names the gateways that have not confirmed it in time.
#[utoipa::path(post, path = "/v1/internal/tokens/invalidate", tag = "internal", request_body = InvalidateToken,
    responses((status = 200, body = Invalidated)), security(("service_key" = [])))]
pub async fn invalidate_token(
    by: ServiceCaller,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<InvalidateToken>,
) -> Result<Response, AppError> {
    let place = Place::named(body.tenant_id, body.hostname)?;
    auth_rpc::invalidate_token(&app, &by, &context, (&body.token, &place)).await?;
    let response = Json(Invalidated { status: "invalidated" }).into_response();
    Ok(settling(response, Settle { commit: None, revokes: true }))
}

/// What a user may do in a tenant.
#[utoipa::path(get, path = "/v1/internal/users/{id}/permissions", tag = "internal",
    params(("id" = String, Path), InTenant), responses((status = 200, body = UserPermissions)),
    security(("service_key" = [])))]
pub async fn user_permissions(
    by: ServiceCaller,
    State(app): State<App>,
    At(user): At<UserId>,
    Asked(InTenant { tenant_id }): Asked<InTenant>,
) -> Result<Json<UserPermissions>, AppError> {
    let rights = auth_rpc::user_permissions(&app, &by, tenant_id, user).await?;
    let unit = |(ou_id, roles): (OrgUnitId, Vec<Role>)| UnitPermissions {
        ou_id,
        roles: names(&roles),
        permissions: auth_rpc::granted(&roles),
    };
    Ok(Json(UserPermissions {
        as_of_seq: rights.as_of.0,
        active: rights.active,
        roles: names(&rights.roles),
        permissions: auth_rpc::granted(&rights.roles),
        units: rights.units.into_iter().map(unit).collect(),
        is_admin: rights.is_admin,
        is_super_admin: rights.is_super_admin,
    }))
}

/// Whether a user holds a permission in a tenant: one question, or several. No is an answer.
#[utoipa::path(post, path = "/v1/internal/permissions/check", tag = "internal", request_body = CheckPermission,
    responses((status = 200, body = CheckedPermission)), security(("service_key" = [])))]
pub async fn check_permission(
    by: ServiceCaller,
    State(app): State<App>,
    Body(body): Body<CheckPermission>,
) -> Result<Json<CheckedPermission>, AppError> {
    let several = body.is_several()?;
    let checks: Vec<Check> = match body {
        CheckPermission { checks: Some(checks), .. } => checks.into_iter().map(Into::into).collect(),
        one => vec![one.one()?.into()],
    };
    let mut results: Vec<CheckAnswer> =
        auth_rpc::check_permissions(&app, &by, &checks).await?.into_iter().map(Into::into).collect();
    Ok(Json(match results.pop() {
        Some(only) if !several => CheckedPermission::One(only),
        last => {
            results.extend(last);
            CheckedPermission::Several { results }
        }
    }))
}
