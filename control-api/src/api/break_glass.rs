//! Emergency administrators of customers: signing in on `admin`, and whether they may.

use axum::{Json, extract::State, response::Response};
use domain::{CustomerId, Secret, Timestamp, UserId, model::BreakGlass};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::Changed,
    extract::{At, Body, WaitQuery},
    schema::wire,
    sessions::{self, Tokens},
};
use crate::{
    App,
    app::break_glass::{self, Emergency},
    caller::Principal,
    context::RequestContext,
    error::AppError,
};

/// What an emergency administrator shows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmergencyLogin {
    /// Code of the customer; `root` for the platform's own.
    customer: String,
    /// The password that the command gave.
    password: Secret<String>,
    /// The authenticator's six digits.
    code: Secret<String>,
}

/// A customer's emergency administrator.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BreakGlass")]
pub struct BreakGlassView {
    /// Whose.
    customer_id: CustomerId,
    /// Who.
    user_id: UserId,
    /// When password and authenticator were set up.
    set_up_at: Timestamp,
    /// When they last signed in.
    last_login_at: Option<Timestamp>,
    /// Since when they may not.
    disabled_at: Option<Timestamp>,
}

impl From<BreakGlass> for BreakGlassView {
    fn from(it: BreakGlass) -> Self {
        Self {
            customer_id: it.customer_id,
            user_id: it.user_id,
            set_up_at: it.set_up_at,
            last_login_at: it.last_login_at,
            disabled_at: it.disabled_at,
        }
    }
}

wire!(EmergencyLogin, BreakGlassView);

/// Signs an emergency administrator in, for an hour at most. Needs nothing but the database; raises an alert.
#[utoipa::path(post, path = "/v1/break-glass/login", tag = "break-glass", request_body = EmergencyLogin,
    responses((status = 200, body = Tokens)))]
pub async fn break_glass_login(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<EmergencyLogin>,
) -> Result<Response, AppError> {
    let EmergencyLogin { customer, password, code } = body;
    break_glass::sign_in(&app, &context, Emergency { customer, password, code }).await.map(sessions::signed_in)
}

/// Reads what is known of a customer's emergency administrator.
#[utoipa::path(get, path = "/v1/customers/{id}/break-glass", tag = "break-glass", params(("id" = String, Path)),
    responses((status = 200, body = BreakGlassView)), security(("bearer" = [])))]
pub async fn read_break_glass(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
) -> Result<Json<BreakGlassView>, AppError> {
    let found = break_glass::read_break_glass(&app, &principal, id).await?;
    Ok(Json(found.ok_or(AppError::NotFound("break-glass"))?.into()))
}

/// Lets a customer's emergency administrator sign in no more, while somebody else administers the tenant.
#[utoipa::path(post, path = "/v1/customers/{id}/break-glass/disable", tag = "break-glass",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = BreakGlassView)),
    security(("bearer" = [])))]
pub async fn disable_break_glass(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
) -> Result<Changed<BreakGlassView>, AppError> {
    let (changed, commit) = break_glass::switch_break_glass(&app, &principal, id, false).await?;
    Ok(Changed { version: None, body: changed.into(), commit, revokes: true })
}

/// Lets a customer's emergency administrator sign in again.
#[utoipa::path(post, path = "/v1/customers/{id}/break-glass/enable", tag = "break-glass",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = BreakGlassView)),
    security(("bearer" = [])))]
pub async fn enable_break_glass(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
) -> Result<Changed<BreakGlassView>, AppError> {
    let (changed, commit) = break_glass::switch_break_glass(&app, &principal, id, true).await?;
    Ok(Changed { version: None, body: changed.into(), commit, revokes: false })
}
