//! `/v1/auth/otp/*` and `/v1/auth/magic-link/*`: signing in with what was sent to an address.

use axum::{extract::State, response::Response};
use domain::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    extract::Body,
    own_password::{Accepted, Address, accepted},
    schema::wire,
    sessions::{Tokens, signed_in},
};
use crate::{App, app, context::RequestContext, error::AppError};

/// A code that was sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowCode {
    /// The address it was sent to.
    email: String,
    /// Its six digits.
    code: Secret<String>,
    /// Slug of the tenant, where the hostname does not say it.
    tenant: Option<String>,
}

/// A link that was sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedeemLink {
    /// Its token.
    token: Secret<String>,
    /// Slug of the tenant, where the hostname does not say it.
    tenant: Option<String>,
}

wire!(ShowCode, RedeemLink);

/// Sends a code to sign in with. The answer is the same whoever has the address.
#[utoipa::path(post, path = "/v1/auth/otp/request", tag = "identity", request_body = Address,
    responses((status = 202, body = Accepted)))]
pub async fn request_login_code(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Address>,
) -> Result<Response, AppError> {
    app::passwordless::request_code(&app, &context, &body.email).await?;
    Ok(accepted())
}

/// Signs in with a code that was sent. Where the project lets people in, the first time makes the account.
#[utoipa::path(post, path = "/v1/auth/otp/verify", tag = "identity", request_body = ShowCode,
    responses((status = 200, body = Tokens)))]
pub async fn verify_login_code(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<ShowCode>,
) -> Result<Response, AppError> {
    let shown = (body.email.as_str(), &body.code);
    app::passwordless::verify_code(&app, &context, shown, body.tenant.as_deref()).await.map(signed_in)
}

/// Sends a link to sign in with. The answer is the same whoever has the address.
#[utoipa::path(post, path = "/v1/auth/magic-link/request", tag = "identity", request_body = Address,
    responses((status = 202, body = Accepted)))]
pub async fn request_magic_link(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Address>,
) -> Result<Response, AppError> {
    app::passwordless::request_link(&app, &context, &body.email).await?;
    Ok(accepted())
}

/// Signs in with a link that was sent. Only this uses it up: to open the page it leads to does not.
#[utoipa::path(post, path = "/v1/auth/magic-link/redeem", tag = "identity", request_body = RedeemLink,
    responses((status = 200, body = Tokens)))]
pub async fn redeem_magic_link(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<RedeemLink>,
) -> Result<Response, AppError> {
    app::passwordless::redeem_link(&app, &context, &body.token, body.tenant.as_deref()).await.map(signed_in)
}
