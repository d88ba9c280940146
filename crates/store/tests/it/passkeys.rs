//! Passkeys and the challenges that were answered with them.

use std::time::Duration;

use authz::Scope;
use domain::{
    Timestamp, UserId,
    model::{NewPasskey, Passkey},
};
use futures::future::join_all;
use store::{SessionTx, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const HOST: &str = "acme.example.com";
const SCOPE: Scope = Scope::Tenant(CLOUD, ACME);

async fn write<T, F: Future<Output = Result<T, StoreError>>>(store: &Store, change: impl Fn(SessionTx) -> F) -> T {
    store.write_session(SCOPE, NOW, change).await.unwrap()
}

fn passkey(user: UserId, credential: u8) -> NewPasskey {
    NewPasskey {
        id: fresh(),
        project_id: CLOUD,
        user_id: user,
        rp_id: HOST.into(),
        credential_id: vec![credential; 32],
        credential: serde_json::json!({ "key": credential }),
        name: "phone".into(),
        sign_count: 1,
        backup_eligible: true,
        backup_state: false,
    }
}

async fn insert(store: &Store, new: &NewPasskey) -> Option<Passkey> {
    write(store, |tx| async move { tx.insert_passkey(new.clone(), 3).await }).await
}

pub(crate) async fn a_passkey_is_kept_once_and_counts_forward(db: Database) {
    let store = world(&db).await;
    let new = passkey(ANN, 1);
    let kept = insert(&store, &new).await.unwrap();
    assert_eq!((kept.version.0, &kept.credential, kept.last_used_at), (1, &new.credential, None));
    assert_eq!(insert(&store, &passkey(GUS, 1)).await, None, "the same key is one user's");
    let elsewhere = NewPasskey { rp_id: "globex.example.com".into(), ..passkey(GUS, 1) };
    assert!(insert(&store, &elsewhere).await.is_some(), "nobody takes an id away at another hostname");
    insert(&store, &passkey(ANN, 2)).await.unwrap();
    insert(&store, &passkey(ANN, 3)).await.unwrap();
    assert_eq!(insert(&store, &passkey(ANN, 4)).await, None, "there are as many as there may be");
    assert_eq!(store.passkeys(ANN).await.unwrap().len(), 3);
    assert_eq!(store.passkey_by_credential((CLOUD, HOST), &[1; 32]).await.unwrap(), Some(kept.clone()));
    assert_eq!(store.passkey_by_credential((ROOT, HOST), &[1; 32]).await.unwrap(), None);
    let used = async |seen: &Passkey, count| {
        write(&store, |tx| async move { tx.note_passkey_used(seen, count, true).await }).await
    };
    assert!(used(&kept, 5).await);
    assert!(!used(&kept, 6).await, "its count has moved since");
    let again = store.passkey_by_credential((CLOUD, HOST), &[1; 32]).await.unwrap().unwrap();
    assert_eq!((again.sign_count, again.backup_state, again.last_used_at), (5, true, Some(NOW)));
    assert!(write(&store, |tx| async move { tx.delete_passkey(GUS, kept.id).await }).await.is_none(), "another's");
}

pub(crate) async fn of_two_that_delete_the_last_two_passkeys_one_keeps_the_way_in(db: Database) {
    let store = world(&db).await;
    // As the world makes them, or with a password that was taken away: nothing else signs them in.
    db.behind(&format!("UPDATE users SET password_hash = NULL WHERE id = '{ANN}'")).await;
    let (one, two) = (insert(&store, &passkey(ANN, 1)).await.unwrap(), insert(&store, &passkey(ANN, 2)).await.unwrap());
    let all = [one.id, two.id].map(|id| {
        let store = store.clone();
        tokio::spawn(async move {
            store.write_session(SCOPE, NOW, |tx| async move { tx.delete_passkey(ANN, id).await }).await
        })
    });
    let outcomes: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
    let refused = outcomes.iter().filter(|it| matches!(it, Err(StoreError::Rule { code: "last_credential", .. })));
    assert_eq!(refused.count(), 1, "{outcomes:?}");
    assert_eq!(store.passkeys(ANN).await.unwrap().len(), 1);
    db.behind(&format!("UPDATE users SET password_hash = 'x' WHERE id = '{ANN}'")).await;
    let last = store.passkeys(ANN).await.unwrap()[0].id;
    assert!(write(&store, |tx| async move { tx.delete_passkey(ANN, last).await }).await.is_some());
}

pub(crate) async fn of_many_that_answer_one_challenge_one_does(db: Database) {
    let store = world(&db).await;
    let end: Timestamp = NOW + Duration::from_secs(300);
    let all = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            write(&store, |tx| async move { tx.use_passkey_challenge(CLOUD, [1; 32], end).await }).await
        })
    });
    let won = join_all(all).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
    assert_eq!(store.sweep_passkey_challenges(end - Duration::from_millis(1), 10).await.unwrap(), 0);
    assert_eq!(store.sweep_passkey_challenges(end, 10).await.unwrap(), 1);
}

pub(crate) async fn passkeys_are_invisible_to_other_projects(db: Database) {
    let store = world(&db).await;
    insert(&store, &passkey(ANN, 1)).await.unwrap();
    write(&store, |tx| async move { tx.use_passkey_challenge(CLOUD, [1; 32], NOW).await }).await;
    let Some(client) = db.postgres().await else { return };
    for (scope, expected) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1),
        (scope_settings("project", Some(ROOT), None), 0),
        (scope_settings("tenant", Some(ROOT), Some(STAFF)), 0),
        (String::new(), 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for table in ["passkeys", "used_passkey_challenges"] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
