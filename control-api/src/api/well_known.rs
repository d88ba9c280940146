//! Key sets of projects, by hostname.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};

use crate::{App, app, context::RequestContext, error::AppError};

/// The key set of the hostname's project (RFC 7517 §5).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "keys",
    responses((status = 200, description = "A JSON Web Key Set")))]
pub async fn read_jwks(context: RequestContext, State(app): State<App>) -> Result<Response, AppError> {
    let realm = app::site::realm(&app, &context).await?.ok_or(AppError::NotFound("project"))?;
    let (keys, _) = app::signing_keys::key_set(&app, realm.project.id).await?;
    let mut response = Json(keys).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    Ok(response)
}
