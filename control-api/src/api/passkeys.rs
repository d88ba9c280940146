//! `/v1/auth/passkeys/*`: keys of one's devices, and signing in with one.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{PasskeyId, Secret, Timestamp, model::Passkey};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use webauthn_rs_core::proto::{PublicKeyCredential, RegisterPublicKeyCredential};

use super::{
    answer::{Changed, List},
    extract::{At, Body, IfMatch, WaitQuery},
    schema::wire,
    sessions::{SignIn, Switched, exchanged, signed_in, uncached},
};
use crate::{
    App,
    app::{
        passkey_signup::{self, PasskeySignup, ShownSignup},
        passkeys,
    },
    caller::Principal,
    context::RequestContext,
    error::AppError,
    webauthn::Begun,
};

/// One of one's own passkeys.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Passkey")]
pub struct PasskeyView {
    /// Its id.
    id: PasskeyId,
    /// What it is called.
    name: String,
    /// The hostname it is good at.
    rp_id: String,
    /// Whether it may be kept in step between devices.
    backup_eligible: bool,
    /// Whether it is.
    backup_state: bool,
    /// When it was registered.
    created_at: Timestamp,
    /// When it last signed its user in.
    last_used_at: Option<Timestamp>,
}

/// Nothing has to be said.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginPasskey {}

/// Who signs in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginPasskeySignIn {
    /// Email or user name; empty or absent for whoever the device knows.
    #[serde(default)]
    email: String,
}

/// What the browser is asked, and what it comes back with.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PasskeyChallenge {
    /// Names the challenge when it is answered; good once.
    #[serde(serialize_with = "domain::secret::exposed")]
    challenge_id: Secret<String>,
    /// `publicKey` of `navigator.credentials.create()` or `get()`, with bytes in base64url (WebAuthn Level 3 §5.1.8, §5.1.9).
    options: Value,
    /// How long it is good, in seconds.
    expires_in: u64,
}

/// What an authenticator made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletePasskey {
    /// As it was given.
    challenge_id: Secret<String>,
    /// What to call it, 1 to 64 characters.
    name: Option<String>,
    /// The credential as `toJSON()` of the browser has it.
    #[schemars(with = "Value")]
    credential: RegisterPublicKeyCredential,
}

/// What an authenticator signed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletePasskeySignIn {
    /// As it was given.
    challenge_id: Secret<String>,
    /// The credential as `toJSON()` of the browser has it.
    #[schemars(with = "Value")]
    credential: PublicKeyCredential,
    /// Slug of the tenant, where the hostname does not say it.
    tenant: Option<String>,
}

/// What an authenticator signed, and the pair that is given up for one that says so.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletePasskeyStepUp {
    /// As it was given.
    challenge_id: Secret<String>,
    /// The credential as `toJSON()` of the browser has it.
    #[schemars(with = "Value")]
    credential: PublicKeyCredential,
    /// The refresh token of the session that asks.
    refresh_token: Secret<String>,
}

/// Who makes an account with a passkey.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginPasskeySignup {
    /// Their address.
    email: String,
    /// First name.
    #[serde(default)]
    first_name: String,
    /// Last name.
    #[serde(default)]
    last_name: String,
}

/// What an authenticator made, and what was sent to the address.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompletePasskeySignup {
    /// As it was given.
    challenge_id: Secret<String>,
    /// The six digits that were sent to the address.
    code: Secret<String>,
    /// What to call it, 1 to 64 characters.
    name: Option<String>,
    /// The credential as `toJSON()` of the browser has it.
    #[schemars(with = "Value")]
    credential: RegisterPublicKeyCredential,
}

/// What is changed of a passkey.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenamePasskey {
    /// What to call it, 1 to 64 characters.
    name: String,
}

wire!(
    PasskeyView,
    BeginPasskey,
    BeginPasskeySignIn,
    PasskeyChallenge,
    CompletePasskey,
    CompletePasskeySignIn,
    CompletePasskeyStepUp,
    BeginPasskeySignup,
    CompletePasskeySignup,
    RenamePasskey
);

impl From<Passkey> for PasskeyView {
    fn from(it: Passkey) -> Self {
        Self {
            id: it.id,
            name: it.name,
            rp_id: it.rp_id,
            backup_eligible: it.backup_eligible,
            backup_state: it.backup_state,
            created_at: it.created_at,
            last_used_at: it.last_used_at,
        }
    }
}

fn challenge(app: &App, begun: Begun) -> Response {
    let expires_in = app.config.passkeys.challenge.get().as_secs();
    uncached(Json(PasskeyChallenge { challenge_id: begun.ticket, options: begun.options, expires_in }).into_response())
}

/// Begins to register a passkey at the hostname that is asked.
#[utoipa::path(post, path = "/v1/auth/passkeys/register/begin", tag = "passkeys", request_body = BeginPasskey,
    responses((status = 200, body = PasskeyChallenge)), security(("bearer" = [])))]
pub async fn begin_passkey(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(BeginPasskey {}): Body<BeginPasskey>,
) -> Result<Response, AppError> {
    let begun = passkeys::begin_registration(&app, &context, &principal).await?;
    Ok(challenge(&app, begun))
}

/// Keeps the passkey that the browser made.
#[utoipa::path(post, path = "/v1/auth/passkeys/register/complete", tag = "passkeys", request_body = CompletePasskey,
    responses((status = 201, body = PasskeyView)), security(("bearer" = [])))]
pub async fn complete_passkey(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<CompletePasskey>,
) -> Result<Response, AppError> {
    let made = (body.name, body.credential);
    let kept = passkeys::complete_registration(&app, &context, &principal, &body.challenge_id, made).await?;
    let location = HeaderValue::from_str(&format!("/v1/auth/passkeys/{}", kept.id));
    let mut response = (StatusCode::CREATED, Json(PasskeyView::from(kept))).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Begins a sign-in with a passkey.
#[utoipa::path(post, path = "/v1/auth/passkeys/login/begin", tag = "passkeys", request_body = BeginPasskeySignIn,
    responses((status = 200, body = PasskeyChallenge)))]
pub async fn begin_passkey_login(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<BeginPasskeySignIn>,
) -> Result<Response, AppError> {
    let begun = passkeys::begin_sign_in(&app, &context, &body.email).await?;
    Ok(challenge(&app, begun))
}

/// Signs somebody in by what their passkey signed.
#[utoipa::path(post, path = "/v1/auth/passkeys/login/complete", tag = "passkeys", request_body = CompletePasskeySignIn,
    responses((status = 200, body = SignIn)))]
pub async fn complete_passkey_login(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<CompletePasskeySignIn>,
) -> Result<Response, AppError> {
    let CompletePasskeySignIn { challenge_id, credential, tenant } = body;
    let outcome = passkeys::complete_sign_in(&app, &context, &challenge_id, &credential, tenant.as_deref()).await?;
    Ok(signed_in(outcome))
}

/// Begins to sign the caller in anew within the session, with a passkey.
#[utoipa::path(post, path = "/v1/auth/passkeys/step-up/begin", tag = "passkeys", request_body = BeginPasskey,
    responses((status = 200, body = PasskeyChallenge)), security(("bearer" = [])))]
pub async fn begin_passkey_step_up(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(BeginPasskey {}): Body<BeginPasskey>,
) -> Result<Response, AppError> {
    let begun = passkeys::begin_step_up(&app, &context, &principal).await?;
    Ok(challenge(&app, begun))
}

/// Signs the caller in anew within the session, which says so from then on. No gateway accepts the old access token.
#[utoipa::path(post, path = "/v1/auth/passkeys/step-up/complete", tag = "passkeys", request_body = CompletePasskeyStepUp,
    responses((status = 200, body = Switched)), security(("bearer" = [])))]
pub async fn complete_passkey_step_up(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<CompletePasskeyStepUp>,
) -> Result<Response, AppError> {
    let shown = (&body.challenge_id, &body.credential);
    let pair = passkeys::complete_step_up(&app, &context, &principal, shown, &body.refresh_token).await?;
    exchanged(&app, pair).await
}

/// Begins to make an account with a passkey: a code goes to the address. The answer is the same whoever has the address.
#[utoipa::path(post, path = "/v1/auth/passkeys/signup/begin", tag = "passkeys", request_body = BeginPasskeySignup,
    responses((status = 200, body = PasskeyChallenge)))]
pub async fn begin_passkey_signup(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<BeginPasskeySignup>,
) -> Result<Response, AppError> {
    let BeginPasskeySignup { email, first_name, last_name } = body;
    let begun = passkey_signup::begin_signup(&app, &context, PasskeySignup { email, first_name, last_name }).await?;
    Ok(challenge(&app, begun))
}

/// Makes the account of who shows the code and what their authenticator made, and signs them in.
#[utoipa::path(post, path = "/v1/auth/passkeys/signup/complete", tag = "passkeys", request_body = CompletePasskeySignup,
    responses((status = 200, body = SignIn)))]
pub async fn complete_passkey_signup(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<CompletePasskeySignup>,
) -> Result<Response, AppError> {
    let CompletePasskeySignup { challenge_id, code, name, credential } = body;
    let shown = ShownSignup { ticket: &challenge_id, credential: &credential, code: &code, name };
    passkey_signup::complete_signup(&app, &context, shown).await.map(signed_in)
}

/// Lists one's own passkeys, of all hostnames. There are never more than one page of them.
#[utoipa::path(get, path = "/v1/auth/passkeys", tag = "passkeys",
    responses((status = 200, body = List<PasskeyView>)), security(("bearer" = [])))]
pub async fn list_passkeys(principal: Principal, State(app): State<App>) -> Result<Json<List<PasskeyView>>, AppError> {
    let found = passkeys::list_passkeys(&app, &principal).await?;
    Ok(Json(List::whole(found.into_iter().map(Into::into).collect())))
}

/// Gives one of one's own passkeys another name.
#[utoipa::path(patch, path = "/v1/auth/passkeys/{id}", tag = "passkeys", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = RenamePasskey, responses((status = 200, body = PasskeyView)), security(("bearer" = [])))]
pub async fn rename_passkey(
    principal: Principal,
    State(app): State<App>,
    At(id): At<PasskeyId>,
    IfMatch(version): IfMatch,
    Body(body): Body<RenamePasskey>,
) -> Result<Changed<PasskeyView>, AppError> {
    let (changed, commit) = passkeys::rename_passkey(&app, &principal, id, version, body.name).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Deletes one of one's own passkeys; never what alone signs one in.
#[utoipa::path(delete, path = "/v1/auth/passkeys/{id}", tag = "passkeys", params(("id" = String, Path)),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_passkey(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    At(id): At<PasskeyId>,
) -> Result<StatusCode, AppError> {
    passkeys::delete_passkey(&app, &context, &principal, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
