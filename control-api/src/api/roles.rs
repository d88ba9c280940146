//! `/v1/roles`: the built-in roles and a tenant's own.

use axum::{Json, extract::State};
use domain::{
    Permission, RoleId, TenantId, Timestamp,
    model::{NewRole, Role},
    snapshot::RoleScope,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::RoleList;

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{
    App, app,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// A role.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Role")]
#[expect(missing_docs, reason = "as in `domain::model::Role`")]
pub struct RoleView {
    pub id: RoleId,
    pub tenant_id: Option<TenantId>,
    pub scope: RoleScope,
    pub name: String,
    pub description: String,
    pub permissions: Vec<Permission>,
    pub admin: bool,
    pub builtin: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Role> for RoleView {
    fn from(it: Role) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            scope: it.scope,
            name: it.name,
            description: it.description,
            permissions: it.permissions,
            admin: it.admin,
            builtin: it.builtin,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A tenant's own role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteRole {
    /// Its name, unique in the tenant and scope.
    name: String,
    /// `tenant` or `ou`. Default `tenant`. Cannot be changed later.
    scope: Option<RoleScope>,
    /// Free text.
    #[serde(default)]
    description: String,
    /// What it grants.
    permissions: Vec<Permission>,
    /// Whether its holders administer the tenant.
    #[serde(default)]
    admin: bool,
}

wire!(RoleView, WriteRole);

impl WriteRole {
    fn of(self, id: RoleId, site: Site) -> Result<NewRole, AppError> {
        let scope = self.scope.unwrap_or(RoleScope::Tenant);
        if scope == RoleScope::Platform {
            return Err(AppError::field("/scope", "choice", "a tenant's role is of scope `tenant` or `ou`"));
        }
        if !(1..=63).contains(&self.name.len()) || self.name.chars().any(|c| c.is_control() || c == ',') {
            return Err(AppError::field("/name", "invalid", "1 to 63 bytes without commas"));
        }
        Ok(NewRole {
            id,
            tenant_id: Some(site.tenant),
            scope,
            name: self.name,
            description: self.description,
            permissions: self.permissions,
            admin: self.admin,
            super_admin: false,
        })
    }
}

/// Lists the roles a tenant has: its own and the built-in ones.
#[utoipa::path(get, path = "/v1/roles", tag = "roles", params(TenantQuery, ListQuery<RoleList>),
    responses((status = 200, body = List<RoleView>)), security(("bearer" = [])))]
pub async fn list_roles(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<RoleList>,
) -> Result<Json<List<RoleView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::roles::list_roles(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a tenant's own role.
#[utoipa::path(post, path = "/v1/roles", tag = "roles", params(TenantQuery, WaitQuery), request_body = WriteRole,
    responses((status = 201, body = RoleView)), security(("bearer" = [])))]
pub async fn create_role(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<WriteRole>,
) -> Result<Created<RoleView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let new = body.of(new_id(&*app.clock), site)?;
    let (made, commit) = app::roles::create_role(&app, &principal, site, new).await?;
    let location = format!("/v1/roles/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a role.
#[utoipa::path(get, path = "/v1/roles/{id}", tag = "roles", params(("id" = String, Path), TenantQuery),
    responses((status = 200, body = RoleView)), security(("bearer" = [])))]
pub async fn read_role(
    principal: Principal,
    State(app): State<App>,
    At(id): At<RoleId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<One<RoleView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::roles::read_role(&app, &principal, site, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Replaces a tenant's own role.
#[utoipa::path(put, path = "/v1/roles/{id}", tag = "roles", params(("id" = String, Path), TenantQuery, WaitQuery, IfMatch),
    request_body = WriteRole, responses((status = 200, body = RoleView)), security(("bearer" = [])))]
pub async fn replace_role(
    principal: Principal,
    State(app): State<App>,
    At(id): At<RoleId>,
    Asked(query): Asked<TenantQuery>,
    IfMatch(version): IfMatch,
    Body(body): Body<WriteRole>,
) -> Result<Changed<RoleView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let new = body.of(id, site)?;
    let (changed, commit) = app::roles::replace_role(&app, &principal, site, version, new).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: true })
}

/// Deletes a tenant's own role that nobody has.
#[utoipa::path(delete, path = "/v1/roles/{id}", tag = "roles",
    params(("id" = String, Path), TenantQuery, WaitQuery), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_role(
    principal: Principal,
    State(app): State<App>,
    At(id): At<RoleId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Gone, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    app::roles::delete_role(&app, &principal, site, id).await.map(Gone::by)
}
