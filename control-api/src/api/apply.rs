//! `/v1/apply`: declarative files, as `portcullis apply` sends them.

use axum::extract::State;
use domain::snapshot::Entity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::Changed,
    extract::{Body, WaitQuery},
    schema::wire,
};
use crate::{
    App,
    app::apply::{self, Outcome, Writer},
    caller::Principal,
    error::AppError,
};

/// What is to be in force.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// Entities as a declarative file compiles to them, those that others refer to first.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub entities: Vec<Entity>,
    /// The edge's HTTPS port, where it is not 443: part of the issuer of projects that are made.
    pub public_port: Option<u16>,
}

/// What was done.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
pub struct ApplyResponse {
    /// How much of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

wire!(ApplyRequest, ApplyResponse);

/// Makes what is missing and changes what differs, all of it or nothing.
#[utoipa::path(post, path = "/v1/apply", tag = "declarative", params(WaitQuery), request_body = ApplyRequest,
    responses((status = 200, body = ApplyResponse)), security(("bearer" = [])))]
pub async fn apply_entities(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<ApplyRequest>,
) -> Result<Changed<ApplyResponse>, AppError> {
    let writer = Writer::of(&principal)?;
    let (outcome, commit) = apply::apply(&app, &writer, &body.entities, body.public_port).await?;
    Ok(Changed { version: None, body: ApplyResponse { outcome }, commit, revokes: false })
}
