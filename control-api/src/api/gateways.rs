//! `/v1/gateways`: what each gateway has applied.

use axum::{Json, extract::State};
use domain::{GatewayId, Timestamp, model::GatewayNode};
use schemars::JsonSchema;
use serde::Serialize;

use super::{answer::List, schema::wire};
use crate::{App, app, caller::Principal, error::AppError};

/// A gateway.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Gateway")]
pub struct GatewayView {
    /// Its id.
    id: GatewayId,
    /// Its name.
    name: String,
    /// Its fleet.
    fleet: String,
    /// The revision of its snapshot.
    applied_revision: u64,
    /// How far it has applied the log.
    applied_seq: u64,
    /// The newest form of entities it reads.
    reader: u32,
    /// When its lease runs out, at the latest.
    lease_until: Timestamp,
    /// When it last said something.
    last_seen: Timestamp,
}

wire!(GatewayView);

impl From<GatewayNode> for GatewayView {
    fn from(it: GatewayNode) -> Self {
        Self {
            id: it.id,
            name: it.name,
            fleet: it.fleet,
            applied_revision: it.report.revision,
            applied_seq: it.report.applied.0,
            reader: it.report.reader,
            lease_until: it.report.lease_until,
            last_seen: it.last_seen,
        }
    }
}

/// Lists the gateways seen in the last day, and what each has applied.
#[utoipa::path(get, path = "/v1/gateways", tag = "gateways",
    responses((status = 200, body = List<GatewayView>)), security(("bearer" = [])))]
pub async fn list_gateways(principal: Principal, State(app): State<App>) -> Result<Json<List<GatewayView>>, AppError> {
    let rows = app::gateways::list_gateways(&app, &principal).await?;
    Ok(Json(List::whole(rows.into_iter().map(Into::into).collect())))
}
