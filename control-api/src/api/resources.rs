//! `/v1/resources`: what can be done to what.

use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    answer::List,
    extract::{Asked, Names, NamesQuery, TenantQuery},
    schema::wire,
};
use crate::{
    App, app,
    app::{permissions::PermissionContext, resources::Resource},
    caller::Principal,
    error::AppError,
};

/// Something that permissions are about.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Resource")]
pub struct ResourceView {
    /// Module and resource, such as `tenant:user`.
    pub resource: String,
    /// Where its permissions count.
    pub context: PermissionContext,
    /// What can be done to it, such as `list`.
    pub verbs: Vec<String>,
}

wire!(ResourceView);

impl From<Resource> for ResourceView {
    fn from(it: Resource) -> Self {
        Self { resource: it.name, context: it.context, verbs: it.verbs.into_iter().collect() }
    }
}

/// Lists what can be done to what, by the routes there are. Staff sees what is the platform's, too.
#[utoipa::path(get, path = "/v1/resources", tag = "roles", params(TenantQuery, NamesQuery),
    responses((status = 200, body = List<ResourceView>)), security(("bearer" = [])))]
pub async fn list_resources(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    asked: Names,
) -> Result<Json<List<ResourceView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::resources::list_resources(&app, &principal, site).await?;
    Ok(Json(List::named(found, &asked, |it| (it.name.clone(), it.context), Into::into)))
}
