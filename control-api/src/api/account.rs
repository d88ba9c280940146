//! `/v1/me/deletion` and `/v1/me/export`: the end of one's own account, and all that is kept of one.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    Secret, TenantId, Timestamp,
    model::{Membership, MembershipSource, MembershipStatus},
};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{ShownOnce, settling},
    extract::Body,
    me::{ENDS, MySessionView},
    schema::wire,
    users::UserView,
};
use crate::{App, app, caller::Principal, context::RequestContext, error::AppError};

/// That one knows the account's password.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sure {
    /// It. Who has none signed in within the last five minutes.
    pub(super) password: Option<Secret<String>>,
}

/// That an account waits to be deleted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Deletion {
    /// When it will be. Signing in before cancels it.
    due_at: Timestamp,
    /// What cancels it, too. Shown once; the letter holds it.
    #[serde(serialize_with = "domain::secret::exposed")]
    token: Secret<String>,
}

/// That an account is kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepAccount {
    /// What was answered to who asked that it be deleted, or stands behind `#token=` in the letter's link.
    token: Secret<String>,
}

/// Where one is a member.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "as in `domain::model::Membership`")]
pub struct OwnMembership {
    pub tenant_id: TenantId,
    pub source: MembershipSource,
    pub status: MembershipStatus,
    pub created_at: Timestamp,
}

impl From<Membership> for OwnMembership {
    fn from(it: Membership) -> Self {
        Self { tenant_id: it.tenant_id, source: it.source, status: it.status, created_at: it.created_at }
    }
}

/// All that is kept of one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Export {
    /// The account.
    user: UserView,
    /// Where one is a member.
    memberships: Vec<OwnMembership>,
    /// Open sessions in the tenant.
    sessions: Vec<MySessionView>,
}

wire!(Sure, Deletion, KeepAccount, OwnMembership, Export);

/// Has one's own account deleted when its grace is over. Every session ends; signing in before cancels it.
#[utoipa::path(post, path = "/v1/me/deletion", tag = "me", request_body = Sure,
    responses((status = 202, body = Deletion)), security(("bearer" = [])))]
pub async fn request_deletion(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Sure>,
) -> Result<Response, AppError> {
    let held = app::account::request_deletion(&app, &context, &principal, body.password).await?;
    let body = Json(Deletion { due_at: held.due, token: held.token });
    Ok(settling(ShownOnce((StatusCode::ACCEPTED, body)).into_response(), ENDS))
}

/// Keeps an account that waits to be deleted. It signs nobody in.
#[utoipa::path(delete, path = "/v1/me/deletion", tag = "me", request_body = KeepAccount, responses((status = 204)))]
pub async fn cancel_deletion(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<KeepAccount>,
) -> Result<StatusCode, AppError> {
    app::account::cancel_deletion(&app, &context, &body.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// All that is kept of one, as JSON.
#[utoipa::path(get, path = "/v1/me/export", tag = "me", responses((status = 200, body = Export)),
    security(("bearer" = [])))]
pub async fn export_me(principal: Principal, State(app): State<App>) -> Result<Response, AppError> {
    let kept = app::account::export(&app, &principal).await?;
    let export = Export {
        user: kept.user.into(),
        memberships: kept.memberships.into_iter().map(OwnMembership::from).collect(),
        sessions: kept.sessions.into_iter().map(|it| MySessionView::of(it, &principal)).collect(),
    };
    let mut response = Json(export).into_response();
    let name = HeaderValue::from_static("attachment; filename=\"account.json\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
