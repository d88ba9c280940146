//! `/v1/permissions`: what routes ask for.

use axum::{Json, extract::State};
use domain::Permission;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    answer::{Gone, List},
    extract::{Asked, Names, NamesQuery, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{App, app, app::permissions::PermissionContext, caller::Principal, error::AppError};

/// A permission.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Permission")]
pub struct PermissionView {
    /// `module:resource:action`
    code: Permission,
    /// Where it counts.
    context: PermissionContext,
}

wire!(PermissionView);

/// Has every gateway forget what it keeps of anybody's roles, and ask anew.
#[utoipa::path(delete, path = "/v1/permission-cache", tag = "roles", params(WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn drop_permission_cache(principal: Principal, State(app): State<App>) -> Result<Gone, AppError> {
    app::permissions::drop_permission_cache(&app, &principal).await.map(Gone::by)
}

/// Lists the permissions that routes ask for.
#[utoipa::path(get, path = "/v1/permissions", tag = "roles", params(TenantQuery, NamesQuery),
    responses((status = 200, body = List<PermissionView>)), security(("bearer" = [])))]
pub async fn list_permissions(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    asked: Names,
) -> Result<Json<List<PermissionView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::permissions::list_permissions(&app, &principal, site).await?;
    let named = |(code, context): &(Permission, PermissionContext)| (code.as_str().to_owned(), *context);
    Ok(Json(List::named(found, &asked, named, |(code, context)| PermissionView { code, context })))
}
