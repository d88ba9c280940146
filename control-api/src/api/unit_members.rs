//! `/v1/org-units/{ou}/members`: who is what in an organisational unit.

use axum::{Json, extract::State};
use domain::{
    OrgUnitId, Timestamp, UserId,
    model::{UnitMember, UnitRole},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::UnitMemberList;

use super::{
    answer::{Changed, Created, Gone, List},
    extract::{Asked, At, Body, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{App, app, app::unit_members::Known, caller::Principal, error::AppError};

/// A user in an organisational unit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OrgUnitMember")]
#[expect(missing_docs, reason = "as in `domain::model::UnitMember`")]
pub struct UnitMemberView {
    pub user_id: UserId,
    pub ou_id: OrgUnitId,
    pub username: Option<String>,
    pub email: Option<String>,
    pub first_name: String,
    pub last_name: String,
    pub role: UnitRole,
    pub since: Timestamp,
}

impl From<UnitMember> for UnitMemberView {
    fn from(it: UnitMember) -> Self {
        Self {
            user_id: it.user_id,
            ou_id: it.ou_id,
            username: it.username,
            email: it.email,
            first_name: it.first_name,
            last_name: it.last_name,
            role: it.role,
            since: it.since,
        }
    }
}

/// Who comes into a unit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUnitMember {
    /// A member of the tenant.
    user_id: UserId,
    /// What they are in it.
    role: UnitRole,
}

/// What somebody is in a unit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutUnitMember {
    /// What they are in it.
    role: UnitRole,
}

wire!(UnitMemberView, CreateUnitMember, PutUnitMember);

/// Lists who is in an organisational unit.
#[utoipa::path(get, path = "/v1/org-units/{ou}/members", tag = "org units",
    params(("ou" = String, Path), TenantQuery, ListQuery<UnitMemberList>), responses((status = 200, body = List<UnitMemberView>)),
    security(("bearer" = [])))]
pub async fn list_unit_members(
    principal: Principal,
    State(app): State<App>,
    At(unit): At<OrgUnitId>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<UnitMemberList>,
) -> Result<Json<List<UnitMemberView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::unit_members::list_unit_members(&app, &principal, site, (unit, &asked)).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Brings a member of the tenant into an organisational unit.
#[utoipa::path(post, path = "/v1/org-units/{ou}/members", tag = "org units",
    params(("ou" = String, Path), TenantQuery, WaitQuery), request_body = CreateUnitMember,
    responses((status = 201, body = UnitMemberView)), security(("bearer" = [])))]
pub async fn create_unit_member(
    principal: Principal,
    State(app): State<App>,
    At(unit): At<OrgUnitId>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<CreateUnitMember>,
) -> Result<Created<UnitMemberView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let wanted = (unit, body.user_id, body.role);
    let (made, commit) = app::unit_members::put_unit_member(&app, &principal, site, wanted, Known::Refused).await?;
    let location = format!("/v1/org-units/{unit}/members/{}", made.user_id);
    Ok(Created { location, version: None, body: made.into(), commit })
}

/// Says what a member of the tenant is in an organisational unit.
#[utoipa::path(put, path = "/v1/org-units/{ou}/members/{user}", tag = "org units",
    params(("ou" = String, Path), ("user" = String, Path), TenantQuery, WaitQuery), request_body = PutUnitMember,
    responses((status = 200, body = UnitMemberView)), security(("bearer" = [])))]
pub async fn put_unit_member(
    principal: Principal,
    State(app): State<App>,
    At((unit, user)): At<(OrgUnitId, UserId)>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<PutUnitMember>,
) -> Result<Changed<UnitMemberView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let wanted = (unit, user, body.role);
    let (changed, commit) = app::unit_members::put_unit_member(&app, &principal, site, wanted, Known::Changed).await?;
    // It may be less than before.
    Ok(Changed { version: None, body: changed.into(), commit, revokes: true })
}

/// Takes a user out of an organisational unit.
#[utoipa::path(delete, path = "/v1/org-units/{ou}/members/{user}", tag = "org units",
    params(("ou" = String, Path), ("user" = String, Path), TenantQuery, WaitQuery), responses((status = 204)),
    security(("bearer" = [])))]
pub async fn delete_unit_member(
    principal: Principal,
    State(app): State<App>,
    At((unit, user)): At<(OrgUnitId, UserId)>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Gone, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    app::unit_members::delete_unit_member(&app, &principal, site, (unit, user)).await.map(Gone::by)
}
