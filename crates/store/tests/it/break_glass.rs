//! Emergency administrators.

use authz::{Scope, action::*};
use domain::{
    Secret,
    model::{BreakGlass, NewBreakGlass, RoleSubject, UserStatus, builtin},
};
use futures::future::join_all;
use store::{Audited, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

async fn set_up(store: &Store, hash: &str) -> BreakGlass {
    let new = NewBreakGlass {
        customer_id: CUSTOMER,
        user_id: ANN,
        project_id: CLOUD,
        tenant_id: ACME,
        password_hash: Secret::new(hash.into()),
        totp_secret: Secret::new(b"12345678901234567890".to_vec()),
    };
    change!(store, |tx, new| tx.set_up_break_glass(&system(), new.clone())).unwrap().0
}

async fn spend(store: &Store, seen: &BreakGlass, step: i64) -> bool {
    let spent =
        store.write_session(Scope::Platform, NOW, |tx| async move { tx.use_break_glass_code(seen, step).await });
    spent.await.unwrap()
}

pub(crate) async fn of_many_that_show_one_code_one_signs_in(db: Database) {
    let store = world(&db).await;
    let seen = set_up(&store, "hash").await;
    let all = (0..8).map(|_| {
        let (store, seen) = (store.clone(), seen.clone());
        tokio::spawn(async move { spend(&store, &seen, 100).await })
    });
    let spent = join_all(all).await.into_iter().filter(|spent| *spent.as_ref().unwrap()).count();
    assert_eq!(spent, 1);
    assert!(!spend(&store, &seen, 99).await, "a code of an earlier step");
    assert!(spend(&store, &seen, 101).await);
    let again = set_up(&store, "another").await;
    assert!(!spend(&store, &seen, 102).await, "set up anew since");
    assert!(spend(&store, &again, 1).await, "of another secret");
}

pub(crate) async fn who_is_disabled_does_not_sign_in_and_loses_every_session(db: Database) {
    let store = world(&db).await;
    let seen = set_up(&store, "hash").await;
    store.tick(NOW).await.unwrap();
    let by = &system::<ManageBreakGlass>();
    let switch = async |on| {
        let switched = store.write(by, NOW, |tx| async move {
            match tx.switch_break_glass(by, CUSTOMER, on).await? {
                Ok(change) => Ok::<_, StoreError>(tx.done("switched", change).await?.map(|_| true)),
                Err(_) => Ok(Audited::unchanged(false)),
            }
        });
        switched.await.unwrap().0
    };
    assert!(switch(false).await && !switch(false).await);
    assert!(!spend(&store, &seen, 100).await);
    assert!(!store.tick(NOW).await.unwrap().facts.is_empty(), "tokens from before are refused");
    assert!(switch(true).await);
    assert!(spend(&store, &seen, 100).await);
}

pub(crate) async fn the_secret_is_sealed_and_nobody_takes_their_place_away(db: Database) {
    let store = world(&db).await;
    let owner = builtin_owner(&store).await;
    change!(store, |tx| tx.insert_role_binding(&system(), binding(owner, ACME, ANN))).unwrap();
    set_up(&store, "hash").await;
    let secret = store.break_glass_secret(CUSTOMER).await.unwrap().unwrap();
    assert_eq!(secret.expose(), b"12345678901234567890");
    assert_eq!(db.number("SELECT COUNT(*) FROM break_glass WHERE length(totp_enc) > 40").await, 1);
    assert_eq!(store.customer(CUSTOMER).await.unwrap().unwrap().break_glass_user_id, Some(ANN));
    assert_eq!(store.break_glass_of_user(ANN).await.unwrap().unwrap().customer_id, CUSTOMER);

    let mut ann = store.user(ANN).await.unwrap().unwrap();
    ann.status = UserStatus::Disabled;
    let bindings = store.role_bindings(ACME, store::Page::FIRST).await.unwrap();
    let owner = bindings.iter().find(|it| it.subject == RoleSubject::User(ANN)).unwrap().id;
    let hash = Secret::new(String::from("theirs"));
    for refused in [
        change!(store, |tx, ann| tx.update_user(&system(), ann.clone())).map(drop),
        change!(store, |tx, hash| tx.set_password(&system(), ANN, hash, false)).map(drop),
        change!(store, |tx| tx.delete_membership(&system(), ACME, ANN)).map(drop),
        change!(store, |tx| tx.delete_role_binding(&system(), owner)).map(drop),
    ] {
        assert!(matches!(refused, Err(StoreError::Rule { code: "user_is_break_glass", .. })), "{refused:?}");
    }
}

async fn builtin_owner(store: &Store) -> domain::RoleId {
    let owner = builtin::all().into_iter().find(|role| role.id == builtin::OWNER).unwrap();
    let by = &system::<ManageRoles>();
    let owner = &owner;
    let made = store.write(by, NOW, |tx| async move {
        if let Some(change) = tx.ensure_builtin_role(by, owner.clone()).await? {
            tx.updated(change).await?;
        }
        Ok::<_, StoreError>(Audited::unchanged(()))
    });
    made.await.unwrap();
    builtin::OWNER
}

pub(crate) async fn emergency_administrators_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    set_up(&store, "hash").await;
    let Some(client) = db.postgres().await else { return };
    assert!(store.within(Scope::Tenant(CLOUD, GLOBEX)).break_glass(CUSTOMER).await.unwrap().is_none());
    for (scope, expected) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 0),
        (String::new(), 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        let row = client.query_one("SELECT COUNT(*) FROM break_glass", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), expected, "under `{scope}`");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
