//! Sign-ins that one device asks for and another approves.

use std::time::Duration;

use authz::Scope;
use domain::{
    QrLoginId,
    model::{QrApproval, QrLogin, QrState},
};
use futures::future::join_all;
use store::{SessionTx, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const SCOPE: Scope = Scope::Tenant(CLOUD, ACME);

async fn write<T, F: Future<Output = Result<T, StoreError>>>(store: &Store, change: impl Fn(SessionTx) -> F) -> T {
    store.write_session(SCOPE, NOW, change).await.unwrap()
}

async fn asked(store: &Store, tenant: Option<domain::TenantId>) -> QrLoginId {
    let new = &QrLogin {
        id: fresh(),
        project_id: CLOUD,
        tenant_id: tenant,
        poll_hash: [7; 32],
        code: "042".into(),
        state: QrState::Pending,
        ip: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("Television/1.0".into()),
        approval: None,
        created_at: NOW,
        expires_at: NOW + Duration::from_secs(300),
    };
    write(store, |tx| async move { tx.insert_qr_login(new).await }).await;
    assert_eq!(store.qr_login(new.id, NOW).await.unwrap().as_ref(), Some(new));
    assert_eq!(store.qr_login(new.id, new.expires_at).await.unwrap(), None);
    new.id
}

fn approval() -> QrApproval {
    QrApproval { user_id: ANN, tenant_id: ACME, sid: fresh(), generations: (1, 2) }
}

pub(crate) async fn of_many_that_take_what_was_approved_one_does(db: Database) {
    let store = world(&db).await;
    let id = asked(&store, None).await;
    let by = &approval();
    let consume =
        async |store: &Store, hash| write(store, |tx| async move { tx.consume_qr_login(id, hash).await }).await;
    assert_eq!(consume(&store, [7; 32]).await, None, "nobody approved it");
    let guessed = write(&store, |tx| async move { tx.approve_qr_login(id, "041", by).await }).await;
    assert_eq!(guessed, None, "its screen shows another code");
    let approved = join_all((0..50).map(|_| {
        let (store, by) = (store.clone(), *by);
        tokio::spawn(async move {
            let by = &by;
            write(&store, |tx| async move { tx.approve_qr_login(id, "042", by).await }).await.is_some()
        })
    }));
    assert_eq!(approved.await.into_iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
    assert_eq!(consume(&store, [8; 32]).await, None, "another's secret");
    let taken = join_all((0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { write(&store, |tx| async move { tx.consume_qr_login(id, [7; 32]).await }).await })
    }));
    let taken: Vec<_> = taken.await.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(taken, [*by]);
    let kept = store.qr_login(id, NOW).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.tenant_id), (QrState::Consumed, Some(ACME)));
    assert!(write(&store, |tx| async move { tx.reject_qr_login(id).await }).await.is_none());
    let end = NOW + Duration::from_secs(300);
    assert_eq!(store.sweep_qr_logins(end - Duration::from_millis(1), 10).await.unwrap(), 0);
    assert_eq!(store.sweep_qr_logins(end, 10).await.unwrap(), 1);
}

pub(crate) async fn what_was_asked_for_in_one_tenant_is_not_approved_in_another(db: Database) {
    let store = world(&db).await;
    let id = asked(&store, Some(ACME)).await;
    let theirs = &QrApproval { user_id: GUS, tenant_id: GLOBEX, ..approval() };
    let approved = store
        .write_session(Scope::Project(CLOUD), NOW, |tx| async move { tx.approve_qr_login(id, "042", theirs).await });
    assert_eq!(approved.await.unwrap(), None);
    assert!(write(&store, |tx| async move { tx.reject_qr_login(id).await }).await.is_some());
    let by = &approval();
    assert!(
        write(&store, |tx| async move { tx.approve_qr_login(id, "042", by).await }).await.is_none(),
        "rejected for good"
    );
}

pub(crate) async fn sign_ins_by_qr_code_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    asked(&store, Some(ACME)).await;
    asked(&store, None).await;
    let Some(client) = db.postgres().await else { return };
    for (scope, expected) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 2),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 1),
        (scope_settings("project", Some(CLOUD), None), 2),
        (scope_settings("tenant", Some(ROOT), Some(ACME)), 0),
        (scope_settings("platform", None, None), 2),
        (String::new(), 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        let row = client.query_one("SELECT COUNT(*) FROM qr_logins", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), expected, "under `{scope}`");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
