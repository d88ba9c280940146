//! Key sets: of projects, by hostname; of the fleet's assertions.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::model::KeyPurpose;
use http::{HeaderValue, header};
use store::read::*;

use crate::{App, app, context::RequestContext, error::AppError};

/// The key set of the hostname's project (RFC 7517 §5).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "A JSON Web Key Set")))]
pub async fn read_jwks(context: RequestContext, State(app): State<App>) -> Result<Response, AppError> {
    let realm = app::site::realm(&app, &context).await?.ok_or(AppError::NotFound("project"))?;
    let (keys, _) = app::signing_keys::key_set(&app.store, realm.project.id, KeyPurpose::Tokens).await?;
    Ok(published(keys))
}

/// The key set that upstreams of assertion mode `eddsa` verify `x-md-global-assertion` with.
#[utoipa::path(get, path = "/.well-known/portcullis-assertion-jwks.json", tag = "keys",
    responses((status = 200, description = "A JSON Web Key Set")))]
pub async fn read_assertion_jwks(State(app): State<App>) -> Result<Response, AppError> {
    let root = app.store.root_project().await?.ok_or(AppError::NotFound("project"))?;
    let (keys, _) = app::signing_keys::key_set(&app.store, root.id, KeyPurpose::Assertions).await?;
    Ok(published(keys))
}

fn published(keys: serde_json::Value) -> Response {
    let mut response = Json(keys).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
