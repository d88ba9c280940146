//! Webhooks and their deliveries.

use std::{collections::BTreeSet, time::Duration};

use authz::{
    Scope,
    action::{AppendAudit, ManageWebhooks},
};
use domain::{
    Secret, TenantId, Timestamp, WebhookId,
    audit::{ActorKind, AuditEntry, Crud, Origin, Report, ReportedActor, Target},
    model::{Delivery, DeliveryState, DisabledBy, NewWebhook, Webhook},
};
use serde_json::json;
use store::{
    Announced, Audited, DeliveryQuery, MAX_PENDING, Replay, Reported, Sent, Store, StoreError,
    list::{Selection, WebhookList},
    read::*,
};

use crate::{
    audit::chain_all,
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const LEASE: Duration = Duration::from_secs(30);
const ALL: DeliveryQuery = DeliveryQuery { state: None, event: None, before: None, limit: 500 };

async fn webhook(store: &Store, tenant: TenantId, events: &str) -> Webhook {
    let new = NewWebhook {
        id: fresh(),
        project_id: CLOUD,
        tenant_id: tenant,
        url: "https://example.com/hook".into(),
        description: String::new(),
        events: vec![events.parse().unwrap()],
        secret: Secret::new(vec![7; 32]),
    };
    change!(store, |tx, new| tx.insert_webhook(&system(), new.clone())).unwrap().0
}

/// Something happens in a tenant.
async fn happen(store: &Store, tenant: TenantId, action: &str) {
    let by = system::<AppendAudit>();
    let reported = Reported {
        entry: AuditEntry {
            action: action.into(),
            crud: Crud::U,
            target: Target { kind: "order".into(), id: "1".into(), name: String::new() },
            project_id: Some(CLOUD),
            tenant_id: Some(tenant),
            is_failure: false,
            fields: json!({}),
        },
        actor: ReportedActor { kind: ActorKind::Anonymous, id: None, name: String::new(), href: None },
        origin: Origin::default(),
        report: Report::default(),
        reporter: "test".into(),
        external_id: None,
    };
    let (by, reported) = (&by, &reported);
    store.write(by, NOW, |tx| async move { tx.append_audit(by, fresh(), reported).await }).await.unwrap();
}

/// Has everything join its chain and be announced; how many deliveries that made.
async fn tell_all(store: &Store) -> u64 {
    chain_all(store).await;
    let mut all = 0;
    let begin = WebhookId::new(uuid::Uuid::nil());
    loop {
        let behind = store.webhooks_behind(begin, 10).await.unwrap();
        if behind.is_empty() {
            return all;
        }
        for id in behind {
            if let Announced::Made(made) = announce(store, id).await {
                all += made;
            }
        }
    }
}

async fn announce(store: &Store, id: WebhookId) -> Announced {
    let announced = store.write_session(Scope::Platform, NOW, |tx| async move { tx.announce(id).await });
    announced.await.map_err(|error: StoreError| error).unwrap()
}

async fn claim(store: &Store, at: Timestamp, busy: &[WebhookId]) -> Vec<Delivery> {
    let claimed = store.write_session(Scope::Platform, at, |tx| async move {
        tx.claim_deliveries(100, LEASE, (WebhookId::new(uuid::Uuid::nil()), busy)).await
    });
    claimed.await.map_err(|error: StoreError| error).unwrap()
}

async fn note(store: &Store, at: Timestamp, claim: &Delivery, sent: &Sent) -> Option<Option<Timestamp>> {
    let noted = store.write_session(Scope::Platform, at, |tx| async move { tx.note_sent(claim, sent).await });
    noted.await.map_err(|error: StoreError| error).unwrap()
}

pub(crate) async fn what_joins_the_trail_is_announced_to_who_wants_it_once(db: Database) {
    let store = world(&db).await;
    chain_all(&store).await;
    let (orders, all) = (webhook(&store, ACME, "order.*").await, webhook(&store, ACME, "*").await);
    let other = webhook(&store, GLOBEX, "*").await;
    for action in ["order.approved", "invoice.sent"] {
        happen(&store, ACME, action).await;
    }
    let (one, two) = tokio::join!(store.chain_audit(100), store.chain_audit(100));
    assert!(one.unwrap() + two.unwrap() >= 2);
    let made = futures::future::join_all((0..6).map(|_| tell_all(&store))).await;
    assert_eq!(made.into_iter().sum::<u64>(), 6, "what happened, and that the webhooks were made: each once");
    let actions = async |id| {
        let made = store.deliveries(id, &ALL).await.unwrap();
        made.into_iter().map(|it| it.action).filter(|action| !action.starts_with("webhook.")).collect::<Vec<_>>()
    };
    assert_eq!(actions(orders.id).await, ["order.approved"]);
    let mut told = actions(all.id).await;
    told.sort();
    assert_eq!(told, ["invoice.sent", "order.approved"]);
    assert!(actions(other.id).await.is_empty(), "another tenant's events are not told");
}

pub(crate) async fn of_those_who_claim_deliveries_at_once_one_gets_each(db: Database) {
    let store = world(&db).await;
    let hooks = [webhook(&store, ACME, "order.*").await, webhook(&store, ACME, "order.*").await];
    for _ in 0..6 {
        happen(&store, ACME, "order.approved").await;
    }
    tell_all(&store).await;
    let all = futures::future::join_all((0..6).map(|_| claim(&store, NOW, &[]))).await;
    let mut ids: Vec<_> = all.into_iter().flatten().map(|it| it.id).collect();
    // A few of each at a time; none is claimed twice and none is lost.
    loop {
        let more = claim(&store, NOW, &[]).await;
        if more.is_empty() {
            break;
        }
        assert!(more.iter().filter(|it| it.webhook_id == hooks[0].id).count() <= 4);
        ids.extend(more.iter().map(|it| it.id));
    }
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (12, 12));
    let again = claim(&store, NOW + LEASE, &[hooks[0].id]).await;
    assert!(!again.is_empty() && again.iter().all(|it| it.webhook_id == hooks[1].id && it.attempts == 2));
}

pub(crate) async fn a_delivery_is_noted_by_who_holds_it_and_replayed_on_demand(db: Database) {
    let store = world(&db).await;
    let hook = webhook(&store, ACME, "order.*").await;
    happen(&store, ACME, "order.approved").await;
    tell_all(&store).await;
    let lost = claim(&store, NOW, &[]).await.remove(0);
    let held = claim(&store, NOW + LEASE, &[]).await.remove(0);
    let taken = Sent::Taken { status: 204 };
    assert_eq!(note(&store, NOW, &lost, &taken).await, None, "its lease has run out");
    let at = NOW + Duration::from_secs(500);
    let again = Sent::Again { status: Some(500), reason: "the receiver answers 500".into(), at };
    assert_eq!(note(&store, NOW, &held, &again).await, Some(Some(NOW)), "it fails since now");
    assert!(claim(&store, at - Duration::from_millis(1), &[]).await.is_empty());
    let held = claim(&store, at, &[]).await.remove(0);
    assert_eq!(note(&store, at, &held, &taken).await, Some(None), "it fails no more");
    let logged = store.deliveries(hook.id, &ALL).await.unwrap().remove(0);
    assert_eq!((logged.state, logged.status, logged.attempts), (DeliveryState::Delivered, Some(204), 3));
    assert!(claim(&store, at + LEASE * 2, &[]).await.is_empty());

    let by = system::<ManageWebhooks>();
    let replay = async |which: Replay| {
        let (by, hook, which) = (&by, &hook, &which);
        let replayed = store.write(by, NOW, |tx| async move {
            let replayed = tx.replay_deliveries(by, hook, which).await?;
            tx.audit(AuditEntry::done(hook, "replayed"), replayed).await
        });
        replayed.await.unwrap().0
    };
    let span = |state| Replay::Span { since: NOW, until: NOW + Duration::from_secs(1), state };
    assert_eq!(replay(span(Some(DeliveryState::Failed))).await, 0);
    assert_eq!(replay(span(None)).await, 1);
    let held = claim(&store, NOW, &[]).await.remove(0);
    assert_eq!((held.event_id, held.attempts), (logged.event_id, 1), "the same event, tried anew");
    assert_eq!(replay(Replay::One(fresh())).await, 0);
    assert_eq!(store.sweep_deliveries(NOW + Duration::from_secs(1)).await.unwrap(), 0, "what is pending is kept");
    note(&store, NOW, &held, &taken).await;
    assert_eq!(store.sweep_deliveries(NOW + Duration::from_secs(1)).await.unwrap(), 1);
}

pub(crate) async fn a_webhook_that_takes_nothing_is_stopped_by_one_of_many(db: Database) {
    let store = world(&db).await;
    let hook = webhook(&store, ACME, "order.*").await;
    happen(&store, ACME, "order.approved").await;
    tell_all(&store).await;
    let held = claim(&store, NOW, &[]).await.remove(0);
    note(&store, NOW, &held, &Sent::Again { status: None, reason: "down".into(), at: NOW }).await;
    let (by, id) = (system::<ManageWebhooks>(), hook.id);
    let stop = || {
        let (store, by) = (store.clone(), by.clone());
        async move {
            let by = &by;
            let stopped = store.write(by, NOW, |tx| async move {
                match tx.stop_failing_webhook(by, id, NOW).await? {
                    Some(stopped) => tx.done("disabled", stopped).await.map(|it| it.map(|_| true)),
                    None => Ok::<_, StoreError>(Audited::unchanged(false)),
                }
            });
            stopped.await.map(|(stopped, _)| stopped)
        }
    };
    let all = futures::future::join_all((0..6).map(|_| stop())).await;
    assert_eq!(all.into_iter().filter(|it| *it.as_ref().unwrap()).count(), 1);
    let stopped = store.webhook(id).await.unwrap().unwrap();
    assert_eq!(stopped.disabled, Some((NOW, DisabledBy::Failures)));
    assert!(claim(&store, NOW + LEASE, &[]).await.is_empty(), "what waits for it waits");
    assert_eq!(db.number("SELECT COUNT(*) FROM audit_events WHERE action = 'webhook.disabled'").await, 1);
    assert_eq!(store.give_up_deliveries(NOW + Duration::from_secs(1)).await.unwrap(), 1);
}

pub(crate) async fn a_webhook_for_which_too_many_wait_is_stopped_and_told_of_what_comes_later(db: Database) {
    let store = world(&db).await;
    let (full, other) = (webhook(&store, ACME, "order.*").await, webhook(&store, ACME, "order.*").await);
    let (id, event) = match db.postgres().await {
        Some(_) => ("gen_random_uuid()", "gen_random_uuid()"),
        None => ("lower(hex(randomblob(16)))", "lower(hex(randomblob(16)))"),
    };
    db.behind(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAX_PENDING})
         INSERT INTO webhook_deliveries (id, webhook_id, project_id, tenant_id, event_id, action, state, attempts, epoch,
             next_at, since, created_at)
         SELECT {id}, '{}', '{CLOUD}', '{ACME}', {event}, 'order.approved', 'pending', 0, 0, 0, 0, 0 FROM n",
        full.id
    ))
    .await;
    happen(&store, ACME, "order.approved").await;
    chain_all(&store).await;
    assert_eq!(announce(&store, full.id).await, Announced::Full);
    assert_eq!(announce(&store, other.id).await, Announced::Made(1), "nobody else is held up");
    let by = system::<ManageWebhooks>();
    let stop = || {
        let (store, by, id) = (store.clone(), by.clone(), full.id);
        async move {
            let by = &by;
            let stopped = store.write(by, NOW, |tx| async move {
                match tx.stop_full_webhook(by, id).await? {
                    Some(stopped) => tx.done("disabled", stopped).await.map(|it| it.map(|_| true)),
                    None => Ok::<_, StoreError>(Audited::unchanged(false)),
                }
            });
            stopped.await.unwrap().0
        }
    };
    assert_eq!(futures::future::join_all((0..4).map(|_| stop())).await.into_iter().filter(|it| *it).count(), 1);
    assert_eq!(announce(&store, full.id).await, Announced::Gone);
    let waiting =
        format!("SELECT COUNT(*) FROM webhook_deliveries WHERE webhook_id = '{}' AND state = 'pending'", full.id);
    assert_eq!(db.number(&waiting).await, 0, "they are given up");
    happen(&store, ACME, "order.lost").await;
    tell_all(&store).await;
    let again = Webhook { disabled: None, ..store.webhook(full.id).await.unwrap().unwrap() };
    change!(store, |tx, again| tx.update_webhook(&system(), again.clone())).unwrap();
    happen(&store, ACME, "order.shipped").await;
    tell_all(&store).await;
    let pending = DeliveryQuery { state: Some(DeliveryState::Pending), ..ALL };
    let told: Vec<_> = store.deliveries(full.id, &pending).await.unwrap().into_iter().map(|it| it.action).collect();
    assert_eq!(told, ["order.shipped"], "not of what happened while it was disabled");
}

/// Has as many deliveries wait as may.
async fn fill(db: &Database, hook: WebhookId) {
    let id = match db.postgres().await {
        Some(_) => "gen_random_uuid()",
        None => "lower(hex(randomblob(16)))",
    };
    db.behind(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAX_PENDING})
         INSERT INTO webhook_deliveries (id, webhook_id, project_id, tenant_id, event_id, action, state, attempts, epoch,
             next_at, since, created_at)
         SELECT {id}, '{hook}', '{CLOUD}', '{ACME}', {id}, 'order.approved', 'pending', 0, 0, 0, 0, 0 FROM n"
    ))
    .await;
}

pub(crate) async fn a_full_webhook_is_not_told_later_what_it_was_not_to_hear(db: Database) {
    let store = world(&db).await;
    let hook = webhook(&store, ACME, "order.*").await.id;
    tell_all(&store).await;
    happen(&store, ACME, "order.first").await;
    chain_all(&store).await;
    set_enabled(&store, hook, false).await;
    happen(&store, ACME, "order.lost").await;
    chain_all(&store).await;
    set_enabled(&store, hook, true).await;
    assert_eq!(announce(&store, hook).await, Announced::Made(1));
    fill(&db, hook).await;
    assert_eq!(announce(&store, hook).await, Announced::Full);
    db.behind(&format!("DELETE FROM webhook_deliveries WHERE webhook_id = '{hook}' AND action = 'order.approved'"))
        .await;
    happen(&store, ACME, "order.found").await;
    tell_all(&store).await;
    let told = |action: &str| {
        format!("SELECT COUNT(*) FROM webhook_deliveries WHERE webhook_id = '{hook}' AND action = '{action}'")
    };
    for (action, count) in [("order.first", 1), ("order.lost", 0), ("order.found", 1)] {
        assert_eq!(db.number(&told(action)).await, count, "{action}");
    }
}

/// Nothing of it goes out, so there will never be room.
pub(crate) async fn a_full_webhook_that_is_disabled_is_asked_for_once(db: Database) {
    let store = world(&db).await;
    let hook = webhook(&store, ACME, "order.*").await.id;
    tell_all(&store).await;
    happen(&store, ACME, "order.first").await;
    chain_all(&store).await;
    fill(&db, hook).await;
    set_enabled(&store, hook, false).await;
    let behind = async || store.webhooks_behind(WebhookId::new(uuid::Uuid::nil()), 10).await.unwrap();
    assert_eq!(behind().await, [hook]);
    assert_eq!(announce(&store, hook).await, Announced::Full);
    assert!(behind().await.is_empty());
}

async fn set_enabled(store: &Store, id: WebhookId, enabled: bool) {
    let before = store.webhook(id).await.unwrap().unwrap();
    let changed = Webhook { disabled: (!enabled).then_some((NOW, DisabledBy::Request)), ..before };
    change!(store, |tx, changed| tx.update_webhook(&system(), changed.clone())).unwrap();
}

/// More than is announced at once; whoever did the rest was killed before.
pub(crate) async fn what_the_chain_held_when_a_webhook_was_disabled_is_announced_by_whoever_comes_next(db: Database) {
    let store = world(&db).await;
    let hook = webhook(&store, ACME, "order.*").await.id;
    let waiting = format!("SELECT COUNT(*) FROM webhook_deliveries WHERE webhook_id = '{hook}' AND state = 'pending'");
    assert_eq!(tell_all(&store).await, 0);
    for _ in 0..501 {
        happen(&store, ACME, "order.approved").await;
    }
    chain_all(&store).await;
    set_enabled(&store, hook, false).await;
    assert_eq!(db.number(&waiting).await, 0, "nobody has announced any of it");
    happen(&store, ACME, "order.lost").await;
    chain_all(&store).await;
    assert_eq!(announce(&store, hook).await, Announced::Made(500));
    // Enabled before all of it is announced: what happened meanwhile is left out in its place.
    set_enabled(&store, hook, true).await;
    happen(&store, ACME, "order.shipped").await;
    assert_eq!(tell_all(&store).await, 2);
    assert_eq!(db.number(&waiting).await, 502);
    assert_eq!(db.number(&format!("{waiting} AND action = 'order.shipped'")).await, 1);
    // All of it was announced: what happens meanwhile is left out, then and later.
    set_enabled(&store, hook, false).await;
    happen(&store, ACME, "order.lost").await;
    assert_eq!(tell_all(&store).await, 0);
    set_enabled(&store, hook, true).await;
    happen(&store, ACME, "order.found").await;
    assert_eq!(tell_all(&store).await, 1);
    // Disabled, enabled and disabled again before anything is announced: no further than the first time.
    happen(&store, ACME, "order.one").await;
    chain_all(&store).await;
    for enabled in [false, true, false] {
        set_enabled(&store, hook, enabled).await;
        happen(&store, ACME, "order.lost").await;
        chain_all(&store).await;
    }
    assert_eq!(tell_all(&store).await, 1);
    let told = format!("SELECT COUNT(*) FROM webhook_deliveries WHERE webhook_id = '{hook}' AND action = 'order.lost'");
    assert_eq!(db.number(&told).await, 0);
}

pub(crate) async fn webhooks_take_turns_however_many_are_before_them(db: Database) {
    let store = world(&db).await;
    let mut ids: Vec<WebhookId> = Vec::new();
    for _ in 0..5 {
        ids.push(webhook(&store, ACME, "order.*").await.id);
    }
    ids.sort_unstable();
    for _ in 0..8 {
        happen(&store, ACME, "order.approved").await;
    }
    tell_all(&store).await;
    let (mut after, mut served) = (WebhookId::new(uuid::Uuid::nil()), BTreeSet::new());
    for _ in 0..3 {
        let claimed = store
            .write_session(Scope::Platform, NOW, |tx| async move { tx.claim_deliveries(8, LEASE, (after, &[])).await });
        let claimed = claimed.await.map_err(|error: StoreError| error).unwrap();
        after = claimed.last().unwrap().webhook_id;
        served.extend(claimed.into_iter().map(|it| it.webhook_id));
    }
    assert_eq!(served.into_iter().collect::<Vec<_>>(), ids, "two at a time, and then around");
}

pub(crate) async fn a_delivery_that_cannot_be_read_is_given_up_and_holds_up_no_other(db: Database) {
    let store = world(&db).await;
    let hook = webhook(&store, ACME, "order.*").await;
    for _ in 0..2 {
        happen(&store, ACME, "order.approved").await;
    }
    tell_all(&store).await;
    let poisoned = store.deliveries(hook.id, &ALL).await.unwrap().remove(0);
    db.behind(&format!("UPDATE webhook_deliveries SET attempts = -9 WHERE id = '{}'", poisoned.id)).await;
    let claimed = claim(&store, NOW, &[]).await;
    assert_eq!(claimed.len(), 1);
    assert_ne!(claimed[0].id, poisoned.id);
    let left = format!("SELECT COUNT(*) FROM webhook_deliveries WHERE id = '{}' AND state = 'failed'", poisoned.id);
    assert_eq!(db.number(&left).await, 1);
}

pub(crate) async fn webhooks_are_invisible_to_other_tenants_and_their_secrets_sealed(db: Database) {
    let store = world(&db).await;
    let hook = webhook(&store, ACME, "*").await;
    happen(&store, ACME, "order.approved").await;
    tell_all(&store).await;
    assert_eq!(store.list::<WebhookList>(ACME, &Selection::default()).await.unwrap().rows, std::slice::from_ref(&hook));
    assert!(store.list::<WebhookList>(GLOBEX, &Selection::default()).await.unwrap().rows.is_empty());
    let until = NOW + Duration::from_secs(60);
    let version = hook.version;
    let rotate = async || {
        let new = Secret::new(vec![8; 32]);
        change!(store, |tx, new| tx.rotate_webhook(&system(), (hook.id, version), new, until))
    };
    let (one, two) = tokio::join!(rotate(), rotate());
    assert_eq!([one, two].iter().filter(|it| it.is_ok()).count(), 1, "of two that rotate it, one does");
    let secrets = async |at| {
        let all = store.webhook_secrets(hook.id, at).await.unwrap();
        all.iter().map(|it| it.expose()[0]).collect::<Vec<_>>()
    };
    assert_eq!((secrets(NOW).await, secrets(until).await), (vec![8, 7], vec![8]));
    let Some(client) = db.postgres().await else { return };
    for (tenant, sees) in [(ACME, true), (GLOBEX, false)] {
        let scope = scope_settings("tenant", Some(CLOUD), Some(tenant));
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for table in ["webhooks", "webhook_deliveries"] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0) > 0, sees, "{table}");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
