//! What customers were and became, and the evidence.

use domain::{
    audit::ActorKind,
    model::{CustomerChange, CustomerState, NewArtifact},
    snapshot::{Entity, KycStatus, PaymentStatus},
};
use store::{
    Audited, Store, StoreError,
    list::{ArtifactList, CustomerHistory, Selection},
    read::*,
};

use crate::{
    harness::{Database, NOW},
    world::*,
};

async fn push(store: &Store, state: CustomerState, reason: Option<&str>) -> Result<(), StoreError> {
    let by = &system::<authz::action::ManageCustomers>();
    let pushed = store
        .write(by, NOW, |tx| async move { tx.set_customer_state(by, CUSTOMER, state, (reason, Some("case 7"))).await });
    pushed.await.map(drop)
}

async fn history(store: &Store) -> Vec<CustomerChange> {
    store.list::<CustomerHistory>(CUSTOMER, &Selection::default()).await.unwrap().rows
}

pub(crate) async fn a_pushed_state_is_kept_and_reaches_its_tenants(db: Database) {
    let store = world(&db).await;
    push(&store, CustomerState::Payment(PaymentStatus::Blocked), Some("charge-back")).await.unwrap();
    push(&store, CustomerState::Kyc(KycStatus::DueRekyc), None).await.unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision, "who is blocked is blocked everywhere");
    let told = tick.changes.iter().rev().find_map(|change| match &change.entity {
        Some(Entity::Tenant(it)) => Some((it.payment, it.kyc)),
        _ => None,
    });
    assert_eq!(told, Some((PaymentStatus::Blocked, KycStatus::DueRekyc)));
    let history = history(&store).await;
    let steps: Vec<_> = history.iter().map(|it| (it.from, it.to, it.reason.as_deref())).collect();
    assert_eq!(
        steps,
        [
            (
                CustomerState::Payment(PaymentStatus::Ok),
                CustomerState::Payment(PaymentStatus::Blocked),
                Some("charge-back")
            ),
            (CustomerState::Kyc(KycStatus::Completed), CustomerState::Kyc(KycStatus::DueRekyc), None),
        ]
    );
    assert_eq!((history[0].by.kind, history[0].at), (ActorKind::System, NOW));
    assert_eq!(history[0].reference.as_deref(), Some("case 7"));
}

pub(crate) async fn a_state_that_does_not_follow_changes_nothing(db: Database) {
    let store = world(&db).await;
    push(&store, CustomerState::Kyc(KycStatus::Completed), None).await.unwrap();
    assert!(history(&store).await.is_empty(), "the same again is no step");
    let refused = push(&store, CustomerState::Kyc(KycStatus::Partial), None).await;
    assert!(matches!(refused, Err(StoreError::CustomerState(_))), "{refused:?}");
    let mut customer = store.customer(CUSTOMER).await.unwrap().unwrap();
    customer.kyc = KycStatus::None;
    customer.name = "Renamed".into();
    let (saved, _) = change!(store, |tx, customer| tx.update_customer(&system(), customer.clone())).unwrap();
    assert_eq!((saved.kyc, saved.name.as_str()), (KycStatus::Completed, "Renamed"), "a state is pushed, never edited");
}

async fn put(store: &Store, reference: &str, byte: u8) -> Result<bool, StoreError> {
    let new =
        NewArtifact { customer_id: CUSTOMER, kind: "passport".into(), reference: reference.into(), sha256: [byte; 32] };
    let by = &system::<authz::action::ManageCustomers>();
    let new = &new;
    let put = store.write(by, NOW, |tx| async move {
        match tx.put_artifact(by, new.clone()).await? {
            Ok(put) => Ok(tx.done("put", put).await?.map(|_| true)),
            Err(_) => Ok(Audited::unchanged(false)),
        }
    });
    put.await.map(|(new, _)| new)
}

pub(crate) async fn evidence_stays_as_it_was_put(db: Database) {
    let store = world(&db).await;
    assert!(put(&store, "vault/1", 1).await.unwrap());
    assert!(!put(&store, "vault/1", 1).await.unwrap(), "the same again");
    let other = put(&store, "vault/1", 2).await;
    assert!(matches!(other, Err(StoreError::Rule { code: "artifact_exists", .. })), "{other:?}");
    assert!(put(&store, "vault/2", 2).await.unwrap());
    let kept = store.list::<ArtifactList>(CUSTOMER, &Selection::default()).await.unwrap().rows;
    assert_eq!(kept.iter().map(|it| (it.sha256[0], it.at)).collect::<Vec<_>>(), [(1, NOW), (2, NOW)]);
}
