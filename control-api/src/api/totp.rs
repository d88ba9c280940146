//! `/v1/auth/totp/*` and `/v1/auth/step-up`: second factors.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::Secret;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    extract::Body,
    schema::wire,
    sessions::{SignIn, Switched, Tokens, exchanged, signed_in, uncached},
};
use crate::{
    App,
    app::{
        second_factor::{self, ShownFactor},
        sign_in::SignedIn,
        step_up::{self, Shown},
        totp::{self, Enrolling},
    },
    caller::Principal,
    context::RequestContext,
    error::AppError,
};

/// Who sets an authenticator up: with a bearer token, the caller; without, whose sign-in waits for it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetUpTotp {
    /// The sign-in that waits for it, as it was answered.
    login_challenge_id: Option<Secret<String>>,
}

/// An authenticator to be. Shown once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewTotp {
    /// The secret in base32, to be typed.
    #[serde(serialize_with = "domain::secret::exposed")]
    secret: Secret<String>,
    /// The same with whose it is: `otpauth://totp/…`.
    #[serde(serialize_with = "domain::secret::exposed")]
    otpauth_url: Secret<String>,
    /// That as a QR code: an SVG image as a `data:` URL.
    #[serde(serialize_with = "domain::secret::exposed")]
    qr_code: Secret<String>,
}

/// A code of the authenticator that is to count.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmTotp {
    /// Six digits.
    code: Secret<String>,
    /// The caller's password, with a bearer token of a sign-in that was longer ago. With it, the session has shown both.
    password: Option<Secret<String>>,
    /// The sign-in that waits for it; none with a bearer token.
    login_challenge_id: Option<Secret<String>>,
}

/// Codes for when the authenticator is lost, each good once; and the session of a sign-in that waited. Shown once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RecoveryCodes {
    /// The codes.
    #[serde(serialize_with = "each_exposed")]
    recovery_codes: Vec<Secret<String>>,
    /// The first tokens of the session.
    #[serde(flatten)]
    tokens: Option<Tokens>,
}

/// The second factor of a sign-in that waits: a code, or a recovery code.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyTotp {
    /// The sign-in that waits for it, as it was answered.
    login_challenge_id: Secret<String>,
    /// Six digits of the authenticator.
    code: Option<Secret<String>>,
    /// One of the codes for when it is lost.
    recovery_code: Option<Secret<String>>,
}

/// The caller's password and, in a session that has shown none, a second factor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnPassword {
    /// Password.
    password: Secret<String>,
    /// Six digits.
    code: Option<Secret<String>>,
    /// A recovery code in their place.
    recovery_code: Option<Secret<String>>,
}

/// What a sign-in takes, and the pair that is given up for one that says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepUp {
    /// Password.
    password: Secret<String>,
    /// Six digits, of who has an authenticator.
    code: Option<Secret<String>>,
    /// A recovery code in its place.
    recovery_code: Option<Secret<String>>,
    /// The refresh token of the session that asks.
    refresh_token: Secret<String>,
}

wire!(SetUpTotp, NewTotp, ConfirmTotp, RecoveryCodes, VerifyTotp, OwnPassword, StepUp);

fn each_exposed<S: serde::Serializer>(secrets: &[Secret<String>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(secrets.iter().map(Secret::expose))
}

fn enrolling<'w>(
    principal: Option<&'w Principal>,
    sign_in: Option<&'w Secret<String>>,
) -> Result<Enrolling<'w>, AppError> {
    match (principal, sign_in) {
        (Some(principal), None) => Ok(Enrolling::Principal(principal)),
        (None, Some(id)) => Ok(Enrolling::SignIn(id)),
        (None, None) => Err(AppError::CredentialMissing),
        (Some(_), Some(_)) => {
            Err(AppError::field("/login_challenge_id", "choice", "is for who has no session: send it without a token"))
        }
    }
}

fn factor(code: Option<Secret<String>>, recovery: Option<Secret<String>>) -> Result<Option<ShownFactor>, AppError> {
    match (code, recovery) {
        (Some(code), None) => Ok(Some(ShownFactor::Code(code))),
        (None, Some(code)) => Ok(Some(ShownFactor::RecoveryCode(code))),
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(AppError::field("/recovery_code", "choice", "either this or `code`")),
    }
}

/// Makes a secret for an authenticator: for the bearer of a token or, without one, for a sign-in that waits for it. It counts
/// once a code of it is confirmed.
#[utoipa::path(post, path = "/v1/auth/totp/setup", tag = "second factors", request_body = SetUpTotp,
    responses((status = 200, body = NewTotp)))]
pub async fn set_up_totp(
    principal: Option<Principal>,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<SetUpTotp>,
) -> Result<Response, AppError> {
    let who = enrolling(principal.as_ref(), body.login_challenge_id.as_ref())?;
    let totp::SetUp { secret, url, qr_code } = totp::set_up_totp(&app, &context, who).await?;
    let qr_code = Secret::new(format!("data:image/svg+xml;base64,{}", STANDARD.encode(qr_code.expose())));
    Ok(uncached(Json(NewTotp { secret, otpauth_url: url, qr_code }).into_response()))
}

/// Makes an authenticator count, by a code of it, and answers recovery codes: for the bearer of a token, or for a sign-in that
/// waits for it, which gets its tokens.
#[utoipa::path(post, path = "/v1/auth/totp/confirm", tag = "second factors", request_body = ConfirmTotp,
    responses((status = 200, body = RecoveryCodes)))]
pub async fn confirm_totp(
    principal: Option<Principal>,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<ConfirmTotp>,
) -> Result<Response, AppError> {
    let who = enrolling(principal.as_ref(), body.login_challenge_id.as_ref())?;
    let totp::Confirmed { recovery_codes, signed_in } =
        totp::confirm_totp(&app, &context, who, (body.code, body.password)).await?;
    let tokens = signed_in.and_then(|outcome| match outcome {
        SignedIn::Tokens(pair) => Some(Tokens::from(pair)),
        SignedIn::SecondFactor(_) => None,
    });
    Ok(uncached(Json(RecoveryCodes { recovery_codes, tokens }).into_response()))
}

/// Goes on with a sign-in that waits for a second factor.
#[utoipa::path(post, path = "/v1/auth/totp/verify", tag = "second factors", request_body = VerifyTotp,
    responses((status = 200, body = SignIn)))]
pub async fn verify_totp(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<VerifyTotp>,
) -> Result<Response, AppError> {
    let shown = factor(body.code, body.recovery_code)?;
    let shown = shown.ok_or_else(|| AppError::field("/code", "required", "this or `recovery_code` is needed"))?;
    second_factor::verify_second_factor(&app, &context, &body.login_challenge_id, shown).await.map(signed_in)
}

/// Takes the caller's authenticator away.
#[utoipa::path(post, path = "/v1/auth/totp/disable", tag = "second factors", request_body = OwnPassword,
    responses((status = 204)), security(("bearer" = [])))]
pub async fn disable_totp(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<OwnPassword>,
) -> Result<StatusCode, AppError> {
    let shown = (body.password, factor(body.code, body.recovery_code)?);
    totp::disable_totp(&app, &context, &principal, shown).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes new recovery codes in the place of all there are.
#[utoipa::path(post, path = "/v1/auth/totp/recovery-codes", tag = "second factors", request_body = OwnPassword,
    responses((status = 200, body = RecoveryCodes)), security(("bearer" = [])))]
pub async fn replace_recovery_codes(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<OwnPassword>,
) -> Result<Response, AppError> {
    let shown = (body.password, factor(body.code, body.recovery_code)?);
    let recovery_codes = totp::replace_recovery_codes(&app, &context, &principal, shown).await?;
    Ok(uncached(Json(RecoveryCodes { recovery_codes, tokens: None }).into_response()))
}

/// Signs the caller in anew within the session, which says so from then on. No gateway accepts the old access token.
#[utoipa::path(post, path = "/v1/auth/step-up", tag = "second factors", request_body = StepUp,
    responses((status = 200, body = Switched)), security(("bearer" = [])))]
pub async fn step_up(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<StepUp>,
) -> Result<Response, AppError> {
    let factor = factor(body.code, body.recovery_code)?;
    let shown = Shown { password: body.password, factor, refresh_token: body.refresh_token };
    let pair = step_up::step_up(&app, &context, &principal, shown).await?;
    exchanged(&app, pair).await
}
