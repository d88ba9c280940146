//! `/v1/tenants/{id}/members`: which users of a project act in a tenant. Platform staff only.

use axum::{Json, extract::State};
use domain::{
    TenantId, Timestamp, UserId,
    model::{Membership, MembershipSource, MembershipStatus},
};
use schemars::JsonSchema;
use serde::Serialize;
use store::list::MemberList;

use super::{
    answer::{Changed, Gone, List},
    extract::{At, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// A membership.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Member")]
#[expect(missing_docs, reason = "as in `domain::model::Membership`")]
pub struct MemberView {
    pub user_id: UserId,
    pub tenant_id: TenantId,
    pub source: MembershipSource,
    pub status: MembershipStatus,
    pub created_at: Timestamp,
}

impl From<Membership> for MemberView {
    fn from(it: Membership) -> Self {
        Self {
            user_id: it.user_id,
            tenant_id: it.tenant_id,
            source: it.source,
            status: it.status,
            created_at: it.created_at,
        }
    }
}

wire!(MemberView);

/// Lists a tenant's members.
#[utoipa::path(get, path = "/v1/tenants/{id}/members", tag = "members", params(("id" = String, Path), ListQuery<MemberList>),
    responses((status = 200, body = List<MemberView>)), security(("bearer" = [])))]
pub async fn list_members(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    Listed(asked): Listed<MemberList>,
) -> Result<Json<List<MemberView>>, AppError> {
    let found = app::members::list_members(&app, &principal, tenant, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a user of the tenant's project a member, or an inactive member active again.
#[utoipa::path(put, path = "/v1/tenants/{id}/members/{user_id}", tag = "members",
    params(("id" = String, Path), ("user_id" = String, Path), WaitQuery),
    responses((status = 200, body = MemberView)), security(("bearer" = [])))]
pub async fn put_member(
    principal: Principal,
    State(app): State<App>,
    At((tenant, user)): At<(TenantId, UserId)>,
) -> Result<Changed<MemberView>, AppError> {
    let (member, commit) = app::members::put_member(&app, &principal, tenant, user).await?;
    Ok(Changed { version: None, body: member.into(), commit, revokes: false })
}

/// Ends a membership with the roles, tokens and sessions the user has in the tenant.
#[utoipa::path(delete, path = "/v1/tenants/{id}/members/{user_id}", tag = "members",
    params(("id" = String, Path), ("user_id" = String, Path), WaitQuery), responses((status = 204)),
    security(("bearer" = [])))]
pub async fn delete_member(
    principal: Principal,
    State(app): State<App>,
    At((tenant, user)): At<(TenantId, UserId)>,
) -> Result<Gone, AppError> {
    app::members::delete_member(&app, &principal, tenant, user).await.map(Gone::by)
}
