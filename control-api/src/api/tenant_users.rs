//! `/api/v1/tenant/users`: a tenant's users, for its own principals, on S3's paths.

use axum::{Json, extract::State};
use domain::{SessionId, UserId};
use store::list::{SessionList, UserList, UserUnitList};

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{At, Body, IfMatch, ListQuery, Listed, WaitQuery},
    me::ENDS,
    my_units::UnitOfUserView,
    users::{CreateUser, ResetPassword, SessionView, UpdateUser, UserDetails, UserView, switched},
};
use crate::{App, app, caller::Principal, error::AppError};

/// Lists the tenant's users.
#[utoipa::path(get, path = "/api/v1/tenant/users", tag = "tenant users", params(ListQuery<UserList>),
    responses((status = 200, body = List<UserView>)), security(("bearer" = [])))]
pub async fn list_tenant_users(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<UserList>,
) -> Result<Json<List<UserView>>, AppError> {
    let site = principal.own_site()?;
    let found = app::users::list_users(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a user of the tenant.
#[utoipa::path(post, path = "/api/v1/tenant/users", tag = "tenant users", params(WaitQuery),
    request_body = CreateUser, responses((status = 201, body = UserView)), security(("bearer" = [])))]
pub async fn create_tenant_user(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateUser>,
) -> Result<Created<UserView>, AppError> {
    let site = principal.own_site()?;
    let (made, commit) = app::users::create_user(&app, &principal, site, body.into()).await?;
    let location = format!("/api/v1/tenant/users/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a user of the tenant.
#[utoipa::path(get, path = "/api/v1/tenant/users/{id}", tag = "tenant users", params(("id" = String, Path)),
    responses((status = 200, body = UserDetails)), security(("bearer" = [])))]
pub async fn read_tenant_user(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
) -> Result<One<UserDetails>, AppError> {
    let site = principal.own_site()?;
    let (found, phone) = app::users::read_user_with_phone(&app, &principal, site, id).await?;
    Ok(One { version: found.version, body: UserDetails::of(found, phone) })
}

async fn change(
    app: App,
    principal: Principal,
    id: UserId,
    version: IfMatch,
    body: UpdateUser,
) -> Result<Changed<UserView>, AppError> {
    let site = principal.own_site()?;
    let (changed, commit) = app::users::update_user(&app, &principal, site, id, version.0, body.into()).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Changes a user of the tenant; what is absent stays.
#[utoipa::path(put, path = "/api/v1/tenant/users/{id}", tag = "tenant users",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = UpdateUser,
    responses((status = 200, body = UserView)), security(("bearer" = [])))]
pub async fn replace_tenant_user(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
    version: IfMatch,
    Body(body): Body<UpdateUser>,
) -> Result<Changed<UserView>, AppError> {
    change(app, principal, id, version, body).await
}

/// Changes a user of the tenant; what is absent stays.
#[utoipa::path(patch, path = "/api/v1/tenant/users/{id}", tag = "tenant users",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = UpdateUser,
    responses((status = 200, body = UserView)), security(("bearer" = [])))]
pub async fn update_tenant_user(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
    version: IfMatch,
    Body(body): Body<UpdateUser>,
) -> Result<Changed<UserView>, AppError> {
    change(app, principal, id, version, body).await
}

/// Deletes a user of the tenant.
#[utoipa::path(delete, path = "/api/v1/tenant/users/{id}", tag = "tenant users",
    params(("id" = String, Path), WaitQuery), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_tenant_user(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
) -> Result<Gone, AppError> {
    let site = principal.own_site()?;
    app::users::delete_user(&app, &principal, site, id).await.map(Gone::by)
}

/// Lets a user of the tenant act again.
#[utoipa::path(post, path = "/api/v1/tenant/users/{id}/enable", tag = "tenant users",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = UserView)),
    security(("bearer" = [])))]
pub async fn enable_tenant_user(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
) -> Result<Changed<UserView>, AppError> {
    switched(&app, &principal, principal.own_site()?, id, true).await
}

/// Lets a user of the tenant act no more.
#[utoipa::path(post, path = "/api/v1/tenant/users/{id}/disable", tag = "tenant users",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = UserView)),
    security(("bearer" = [])))]
pub async fn disable_tenant_user(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
) -> Result<Changed<UserView>, AppError> {
    switched(&app, &principal, principal.own_site()?, id, false).await
}

/// Sets the password of a user of the tenant, and signs them out everywhere.
#[utoipa::path(post, path = "/api/v1/tenant/users/{id}/reset-password", tag = "tenant users",
    params(("id" = String, Path), WaitQuery), request_body = ResetPassword,
    responses((status = 200, body = UserView)), security(("bearer" = [])))]
pub async fn reset_tenant_user_password(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
    Body(body): Body<ResetPassword>,
) -> Result<Changed<UserView>, AppError> {
    let site = principal.own_site()?;
    let reset = app::users::reset_password(&app, &principal, site, id, body.password, body.must_change);
    let (changed, commit) = reset.await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: true })
}

/// Takes the authenticator of a user of the tenant away who lost it, and signs them out everywhere.
#[utoipa::path(post, path = "/api/v1/tenant/users/{id}/reset-factors", tag = "tenant users",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = UserView)), security(("bearer" = [])))]
pub async fn reset_tenant_user_factors(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
) -> Result<Changed<UserView>, AppError> {
    let site = principal.own_site()?;
    let (changed, commit) = app::users::reset_factors(&app, &principal, site, id).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: true })
}

/// Signs a user of the tenant out everywhere in it.
#[utoipa::path(post, path = "/api/v1/tenant/users/{id}/logout", tag = "tenant users",
    params(("id" = String, Path), WaitQuery), responses((status = 204)), security(("bearer" = [])))]
pub async fn logout_tenant_user(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
) -> Result<Gone, AppError> {
    let site = principal.own_site()?;
    app::users::sign_out_user(&app, &principal, site, id).await.map(Gone::by)
}

/// Lists the open sessions of a user of the tenant.
#[utoipa::path(get, path = "/api/v1/tenant/users/{id}/sessions", tag = "tenant users",
    params(("id" = String, Path), ListQuery<SessionList>), responses((status = 200, body = List<SessionView>)),
    security(("bearer" = [])))]
pub async fn list_tenant_user_sessions(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
    Listed(asked): Listed<SessionList>,
) -> Result<Json<List<SessionView>>, AppError> {
    let site = principal.own_site()?;
    let found = app::users::list_sessions(&app, &principal, site, id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Lists the organisational units in which a user of the tenant holds a role.
#[utoipa::path(get, path = "/api/v1/tenant/users/{id}/org-units", tag = "tenant users",
    params(("id" = String, Path), ListQuery<UserUnitList>), responses((status = 200, body = List<UnitOfUserView>)),
    security(("bearer" = [])))]
pub async fn list_tenant_user_org_units(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UserId>,
    Listed(asked): Listed<UserUnitList>,
) -> Result<Json<List<UnitOfUserView>>, AppError> {
    let site = principal.own_site()?;
    let found = app::org_units::list_user_org_units(&app, &principal, site, id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Ends one session of a user of the tenant.
#[utoipa::path(delete, path = "/api/v1/tenant/users/{id}/sessions/{sid}", tag = "tenant users",
    params(("id" = String, Path), ("sid" = String, Path)), responses((status = 204)), security(("bearer" = [])))]
pub async fn end_tenant_user_session(
    principal: Principal,
    State(app): State<App>,
    At((id, sid)): At<(UserId, SessionId)>,
) -> Result<Gone, AppError> {
    let site = principal.own_site()?;
    app::users::end_session(&app, &principal, site, id, sid).await?;
    Ok(Gone(ENDS))
}
