//! The outbox.

use std::{collections::BTreeSet, time::Duration};

use authz::{Scope, action::ManageTenants};
use domain::{
    OutboxEventId, Secret, TenantId,
    outbox::{Attempted, NewOutboxEvent, OutboxEvent, OutboxKind},
};
use store::{Audited, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const LEASE: Duration = Duration::from_secs(60);

fn event(tenant: TenantId, payload: &str) -> NewOutboxEvent {
    NewOutboxEvent {
        id: fresh(),
        kind: OutboxKind::Mail,
        project_id: Some(CLOUD),
        tenant_id: Some(tenant),
        payload: Secret::new(payload.into()),
    }
}

async fn leave(store: &Store, event: &NewOutboxEvent) {
    store.write_session(Scope::Platform, NOW, |tx| async move { tx.leave(event).await }).await.unwrap();
}

async fn claim(store: &Store, at: domain::Timestamp, limit: u32) -> Vec<OutboxEvent> {
    claim_behind(store, at, limit, uuid::Uuid::nil()).await.0
}

async fn claim_behind(
    store: &Store,
    at: domain::Timestamp,
    limit: u32,
    after: uuid::Uuid,
) -> (Vec<OutboxEvent>, uuid::Uuid) {
    let claimed = store.write_session(Scope::Platform, at, |tx| async move {
        tx.claim_outbox(OutboxKind::Mail, limit, LEASE, after).await
    });
    claimed.await.map_err(|error: StoreError| error).unwrap()
}

async fn settle(store: &Store, claim: &OutboxEvent, attempted: &Attempted) -> bool {
    let settled =
        store.write_session(Scope::Platform, NOW, |tx| async move { tx.settle_outbox(claim, attempted).await });
    settled.await.map_err(|error: StoreError| error).unwrap()
}

pub(crate) async fn an_event_is_left_with_its_change_or_not_at_all(db: Database) {
    let store = world(&db).await;
    let (by, kept, lost) = (&system::<ManageTenants>(), &event(ACME, "kept"), &event(ACME, "lost"));
    store
        .write(by, NOW, |tx| async move {
            tx.leave(kept).await?;
            Ok::<_, StoreError>(Audited::unchanged(()))
        })
        .await
        .unwrap();
    let failed = store
        .write(by, NOW, |tx| async move {
            tx.leave(lost).await?;
            Err::<Audited<()>, _>(StoreError::Finished)
        })
        .await;
    assert!(failed.is_err());
    let claimed = claim(&store, NOW, 10).await;
    assert_eq!(claimed.iter().map(|event| event.id).collect::<Vec<_>>(), [kept.id]);
    assert_eq!((claimed[0].payload.expose().as_str(), claimed[0].attempts), ("kept", 1));
    // It is sealed where it lies.
    let plain = db.number("SELECT COUNT(*) FROM outbox_events WHERE CAST(payload_enc AS TEXT) LIKE '%kept%'").await;
    assert_eq!(plain, 0);
}

pub(crate) async fn of_those_who_claim_at_once_one_gets_each_event(db: Database) {
    let store = world(&db).await;
    for n in 0..20 {
        leave(&store, &event(ACME, &n.to_string())).await;
    }
    let all = futures::future::join_all((0..6).map(|_| claim(&store, NOW, 7))).await;
    let ids: Vec<OutboxEventId> = all.into_iter().flatten().map(|event| event.id).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "none twice");
    let rest = claim(&store, NOW, 20).await.len();
    assert_eq!(ids.len() + rest, 20, "none lost");
    assert!(claim(&store, NOW, 20).await.is_empty());
}

pub(crate) async fn one_tenants_many_events_hold_up_nobody_elses(db: Database) {
    let store = world(&db).await;
    for n in 0..50 {
        leave(&store, &event(ACME, &n.to_string())).await;
    }
    let (others, platforms) =
        (event(GLOBEX, "x"), NewOutboxEvent { project_id: None, tenant_id: None, ..event(ACME, "y") });
    for late in [&others, &platforms] {
        leave(&store, late).await;
    }
    let first = claim(&store, NOW, 6).await;
    let ids: BTreeSet<_> = first.iter().map(|event| event.id).collect();
    assert!(ids.contains(&others.id) && ids.contains(&platforms.id), "{first:?}");
    assert_eq!(first.iter().filter(|event| event.tenant_id == Some(ACME)).count(), 4, "and what is free is used");
    assert_eq!(claim(&store, NOW, 100).await.len(), 46);
}

pub(crate) async fn owners_take_turns_however_many_are_before_them(db: Database) {
    let store = world(&db).await;
    // Ids of one moment and of years later, as tenants have them.
    let owners: Vec<domain::ProjectId> =
        (1..=9).map(|n| domain::Id::new(uuid::Uuid::from_u128((0x019a_u128 << 112) + (1 << (10 * n))))).collect();
    for owner in &owners {
        for n in 0..4 {
            let mine = NewOutboxEvent { project_id: Some(*owner), tenant_id: None, ..event(ACME, &n.to_string()) };
            leave(&store, &mine).await;
        }
    }
    let (mut after, mut served) = (uuid::Uuid::nil(), BTreeSet::new());
    for _ in 0..3 {
        let (claimed, last) = claim_behind(&store, NOW, 4, after).await;
        after = last;
        served.extend(claimed.into_iter().filter_map(|event| event.project_id));
    }
    assert_eq!(served.into_iter().collect::<Vec<_>>(), owners, "four at a time, and then around");
}

pub(crate) async fn what_a_process_did_not_finish_is_due_again_and_no_longer_its_own(db: Database) {
    let store = world(&db).await;
    leave(&store, &event(ACME, "x")).await;
    let first = claim(&store, NOW, 1).await.remove(0);
    assert!(claim(&store, NOW + LEASE - Duration::from_millis(1), 1).await.is_empty());
    let second = claim(&store, NOW + LEASE, 1).await.remove(0);
    assert_eq!((second.id, second.attempts), (first.id, 2));
    assert!(!settle(&store, &first, &Attempted::Done).await, "the first has lost it");
    let at = NOW + Duration::from_secs(1000);
    assert!(settle(&store, &second, &Attempted::Again { at, reason: "busy".into() }).await);
    assert!(claim(&store, at - Duration::from_millis(1), 1).await.is_empty());
    let third = claim(&store, at, 1).await.remove(0);
    assert!(settle(&store, &third, &Attempted::GivenUp { reason: "no".into() }).await);
    assert_eq!(store.outbox_counts(OutboxKind::Mail).await.unwrap(), (0, 1));
    assert!(claim(&store, at + LEASE * 2, 1).await.is_empty());
    store.prune(NOW + Duration::from_secs(31 * 86_400)).await.unwrap();
    assert_eq!(store.outbox_counts(OutboxKind::Mail).await.unwrap(), (0, 0), "forgotten after a while");
}

pub(crate) async fn events_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    leave(&store, &event(ACME, "x")).await;
    let Some(client) = db.postgres().await else { return };
    for (tenant, expected) in [(ACME, 1), (GLOBEX, 0)] {
        let scope = scope_settings("tenant", Some(CLOUD), Some(tenant));
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        let row = client.query_one("SELECT COUNT(*) FROM outbox_events", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), expected);
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    let foreign = &event(ACME, "forged");
    let by = store.write_session(Scope::Tenant(CLOUD, GLOBEX), NOW, |tx| async move { tx.leave(foreign).await });
    assert!(by.await.map_err(|error: StoreError| error).is_err());
}
