//! Telling tenants what happens: deliveries of events to their webhooks (`docs/webhooks.md`).
//!
//! ```text
//! event in its chain ─▶ delivery ─▶ claim (one replica, for a while) ─▶ send ─▶ 2xx: delivered
//!                                        ▲                                ├─▶ anything else: again, after a longer pause
//!                                        └── the process ended            └─▶ for too long: failed; nothing taken for as
//!                                                                            long: the webhook is disabled, and audited
//! ```
//!
//! At least once, by the same id, in no promised order. What is sent is made when it is sent, from the trail: what was erased
//! there is not sent.

pub mod send;
pub mod sign;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use authz::{Authorized, Scope, action::ManageWebhooks};
use domain::{Timestamp, WebhookId, audit::AuditEntry, model::Delivery};
use serde_json::json;
use store::{Announced, Audited, MAX_PENDING, Sent, StoreError, Tx, read::*};
use uuid::Uuid;

use self::send::{Message, SendError, Sender};
use crate::{
    App,
    api::audit::AuditView,
    error::AppError,
    metrics::DeliveryOutcome,
    outbox::{Backoff, jitter},
    problem,
    upkeep::{each, every},
};

/// The name in the audit trail.
const JOB: &str = "webhooks";

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_millis(500);

/// Webhooks that are told in one go.
const BATCH: u32 = 100;

/// How often old deliveries are removed.
const SWEEP: Duration = Duration::from_secs(600);

/// Deliveries at once to one webhook, of this replica.
const EACH: usize = 4;

/// What a claim lasts longer than a delivery takes: reading it, and noting what came of it.
const MARGIN: Duration = Duration::from_secs(20);

/// Pauses between attempts.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(3600) };

/// Announces and sends what is due for as long as it is polled.
pub(crate) async fn run(app: App, sender: Arc<Sender>) {
    let (app, under_way) = (&app, &Arc::new(UnderWay::default()));
    // Behind whom to go on: webhooks take turns.
    let last = &Mutex::new(BEGINNING);
    let claim = |free: u32| {
        let (sender, under_way) = (Arc::clone(&sender), Arc::clone(under_way));
        async move {
            let after = *last.lock().unwrap_or_else(PoisonError::into_inner);
            let claimed = claim(app, &sender, free, (after, &under_way.busy())).await?;
            if let Some(delivery) = claimed.last() {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = delivery.webhook_id;
            }
            Ok(claimed)
        }
    };
    let send = |delivery: Delivery| {
        let (app, sender, under_way) = (app.clone(), Arc::clone(&sender), Arc::clone(under_way));
        under_way.begin(delivery.webhook_id);
        async move {
            attempt(&app, &sender, &delivery).await;
            under_way.end(delivery.webhook_id);
        }
    };
    tokio::join!(
        every(LOOK, "events were not announced to webhooks", || async move { announce_due(app).await }),
        each((LOOK, app.config.webhooks.at_once), "it cannot be read which deliveries are due", claim, send),
        every(SWEEP, "old deliveries were not removed", || async move { forget_old(app).await }),
    );
}

/// Makes the deliveries of what has joined the chains of tenants with webhooks. A webhook for which too many wait is disabled.
///
/// # Errors
/// When it cannot be read which webhooks are behind. What fails for one is logged and keeps no other from being told.
pub async fn announce_due(app: &App) -> Result<(), AppError> {
    let mut after = BEGINNING;
    loop {
        let behind = app.store.webhooks_behind(after, BATCH).await?;
        let Some(last) = behind.last() else { return Ok(()) };
        after = *last;
        for id in behind {
            if let Err(error) = announce(app, id).await {
                tracing::error!(webhook.id = %id, error = problem::chain(&error), "a webhook was not told");
            }
        }
    }
}

async fn announce(app: &App, id: WebhookId) -> Result<(), AppError> {
    let announced = app.store.write_session(Scope::Platform, app.now(), |tx| async move { tx.announce(id).await });
    match announced.await.map_err(|error: StoreError| error)? {
        Announced::Made(_) | Announced::Gone => Ok(()),
        Announced::Full => stop_full(app, id).await,
    }
}

/// How many deliveries are under way, by webhook.
#[derive(Debug, Default)]
struct UnderWay(Mutex<HashMap<WebhookId, usize>>);

/// Where nobody comes before.
const BEGINNING: WebhookId = WebhookId::new(Uuid::nil());

impl UnderWay {
    /// Webhooks that shall not get more.
    fn busy(&self) -> Vec<WebhookId> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|(_, count)| **count >= EACH).map(|(id, _)| *id).collect()
    }

    fn begin(&self, id: WebhookId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default() += 1;
    }

    fn end(&self, id: WebhookId) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.get(&id).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            counts.remove(&id)
        } else {
            counts.insert(id, left)
        };
    }
}

/// Gives up what waits for webhooks that are disabled, and forgets what is old.
///
/// # Errors
/// Of the database.
pub async fn forget_old(app: &App) -> Result<(), AppError> {
    let config = &app.config.webhooks;
    app.store.give_up_deliveries(app.now() - config.give_up_after.get()).await?;
    app.store.sweep_deliveries(app.now() - config.keep.get()).await?;
    Ok(())
}

/// Announces and sends what is due now, and waits for it; says how many deliveries there were.
///
/// # Errors
/// Of the database.
pub async fn deliver_due(app: &App, sender: &Sender) -> Result<usize, AppError> {
    announce_due(app).await?;
    let at_once = u32::try_from(app.config.webhooks.at_once).unwrap_or(u32::MAX);
    let claimed = claim(app, sender, at_once, (BEGINNING, &[])).await?;
    futures::future::join_all(claimed.iter().map(|delivery| attempt(app, sender, delivery))).await;
    Ok(claimed.len())
}

async fn claim(
    app: &App,
    sender: &Sender,
    free: u32,
    turn: (WebhookId, &[WebhookId]),
) -> Result<Vec<Delivery>, AppError> {
    let lease = sender.patience() + MARGIN;
    let claimed = app
        .store
        .write_session(Scope::Platform, app.now(), |tx| async move { tx.claim_deliveries(free, lease, turn).await });
    claimed.await.map_err(|error: StoreError| error.into())
}

async fn attempt(app: &App, sender: &Sender, delivery: &Delivery) {
    if let Err(error) = delivered(app, sender, delivery).await {
        let (id, error) = (delivery.id, problem::chain(&error));
        tracing::error!(webhook.delivery_id = %id, error, "what came of a delivery was not noted");
    }
}

async fn delivered(app: &App, sender: &Sender, delivery: &Delivery) -> Result<(), AppError> {
    let patience = app.config.webhooks.give_up_after.get();
    let failed = |reason: String| Sent::Failed { status: None, reason };
    let outcome = match message(app, delivery).await {
        Ok(Some(message)) => sender.send(app, message).await,
        Ok(None) => return note(app, delivery, &failed("the event is gone".into())).await,
        // What cannot be read now never will be, and is not tried for ever.
        Err(error) if is_unreadable(&error) || app.now().since(delivery.since) >= patience => {
            let error = problem::chain(&error);
            tracing::error!(webhook.delivery_id = %delivery.id, error, "a delivery cannot be made and is given up");
            return note(app, delivery, &failed("the event or the webhook cannot be read".into())).await;
        }
        Err(error) => return Err(error),
    };
    let now = app.now();
    let sent = match outcome {
        Ok(status) => Sent::Taken { status: status.into() },
        Err(error) => {
            let status = if let SendError::Status(status) = &error { Some(u32::from(*status)) } else { None };
            let reason = problem::chain(&error);
            if now.since(delivery.since) < patience {
                Sent::Again { status, reason, at: now + BACKOFF.pause(delivery.attempts, jitter()) }
            } else {
                Sent::Failed { status, reason }
            }
        }
    };
    note(app, delivery, &sent).await
}

/// Whether a row, or what is sealed in it, is not what it should be.
fn is_unreadable(error: &AppError) -> bool {
    matches!(error, AppError::Store(StoreError::Corrupt { .. } | StoreError::Seal(_)))
}

/// What is sent; none when the event, or the webhook, is not there any more.
async fn message(app: &App, delivery: &Delivery) -> Result<Option<Message>, AppError> {
    let reader = app.store.within(Scope::Tenant(delivery.project_id, delivery.tenant_id)).view().await?;
    let Some(webhook) = reader.webhook(delivery.webhook_id).await? else { return Ok(None) };
    let Some(event) = reader.audit_event(delivery.event_id).await? else { return Ok(None) };
    let now = app.now();
    let secrets = reader.webhook_secrets(webhook.id, now).await?;
    let body = json!({ "type": event.entry.action, "timestamp": event.received, "data": AuditView::from(event) });
    let body = body.to_string().into_bytes();
    let id = delivery.event_id.to_string();
    let signature = sign::signature(&secrets, &id, now, &body);
    Ok(Some(Message { url: webhook.url, id, timestamp: now.secs(), signature, body }))
}

async fn note(app: &App, delivery: &Delivery, sent: &Sent) -> Result<(), AppError> {
    app.metrics.delivered(match sent {
        Sent::Taken { .. } => DeliveryOutcome::Taken,
        Sent::Again { .. } => DeliveryOutcome::Again,
        Sent::Failed { .. } => DeliveryOutcome::Failed,
    });
    let now = app.now();
    let noted = app.store.write_session(Scope::Platform, now, |tx| async move { tx.note_sent(delivery, sent).await });
    let failing: Option<Option<Timestamp>> = noted.await.map_err(|error: StoreError| AppError::from(error))?;
    let limit = now - app.config.webhooks.give_up_after.get();
    if failing.flatten().is_some_and(|since| since <= limit) {
        stop(app, delivery.webhook_id, limit).await?;
    }
    Ok(())
}

/// Disables a webhook for which too many deliveries wait.
async fn stop_full(app: &App, id: WebhookId) -> Result<(), AppError> {
    let by: Authorized<ManageWebhooks> = Authorized::system(JOB);
    let by = &by;
    let stopped = app.store.write(by, app.now(), |tx: Tx| async move {
        let Some(stopped) = tx.stop_full_webhook(by, id).await? else { return Ok(Audited::unchanged(false)) };
        let entry = AuditEntry::done(stopped.peek(), "disabled").with_fields(json!({ "waiting": MAX_PENDING }));
        Ok::<_, StoreError>(tx.audit(entry, stopped).await?.map(|_| true))
    });
    if stopped.await?.0 {
        tracing::warn!(webhook.id = %id, webhook.waiting = MAX_PENDING, "too many deliveries wait: a webhook is disabled");
    }
    Ok(())
}

/// Disables a webhook that has taken nothing since `limit`.
async fn stop(app: &App, id: WebhookId, limit: Timestamp) -> Result<(), AppError> {
    let by: Authorized<ManageWebhooks> = Authorized::system(JOB);
    let by = &by;
    let stopped = app.store.write(by, app.now(), |tx: Tx| async move {
        match tx.stop_failing_webhook(by, id, limit).await? {
            Some(stopped) => tx.done("disabled", stopped).await.map(|it| it.map(|_| true)),
            None => Ok::<_, StoreError>(Audited::unchanged(false)),
        }
    });
    if stopped.await?.0 {
        tracing::warn!(webhook.id = %id, "a webhook took nothing for too long and is disabled");
    }
    Ok(())
}
