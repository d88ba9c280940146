//! `/v1/me/deletion`: the end of one's own account.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{Secret, Timestamp};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{ShownOnce, settling},
    extract::Body,
    me::ENDS,
    schema::wire,
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

wire!(Sure, Deletion, KeepAccount);

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
