//! From the trail to webhooks: what has joined a tenant's chain becomes deliveries to its webhooks.
//!
//! ```text
//! chain:      1  2  3  4  5  6  7            a job, beside the tick: nobody who chains waits for it
//! webhook A:           └─▶ 5 6 7             each webhook has a place in its tenant's chain, and moves on from there
//! webhook B:                    └─▶ 7
//! ```
//!
//! A webhook for which [`MAX_PENDING`] wait is disabled: its deliveries are given up, and may be replayed. One that somebody
//! disables is told of what was in the chain by then, whoever announces it and when: its row says how far.

use authz::{Authorized, action::ManageWebhooks};
use domain::{
    AuditEventId, ProjectId, TenantId, WebhookDeliveryId, WebhookId,
    model::{DisabledBy, EventPattern, Webhook},
};

use super::{
    audit,
    webhook::{Webhooks, chained},
    webhook_delivery::pending,
};
use crate::{
    SessionTx, StoreError, Tx, Unaudited, View,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

/// Deliveries of one webhook that wait, at most.
pub const MAX_PENDING: u32 = 20_000;

/// Events that are looked at in one transaction.
const BATCH: u32 = 500;

/// What announcing to a webhook brought.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Announced {
    /// So many deliveries. There may be more events.
    Made(u64),
    /// None: too many wait already.
    Full,
    /// None: the webhook is gone, or disabled.
    Gone,
}

/// Reads of what is to be announced.
pub trait Announcements: Reader {
    /// Webhooks behind `after`, at most so many, that are behind their tenant's chain.
    fn webhooks_behind(
        &self,
        after: WebhookId,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<WebhookId>, StoreError>> + Send {
        async move {
            let sql = "SELECT webhooks.id FROM webhooks
                       JOIN audit_chains ON audit_chains.chain = CAST(webhooks.tenant_id AS TEXT)
                       WHERE webhooks.id > $1
                           AND (webhooks.disabled_at IS NULL
                               AND (webhooks.announced_seq IS NULL OR webhooks.announced_seq < audit_chains.seq)
                               OR webhooks.disabled_at IS NOT NULL AND webhooks.announced_seq < webhooks.told_until)
                       ORDER BY webhooks.id LIMIT $2";
            self.view().await?.all(sql, values![after, limit], |row| row.at("id")).await
        }
    }
}
impl<R: Reader> Announcements for R {}

/// A webhook and its place in its tenant's chain.
struct Place {
    project: ProjectId,
    tenant: TenantId,
    events: Vec<EventPattern>,
    announced: Option<u64>,
    /// How far it was told when it was disabled, or is to be.
    told_until: Option<u64>,
    /// How far it is not told then, since it is enabled again.
    silent_until: Option<u64>,
}

impl SessionTx {
    /// Makes the deliveries of what comes next in the tenant's chain. Of those who do at once each goes on where another
    /// stopped.
    ///
    /// # Errors
    /// Of the database.
    pub async fn announce(&self, webhook: WebhookId) -> Result<Announced, StoreError> {
        let Work { view, now, .. } = &self.work;
        let sql = view.locking(
            "SELECT project_id, tenant_id, events, announced_seq, told_until, silent_until FROM webhooks
             WHERE id = $1 AND (disabled_at IS NULL OR announced_seq < told_until)",
        );
        let read = |row: &Row| {
            Ok(Place {
                project: row.at("project_id")?,
                tenant: row.at("tenant_id")?,
                events: row.json("events")?,
                announced: row.at("announced_seq")?,
                told_until: row.at("told_until")?,
                silent_until: row.at("silent_until")?,
            })
        };
        let Some(place) = view.first(&sql, values![webhook], read).await? else { return Ok(Announced::Gone) };
        // Before the events are read: what joins the chain meanwhile comes next time.
        let head = chained(view, place.tenant).await?;
        let Some(announced) = place.announced else {
            // Made by an older release: from here on.
            advance(view, webhook, head).await?;
            return Ok(Announced::Made(0));
        };
        let told_until = place.told_until.filter(|until| announced < *until);
        let announced = match (told_until, place.silent_until) {
            (None, Some(silent)) => {
                let on = announced.max(silent);
                let sql =
                    "UPDATE webhooks SET announced_seq = $2, told_until = NULL, silent_until = NULL WHERE id = $1";
                view.execute(sql, values![webhook, on]).await?;
                on
            }
            (Some(_), _) | (None, None) => announced,
        };
        let until = told_until.unwrap_or(head);
        let room = u64::from(MAX_PENDING).saturating_sub(pending(view, webhook).await?);
        if room == 0 {
            // Of one that is disabled nothing goes out, and there will be no room: the rest is given up, for the trail to say.
            let sql = "UPDATE webhooks SET told_until = announced_seq WHERE id = $1 AND disabled_at IS NOT NULL";
            view.execute(sql, values![webhook]).await?;
            return Ok(Announced::Full);
        }
        let sql =
            "SELECT id, action, chain_seq FROM audit_events WHERE chain = $1 AND chain_seq > $2 AND chain_seq <= $3
                   ORDER BY chain_seq LIMIT $4";
        let read =
            |row: &Row| Ok((row.at::<AuditEventId>("id")?, row.at::<String>("action")?, row.at::<u64>("chain_seq")?));
        let all = values![audit::chain_of(Some(place.tenant)), announced, until, BATCH];
        let events = view.all(sql, all, read).await?;
        let (mut wanted, mut last) = (Vec::new(), None);
        for (event, action, seq) in events {
            if place.events.iter().any(|it| it.matches(&action)) {
                wanted.push((event, action));
            }
            last = Some(seq);
            if u64::try_from(wanted.len()).unwrap_or(u64::MAX) >= room {
                break;
            }
        }
        // Where there is none, it has been there already, or the rows were removed for their age.
        let last = last.unwrap_or(until);
        let mut made = 0;
        if !wanted.is_empty() {
            let mut all = values![webhook, place.project, place.tenant, *now];
            let mut rows = Vec::with_capacity(wanted.len());
            for (event, action) in wanted {
                let id: WebhookDeliveryId = audit::fresh_id(*now);
                let first = all.len() + 1;
                all.extend([Value::from(id), event.into(), action.into()]);
                rows.push(format!(
                    "(${first}, $1, $2, $3, ${}, ${}, 'pending', 0, 0, $4, $4, $4)",
                    first + 1,
                    first + 2
                ));
            }
            let sql = format!(
                "INSERT INTO webhook_deliveries (id, webhook_id, project_id, tenant_id, event_id, action, state, attempts,
                     epoch, next_at, since, created_at)
                 VALUES {} ON CONFLICT (webhook_id, event_id) DO NOTHING",
                rows.join(", ")
            );
            made = view.execute(&sql, all).await?;
        }
        advance(view, webhook, last).await?;
        Ok(Announced::Made(made))
    }
}

async fn advance(view: &View, webhook: WebhookId, seq: u64) -> Result<(), StoreError> {
    let sql = "UPDATE webhooks SET announced_seq = $2 WHERE id = $1";
    view.execute(sql, values![webhook, seq]).await.map(drop)
}

impl Tx {
    /// Disables a webhook for which too many deliveries wait, and gives them up. None when it is disabled already, or they
    /// are not too many any more.
    ///
    /// # Errors
    /// Of the database; [`StoreError::OutOfScope`].
    pub async fn stop_full_webhook(
        &self,
        by: &Authorized<ManageWebhooks>,
        id: WebhookId,
    ) -> Result<Option<Unaudited<Webhook>>, StoreError> {
        let view = &self.work.view;
        let Some(webhook) = self.webhook(id).await?.filter(|it| it.disabled.is_none()) else { return Ok(None) };
        if pending(view, id).await? < u64::from(MAX_PENDING) {
            return Ok(None);
        }
        let sql = "UPDATE webhook_deliveries SET state = 'failed', error = 'too many waited for the webhook'
                   WHERE webhook_id = $1 AND state = 'pending'";
        view.execute(sql, values![id]).await?;
        let stopped = Webhook { disabled: Some((self.work.now, DisabledBy::Failures)), ..webhook };
        self.update_webhook(by, stopped).await.map(Some)
    }
}
