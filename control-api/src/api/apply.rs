//! `POST /v1/apply`: what a declarative file says, in force as a whole or not at all.

use axum::extract::State;
use domain::{IssuerId, snapshot::Entity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::Changed,
    extract::{Body, WaitQuery},
    schema::wire,
};
use crate::{
    App, app,
    app::apply::{Outcome, Writer},
    caller::Principal,
    error::AppError,
};

/// Entities as `portcullis apply` compiles them from files.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The entities, in the order in which they refer to each other.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub entities: Vec<Entity>,
    /// Where the key sets of external issuers are fetched from, by the issuer's id.
    #[serde(default)]
    #[schemars(with = "Vec<(String, String)>")]
    pub jwks_urls: Vec<(IssuerId, String)>,
    /// The edge's HTTPS port, where it is not 443.
    pub public_port: Option<u16>,
}

/// What was done.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ApplyResponse {
    /// How much of what.
    pub outcome: Outcome,
}

wire!(ApplyRequest, ApplyResponse);

/// Makes what is missing and changes what differs.
#[utoipa::path(post, path = "/v1/apply", tag = "apply", params(WaitQuery), request_body = ApplyRequest,
    responses((status = 200, body = ApplyResponse)), security(("bearer" = [])))]
pub async fn apply(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<ApplyRequest>,
) -> Result<Changed<ApplyResponse>, AppError> {
    let writer = Writer::of(&principal)?;
    let ApplyRequest { entities, jwks_urls, public_port } = body;
    let (outcome, commit) = app::apply::apply(&app, &writer, &entities, &jwks_urls, public_port).await?;
    Ok(Changed { version: None, body: ApplyResponse { outcome }, commit, revokes: outcome.updated > 0 })
}
