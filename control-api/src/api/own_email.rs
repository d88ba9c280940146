//! `/v1/auth/email/*`: one's own address, proven and changed.

use axum::{extract::State, response::Response};
use domain::Secret;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    answer::Gone,
    extract::Body,
    me::ENDS,
    own_password::{Accepted, accepted},
    schema::wire,
};
use crate::{App, app, caller::Principal, context::RequestContext, error::AppError};

/// What was sent to an address.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyEmail {
    /// The token of the link.
    token: Secret<String>,
    /// The account's password, or the one that was chosen for it: without it, nobody knows who set that, and it is void.
    password: Option<Secret<String>>,
}

/// Another address.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeEmail {
    /// It.
    email: String,
    /// The account's password.
    password: Secret<String>,
}

/// What was sent to the other address.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmEmail {
    /// The token of the link.
    token: Secret<String>,
}

wire!(VerifyEmail, ChangeEmail, ConfirmEmail);

/// Sends a link to one's own address that proves it.
#[utoipa::path(post, path = "/v1/auth/email/verify/send", tag = "identity",
    responses((status = 202, body = Accepted)), security(("bearer" = [])))]
pub async fn send_email_verification(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
) -> Result<Response, AppError> {
    app::own_email::send_verification(&app, &context, &principal).await?;
    Ok(accepted())
}

/// Proves an address by the link that was sent to it, or makes the account that was asked for with it. The first proof voids what
/// was set before, unless the password is shown beside.
#[utoipa::path(post, path = "/v1/auth/email/verify", tag = "identity", request_body = VerifyEmail,
    responses((status = 204)))]
pub async fn verify_email(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<VerifyEmail>,
) -> Result<Gone, AppError> {
    app::own_email::verify_email(&app, &context, &body.token, body.password).await?;
    Ok(Gone(ENDS))
}

/// Sends a link to another address that makes it one's own, and a notice to the present one.
#[utoipa::path(post, path = "/v1/auth/email/change/request", tag = "identity", request_body = ChangeEmail,
    responses((status = 202, body = Accepted)), security(("bearer" = [])))]
pub async fn request_email_change(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<ChangeEmail>,
) -> Result<Response, AppError> {
    app::own_email::request_email_change(&app, &context, &principal, (&body.email, body.password)).await?;
    Ok(accepted())
}

/// Gives an account its other address, by the link that was sent there. Every session ends.
#[utoipa::path(post, path = "/v1/auth/email/change/confirm", tag = "identity", request_body = ConfirmEmail,
    responses((status = 204)))]
pub async fn confirm_email_change(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<ConfirmEmail>,
) -> Result<Gone, AppError> {
    app::own_email::confirm_email_change(&app, &context, &body.token).await?;
    Ok(Gone(ENDS))
}
