//! `/v1/groups`: groups of a tenant's users.

use axum::{Json, extract::State};
use domain::{
    GroupId, TenantId, Timestamp, UserId,
    model::{Group, GroupMember},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::{GroupList, GroupMemberList};

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{App, app, app::groups::GroupEdit, caller::Principal, error::AppError};

/// A group of a tenant's users.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Group")]
#[expect(missing_docs, reason = "as in `domain::model::Group`")]
pub struct GroupView {
    pub id: GroupId,
    pub tenant_id: TenantId,
    pub name: String,
    pub description: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Group> for GroupView {
    fn from(it: Group) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            name: it.name,
            description: it.description,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A user in a group.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "GroupMember")]
#[expect(missing_docs, reason = "as in `domain::model::GroupMember`")]
pub struct GroupMemberView {
    pub group_id: GroupId,
    pub user_id: UserId,
    pub added_at: Timestamp,
}

impl From<GroupMember> for GroupMemberView {
    fn from(it: GroupMember) -> Self {
        Self { group_id: it.group_id, user_id: it.user_id, added_at: it.added_at }
    }
}

/// A group to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGroup {
    /// Its name, unique in the tenant: 1 to 128 characters.
    name: String,
    /// Free text, up to 1024 characters.
    #[serde(default)]
    description: String,
}

/// What changes of a group; what is absent stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateGroup {
    /// Its name.
    name: Option<String>,
    /// Free text.
    description: Option<String>,
}

/// Who comes into a group.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGroupMember {
    /// A member of the tenant.
    user_id: UserId,
}

wire!(GroupView, GroupMemberView, CreateGroup, UpdateGroup, CreateGroupMember);

/// Lists a tenant's groups.
#[utoipa::path(get, path = "/v1/groups", tag = "groups", params(TenantQuery, ListQuery<GroupList>),
    responses((status = 200, body = List<GroupView>)), security(("bearer" = [])))]
pub async fn list_groups(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<GroupList>,
) -> Result<Json<List<GroupView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::groups::list_groups(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a group. It grants nothing before a role is bound to it.
#[utoipa::path(post, path = "/v1/groups", tag = "groups", params(TenantQuery, WaitQuery), request_body = CreateGroup,
    responses((status = 201, body = GroupView)), security(("bearer" = [])))]
pub async fn create_group(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<CreateGroup>,
) -> Result<Created<GroupView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let made = app::groups::create_group(&app, &principal, site, (body.name, body.description));
    let (made, commit) = made.await?;
    let location = format!("/v1/groups/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a group.
#[utoipa::path(get, path = "/v1/groups/{id}", tag = "groups", params(("id" = String, Path), TenantQuery),
    responses((status = 200, body = GroupView)), security(("bearer" = [])))]
pub async fn read_group(
    principal: Principal,
    State(app): State<App>,
    At(id): At<GroupId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<One<GroupView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::groups::read_group(&app, &principal, site, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Changes what a group is called.
#[utoipa::path(patch, path = "/v1/groups/{id}", tag = "groups",
    params(("id" = String, Path), TenantQuery, WaitQuery, IfMatch), request_body = UpdateGroup,
    responses((status = 200, body = GroupView)), security(("bearer" = [])))]
pub async fn update_group(
    principal: Principal,
    State(app): State<App>,
    At(id): At<GroupId>,
    Asked(query): Asked<TenantQuery>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateGroup>,
) -> Result<Changed<GroupView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let edit = GroupEdit { name: body.name, description: body.description };
    let (changed, commit) = app::groups::update_group(&app, &principal, site, (id, version), edit).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Deletes a group: its members hold no more what was bound to it.
#[utoipa::path(delete, path = "/v1/groups/{id}", tag = "groups", params(("id" = String, Path), TenantQuery, WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_group(
    principal: Principal,
    State(app): State<App>,
    At(id): At<GroupId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Gone, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    app::groups::delete_group(&app, &principal, site, id).await.map(Gone::by)
}

/// Lists who is in a group.
#[utoipa::path(get, path = "/v1/groups/{id}/members", tag = "groups",
    params(("id" = String, Path), TenantQuery, ListQuery<GroupMemberList>), responses((status = 200, body = List<GroupMemberView>)),
    security(("bearer" = [])))]
pub async fn list_group_members(
    principal: Principal,
    State(app): State<App>,
    At(id): At<GroupId>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<GroupMemberList>,
) -> Result<Json<List<GroupMemberView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::groups::list_group_members(&app, &principal, site, (id, &asked)).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Brings a member of the tenant into a group: they hold what is bound to it.
#[utoipa::path(post, path = "/v1/groups/{id}/members", tag = "groups",
    params(("id" = String, Path), TenantQuery, WaitQuery), request_body = CreateGroupMember,
    responses((status = 201, body = GroupMemberView)), security(("bearer" = [])))]
pub async fn create_group_member(
    principal: Principal,
    State(app): State<App>,
    At(id): At<GroupId>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<CreateGroupMember>,
) -> Result<Created<GroupMemberView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let (made, commit) = app::groups::create_group_member(&app, &principal, site, (id, body.user_id)).await?;
    let location = format!("/v1/groups/{id}/members/{}", made.user_id);
    Ok(Created { location, version: None, body: made.into(), commit })
}

/// Takes somebody out of a group: they hold no more what is bound to it.
#[utoipa::path(delete, path = "/v1/groups/{id}/members/{user}", tag = "groups",
    params(("id" = String, Path), ("user" = String, Path), TenantQuery, WaitQuery), responses((status = 204)),
    security(("bearer" = [])))]
pub async fn delete_group_member(
    principal: Principal,
    State(app): State<App>,
    At((id, user)): At<(GroupId, UserId)>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Gone, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    app::groups::delete_group_member(&app, &principal, site, (id, user)).await.map(Gone::by)
}
