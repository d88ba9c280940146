//! `/v1/decisions/{request_id}`: why the edge decided a request as it did.

use axum::{Json, extract::State};
use domain::{Decision, RequestId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::KeptDecision;

use super::{
    extract::{Asked, At, TenantQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// A decision of a gateway.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Decision")]
pub struct DecisionView {
    /// The gateway that decided.
    pub gateway: String,
    /// Its fleet.
    pub fleet: String,
    /// When the control API heard of it.
    pub received: Timestamp,
    /// What it decided, and why.
    pub decision: Decision,
}

wire!(DecisionView);

impl From<KeptDecision> for DecisionView {
    fn from(it: KeptDecision) -> Self {
        Self { gateway: it.gateway, fleet: it.fleet, received: it.received, decision: it.decision }
    }
}

/// Reads why a request was decided as it was, by the id that its answer named in `x-request-id`. Refused requests are
/// there within a second, as far as the gateway's budget went, and for a day; permitted ones where gateways tell of them.
#[utoipa::path(get, path = "/v1/decisions/{request_id}", tag = "audit", params(("request_id" = String, Path), TenantQuery),
    responses((status = 200, body = DecisionView)), security(("bearer" = [])))]
pub async fn read_decision(
    principal: Principal,
    State(app): State<App>,
    At(request): At<RequestId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Json<DecisionView>, AppError> {
    let kept = app::decisions::read_decision(&app, &principal, query.tenant_id, request).await?;
    Ok(Json(kept.into()))
}
