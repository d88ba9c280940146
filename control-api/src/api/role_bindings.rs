//! `/v1/role-bindings`: who holds which role.

use axum::{Json, extract::State};
use domain::{
    GroupId, OrgUnitId, RoleBindingId, RoleId, TenantId, Timestamp, UserId,
    model::{RoleBinding, RoleSubject},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::RoleBindingList;

use super::{
    answer::{Created, Gone, List},
    extract::{Asked, At, Body, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// What kind of thing holds a role.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HolderKind {
    /// A user.
    User,
    /// A group.
    Group,
    /// An API key.
    ApiKey,
}

/// A role given to somebody.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RoleBinding")]
#[expect(missing_docs, reason = "as in `domain::model::RoleBinding`")]
pub struct RoleBindingView {
    pub id: RoleBindingId,
    pub role_id: RoleId,
    pub subject_kind: HolderKind,
    pub subject_id: String,
    pub tenant_id: TenantId,
    pub ou_id: Option<OrgUnitId>,
    pub created_at: Timestamp,
}

impl From<RoleBinding> for RoleBindingView {
    fn from(it: RoleBinding) -> Self {
        let (subject_kind, subject_id) = match it.subject {
            RoleSubject::User(id) => (HolderKind::User, id.to_string()),
            RoleSubject::Group(id) => (HolderKind::Group, id.to_string()),
            RoleSubject::ApiKey(id) => (HolderKind::ApiKey, id.to_string()),
        };
        Self {
            id: it.id,
            role_id: it.role_id,
            subject_kind,
            subject_id,
            tenant_id: it.tenant_id,
            ou_id: it.ou_id,
            created_at: it.created_at,
        }
    }
}

/// A role for a user or a group of the tenant: exactly one of `user_id` and `group_id`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRoleBinding {
    /// Which role.
    role_id: RoleId,
    /// To which user.
    user_id: Option<UserId>,
    /// To which group: all its members hold it.
    group_id: Option<GroupId>,
    /// Only in this organisational unit.
    ou_id: Option<OrgUnitId>,
}

wire!(RoleBindingView, CreateRoleBinding);

/// Lists the role bindings of a tenant.
#[utoipa::path(get, path = "/v1/role-bindings", tag = "roles", params(TenantQuery, ListQuery<RoleBindingList>),
    responses((status = 200, body = List<RoleBindingView>)), security(("bearer" = [])))]
pub async fn list_role_bindings(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<RoleBindingList>,
) -> Result<Json<List<RoleBindingView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::role_bindings::list_role_bindings(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Gives a role.
#[utoipa::path(post, path = "/v1/role-bindings", tag = "roles", params(TenantQuery, WaitQuery),
    request_body = CreateRoleBinding, responses((status = 201, body = RoleBindingView)),
    security(("bearer" = [])))]
pub async fn create_role_binding(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<CreateRoleBinding>,
) -> Result<Created<RoleBindingView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let subject = match (body.user_id, body.group_id) {
        (Some(user), None) => RoleSubject::User(user),
        (None, Some(group)) => RoleSubject::Group(group),
        (Some(_), Some(_)) | (None, None) => {
            return Err(AppError::field("/user_id", "choice", "exactly one of `user_id` and `group_id` is given"));
        }
    };
    let made = app::role_bindings::create_role_binding(&app, &principal, site, body.role_id, subject, body.ou_id);
    let (made, commit) = made.await?;
    let location = format!("/v1/role-bindings/{}", made.id);
    Ok(Created { location, version: None, body: made.into(), commit })
}

/// Takes a role back.
#[utoipa::path(delete, path = "/v1/role-bindings/{id}", tag = "roles",
    params(("id" = String, Path), TenantQuery, WaitQuery), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_role_binding(
    principal: Principal,
    State(app): State<App>,
    At(id): At<RoleBindingId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Gone, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    app::role_bindings::delete_role_binding(&app, &principal, site, id).await.map(Gone::by)
}
