//! `/v1/services`: platform staff only.

use axum::{Json, extract::State};
use domain::{
    ServiceId, Timestamp, UpstreamId,
    model::{NewService, Service},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::ServiceList;

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{At, Body, IfMatch, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, context::new_id, error::AppError};

/// A service.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Service")]
#[expect(missing_docs, reason = "as in `domain::model::Service`")]
pub struct ServiceView {
    pub id: ServiceId,
    pub name: String,
    pub upstream_id: UpstreamId,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Service> for ServiceView {
    fn from(it: Service) -> Self {
        Self {
            id: it.id,
            name: it.name,
            upstream_id: it.upstream_id,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A service to be made, without routes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateService {
    /// Unique name, 1 to 63 bytes.
    name: String,
    /// Where its routes go, unless they say otherwise.
    upstream_id: UpstreamId,
}

/// What changes of a service; what is absent stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateService {
    /// Unique name.
    name: Option<String>,
    /// Where its routes go.
    upstream_id: Option<UpstreamId>,
}

wire!(ServiceView, CreateService, UpdateService);

fn named(name: &str) -> Result<(), AppError> {
    if (1..=63).contains(&name.len()) && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(AppError::field("/name", "length", "1 to 63 bytes are allowed"))
}

/// Lists services.
#[utoipa::path(get, path = "/v1/services", tag = "routes", params(ListQuery<ServiceList>),
    responses((status = 200, body = List<ServiceView>)), security(("bearer" = [])))]
pub async fn list_services(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<ServiceList>,
) -> Result<Json<List<ServiceView>>, AppError> {
    let found = app::services::list_services(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a service.
#[utoipa::path(post, path = "/v1/services", tag = "routes", params(WaitQuery), request_body = CreateService,
    responses((status = 201, body = ServiceView)), security(("bearer" = [])))]
pub async fn create_service(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateService>,
) -> Result<Created<ServiceView>, AppError> {
    named(&body.name)?;
    let new = NewService { id: new_id(&*app.clock), name: body.name, upstream_id: body.upstream_id };
    let (made, commit) = app::services::create_service(&app, &principal, new).await?;
    let location = format!("/v1/services/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a service.
#[utoipa::path(get, path = "/v1/services/{id}", tag = "routes", params(("id" = String, Path)),
    responses((status = 200, body = ServiceView)), security(("bearer" = [])))]
pub async fn read_service(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ServiceId>,
) -> Result<One<ServiceView>, AppError> {
    let found = app::services::read_service(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Changes a service.
#[utoipa::path(patch, path = "/v1/services/{id}", tag = "routes", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = UpdateService, responses((status = 200, body = ServiceView)), security(("bearer" = [])))]
pub async fn update_service(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ServiceId>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateService>,
) -> Result<Changed<ServiceView>, AppError> {
    body.name.as_deref().map_or(Ok(()), named)?;
    let changed = app::services::update_service(&app, &principal, id, version, body.name, body.upstream_id);
    let (changed, commit) = changed.await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Deletes a service that no hostname offers, with its routes.
#[utoipa::path(delete, path = "/v1/services/{id}", tag = "routes", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_service(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ServiceId>,
) -> Result<Gone, AppError> {
    app::services::delete_service(&app, &principal, id).await.map(Gone::by)
}
