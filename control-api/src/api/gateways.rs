//! `/v1/gateways`: which gateways may ask, and what each has applied.

use axum::{Json, extract::State};
use domain::{
    GatewayId, Timestamp,
    model::{EnrolmentState, GatewayReport},
};
use schemars::JsonSchema;
use serde::Serialize;
use store::{KnownGateway, list::GatewayList};

use super::{
    answer::{Gone, List},
    extract::{At, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// A gateway.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Gateway")]
pub struct GatewayView {
    /// Its id.
    id: GatewayId,
    /// Its name.
    name: String,
    /// Its fleet: it is told of the hostnames of this fleet.
    fleet: String,
    /// Where its enrolment stands; none for one on the control API's own machine, which needs none.
    state: Option<EnrolmentState>,
    /// When its newest certificate expires, unless it is renewed.
    certificate_expires_at: Option<Timestamp>,
    /// The revision of its snapshot; none before its first report.
    applied_revision: Option<u64>,
    /// How far it has applied the log; none before its first report.
    applied_seq: Option<u64>,
    /// The newest form of entities it reads; none before its first report.
    reader: Option<u32>,
    /// When its last lease runs out, at the latest.
    lease_until: Option<Timestamp>,
    /// When it last said something, if it did in the last day.
    last_seen: Option<Timestamp>,
}

wire!(GatewayView);

impl GatewayView {
    /// As it is now.
    pub fn new(it: KnownGateway, now: Timestamp) -> Option<Self> {
        let KnownGateway { enrolment, node } = it;
        let (id, name, fleet) = match (&enrolment, &node) {
            (Some(it), _) => (it.id, it.name.clone(), it.fleet.to_string()),
            (None, Some(it)) => (it.id, it.name.clone(), it.fleet.clone()),
            (None, None) => return None,
        };
        let report = node.as_ref().map(|node| node.report);
        let said = |read: fn(&GatewayReport) -> u64| report.as_ref().map(read);
        Some(Self {
            id,
            name,
            fleet,
            state: enrolment.as_ref().map(|it| it.state(now)),
            certificate_expires_at: enrolment.and_then(|it| it.certificate_expires_at),
            applied_revision: said(|report| report.revision),
            applied_seq: said(|report| report.applied.0),
            reader: report.map(|report| report.reader),
            lease_until: report.map(|report| report.lease_until),
            last_seen: node.map(|node| node.last_seen),
        })
    }
}

/// Lists gateways: enrolled ones with their state, and what each has applied.
#[utoipa::path(get, path = "/v1/gateways", tag = "gateways", params(ListQuery<GatewayList>),
    responses((status = 200, body = List<GatewayView>)), security(("bearer" = [])))]
pub async fn list_gateways(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<GatewayList>,
) -> Result<Json<List<GatewayView>>, AppError> {
    let found = app::gateways::list_gateways(&app, &principal, &asked).await?;
    let now = app.now();
    let items = found.rows.into_iter().filter_map(|row| GatewayView::new(row, now)).collect();
    Ok(Json(List { items, next_cursor: found.next }))
}

/// Revokes a gateway: it is answered nothing more. 202 while its last lease still runs.
#[utoipa::path(delete, path = "/v1/gateways/{id}", tag = "gateways", params(("id" = String, Path), WaitQuery),
    responses((status = 204), (status = 202)), security(("bearer" = [])))]
pub async fn delete_gateway(
    principal: Principal,
    State(app): State<App>,
    At(id): At<GatewayId>,
) -> Result<Gone, AppError> {
    let by = app::gateways::may_revoke(&principal)?;
    let (_, commit) = app::gateways::revoke_gateway(&app, &by, id).await?;
    Ok(Gone::by(commit))
}
