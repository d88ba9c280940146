//! Programs that get tokens of their own.

use authz::Scope;
use domain::{
    Fact, Id, MachineClientId, Secret, UserId,
    model::{MachineClient, NewMachineClient, Version},
};
use futures::future::join_all;
use store::{Store, StoreError, read::*};
use uuid::Uuid;

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const BOT: UserId = Id::new(Uuid::from_u128(0x35));

fn hash(byte: u8) -> Secret<[u8; 32]> {
    Secret::new([byte; 32])
}

/// ACME's client `billing`, which acts as BOT.
async fn billing(store: &Store) -> MachineClient {
    change!(store, |tx| tx.insert_user(&system(), user(BOT, "bot"))).unwrap();
    change!(store, |tx| tx.insert_membership(&system(), membership(ACME, BOT))).unwrap();
    let new = NewMachineClient {
        id: fresh(),
        project_id: CLOUD,
        tenant_id: ACME,
        user_id: BOT,
        name: "billing".into(),
        secret_hash: hash(1),
    };
    change!(store, |tx, new| tx.insert_machine_client(&system(), new.clone())).unwrap();
    store.machine_client(new.id).await.unwrap().unwrap()
}

async fn rotate(store: &Store, id: MachineClientId, version: Version, byte: u8) -> Result<(), StoreError> {
    let by = &system();
    let rotated = store.write(by, NOW, |tx| async move {
        tx.done("rotated", tx.rotate_machine_client(by, (id, version), &hash(byte), None).await?).await
    });
    rotated.await.map(drop)
}

pub(crate) async fn of_many_that_rotate_a_client_at_once_one_does(db: Database) {
    let store = world(&db).await;
    let client = billing(&store).await;
    let all = (0..8_u8).map(|n| {
        let store = store.clone();
        let (id, version) = (client.id, client.version);
        tokio::spawn(async move { rotate(&store, id, version, 10 + n).await.is_ok() })
    });
    let won = join_all(all).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
    let now = store.machine_client(client.id).await.unwrap().unwrap();
    assert_ne!(now.secret_hash, hash(1));
    assert!(now.previous_hash.is_none() && now.session.is_none());
}

pub(crate) async fn a_client_that_is_rotated_or_deleted_leaves_facts_for_its_user(db: Database) {
    let store = world(&db).await;
    let client = billing(&store).await;
    assert!(store.is_of_machine(BOT).await.unwrap() && !store.is_of_machine(ANN).await.unwrap());
    store.tick(NOW).await.unwrap();
    let told = async || {
        let facts = store.tick(NOW).await.unwrap().facts;
        facts
            .into_iter()
            .any(|it| matches!(it.fact, Fact::UserGeneration { tenant, user, .. } if (tenant, user) == (ACME, BOT)))
    };
    rotate(&store, client.id, client.version, 2).await.unwrap();
    assert!(told().await);
    // As the control API does, in one transaction.
    let (by, id) = (&system(), client.id);
    let deleted = store.write(by, NOW, |tx| async move {
        tx.deleted(tx.delete_machine_client(by, id).await?).await?;
        tx.deleted(tx.delete_user(&system(), BOT).await?).await
    });
    deleted.await.unwrap();
    assert!(told().await);
    assert!(store.machine_client(client.id).await.unwrap().is_none());
    assert!(store.user(BOT).await.unwrap().is_none());
}

pub(crate) async fn machine_clients_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    let id = billing(&store).await.id;
    let Some(client) = db.postgres().await else { return };
    assert!(store.within(Scope::Tenant(CLOUD, GLOBEX)).machine_client(id).await.unwrap().is_none());
    assert!(store.within(Scope::Tenant(CLOUD, ACME)).machine_client(id).await.unwrap().is_some());
    for (scope, seen) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 0),
        (scope_settings("tenant", Some(ROOT), Some(ACME)), 0),
        (String::new(), 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        let row = client.query_one("SELECT COUNT(*) FROM machine_clients", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), seen, "under `{scope}`");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
