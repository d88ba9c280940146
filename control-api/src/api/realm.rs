//! `/api/v1/realm.json`: what a page that is served at a hostname needs to know to sign somebody in there.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::Serialize;
use store::read::*;

use super::schema::wire;
use crate::{App, app, context::RequestContext, error::AppError};

/// The client that pages sign people in as.
const CLIENT: &str = "controller";

/// Where people of a hostname sign in.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Realm {
    /// The issuer of their tokens.
    pub endpoint: String,
    /// The tenant's slug; of a hostname of all tenants of a project, the project's.
    pub realm: String,
    /// The client to sign in as.
    #[serde(rename = "clientId")]
    pub client_id: &'static str,
}

wire!(Realm);

/// The realm of the hostname that is asked. A hostname that is not verified has none.
#[utoipa::path(get, path = "/api/v1/realm.json", tag = "keys", responses((status = 200, body = Realm)))]
pub async fn read_realm(context: RequestContext, State(app): State<App>) -> Result<Response, AppError> {
    let found = app::site::realm_of_host(&app.store, &context).await?.ok_or(AppError::NotFound("realm"))?;
    let tenant = match found.tenant {
        Some(id) => app.store.tenant(id).await?.map(|tenant| tenant.slug.to_string()),
        None => None,
    };
    let realm = Realm {
        endpoint: found.project.issuer,
        realm: tenant.unwrap_or_else(|| found.project.slug.to_string()),
        client_id: CLIENT,
    };
    let mut response = Json(realm).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    Ok(response)
}
