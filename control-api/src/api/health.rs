//! `/healthz` and `/readyz`: on every listener, without credentials.

use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::Serialize;

use super::schema::wire;
use crate::{App, error::AppError};

/// That it lives.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
}

wire!(Health);

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether requests can be answered: asks the database, and whether Redis keeps what it is told.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Health)))]
pub async fn readyz(State(app): State<App>) -> Result<Json<Health>, AppError> {
    app.store.check_schema().await?;
    if let Err(error) = app.hub.fitness() {
        return Err(AppError::RevocationStoreUnfit(error));
    }
    Ok(Json(Health { status: "ok" }))
}
