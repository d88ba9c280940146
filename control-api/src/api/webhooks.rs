//! `/v1/webhooks`: where a tenant is told what happens (`docs/webhooks.md`).

use axum::{Json, extract::State};
use domain::{
    AuditEventId, HumanDuration, Secret, TenantId, Timestamp, WebhookDeliveryId, WebhookId,
    model::{Delivery, DeliveryState, DisabledBy, EventPattern, Webhook},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{DeliveryQuery, Page, Replay, list::WebhookList};

use super::{
    answer::{Changed, Created, Gone, List, One, ShownOnce},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, cursor, uncursor},
    schema::wire,
};
use crate::{
    App,
    app::{
        self,
        webhooks::{WebhookDraft, WebhookPatch},
    },
    caller::Principal,
    envelope::Waiting,
    error::AppError,
};

/// A webhook. Its secret is shown when it is made or rotated, and never again.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Webhook")]
#[expect(missing_docs, reason = "as in `domain::model::Webhook`")]
pub struct WebhookView {
    pub id: WebhookId,
    pub tenant_id: TenantId,
    pub url: String,
    pub description: String,
    pub events: Vec<EventPattern>,
    /// Whether anything is sent.
    pub enabled: bool,
    pub disabled_at: Option<Timestamp>,
    pub disabled_by: Option<DisabledBy>,
    /// Since when every delivery has failed.
    pub failing_since: Option<Timestamp>,
    /// Until when the secret before the last rotation signs, too.
    pub previous_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl WebhookView {
    fn at(it: Webhook, now: Timestamp) -> Self {
        let (disabled_at, disabled_by) = it.disabled.unzip();
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            url: it.url,
            description: it.description,
            events: it.events,
            enabled: disabled_at.is_none(),
            disabled_at,
            disabled_by,
            failing_since: it.failing_since,
            previous_until: it.previous_until.filter(|until| *until > now),
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A webhook with its secret, which is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShownWebhook {
    /// The webhook.
    #[serde(flatten)]
    webhook: WebhookView,
    /// What its deliveries are signed with: `whsec_` and base64.
    #[serde(serialize_with = "domain::secret::exposed")]
    secret: Secret<String>,
    /// Gateways that have not heard of it yet, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
}

/// A webhook to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// The tenant. Staff names one; others may name their own.
    tenant_id: Option<TenantId>,
    /// Where events are sent: https, at most 2048 bytes.
    url: String,
    /// What it is for, at most 256 characters.
    #[serde(default)]
    description: String,
    /// Which events: `user.created`, `user.*` or `*`; 1 to 64.
    events: Vec<EventPattern>,
}

/// What is to be changed of a webhook.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateWebhook {
    /// Where events are sent.
    url: Option<String>,
    /// What it is for.
    description: Option<String>,
    /// Which events.
    events: Option<Vec<EventPattern>>,
    /// Whether anything is sent.
    enabled: Option<bool>,
}

/// How a secret is rotated.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateWebhook {
    /// For how long the secret it has signs beside the new one: at most `7d`, default `24h`.
    overlap: Option<HumanDuration>,
}

/// Which events are sent again: one, or those of a time.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayWebhook {
    /// One delivery.
    delivery_id: Option<WebhookDeliveryId>,
    /// Those made since then; 10,000 at most are sent again.
    since: Option<Timestamp>,
    /// Those made before then. Default now.
    until: Option<Timestamp>,
    /// Those of them that were `delivered`, or `failed`. Default both.
    state: Option<DeliveryState>,
}

/// How many are sent again.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Replayed {
    /// Deliveries.
    replayed: u64,
}

/// What became of one event for a webhook.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
#[expect(missing_docs, reason = "as in `domain::model::Delivery`")]
pub struct DeliveryView {
    pub id: WebhookDeliveryId,
    /// The event; sent as `webhook-id`.
    pub event_id: AuditEventId,
    pub action: String,
    pub state: DeliveryState,
    pub attempts: u32,
    /// When it is tried next.
    pub next_at: Option<Timestamp>,
    pub attempted_at: Option<Timestamp>,
    /// Status of the last answer.
    pub status: Option<u32>,
    /// Why the last attempt failed.
    pub error: Option<String>,
    pub created_at: Timestamp,
}

impl From<Delivery> for DeliveryView {
    fn from(it: Delivery) -> Self {
        Self {
            id: it.id,
            event_id: it.event_id,
            action: it.action,
            state: it.state,
            attempts: it.attempts,
            next_at: (it.state == DeliveryState::Pending).then_some(it.next_at),
            attempted_at: it.attempted_at,
            status: it.status,
            error: it.error,
            created_at: it.created_at,
        }
    }
}

wire!(WebhookView, ShownWebhook, CreateWebhook, UpdateWebhook, RotateWebhook, ReplayWebhook, Replayed, DeliveryView);

/// Which deliveries.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveryFilter {
    /// In this state: `pending`, `delivered` or `failed`.
    #[param(value_type = Option<String>)]
    state: Option<DeliveryState>,
    /// Of this event.
    #[param(value_type = Option<String>)]
    event_id: Option<AuditEventId>,
    /// At most so many, 1 to 500. Default 50.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists a tenant's webhooks.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", params(TenantQuery, ListQuery<WebhookList>),
    responses((status = 200, body = List<WebhookView>)), security(("bearer" = [])))]
pub async fn list_webhooks(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<WebhookList>,
) -> Result<Json<List<WebhookView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::webhooks::list_webhooks(&app, &principal, site, &asked).await?;
    let now = app.now();
    Ok(Json(List::of(found, |it| WebhookView::at(it, now))))
}

/// Makes a webhook. The answer shows its secret, this once.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", request_body = CreateWebhook,
    responses((status = 201, body = ShownWebhook)), security(("bearer" = [])))]
pub async fn create_webhook(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateWebhook>,
) -> Result<ShownOnce<Created<ShownWebhook>>, AppError> {
    let site = principal.site(&app, body.tenant_id).await?;
    let draft = WebhookDraft { url: body.url, description: body.description, events: body.events };
    let (made, secret, commit) = app::webhooks::create_webhook(&app, &principal, site, draft).await?;
    let (location, version) = (format!("/v1/webhooks/{}", made.id), Some(made.version));
    let body = ShownWebhook { webhook: WebhookView::at(made, app.now()), secret, waiting: None };
    Ok(ShownOnce(Created { location, version, body, commit }))
}

/// Reads a webhook.
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, body = WebhookView)), security(("bearer" = [])))]
pub async fn read_webhook(
    principal: Principal,
    State(app): State<App>,
    At(id): At<WebhookId>,
) -> Result<One<WebhookView>, AppError> {
    let found = app::webhooks::read_webhook(&app, &principal, id).await?;
    Ok(One { version: found.version, body: WebhookView::at(found, app.now()) })
}

/// Changes a webhook.
#[utoipa::path(patch, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path), IfMatch),
    request_body = UpdateWebhook, responses((status = 200, body = WebhookView)), security(("bearer" = [])))]
pub async fn update_webhook(
    principal: Principal,
    State(app): State<App>,
    At(id): At<WebhookId>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateWebhook>,
) -> Result<Changed<WebhookView>, AppError> {
    let patch =
        WebhookPatch { url: body.url, description: body.description, events: body.events, enabled: body.enabled };
    let (changed, commit) = app::webhooks::update_webhook(&app, &principal, id, version, patch).await?;
    let version = Some(changed.version);
    Ok(Changed { version, body: WebhookView::at(changed, app.now()), commit, revokes: false })
}

/// Deletes a webhook with what is known of its deliveries.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_webhook(
    principal: Principal,
    State(app): State<App>,
    At(id): At<WebhookId>,
) -> Result<Gone, AppError> {
    app::webhooks::delete_webhook(&app, &principal, id).await.map(Gone::by)
}

/// Gives a webhook another secret. The answer shows it, this once; the one it had signs on for the overlap.
#[utoipa::path(post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", params(("id" = String, Path), IfMatch),
    request_body = RotateWebhook, responses((status = 200, body = ShownWebhook)), security(("bearer" = [])))]
pub async fn rotate_webhook(
    principal: Principal,
    State(app): State<App>,
    At(id): At<WebhookId>,
    IfMatch(version): IfMatch,
    Body(body): Body<RotateWebhook>,
) -> Result<ShownOnce<Changed<ShownWebhook>>, AppError> {
    let overlap = body.overlap.map(HumanDuration::get);
    let (changed, secret, commit) = app::webhooks::rotate_webhook(&app, &principal, id, version, overlap).await?;
    let version = Some(changed.version);
    let body = ShownWebhook { webhook: WebhookView::at(changed, app.now()), secret, waiting: None };
    Ok(ShownOnce(Changed { version, body, commit, revokes: false }))
}

/// Lists what became of a webhook's events, newest first.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks",
    params(("id" = String, Path), DeliveryFilter), responses((status = 200, body = List<DeliveryView>)),
    security(("bearer" = [])))]
pub async fn list_deliveries(
    principal: Principal,
    State(app): State<App>,
    At(id): At<WebhookId>,
    Asked(filter): Asked<DeliveryFilter>,
) -> Result<Json<List<DeliveryView>>, AppError> {
    let limit = filter.limit.unwrap_or(Page::FIRST.limit);
    if !(1..=Page::WIDEST.limit).contains(&limit) {
        return Err(AppError::parameter("limit", "range", "1 to 500 are allowed"));
    }
    let before = filter.cursor.as_deref().map(uncursor).transpose()?.map(WebhookDeliveryId::new);
    let query = DeliveryQuery { state: filter.state, event: filter.event_id, before, limit };
    let rows = app::webhooks::list_deliveries(&app, &principal, id, &query).await?;
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = rows.last().filter(|_| full).map(|last| cursor(last.id.uuid()));
    Ok(Json(List { items: rows.into_iter().map(Into::into).collect(), next_cursor }))
}

/// Has events sent again, by the same ids.
#[utoipa::path(post, path = "/v1/webhooks/{id}/replay", tag = "webhooks", params(("id" = String, Path)),
    request_body = ReplayWebhook, responses((status = 200, body = Replayed)), security(("bearer" = [])))]
pub async fn replay_webhook(
    principal: Principal,
    State(app): State<App>,
    At(id): At<WebhookId>,
    Body(body): Body<ReplayWebhook>,
) -> Result<Changed<Replayed>, AppError> {
    let which = match (body.delivery_id, body.since) {
        (Some(delivery), None) if body.until.is_none() && body.state.is_none() => Replay::One(delivery),
        (None, Some(_)) if body.state == Some(DeliveryState::Pending) => {
            return Err(AppError::field("/state", "invalid", "what is pending is being sent"));
        }
        (None, Some(since)) => {
            Replay::Span { since, until: body.until.unwrap_or_else(|| app.now()), state: body.state }
        }
        _ => return Err(AppError::field("/delivery_id", "choice", "name one delivery, or a time with `since`")),
    };
    let (replayed, commit) = app::webhooks::replay_webhook(&app, &principal, id, &which).await?;
    Ok(Changed { version: None, body: Replayed { replayed }, commit, revokes: false })
}
