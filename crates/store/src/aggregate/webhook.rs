//! Webhooks. What signs their deliveries is sealed.

use authz::{Authorized, Scope, action::ManageWebhooks};
use domain::{
    Secret, TenantId, Timestamp, WebhookId,
    model::{DisabledBy, NewWebhook, Version, Webhook, webhook::MAX_WEBHOOKS},
};

use super::{
    audit,
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one, swap, within,
};
use crate::{
    StoreError, Tx, Unaudited, View,
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM webhooks";

/// The same place for a secret and for the one before it: rotating moves it.
fn place(id: WebhookId) -> String {
    format!("webhooks.secret_enc:{id}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn =
    SealedColumn { table: "webhooks", column: "secret_enc", key: &["id"], place: |row| Ok(place(row.at("id")?)) };

/// The same of secrets that are being replaced.
pub(crate) const SEALED_PREVIOUS: SealedColumn = SealedColumn { column: "previous_enc", ..SEALED };

fn read(row: &Row) -> Result<Webhook, StoreError> {
    Ok(Webhook {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        url: row.at("url")?,
        description: row.at("description")?,
        events: row.json("events")?,
        previous_until: row.at("previous_until")?,
        failing_since: row.at("failing_since")?,
        disabled: row.at::<Option<Timestamp>>("disabled_at")?.zip(row.word_opt("disabled_by")?),
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of a tenant's webhooks.
#[derive(Debug)]
pub enum WebhookList {}

impl Listing for WebhookList {
    type Item = Webhook;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose address holds this, in any case.", "LOWER(url) LIKE ? ESCAPE '!'"),
        Filter::new("enabled", "Whether they are called.", Takes::Flag, "(disabled_at IS NULL) = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<Webhook, StoreError> {
        read(row.0)
    }
}

/// Reads of webhooks.
pub trait Webhooks: Reader {
    /// The webhook of this id.
    fn webhook(&self, id: WebhookId) -> impl Future<Output = Result<Option<Webhook>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// What signs a webhook's deliveries at `now`, the newest first; nothing for one that is not there.
    fn webhook_secrets(
        &self,
        id: WebhookId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Secret<Vec<u8>>>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let sql = format!("{SELECT} WHERE id = $1");
            Ok(view.first(&sql, values![id], |row| secrets(&view, row, now)).await?.unwrap_or_default())
        }
    }
}
impl<R: Reader> Webhooks for R {}

fn secrets(view: &View, row: &Row, now: Timestamp) -> Result<Vec<Secret<Vec<u8>>>, StoreError> {
    let place = place(row.at("id")?);
    let mut all = vec![view.sealer().open(&place, &row.at::<Vec<u8>>("secret_enc")?)?];
    let lasts = row.at::<Option<Timestamp>>("previous_until")?.is_some_and(|until| now < until);
    if let Some(previous) = row.at::<Option<Vec<u8>>>("previous_enc")?.filter(|_| lasts) {
        all.push(view.sealer().open(&place, &previous)?);
    }
    Ok(all)
}

/// How far a tenant's chain goes.
pub(super) async fn chained(view: &View, tenant: TenantId) -> Result<u64, StoreError> {
    let sql = "SELECT seq FROM audit_chains WHERE chain = $1";
    Ok(view.first(sql, values![audit::chain_of(Some(tenant))], |row| row.at("seq")).await?.unwrap_or_default())
}

impl Tx {
    /// Makes a webhook.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`webhook_limit`) for a tenant that has [`MAX_WEBHOOKS`]; [`StoreError::Reference`] without
    /// the tenant; [`StoreError::OutOfScope`].
    pub async fn insert_webhook(
        &self,
        by: &Authorized<ManageWebhooks>,
        new: NewWebhook,
    ) -> Result<Unaudited<Webhook>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let view = &self.work.view;
        let sql = "SELECT COUNT(*) AS webhooks FROM webhooks WHERE tenant_id = $1";
        let count = view.first(sql, values![new.tenant_id], |row| row.at::<u64>("webhooks")).await?.unwrap_or(0);
        if count >= MAX_WEBHOOKS {
            return Err(StoreError::rule("webhook_limit", format!("a tenant has {MAX_WEBHOOKS} webhooks at most")));
        }
        let sealed = view.sealer().seal(&place(new.id), new.secret.expose())?;
        let mut all = values![new.id, new.project_id, new.tenant_id, &new.url, &new.description, sealed];
        all.extend([Value::json(&new.events)?, self.work.now.into(), chained(view, new.tenant_id).await?.into()]);
        let sql = "INSERT INTO webhooks (id, project_id, tenant_id, url, description, secret_enc, events, created_at,
                       updated_at, announced_seq, version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, 1)";
        view.execute(sql, all).await?;
        Ok(self.unaudited(needed(self.webhook(new.id).await?, "webhook")?))
    }

    /// Changes where it leads, what it is for, which events are sent, and whether any are.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::OutOfScope`].
    pub async fn update_webhook(
        &self,
        by: &Authorized<ManageWebhooks>,
        mut changed: Webhook,
    ) -> Result<Unaudited<Webhook>, StoreError> {
        let before = needed(self.webhook(changed.id).await?, "webhook")?;
        within(by, Scope::Tenant(before.project_id, before.tenant_id))?;
        changed = Webhook { project_id: before.project_id, tenant_id: before.tenant_id, ..changed };
        // Whoever sends elsewhere or again begins anew.
        let again = before.disabled.is_some() && changed.disabled.is_none();
        if changed.url != before.url || again {
            changed.failing_since = None;
        }
        self.mark_silence(&before, &changed).await?;
        let (disabled_at, disabled_by) = changed.disabled.unzip();
        let all = vec![
            (&changed.url).into(),
            (&changed.description).into(),
            Value::json(&changed.events)?,
            changed.failing_since.into(),
            disabled_at.into(),
            disabled_by.map_or(Value::Null, |by: DisabledBy| Value::word(&by)),
            self.work.now.into(),
        ];
        let assignments =
            "url = $3, description = $4, events = $5, failing_since = $6, disabled_at = $7, disabled_by = $8,
                           updated_at = $9";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "webhook", "webhooks", key, assignments, all).await?;
        changed.updated_at = self.work.now;
        Ok(self.unaudited(changed))
    }

    /// Notes how far a webhook is told that is disabled or enabled again by this. What was in the chain when somebody disabled
    /// it is told; what joined it until it is enabled again is not. Disabled once more before that was told, it hears of
    /// nothing behind it.
    async fn mark_silence(&self, before: &Webhook, changed: &Webhook) -> Result<(), StoreError> {
        let assignments = match (before.disabled, changed.disabled) {
            (None, Some((_, DisabledBy::Request))) => {
                "told_until = CASE WHEN announced_seq < told_until THEN told_until ELSE $2 END, silent_until = NULL"
            }
            (None, Some((_, DisabledBy::Failures))) => {
                // It took nothing for too long: it is told of nothing more.
                let sql = "UPDATE webhooks SET told_until = NULL, silent_until = NULL WHERE id = $1";
                return self.work.view.execute(sql, values![changed.id]).await.map(drop);
            }
            (Some(_), None) => {
                "announced_seq = CASE WHEN announced_seq < told_until THEN announced_seq ELSE $2 END,
                 silent_until = CASE WHEN announced_seq < told_until THEN CAST($2 AS BIGINT) END"
            }
            (None, None) | (Some(_), Some(_)) => return Ok(()),
        };
        let head = chained(&self.work.view, before.tenant_id).await?;
        let sql = format!("UPDATE webhooks SET {assignments} WHERE id = $1");
        self.work.view.execute(&sql, values![changed.id, head]).await.map(drop)
    }

    /// Gives a webhook another secret; the one it has signs on beside it until `until`.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`]: of two that rotate it at once, one does; [`StoreError::NotFound`],
    /// [`StoreError::OutOfScope`].
    pub async fn rotate_webhook(
        &self,
        by: &Authorized<ManageWebhooks>,
        (id, version): (WebhookId, Version),
        secret: &Secret<Vec<u8>>,
        until: Timestamp,
    ) -> Result<Unaudited<Webhook>, StoreError> {
        let before = needed(self.webhook(id).await?, "webhook")?;
        within(by, Scope::Tenant(before.project_id, before.tenant_id))?;
        let view = &self.work.view;
        let sealed = view.sealer().seal(&place(id), secret.expose())?;
        let assignments = "previous_enc = secret_enc, previous_until = $3, secret_enc = $4, updated_at = $5";
        let all = values![until, sealed, self.work.now];
        let version = swap(view, "webhook", "webhooks", (id.uuid(), version), assignments, all).await?;
        let changed = Webhook { previous_until: Some(until), updated_at: self.work.now, version, ..before };
        Ok(self.unaudited(changed))
    }

    /// Deletes a webhook with its deliveries.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::OutOfScope`].
    pub async fn delete_webhook(
        &self,
        by: &Authorized<ManageWebhooks>,
        id: WebhookId,
    ) -> Result<Unaudited<Webhook>, StoreError> {
        let webhook = needed(self.webhook(id).await?, "webhook")?;
        within(by, Scope::Tenant(webhook.project_id, webhook.tenant_id))?;
        one(&self.work.view, "webhook", "DELETE FROM webhooks WHERE id = $1", values![id]).await?;
        Ok(self.unaudited(webhook))
    }
}
