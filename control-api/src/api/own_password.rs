//! `/v1/auth/signup` and `/v1/auth/password/*`: accounts that people make, and their passwords.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::Secret;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{answer::Gone, extract::Body, me::ENDS, schema::wire};
use crate::{App, app, app::signup::SignupDraft, caller::Principal, context::RequestContext, error::AppError};

/// Who wants an account.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signup {
    /// Their address.
    email: String,
    /// The password it is to have, as the tenant's policy asks for.
    password: Secret<String>,
    /// First name.
    #[serde(default)]
    first_name: String,
    /// Last name.
    #[serde(default)]
    last_name: String,
}

/// Whose password was forgotten.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The account's address.
    pub(super) email: String,
}

/// A new password, and the present one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The present one.
    current_password: Secret<String>,
    /// The new one.
    new_password: Secret<String>,
}

/// A new password, and what was sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPassword {
    /// The token of the link.
    token: Secret<String>,
    /// The new password.
    new_password: Secret<String>,
}

/// That something was sent, if there is whom to send it to.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Accepted {
    /// `accepted`, whoever has the address.
    status: &'static str,
}

wire!(Signup, Address, ChangePassword, ResetPassword, Accepted);

/// 202, the same whether or not anything was sent.
pub(super) fn accepted() -> Response {
    (StatusCode::ACCEPTED, Json(Accepted { status: "accepted" })).into_response()
}

/// Asks for an account. A link to the address makes it; an address that has one gets a notice. The answer is the same.
#[utoipa::path(post, path = "/v1/auth/signup", tag = "identity", request_body = Signup,
    responses((status = 202, body = Accepted)))]
pub async fn sign_up(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Signup>,
) -> Result<Response, AppError> {
    let Signup { email, password, first_name, last_name } = body;
    app::signup::sign_up(&app, &context, SignupDraft { email, password, first_name, last_name }).await?;
    Ok(accepted())
}

/// Changes one's own password. Every session ends, the one that asks too.
#[utoipa::path(post, path = "/v1/auth/password/change", tag = "identity", request_body = ChangePassword,
    responses((status = 204)), security(("bearer" = [])))]
pub async fn change_password(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<ChangePassword>,
) -> Result<Gone, AppError> {
    let passwords = (body.current_password, body.new_password);
    app::own_password::change_password(&app, &context, &principal, passwords).await?;
    Ok(Gone(ENDS))
}

/// Sends a link to choose a new password to an account's proven address. The answer is the same whoever has the address.
#[utoipa::path(post, path = "/v1/auth/password/reset/request", tag = "identity", request_body = Address,
    responses((status = 202, body = Accepted)))]
pub async fn request_password_reset(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Address>,
) -> Result<Response, AppError> {
    app::own_password::request_password_reset(&app, &context, &body.email).await?;
    Ok(accepted())
}

/// Sets a new password by a link that was sent. Every session ends.
#[utoipa::path(post, path = "/v1/auth/password/reset/confirm", tag = "identity", request_body = ResetPassword,
    responses((status = 204)))]
pub async fn confirm_password_reset(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<ResetPassword>,
) -> Result<Gone, AppError> {
    app::own_password::confirm_password_reset(&app, &context, &body.token, body.new_password).await?;
    Ok(Gone(ENDS))
}
