//! Telling tenants what happens: deliveries of events to their webhooks (`docs/webhooks.md`).
//!
//! ```text
//! event joins its chain ─▶ delivery ─▶ claim (one replica, for a while) ─▶ send ─▶ 2xx: delivered
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
use domain::{Timestamp, WebhookId, model::Delivery};
use serde_json::json;
use store::{Audited, Sent, StoreError, Tx, read::*};
use tokio::{sync::Semaphore, task::JoinSet, time::MissedTickBehavior};

use self::send::{Message, SendError, Sender};
use crate::{
    App,
    api::audit::AuditView,
    error::AppError,
    metrics::DeliveryOutcome,
    outbox::{Backoff, jitter},
    problem,
};

/// The name in the audit trail.
const JOB: &str = "webhooks";

/// How often it is looked what is due.
const LOOK: Duration = Duration::from_millis(500);

/// How often old deliveries are removed.
const SWEEP: Duration = Duration::from_secs(600);

/// Deliveries at once to one webhook, of this replica.
const EACH: usize = 4;

/// What a claim lasts longer than a delivery takes: reading it, and noting what came of it.
const MARGIN: Duration = Duration::from_secs(20);

/// Pauses between attempts.
const BACKOFF: Backoff = Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(3600) };

/// Sends what is due for as long as it is polled.
pub(crate) async fn run(app: App, sender: Arc<Sender>) {
    tokio::join!(sending(&app, &sender), sweeping(&app));
}

/// How many deliveries are under way, by webhook.
#[derive(Debug, Default)]
struct UnderWay(Mutex<HashMap<WebhookId, usize>>);

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

async fn sending(app: &App, sender: &Arc<Sender>) {
    let at_once = app.config.webhooks.at_once;
    let (places, under_way) = (Arc::new(Semaphore::new(at_once)), Arc::new(UnderWay::default()));
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Dropped with this future: what was claimed is due again when the claim has run out.
    let mut attempts = JoinSet::new();
    loop {
        look.tick().await;
        while attempts.try_join_next().is_some() {}
        let claimed = match claim(app, sender, places.available_permits(), &under_way.busy()).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(error = problem::chain(&error), "it cannot be read which deliveries are due");
                continue;
            }
        };
        for delivery in claimed {
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { break };
            under_way.begin(delivery.webhook_id);
            let (app, sender, under_way) = (app.clone(), Arc::clone(sender), Arc::clone(&under_way));
            attempts.spawn(async move {
                attempt(&app, &sender, &delivery).await;
                under_way.end(delivery.webhook_id);
                drop(place);
            });
        }
    }
}

async fn sweeping(app: &App) {
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        sweep.tick().await;
        if let Err(error) = forget_old(app).await {
            tracing::error!(error = problem::chain(&error), "old deliveries were not removed");
        }
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

/// Sends what is due now, and waits for it; says how many deliveries there were.
///
/// # Errors
/// Of the database.
pub async fn deliver_due(app: &App, sender: &Sender) -> Result<usize, AppError> {
    let claimed = claim(app, sender, app.config.webhooks.at_once, &[]).await?;
    futures::future::join_all(claimed.iter().map(|delivery| attempt(app, sender, delivery))).await;
    Ok(claimed.len())
}

async fn claim(app: &App, sender: &Sender, free: usize, busy: &[WebhookId]) -> Result<Vec<Delivery>, AppError> {
    let free = u32::try_from(free).unwrap_or(u32::MAX);
    if free == 0 {
        return Ok(Vec::new());
    }
    let lease = sender.patience() + MARGIN;
    let claimed = app
        .store
        .write_session(Scope::Platform, app.now(), |tx| async move { tx.claim_deliveries(free, lease, busy).await });
    claimed.await.map_err(|error: StoreError| error.into())
}

async fn attempt(app: &App, sender: &Sender, delivery: &Delivery) {
    if let Err(error) = delivered(app, sender, delivery).await {
        let (id, error) = (delivery.id, problem::chain(&error));
        tracing::error!(webhook.delivery_id = %id, error, "what came of a delivery was not noted");
    }
}

async fn delivered(app: &App, sender: &Sender, delivery: &Delivery) -> Result<(), AppError> {
    let outcome = match message(app, delivery).await? {
        Some(message) => sender.send(app, message).await,
        None => return note(app, delivery, &Sent::Failed { status: None, reason: "the event is gone".into() }).await,
    };
    let (now, patience) = (app.now(), app.config.webhooks.give_up_after.get());
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
