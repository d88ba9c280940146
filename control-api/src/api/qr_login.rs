//! `/v1/auth/qr/*`: signing in on one device by approving it on another.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{QrLoginId, Secret, Timestamp, model::QrLogin};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    extract::{At, Body},
    schema::wire,
    sessions::{SecondFactor, SignIn, Tokens, uncached},
};
use crate::{
    App,
    app::qr_login::{self, Polled, Started, Verdict},
    caller::Principal,
    context::RequestContext,
    error::AppError,
};

/// Nothing has to be said.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartQrLogin {}

/// A sign-in that this device asks for.
#[derive(Debug, Serialize, JsonSchema)]
pub struct StartedQrLogin {
    /// Its id, which the QR code tells.
    id: QrLoginId,
    /// What this device alone knows: not for the QR code. Shown once.
    #[serde(serialize_with = "domain::secret::exposed")]
    poll_secret: Secret<String>,
    /// Three digits that this device shows, to be typed on the other.
    code: String,
    /// Where the other device goes.
    url: String,
    /// That as a QR code: an SVG image as a `data:` URL.
    #[serde(serialize_with = "domain::secret::exposed")]
    qr_code: Secret<String>,
    /// How long it waits, in seconds.
    expires_in: u64,
    /// How long to wait between two polls, in seconds.
    interval: u64,
}

/// Who asks to be signed in.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AskedQrLogin {
    /// Its id.
    id: QrLoginId,
    /// Address of the device that asks.
    ip: Option<std::net::IpAddr>,
    /// What it says it is.
    user_agent: Option<String>,
    /// Since when.
    created_at: Timestamp,
    /// Until when it waits.
    expires_at: Timestamp,
}

/// What is said to it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleQrLogin {
    /// Whether the device that asks is signed in.
    approve: bool,
    /// The three digits that it shows, to approve.
    code: Option<String>,
}

/// What the asking device alone knows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PollQrLogin {
    /// As it was given.
    poll_secret: Secret<String>,
}

/// What came of it: with `approved`, tokens or the question for a second factor.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PolledQrLogin {
    /// `pending`, `approved`, `rejected` or `expired`.
    status: &'static str,
    /// The session.
    #[serde(flatten)]
    tokens: Option<Tokens>,
    /// How to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    second_factor: Option<SecondFactor>,
}

wire!(StartQrLogin, StartedQrLogin, AskedQrLogin, SettleQrLogin, PollQrLogin, PolledQrLogin);

/// How often a device polls, in seconds.
const INTERVAL: u64 = 2;

impl From<QrLogin> for AskedQrLogin {
    fn from(it: QrLogin) -> Self {
        Self { id: it.id, ip: it.ip, user_agent: it.user_agent, created_at: it.created_at, expires_at: it.expires_at }
    }
}

impl From<Polled> for PolledQrLogin {
    fn from(polled: Polled) -> Self {
        let nothing = |status| Self { status, tokens: None, second_factor: None };
        match polled {
            Polled::Pending => nothing("pending"),
            Polled::Rejected => nothing("rejected"),
            Polled::Expired => nothing("expired"),
            Polled::Approved(outcome) => match SignIn::from(outcome) {
                SignIn::Tokens(tokens) => Self { tokens: Some(tokens), ..nothing("approved") },
                SignIn::SecondFactor { second_factor } => {
                    Self { second_factor: Some(second_factor), ..nothing("approved") }
                }
            },
        }
    }
}

/// Asks for a sign-in on this device, which another that is signed in approves.
#[utoipa::path(post, path = "/v1/auth/qr", tag = "identity", request_body = StartQrLogin,
    responses((status = 200, body = StartedQrLogin)))]
pub async fn start_qr_login(
    context: RequestContext,
    State(app): State<App>,
    Body(StartQrLogin {}): Body<StartQrLogin>,
) -> Result<Response, AppError> {
    let Started { id, poll_secret, code, url, qr_code } = qr_login::start(&app, &context).await?;
    let qr_code = Secret::new(format!("data:image/svg+xml;base64,{}", STANDARD.encode(qr_code.expose())));
    let expires_in = app.config.second_factor.qr_login.get().as_secs();
    let started = StartedQrLogin { id, poll_secret, code, url, qr_code, expires_in, interval: INTERVAL };
    Ok(uncached(Json(started).into_response()))
}

/// Says who asks to be signed in.
#[utoipa::path(get, path = "/v1/auth/qr/{sid}", tag = "identity", params(("sid" = String, Path)),
    responses((status = 200, body = AskedQrLogin)), security(("bearer" = [])))]
pub async fn read_qr_login(
    principal: Principal,
    State(app): State<App>,
    At(id): At<QrLoginId>,
) -> Result<Json<AskedQrLogin>, AppError> {
    Ok(Json(qr_login::read_qr_login(&app, &principal, id).await?.into()))
}

/// Signs the caller in on the device that asks, or refuses that.
#[utoipa::path(post, path = "/v1/auth/qr/{sid}/approve", tag = "identity", params(("sid" = String, Path)),
    request_body = SettleQrLogin, responses((status = 204)), security(("bearer" = [])))]
pub async fn settle_qr_login(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    At(id): At<QrLoginId>,
    Body(body): Body<SettleQrLogin>,
) -> Result<StatusCode, AppError> {
    let verdict = match (body.approve, &body.code) {
        (true, Some(code)) => Verdict::Approve(code),
        (true, None) => {
            return Err(AppError::field("/code", "required", "the three digits that the other device shows"));
        }
        (false, _) => Verdict::Reject,
    };
    qr_login::settle_qr_login(&app, &context, &principal, (id, verdict)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says what came of a sign-in, to the device that asked for it; once it is approved, with tokens.
#[utoipa::path(post, path = "/v1/auth/qr/{sid}/poll", tag = "identity", params(("sid" = String, Path)),
    request_body = PollQrLogin, responses((status = 200, body = PolledQrLogin)))]
pub async fn poll_qr_login(
    context: RequestContext,
    State(app): State<App>,
    At(id): At<QrLoginId>,
    Body(body): Body<PollQrLogin>,
) -> Result<Response, AppError> {
    let polled = qr_login::poll(&app, &context, id, &body.poll_secret).await?;
    Ok(uncached(Json(PolledQrLogin::from(polled)).into_response()))
}
