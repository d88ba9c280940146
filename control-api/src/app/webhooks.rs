//! Webhooks: a tenant's administrators manage them. Who is told what happens reads the trail, so managing them needs the right
//! to read it, too.

use std::time::Duration;

use authz::{
    Authorized,
    action::{AppendAudit, ManageWebhooks},
};
use domain::{
    Secret, WebhookId,
    audit::{AuditEntry, Crud},
    model::{
        Delivery, DisabledBy, EventPattern, NewWebhook, Version, Webhook,
        webhook::{MAX_DESCRIPTION, MAX_EVENTS, MAX_OVERLAP, MAX_URL, OVERLAP},
    },
};
use serde_json::json;
use store::{
    Commit, DeliveryQuery, Replay,
    list::{Selection, Slice, WebhookList},
    read::*,
};

use super::text;
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
    outbound,
    webhooks::sign,
};

/// A webhook as it is asked for.
#[derive(Clone, Debug)]
pub struct WebhookDraft {
    /// Where events are sent.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Which events are sent.
    pub events: Vec<EventPattern>,
}

/// What is to be changed of a webhook.
#[derive(Clone, Debug, Default)]
pub struct WebhookPatch {
    /// Where events are sent.
    pub url: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Which events are sent.
    pub events: Option<Vec<EventPattern>>,
    /// Whether any are.
    pub enabled: Option<bool>,
}

/// A page of a tenant's webhooks.
pub async fn list_webhooks(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<WebhookList>,
) -> Result<Slice<Webhook>, AppError> {
    principal.may_in::<ManageWebhooks>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// One webhook.
pub async fn read_webhook(app: &App, principal: &Principal, id: WebhookId) -> Result<Webhook, AppError> {
    found(app, principal, id, "get").await.map(|(_, webhook)| webhook)
}

/// Makes a webhook; its secret is given once.
pub async fn create_webhook(
    app: &App,
    principal: &Principal,
    site: Site,
    draft: WebhookDraft,
) -> Result<(Webhook, Secret<String>, Commit), AppError> {
    let by = principal.may_in::<ManageWebhooks>(site, "create")?;
    reads_the_trail(principal, site)?;
    checked(app, &draft)?;
    let secret = sign::new_secret()?;
    let new = &NewWebhook {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        url: draft.url,
        description: draft.description,
        events: draft.events,
        secret: secret.clone(),
    };
    let by = &by;
    let made = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.created(tx.insert_webhook(by, new.clone()).await?).await?)
    });
    let (made, commit) = made.await?;
    Ok((made, sign::shown(&secret), commit))
}

/// Changes a webhook. One that is disabled is told of what was in the trail's chain by then, and of nothing that happens meanwhile, then
/// or later; one that is enabled again goes on with what waits.
pub async fn update_webhook(
    app: &App,
    principal: &Principal,
    id: WebhookId,
    version: Option<Version>,
    patch: WebhookPatch,
) -> Result<(Webhook, Commit), AppError> {
    let (by, before) = found(app, principal, id, "update").await?;
    reads_the_trail(principal, site_of(&before))?;
    let now = app.now();
    let draft = WebhookDraft {
        url: patch.url.unwrap_or(before.url.clone()),
        description: patch.description.unwrap_or(before.description.clone()),
        events: patch.events.unwrap_or(before.events.clone()),
    };
    checked(app, &draft)?;
    let disabled = match patch.enabled {
        None => before.disabled,
        Some(true) => None,
        Some(false) => before.disabled.or(Some((now, DisabledBy::Request))),
    };
    let changed = &Webhook {
        url: draft.url,
        description: draft.description,
        events: draft.events,
        disabled,
        version: version.unwrap_or(before.version),
        ..before
    };
    let by = &by;
    app.store
        .write(by, now, |tx| async move {
            Ok::<_, AppError>(tx.updated(tx.update_webhook(by, changed.clone()).await?).await?)
        })
        .await
}

/// Gives a webhook another secret, which is given once. The one it has signs on for the overlap.
///
/// # Errors
/// Of two that rotate one at once, one is told that it was changed meanwhile.
pub async fn rotate_webhook(
    app: &App,
    principal: &Principal,
    id: WebhookId,
    version: Option<Version>,
    overlap: Option<Duration>,
) -> Result<(Webhook, Secret<String>, Commit), AppError> {
    let (by, webhook) = found(app, principal, id, "rotate").await?;
    reads_the_trail(principal, site_of(&webhook))?;
    let overlap = overlap.unwrap_or(OVERLAP);
    if overlap > MAX_OVERLAP {
        return Err(AppError::field("/overlap", "range", "at most 7d are allowed"));
    }
    let secret = sign::new_secret()?;
    let (by, now, new, which) = (&by, app.now(), &secret, (id, version.unwrap_or(webhook.version)));
    let rotated = app.store.write(by, now, |tx| async move {
        Ok::<_, AppError>(tx.done("rotated", tx.rotate_webhook(by, which, new, now + overlap).await?).await?)
    });
    let (rotated, commit) = rotated.await?;
    Ok((rotated, sign::shown(&secret), commit))
}

/// Deletes a webhook with its deliveries.
pub async fn delete_webhook(app: &App, principal: &Principal, id: WebhookId) -> Result<Commit, AppError> {
    let (by, _) = found(app, principal, id, "delete").await?;
    let by = &by;
    let deleted = app.store.write(by, app.now(), |tx| async move {
        Ok::<_, AppError>(tx.deleted(tx.delete_webhook(by, id).await?).await?)
    });
    deleted.await.map(|(_, commit)| commit)
}

/// What became of a webhook's events, newest first.
pub async fn list_deliveries(
    app: &App,
    principal: &Principal,
    id: WebhookId,
    query: &DeliveryQuery,
) -> Result<Vec<Delivery>, AppError> {
    let (_, webhook) = found(app, principal, id, "get").await?;
    Ok(app.store.within(site_of(&webhook).scope()).deliveries(id, query).await?)
}

/// Has events sent again; says how many.
pub async fn replay_webhook(
    app: &App,
    principal: &Principal,
    id: WebhookId,
    which: &Replay,
) -> Result<(u64, Commit), AppError> {
    let (by, webhook) = found(app, principal, id, "replay").await?;
    reads_the_trail(principal, site_of(&webhook))?;
    if webhook.disabled.is_some() {
        let detail = "nothing is sent to a webhook that is disabled".into();
        return Err(AppError::Conflict { code: "webhook_disabled", detail });
    }
    let (by, webhook) = (&by, &webhook);
    app.store
        .write(by, app.now(), |tx| async move {
            let replayed = tx.replay_deliveries(by, webhook, which).await?;
            if *replayed.peek() == 0 && matches!(which, Replay::One(_)) {
                return Err(AppError::NotFound("delivery"));
            }
            let entry = AuditEntry { crud: Crud::C, ..AuditEntry::done(webhook, "replayed") };
            let entry = entry.with_fields(json!({ "deliveries": replayed.peek() }));
            Ok(tx.audit(entry, replayed).await?)
        })
        .await
}

/// A webhook that the caller may do this to; any other does not exist for them.
async fn found(
    app: &App,
    principal: &Principal,
    id: WebhookId,
    verb: &str,
) -> Result<(Authorized<ManageWebhooks>, Webhook), AppError> {
    let reader =
        if principal.is_system() { app.store.clone() } else { app.store.within(principal.own_site()?.scope()) };
    let of_caller = |webhook: &Webhook| principal.is_system() || webhook.tenant_id == principal.tenant;
    let webhook = reader.webhook(id).await?.filter(of_caller);
    // Who may nothing of the kind is told so, whether there is one or not.
    let site = webhook.as_ref().map_or(Site { project: principal.project, tenant: principal.tenant }, site_of);
    let by = principal.may_in(site, verb)?;
    Ok((by, webhook.ok_or(AppError::NotFound("webhook"))?))
}

fn site_of(webhook: &Webhook) -> Site {
    Site { project: webhook.project_id, tenant: webhook.tenant_id }
}

fn reads_the_trail(principal: &Principal, site: Site) -> Result<(), AppError> {
    principal.may_in::<AppendAudit>(site, "list").map(drop)
}

fn checked(app: &App, draft: &WebhookDraft) -> Result<(), AppError> {
    text::check("/description", &draft.description, 0..=MAX_DESCRIPTION)?;
    if !(1..=MAX_EVENTS).contains(&draft.events.len()) {
        return Err(AppError::field("/events", "range", format!("1 to {MAX_EVENTS} are allowed")));
    }
    if draft.url.len() > MAX_URL || outbound::url(&draft.url, app.config.webhooks.on_loopback).is_err() {
        return Err(AppError::field("/url", "invalid", "is no https URL without credentials and fragment"));
    }
    Ok(())
}
