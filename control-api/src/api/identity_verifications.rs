//! `/v1/identity-verifications`: whether people showed who they are.

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State},
};
use domain::{
    IdentityVerificationId, TenantId, Timestamp, UserId,
    audit::ActorKind,
    model::{IdentityState, IdentityStep, IdentityVerification},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::IdentityVerificationList;

use super::{
    answer::{Changed, Created, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{
    App,
    app::identity_verifications,
    caller::Principal,
    context::RequestContext,
    error::AppError,
    identity_events::{IdentityEvent, SignedEvent},
};

/// Longest event, in bytes.
const MAX_EVENT: usize = 16 * 1024;

/// A verification of somebody's identity.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "IdentityVerification")]
pub struct IdentityVerificationView {
    /// Its id.
    id: IdentityVerificationId,
    /// The tenant that it counts in.
    tenant_id: TenantId,
    /// Whose.
    user_id: UserId,
    /// What it is worth now.
    state: IdentityState,
    /// Why.
    reason: String,
    /// Until when it waits, or counts.
    ends_at: Timestamp,
    /// When it was begun.
    created_at: Timestamp,
    /// When it came to its state.
    changed_at: Timestamp,
}

impl IdentityVerificationView {
    fn at(it: IdentityVerification, now: Timestamp) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            user_id: it.user_id,
            state: it.state_at(now),
            reason: it.reason,
            ends_at: it.ends_at,
            created_at: it.created_at,
            changed_at: it.changed_at,
        }
    }
}

/// A step of a verification.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "IdentityStep")]
pub struct IdentityStepView {
    /// From which state; absent at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<IdentityState>,
    /// To which.
    to: IdentityState,
    /// Why.
    reason: String,
    /// Who took it: a user, or nobody who signed in.
    by: ActorKind,
    /// When.
    at: Timestamp,
}

/// A verification with how it came to its state.
#[derive(Debug, Serialize, JsonSchema)]
pub struct IdentityHistory {
    /// The verification.
    #[serde(flatten)]
    verification: IdentityVerificationView,
    /// Its steps, the first step first.
    history: Vec<IdentityStepView>,
}

/// Whose identity is to be verified.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginIdentityVerification {
    /// A member; absent for oneself.
    user_id: Option<UserId>,
}

/// What an administrator says.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NextIdentityState {
    /// Somebody looks at it.
    InReview,
    /// They are who they say.
    Approved,
    /// They are not, or it is taken back.
    Rejected,
}

/// The state that a verification is to come to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetIdentityState {
    /// It.
    state: NextIdentityState,
    /// Why, at most 500 characters.
    #[serde(default)]
    reason: String,
}

wire!(
    IdentityVerificationView,
    IdentityStepView,
    IdentityHistory,
    BeginIdentityVerification,
    SetIdentityState,
    IdentityEvent
);

/// Begins a verification of one's own identity, or, with `tenant:identity-verification:create`, of a member's. One that is under way is
/// answered instead of another.
#[utoipa::path(post, path = "/v1/identity-verifications", tag = "identity", params(TenantQuery, WaitQuery),
    request_body = BeginIdentityVerification, responses((status = 201, body = IdentityVerificationView)),
    security(("bearer" = [])))]
pub async fn begin_identity_verification(
    principal: Principal,
    State(app): State<App>,
    Asked(tenant): Asked<TenantQuery>,
    Body(body): Body<BeginIdentityVerification>,
) -> Result<Created<IdentityVerificationView>, AppError> {
    let site = principal.site(&app, tenant.tenant_id).await?;
    let begun = identity_verifications::begin_identity_verification(&app, &principal, site, body.user_id).await?;
    let (begun, commit) = begun;
    let (location, version) = (format!("/v1/identity-verifications/{}", begun.id), Some(begun.version));
    Ok(Created { location, version, body: IdentityVerificationView::at(begun, app.now()), commit })
}

/// Lists a tenant's verifications.
#[utoipa::path(get, path = "/v1/identity-verifications", tag = "identity",
    params(TenantQuery, ListQuery<IdentityVerificationList>),
    responses((status = 200, body = List<IdentityVerificationView>)), security(("bearer" = [])))]
pub async fn list_identity_verifications(
    principal: Principal,
    State(app): State<App>,
    Asked(tenant): Asked<TenantQuery>,
    Listed(asked): Listed<IdentityVerificationList>,
) -> Result<Json<List<IdentityVerificationView>>, AppError> {
    let site = principal.site(&app, tenant.tenant_id).await?;
    let found = identity_verifications::list_identity_verifications(&app, &principal, site, &asked).await?;
    let now = app.now();
    Ok(Json(List::of(found, |it| IdentityVerificationView::at(it, now))))
}

/// Reads a verification with its history: one's own, or with `tenant:identity-verification:get` a member's.
#[utoipa::path(get, path = "/v1/identity-verifications/{id}", tag = "identity", params(("id" = String, Path)),
    responses((status = 200, body = IdentityHistory)), security(("bearer" = [])))]
pub async fn read_identity_verification(
    principal: Principal,
    State(app): State<App>,
    At(id): At<IdentityVerificationId>,
) -> Result<One<IdentityHistory>, AppError> {
    let (found, steps) = identity_verifications::read_identity_verification(&app, &principal, id).await?;
    let view =
        |it: IdentityStep| IdentityStepView { from: it.from, to: it.to, reason: it.reason, by: it.by.kind, at: it.at };
    let (version, now) = (found.version, app.now());
    let history = steps.into_iter().map(view).collect();
    Ok(One { version, body: IdentityHistory { verification: IdentityVerificationView::at(found, now), history } })
}

/// Brings a member's verification to another state.
#[utoipa::path(patch, path = "/v1/identity-verifications/{id}", tag = "identity",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = SetIdentityState,
    responses((status = 200, body = IdentityVerificationView)), security(("bearer" = [])))]
pub async fn set_identity_state(
    principal: Principal,
    State(app): State<App>,
    At(id): At<IdentityVerificationId>,
    IfMatch(version): IfMatch,
    Body(body): Body<SetIdentityState>,
) -> Result<Changed<IdentityVerificationView>, AppError> {
    let state = match body.state {
        NextIdentityState::InReview => IdentityState::InReview,
        NextIdentityState::Approved => IdentityState::Approved,
        NextIdentityState::Rejected => IdentityState::Rejected,
    };
    let changed =
        identity_verifications::set_identity_state(&app, &principal, (id, version), (state, body.reason)).await?;
    let (changed, commit) = changed;
    let revokes = matches!(body.state, NextIdentityState::Rejected);
    let body = IdentityVerificationView::at(changed, app.now());
    Ok(Changed { version: None, body, commit, revokes })
}

/// Takes a signed event of whoever verifies: `{"verification_id", "state", "reason"}`, with `webhook-id`, `webhook-timestamp` and
/// `webhook-signature` as Standard Webhooks has them.
#[utoipa::path(post, path = "/v1/identity-verifications/events", tag = "identity", request_body = IdentityEvent,
    responses((status = 204)))]
pub async fn take_identity_event(
    context: RequestContext,
    State(app): State<App>,
    request: Request,
) -> Result<StatusCode, AppError> {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, MAX_EVENT).await.map_err(|_| AppError::TooLarge)?;
    let Some(signed) = SignedEvent::of(&parts.headers, &body) else {
        return Err(identity_verifications::refused(&app, &context).await);
    };
    identity_verifications::take_identity_event(&app, &context, &signed).await?;
    Ok(StatusCode::NO_CONTENT)
}
