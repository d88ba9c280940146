//! Wire types of users, and the platform's paths to a tenant's users.

use axum::{Json, extract::State};
use domain::{
    PhoneNumber, ProjectId, RoleId, Secret, SessionId, TenantId, Timestamp, UserId,
    model::{AuthMethod, Session, StorageQuota, User, UserStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::{SessionList, UserList, UserUnitList};

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    me::ENDS,
    my_units::UnitOfUserView,
    schema::wire,
};
use crate::{
    App, app,
    app::users::{UserDraft, UserEdit},
    caller::{Principal, Site},
    error::AppError,
};

/// A user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
#[expect(missing_docs, reason = "as in `domain::model::User`")]
pub struct UserView {
    pub id: UserId,
    pub project_id: ProjectId,
    pub email: Option<String>,
    pub username: Option<String>,
    pub first_name: String,
    pub last_name: String,
    pub phone: Option<String>,
    pub external_id: Option<String>,
    /// What they may keep in the applications behind the edge, in bytes; null where nothing is said of them.
    pub quota_bytes: Option<u64>,
    pub status: UserStatus,
    pub must_change_password: bool,
    pub is_break_glass: bool,
    pub last_login_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<User> for UserView {
    fn from(it: User) -> Self {
        Self {
            id: it.id,
            project_id: it.project_id,
            email: it.email,
            username: it.username,
            first_name: it.first_name,
            last_name: it.last_name,
            phone: it.phone,
            external_id: it.external_id,
            quota_bytes: it.quota.map(StorageQuota::bytes),
            status: it.status,
            must_change_password: it.must_change_password,
            is_break_glass: it.is_break_glass,
            last_login_at: it.last_login_at,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A telephone number that somebody showed to read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProvenPhone {
    /// Of one's own account all of it; of others' its beginning and end.
    number: String,
    /// When it was proven.
    verified_at: Timestamp,
}

/// A user, with the telephone number that they showed to read.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UserDetails {
    /// The user.
    #[serde(flatten)]
    user: UserView,
    /// It; null for none.
    proven_phone: Option<ProvenPhone>,
}

impl UserDetails {
    /// For who they are themselves.
    pub(super) fn own(user: User, phone: Option<(PhoneNumber, Timestamp)>) -> Self {
        Self::with(user, phone, |number| number.to_string())
    }

    /// For administrators.
    pub(super) fn of(user: User, phone: Option<(PhoneNumber, Timestamp)>) -> Self {
        Self::with(user, phone, PhoneNumber::masked)
    }

    fn with(user: User, phone: Option<(PhoneNumber, Timestamp)>, said: impl Fn(&PhoneNumber) -> String) -> Self {
        let proven_phone = phone.map(|(number, verified_at)| ProvenPhone { number: said(&number), verified_at });
        Self { user: user.into(), proven_phone }
    }
}

/// What a user may keep.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUserQuota {
    /// In bytes, up to 2^53 - 1, for the applications behind the edge to hold to; `null` to say nothing of this user.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schemars(required, range(max = 9_007_199_254_740_991_u64))]
    quota_bytes: Option<u64>,
}

/// A user to be made. A user name or an email is needed to sign in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Email, unique in the project.
    email: Option<String>,
    /// User name, unique in the project, without `@`.
    username: Option<String>,
    /// First name.
    #[serde(default)]
    first_name: String,
    /// Last name.
    #[serde(default)]
    last_name: String,
    /// Phone.
    phone: Option<String>,
    /// Id in another system, unique in the project.
    external_id: Option<String>,
    /// First password: 8 to 128 characters with lower and upper case, digits and others.
    password: Option<Secret<String>>,
    /// Whether it must be changed before a session opens.
    #[serde(default)]
    must_change_password: bool,
    /// Roles they start with.
    #[serde(default)]
    role_ids: Vec<RoleId>,
}

impl From<CreateUser> for UserDraft {
    fn from(body: CreateUser) -> Self {
        Self {
            email: body.email,
            username: body.username,
            first_name: body.first_name,
            last_name: body.last_name,
            phone: body.phone,
            external_id: body.external_id,
            password: body.password,
            must_change_password: body.must_change_password,
            roles: body.role_ids,
        }
    }
}

/// What changes of a user; what is absent stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    /// Email.
    email: Option<String>,
    /// User name.
    username: Option<String>,
    /// First name.
    first_name: Option<String>,
    /// Last name.
    last_name: Option<String>,
    /// Phone.
    phone: Option<String>,
    /// Id in another system, unique in the project.
    external_id: Option<String>,
}

impl From<UpdateUser> for UserEdit {
    fn from(body: UpdateUser) -> Self {
        Self {
            email: body.email,
            username: body.username,
            first_name: body.first_name,
            last_name: body.last_name,
            phone: body.phone,
            external_id: body.external_id,
        }
    }
}

/// A password for somebody else.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// The new password.
    pub(super) password: Secret<String>,
    /// Whether it must be changed before a session opens. Default true.
    #[serde(default = "yes")]
    pub(super) must_change: bool,
}

const fn yes() -> bool {
    true
}

/// A session.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Session")]
#[expect(missing_docs, reason = "as in `domain::model::Session`")]
pub struct SessionView {
    pub id: SessionId,
    pub method: AuthMethod,
    pub auth_time: Timestamp,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub last_used_at: Timestamp,
    pub expires_at: Timestamp,
}

impl From<Session> for SessionView {
    fn from(it: Session) -> Self {
        Self {
            id: it.sid,
            method: it.method,
            auth_time: it.auth_time,
            ip: it.ip.map(|ip| ip.to_string()),
            user_agent: it.user_agent,
            last_used_at: it.last_used_at,
            expires_at: it.expires_at,
        }
    }
}

wire!(UserView, UserDetails, SetUserQuota, CreateUser, UpdateUser, ResetPassword, SessionView);

/// The tenant of a platform path. Only staff comes this way.
async fn site(app: &App, principal: &Principal, tenant: TenantId) -> Result<Site, AppError> {
    principal.site(app, Some(tenant)).await
}

/// Lists a tenant's users.
#[utoipa::path(get, path = "/v1/tenants/{id}/users", tag = "users", params(("id" = String, Path), ListQuery<UserList>),
    responses((status = 200, body = List<UserView>)), security(("bearer" = [])))]
pub async fn list_users(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    Listed(asked): Listed<UserList>,
) -> Result<Json<List<UserView>>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    let found = app::users::list_users(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a user of a tenant.
#[utoipa::path(post, path = "/v1/tenants/{id}/users", tag = "users", params(("id" = String, Path), WaitQuery),
    request_body = CreateUser, responses((status = 201, body = UserView)), security(("bearer" = [])))]
pub async fn create_user(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    Body(body): Body<CreateUser>,
) -> Result<Created<UserView>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    let (made, commit) = app::users::create_user(&app, &principal, site, body.into()).await?;
    let location = format!("/v1/tenants/{tenant}/users/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a user of a tenant.
#[utoipa::path(get, path = "/v1/tenants/{id}/users/{uid}", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path)), responses((status = 200, body = UserDetails)),
    security(("bearer" = [])))]
pub async fn read_user(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
) -> Result<One<UserDetails>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    let (found, phone) = app::users::read_user_with_phone(&app, &principal, site, id).await?;
    Ok(One { version: found.version, body: UserDetails::of(found, phone) })
}

/// Changes a user of a tenant.
#[utoipa::path(patch, path = "/v1/tenants/{id}/users/{uid}", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), WaitQuery, IfMatch), request_body = UpdateUser,
    responses((status = 200, body = UserView)), security(("bearer" = [])))]
pub async fn update_user(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateUser>,
) -> Result<Changed<UserView>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    let (changed, commit) = app::users::update_user(&app, &principal, site, id, version, body.into()).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Says what a user may keep in the applications behind the edge: by their tenant, where they are of no other, or by staff.
#[utoipa::path(put, path = "/v1/users/{id}/quota", tag = "users",
    params(("id" = String, Path), TenantQuery, WaitQuery, IfMatch), request_body = SetUserQuota,
    responses((status = 200, body = UserView)), security(("bearer" = [])))]
pub async fn set_user_quota(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
    Asked(tenant): Asked<TenantQuery>,
    IfMatch(version): IfMatch,
    Body(body): Body<SetUserQuota>,
) -> Result<Changed<UserView>, AppError> {
    let quota = body.quota_bytes.map(StorageQuota::try_from).transpose();
    let quota = quota.map_err(|error| AppError::field("/quota_bytes", "range", error.to_string()))?;
    let site = principal.site(&app, tenant.tenant_id).await?;
    let (changed, commit) = app::users::set_user_quota(&app, &principal, site, id, version, quota).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Deletes a user of a tenant.
#[utoipa::path(delete, path = "/v1/tenants/{id}/users/{uid}", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), WaitQuery), responses((status = 204)),
    security(("bearer" = [])))]
pub async fn delete_user(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
) -> Result<Gone, AppError> {
    let site = site(&app, &principal, tenant).await?;
    app::users::delete_user(&app, &principal, site, id).await.map(Gone::by)
}

/// Lets a user of a tenant act again.
#[utoipa::path(post, path = "/v1/tenants/{id}/users/{uid}/enable", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), WaitQuery), responses((status = 200, body = UserView)),
    security(("bearer" = [])))]
pub async fn enable_user(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
) -> Result<Changed<UserView>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    switched(&app, &principal, site, id, true).await
}

/// Lets a user of a tenant act no more.
#[utoipa::path(post, path = "/v1/tenants/{id}/users/{uid}/disable", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), WaitQuery), responses((status = 200, body = UserView)),
    security(("bearer" = [])))]
pub async fn disable_user(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
) -> Result<Changed<UserView>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    switched(&app, &principal, site, id, false).await
}

/// Lets a user act, or no more.
pub(super) async fn switched(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
    on: bool,
) -> Result<Changed<UserView>, AppError> {
    let (changed, commit) = app::users::switch_user(app, principal, site, id, on).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: !on })
}

/// Takes the authenticator of a user of a tenant away who lost it, and signs them out everywhere.
#[utoipa::path(post, path = "/v1/tenants/{id}/users/{uid}/reset-factors", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), WaitQuery), responses((status = 200, body = UserView)),
    security(("bearer" = [])))]
pub async fn reset_user_factors(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
) -> Result<Changed<UserView>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    let (changed, commit) = app::users::reset_factors(&app, &principal, site, id).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: true })
}

/// Signs a user of a tenant out everywhere in it.
#[utoipa::path(post, path = "/v1/tenants/{id}/users/{uid}/logout", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), WaitQuery), responses((status = 204)),
    security(("bearer" = [])))]
pub async fn logout_user(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
) -> Result<Gone, AppError> {
    let site = site(&app, &principal, tenant).await?;
    app::users::sign_out_user(&app, &principal, site, id).await.map(Gone::by)
}

/// Lists the open sessions of a user in a tenant.
#[utoipa::path(get, path = "/v1/tenants/{id}/users/{uid}/sessions", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), ListQuery<SessionList>),
    responses((status = 200, body = List<SessionView>)), security(("bearer" = [])))]
pub async fn list_user_sessions(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
    Listed(asked): Listed<SessionList>,
) -> Result<Json<List<SessionView>>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    let found = app::users::list_sessions(&app, &principal, site, id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Lists the organisational units in which a user of a tenant holds a role.
#[utoipa::path(get, path = "/v1/tenants/{id}/users/{uid}/org-units", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), ListQuery<UserUnitList>),
    responses((status = 200, body = List<UnitOfUserView>)), security(("bearer" = [])))]
pub async fn list_user_org_units(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, UserId)>,
    Listed(asked): Listed<UserUnitList>,
) -> Result<Json<List<UnitOfUserView>>, AppError> {
    let site = site(&app, &principal, tenant).await?;
    let found = app::org_units::list_user_org_units(&app, &principal, site, id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Ends one session of a user in a tenant.
#[utoipa::path(delete, path = "/v1/tenants/{id}/users/{uid}/sessions/{sid}", tag = "users",
    params(("id" = String, Path), ("uid" = String, Path), ("sid" = String, Path)), responses((status = 204)),
    security(("bearer" = [])))]
pub async fn end_user_session(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id, sid)): At<(TenantId, UserId, SessionId)>,
) -> Result<Gone, AppError> {
    let site = site(&app, &principal, tenant).await?;
    app::users::end_session(&app, &principal, site, id, sid).await?;
    Ok(Gone(ENDS))
}
