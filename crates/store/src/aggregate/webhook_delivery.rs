//! Deliveries of events to webhooks.
//!
//! The trail is the outbox: an event lies in it from the commit of its change on. Once it has joined its tenant's chain, a job
//! makes a delivery for each webhook that wants it (`webhook_announcement`); then a job sends it. A claim is a lease, so that
//! what a process took on and did not finish is sent again: at least once, by the same id, in no promised order.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageWebhooks};
use domain::{
    AuditEventId, Timestamp, WebhookDeliveryId, WebhookId,
    model::{Delivery, DeliveryState, DisabledBy, Webhook},
};

use super::{page::MAX_LIMIT, webhook::Webhooks, webhook_announcement::MAX_PENDING, within};
use crate::{
    SessionTx, Store, StoreError, Tx, Unaudited, View,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

/// Deliveries of one webhook that are claimed at once: a slow receiver holds up nobody but itself.
const EACH: u32 = 4;

/// Deliveries that one replay sends again, at most; fewer where more than that would wait then.
pub const MAX_REPLAYED: u32 = 10_000;

/// Rows deleted in one transaction.
const SWEPT: u32 = 1000;

const SELECT: &str = "SELECT * FROM webhook_deliveries";

fn read(row: &Row) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        id: row.at("id")?,
        webhook_id: row.at("webhook_id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        event_id: row.at("event_id")?,
        action: row.at("action")?,
        state: row.word("state")?,
        attempts: row.at("attempts")?,
        next_at: row.at("next_at")?,
        since: row.at("since")?,
        attempted_at: row.at("attempted_at")?,
        status: row.at("status")?,
        error: row.at("error")?,
        created_at: row.at("created_at")?,
        epoch: row.at("epoch")?,
    })
}

/// Which deliveries.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeliveryQuery {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Of this event.
    pub event: Option<AuditEventId>,
    /// Only older than this one: the cursor.
    pub before: Option<WebhookDeliveryId>,
    /// At most this many, up to 500.
    pub limit: u32,
}

/// Which deliveries are sent again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Replay {
    /// One.
    One(WebhookDeliveryId),
    /// Those made in this time that are in this state.
    Span {
        /// Not before.
        since: Timestamp,
        /// Before.
        until: Timestamp,
        /// In this state; none for every state but pending.
        state: Option<DeliveryState>,
    },
}

/// What came of sending one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sent {
    /// The receiver took it.
    Taken {
        /// Status of its answer.
        status: u32,
    },
    /// It did not; it is due again then.
    Again {
        /// Status of the answer, if there was one.
        status: Option<u32>,
        /// Why not. Names no secret.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// It never will.
    Failed {
        /// Status of the answer, if there was one.
        status: Option<u32>,
        /// Why not.
        reason: String,
    },
}

/// Reads of deliveries.
pub trait Deliveries: Reader {
    /// A webhook's deliveries, newest first.
    fn deliveries(
        &self,
        webhook: WebhookId,
        query: &DeliveryQuery,
    ) -> impl Future<Output = Result<Vec<Delivery>, StoreError>> + Send {
        async move {
            let mut all = values![webhook, query.limit.clamp(1, MAX_LIMIT)];
            let mut sql = format!("{SELECT} WHERE webhook_id = $1");
            for (condition, value) in [
                ("state =", query.state.map(|state| Value::word(&state))),
                ("event_id =", query.event.map(Value::from)),
                ("id <", query.before.map(Value::from)),
            ] {
                if let Some(value) = value {
                    all.push(value);
                    sql.push_str(&format!(" AND {condition} ${}", all.len()));
                }
            }
            sql.push_str(" ORDER BY id DESC LIMIT $2");
            self.view().await?.all(&sql, all, read).await
        }
    }

    /// One delivery.
    fn delivery(&self, id: WebhookDeliveryId) -> impl Future<Output = Result<Option<Delivery>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }
}
impl<R: Reader> Deliveries for R {}

impl SessionTx {
    /// Takes on deliveries that are due, at most `limit` and a few of each webhook: first of those behind `after`, then
    /// around. Nobody else gets them for `lease`, within which they are to be [noted](Self::note_sent). Those of a webhook
    /// that is disabled, or `busy`, wait.
    ///
    /// # Errors
    /// Of the database.
    pub async fn claim_deliveries(
        &self,
        limit: u32,
        lease: Duration,
        (after, busy): (WebhookId, &[WebhookId]),
    ) -> Result<Vec<Delivery>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let numbers: Vec<String> = (4..4 + busy.len()).map(|number| format!("${number}")).collect();
        let others = if busy.is_empty() { String::new() } else { format!("AND id NOT IN ({})", numbers.join(", ")) };
        let sql = format!(
            "SELECT id FROM webhooks WHERE disabled_at IS NULL {others} AND EXISTS (
                 SELECT 1 FROM webhook_deliveries AS it
                 WHERE it.webhook_id = webhooks.id AND it.state = 'pending' AND it.next_at <= $1)
             ORDER BY (id <= $3), id LIMIT $2"
        );
        let all = values![*now, limit, after].into_iter().chain(busy.iter().copied().map(Value::from)).collect();
        let mut ids = Vec::new();
        for webhook in view.all(&sql, all, |row| row.at::<WebhookId>("id")).await? {
            let sql = "SELECT id FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'pending' AND next_at <= $2
                       ORDER BY next_at, id LIMIT $3";
            ids.extend(view.all(sql, values![webhook, *now, EACH], |row| row.at::<WebhookDeliveryId>("id")).await?);
        }
        ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let mut claimed = Vec::with_capacity(ids.len());
        for id in ids {
            // Whoever was first has moved it ahead.
            let sql = "UPDATE webhook_deliveries SET epoch = epoch + 1, attempts = attempts + 1, attempted_at = $2,
                           next_at = $3
                       WHERE id = $1 AND state = 'pending' AND next_at <= $2 RETURNING *";
            for row in view.query(sql, values![id, *now, *now + lease]).await? {
                match read(&row) {
                    Ok(delivery) => claimed.push(delivery),
                    // One that cannot be read keeps no other waiting.
                    Err(error) => {
                        tracing::error!(webhook.delivery_id = %id, %error, "a delivery cannot be read and is given up");
                        let sql = "UPDATE webhook_deliveries SET state = 'failed', error = $2 WHERE id = $1";
                        view.execute(sql, values![id, error.to_string()]).await?;
                    }
                }
            }
        }
        Ok(claimed)
    }

    /// Notes what came of a claimed delivery, and of its webhook. None when somebody else claimed it since; then it is
    /// theirs. Otherwise since when the webhook takes nothing.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note_sent(&self, claim: &Delivery, sent: &Sent) -> Result<Option<Option<Timestamp>>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let (state, status, reason, at) = match sent {
            Sent::Taken { status } => (DeliveryState::Delivered, Some(*status), None, *now),
            Sent::Again { status, reason, at } => (DeliveryState::Pending, *status, Some(reason), *at),
            Sent::Failed { status, reason } => (DeliveryState::Failed, *status, Some(reason), *now),
        };
        let mut all = values![claim.id, claim.epoch, status, reason, at];
        all.push(Value::word(&state));
        let sql = "UPDATE webhook_deliveries SET status = $3, error = $4, next_at = $5, state = $6
                   WHERE id = $1 AND epoch = $2";
        if view.execute(sql, all).await? == 0 {
            return Ok(None);
        }
        let sql = match sent {
            Sent::Taken { .. } => {
                "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL"
            }
            Sent::Again { .. } | Sent::Failed { .. } => {
                "UPDATE webhooks SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL"
            }
        };
        let with_time = if matches!(sent, Sent::Taken { .. }) { Vec::new() } else { values![*now] };
        view.execute(sql, values![claim.webhook_id].into_iter().chain(with_time).collect()).await?;
        let sql = "SELECT failing_since FROM webhooks WHERE id = $1";
        Ok(Some(view.first(sql, values![claim.webhook_id], |row| row.at("failing_since")).await?.flatten()))
    }
}

impl Tx {
    /// Stops a webhook that has taken nothing since `since`. None when somebody was first, or it took something.
    ///
    /// # Errors
    /// Of the database; [`StoreError::OutOfScope`].
    pub async fn stop_failing_webhook(
        &self,
        by: &Authorized<ManageWebhooks>,
        id: WebhookId,
        since: Timestamp,
    ) -> Result<Option<Unaudited<Webhook>>, StoreError> {
        let stands = |it: &Webhook| it.disabled.is_none() && it.failing_since.is_some_and(|at| at <= since);
        let Some(webhook) = self.webhook(id).await?.filter(stands) else { return Ok(None) };
        let stopped = Webhook { disabled: Some((self.work.now, DisabledBy::Failures)), ..webhook };
        self.update_webhook(by, stopped).await.map(Some)
    }

    /// Has deliveries of a webhook sent again, at most [`MAX_REPLAYED`]; says how many.
    ///
    /// # Errors
    /// Of the database; [`StoreError::OutOfScope`].
    pub async fn replay_deliveries(
        &self,
        by: &Authorized<ManageWebhooks>,
        webhook: &Webhook,
        which: &Replay,
    ) -> Result<Unaudited<u64>, StoreError> {
        within(by, Scope::Tenant(webhook.project_id, webhook.tenant_id))?;
        let room = u64::from(MAX_PENDING / 2).saturating_sub(pending(&self.work.view, webhook.id).await?);
        let mut all = values![webhook.id, self.work.now, room.min(MAX_REPLAYED.into())];
        let chosen = match which {
            Replay::One(id) => {
                all.extend(values![*id]);
                "id = $4"
            }
            Replay::Span { since, until, state: None } => {
                all.extend(values![*since, *until]);
                "created_at >= $4 AND created_at < $5 AND state <> 'pending'"
            }
            Replay::Span { since, until, state: Some(state) } => {
                all.extend(values![*since, *until]);
                all.push(Value::word(state));
                "created_at >= $4 AND created_at < $5 AND state = $6"
            }
        };
        let sql = format!(
            "UPDATE webhook_deliveries SET state = 'pending', attempts = 0, epoch = epoch + 1, since = $2, next_at = $2
             WHERE id IN (SELECT id FROM webhook_deliveries WHERE webhook_id = $1 AND {chosen} ORDER BY id LIMIT $3)"
        );
        let replayed = self.work.view.execute(&sql, all).await?;
        Ok(self.unaudited(replayed))
    }
}

/// How many deliveries of a webhook wait.
pub(super) async fn pending(view: &View, webhook: WebhookId) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) AS waiting FROM webhook_deliveries WHERE webhook_id = $1 AND state = 'pending'";
    Ok(view.first(sql, values![webhook], |row| row.at("waiting")).await?.unwrap_or_default())
}

impl Store {
    /// Forgets deliveries that ended and were made before `then`. Says how many.
    ///
    /// # Errors
    /// Of the database. What was deleted until then stays deleted.
    pub async fn sweep_deliveries(&self, then: Timestamp) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            let view = self.begin_state().await?;
            let oldest = view.locking(&format!(
                "SELECT id FROM webhook_deliveries WHERE created_at < $1 AND state <> 'pending'
                 ORDER BY created_at, id LIMIT {SWEPT}"
            ));
            let sql = format!("DELETE FROM webhook_deliveries WHERE id IN ({oldest})");
            let batch = view.execute(&sql, values![then]).await?;
            view.commit().await?;
            swept += batch;
            if batch < u64::from(SWEPT) {
                return Ok(swept);
            }
        }
    }

    /// Gives up what is pending for webhooks that are disabled and was made before `then`. Says how many.
    ///
    /// # Errors
    /// Of the database.
    pub async fn give_up_deliveries(&self, then: Timestamp) -> Result<u64, StoreError> {
        let view = self.begin_state().await?;
        let sql = "UPDATE webhook_deliveries SET state = 'failed', error = 'the webhook is disabled'
                   WHERE state = 'pending' AND created_at < $1
                       AND webhook_id IN (SELECT id FROM webhooks WHERE disabled_at IS NOT NULL)";
        let given_up = view.execute(sql, values![then]).await?;
        view.commit().await?;
        Ok(given_up)
    }
}
