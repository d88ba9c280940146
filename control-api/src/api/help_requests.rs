//! `/v1/help-requests`: help for who cannot sign in.

use axum::{Json, extract::State, response::Response};
use domain::{
    HelpRequestId, TenantId, Timestamp, UserId,
    model::{HelpRequest, HelpStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::HelpRequestList;

use super::{
    answer::{Changed, List},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    own_password::{Accepted, accepted},
    schema::wire,
};
use crate::{App, app::help_requests, caller::Principal, context::RequestContext, error::AppError};

/// A request for help.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "HelpRequest")]
#[expect(missing_docs, reason = "as in `domain::model::HelpRequest`")]
pub struct HelpRequestView {
    pub id: HelpRequestId,
    pub tenant_id: TenantId,
    pub email: String,
    pub message: String,
    pub known: bool,
    pub status: HelpStatus,
    pub note: String,
    pub settled_by: Option<UserId>,
    pub settled_at: Option<Timestamp>,
    pub created_at: Timestamp,
}

impl From<HelpRequest> for HelpRequestView {
    fn from(it: HelpRequest) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            email: it.email,
            message: it.message,
            known: it.known,
            status: it.status,
            note: it.note,
            settled_by: it.settled_by,
            settled_at: it.settled_at,
            created_at: it.created_at,
        }
    }
}

/// What is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestHelp {
    /// Where the one who asks can be reached.
    email: String,
    /// In their words, 1 to 2000 characters.
    message: String,
}

/// How a request ends.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// An administrator helped.
    Resolved,
    /// An administrator did not.
    Rejected,
}

/// An administrator's answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleHelpRequest {
    /// How it ends.
    status: Settlement,
    /// What the administrator says of it, at most 2000 characters.
    #[serde(default)]
    note: String,
}

wire!(HelpRequestView, RequestHelp, SettleHelpRequest);

/// Asks a tenant's administrators for help, at the tenant's hostname. The answer is the same whoever asks.
#[utoipa::path(post, path = "/v1/help-requests", tag = "identity", request_body = RequestHelp,
    responses((status = 202, body = Accepted)))]
pub async fn request_help(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<RequestHelp>,
) -> Result<Response, AppError> {
    help_requests::request_help(&app, &context, &body.email, &body.message).await?;
    Ok(accepted())
}

/// Lists a tenant's requests for help.
#[utoipa::path(get, path = "/v1/help-requests", tag = "identity", params(TenantQuery, ListQuery<HelpRequestList>),
    responses((status = 200, body = List<HelpRequestView>)), security(("bearer" = [])))]
pub async fn list_help_requests(
    principal: Principal,
    State(app): State<App>,
    Asked(tenant): Asked<TenantQuery>,
    Listed(asked): Listed<HelpRequestList>,
) -> Result<Json<List<HelpRequestView>>, AppError> {
    let site = principal.site(&app, tenant.tenant_id).await?;
    let found = help_requests::list_help_requests(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Answers a request for help.
#[utoipa::path(post, path = "/v1/help-requests/{id}/resolve", tag = "identity",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = SettleHelpRequest,
    responses((status = 200, body = HelpRequestView)), security(("bearer" = [])))]
pub async fn settle_help_request(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HelpRequestId>,
    IfMatch(version): IfMatch,
    Body(body): Body<SettleHelpRequest>,
) -> Result<Changed<HelpRequestView>, AppError> {
    let status = match body.status {
        Settlement::Resolved => HelpStatus::Resolved,
        Settlement::Rejected => HelpStatus::Rejected,
    };
    let settled = help_requests::settle_help_request(&app, &principal, (id, version), (status, body.note)).await?;
    let (changed, commit) = settled;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}
