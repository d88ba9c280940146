//! `/v1/org-units/{ou}/access-logs`: what was asked of an organisational unit at the edge.

use axum::{Json, extract::State};
use domain::{OrgUnitId, RequestId, TenantId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{AccessQuery, KeptAccess};

use super::{
    answer::List,
    extract::{Asked, At, timed_cursor, untimed_cursor},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// One request that was about an organisational unit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AccessRecord")]
pub struct AccessView {
    /// The request's id, by which it can be explained.
    pub request_id: RequestId,
    /// When it was over.
    pub time: Timestamp,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The unit.
    pub ou_id: OrgUnitId,
    /// The user; none for who is known by an external issuer only.
    pub user_id: Option<UserId>,
    /// Who asked: the user's id, or what the external issuer calls them.
    pub subject: String,
    /// From which address.
    pub ip: String,
    /// Method.
    pub method: String,
    /// Path, without query.
    pub path: String,
    /// Status of the response; 0 when there was none.
    pub status: u32,
    /// With which program.
    pub user_agent: Option<String>,
    /// From the first byte of the request to the end of the response, in microseconds.
    pub latency_us: u64,
}

impl From<KeptAccess> for AccessView {
    fn from(it: KeptAccess) -> Self {
        Self {
            request_id: it.request_id,
            time: it.at,
            tenant_id: it.tenant_id,
            ou_id: it.ou_id,
            user_id: it.user_id,
            subject: it.subject,
            ip: it.ip,
            method: it.method,
            path: it.path,
            status: it.status,
            user_agent: it.user_agent,
            latency_us: it.latency_us,
        }
    }
}

wire!(AccessView);

/// Which requests.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AccessFilter {
    /// The tenant, for staff.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Not before this instant.
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Before this instant.
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    /// At most so many, 1 to 500. Default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists what was asked of an organisational unit at the edge, newest first. What gateways could not tell in time is
/// missing.
#[utoipa::path(get, path = "/v1/org-units/{ou}/access-logs", tag = "org units",
    params(("ou" = String, Path), AccessFilter), responses((status = 200, body = List<AccessView>)),
    security(("bearer" = [])))]
pub async fn list_access_log(
    principal: Principal,
    State(app): State<App>,
    At(unit): At<OrgUnitId>,
    Asked(filter): Asked<AccessFilter>,
) -> Result<Json<List<AccessView>>, AppError> {
    let site = principal.site(&app, filter.tenant_id).await?;
    let limit = filter.limit.unwrap_or(50);
    if !(1..=500).contains(&limit) {
        return Err(AppError::parameter("limit", "range", "1 to 500 are allowed"));
    }
    let before = filter.cursor.as_deref().map(untimed_cursor).transpose()?;
    let query = AccessQuery { from: filter.from, to: filter.to, before, limit };
    let rows = app::access_log::list_access_log(&app, &principal, site, unit, &query).await?;
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = rows.last().filter(|_| full).map(|last| timed_cursor(last.at, last.request_id));
    Ok(Json(List { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
}
