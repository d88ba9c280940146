//! Who fetches the keys of an external issuer, and when.

use std::time::Duration;

use authz::{Scope, action::ManageIssuers};
use domain::{
    IssuerId, Timestamp,
    model::ExternalIssuer,
    snapshot::{Algorithm, Entity, ExternalBinding, TenantBinding},
};
use serde_json::{Value, json};
use store::{Fetched, IssuerFetch, Store, StoreError, Tx, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

const SECOND: Duration = Duration::from_secs(1);
const URL: &str = "https://id.example.test/jwks";

async fn issuer(store: &Store) -> ExternalIssuer {
    let new = ExternalIssuer {
        id: fresh(),
        project_id: CLOUD,
        issuer: "https://id.example.test".into(),
        audiences: vec!["orders".into()],
        algorithms: vec![Algorithm::Es256],
        binding: ExternalBinding {
            tenant: TenantBinding::Tenant(ACME),
            subject_claim: "sub".into(),
            roles_claim: None,
            required_claims: std::collections::BTreeMap::new(),
        },
        jwks: store::no_keys(),
        jwks_url: Some(URL.into()),
        version: domain::model::Version(1),
    };
    change!(store, |tx, new| tx.insert_issuer(&system(), new.clone())).unwrap();
    new
}

async fn claim(store: &Store, now: Timestamp) -> Option<IssuerFetch> {
    let due = store.due_fetches(now, 10).await.unwrap();
    let seen = due.first()?;
    let claimed = store.write_session(Scope::Platform, now, |tx| async move { tx.claim_issuer_fetch(seen).await });
    claimed.await.map_err(|error: StoreError| error).unwrap()
}

async fn note(store: &Store, now: Timestamp, claim: &IssuerFetch, outcome: &Fetched) {
    let due = now + SECOND * 300;
    let noted =
        store.write_session(Scope::Platform, now, |tx| async move { tx.note_issuer_fetch(claim, outcome, due).await });
    noted.await.map_err(|error: StoreError| error).unwrap();
}

async fn renew(store: &Store, now: Timestamp, claim: &IssuerFetch, keys: &Value) -> Option<ExternalIssuer> {
    let by = system::<ManageIssuers>();
    let by = &by;
    let change = |tx: Tx| async move {
        match tx.renew_issuer_keys(by, claim, keys.clone(), now + SECOND * 300).await? {
            Some(renewed) => tx.done("renewed", renewed).await.map(|it| it.map(Some)),
            None => Ok::<_, StoreError>(store::Audited::unchanged(None)),
        }
    };
    store.write(by, now, change).await.unwrap().0
}

async fn ask(store: &Store, now: Timestamp, id: IssuerId) -> bool {
    let asked = store.write_session(Scope::Platform, now, |tx| async move { tx.ask_issuer_fetch(id).await });
    asked.await.map_err(|error: StoreError| error).unwrap()
}

fn keys(names: &[&str]) -> Value {
    json!({ "keys": names.iter().map(|kid| json!({ "kty": "EC", "kid": kid })).collect::<Vec<_>>() })
}

pub(crate) async fn of_many_claims_at_once_one_wins_and_none_follows_for_a_while(db: Database) {
    let store = world(&db).await;
    issuer(&store).await;
    let claims = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { claim(&store, NOW).await })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        won += u32::from(claim.await.unwrap().is_some());
    }
    assert_eq!(won, 1);
    assert!(claim(&store, NOW + SECOND * 29).await.is_none());
    assert!(claim(&store, NOW + SECOND * 30).await.is_some(), "the first was never heard of again");
}

pub(crate) async fn a_claim_that_another_followed_changes_nothing(db: Database) {
    let store = world(&db).await;
    let id = issuer(&store).await.id;
    let lost = claim(&store, NOW).await.unwrap();
    let later = NOW + SECOND * 30;
    let second = claim(&store, later).await.unwrap();
    assert!(renew(&store, later, &second, &keys(&["b"])).await.is_some());
    assert!(renew(&store, later, &lost, &keys(&["a"])).await.is_none());
    note(&store, later, &lost, &Fetched::Failed { reason: "late".into() }).await;
    let fetch = store.issuer_fetch(id).await.unwrap().unwrap();
    assert_eq!((fetch.failures, fetch.fetched_at), (0, Some(later)));
    assert_eq!(store.issuer(id).await.unwrap().unwrap().jwks, keys(&["b"]));
}

pub(crate) async fn an_issuer_that_is_asked_for_waits_for_its_interval_and_longer_when_it_brings_nothing(db: Database) {
    let store = world(&db).await;
    let id = issuer(&store).await.id;
    let first = claim(&store, NOW).await.unwrap();
    renew(&store, NOW, &first, &keys(&["a"])).await.unwrap();
    assert!(claim(&store, NOW + SECOND * 31).await.is_none(), "nothing is due");

    assert!(ask(&store, NOW + SECOND, id).await);
    assert!(claim(&store, NOW + SECOND * 29).await.is_none());
    let again = claim(&store, NOW + SECOND * 30).await.unwrap();
    assert!(again.asked);
    note(&store, NOW + SECOND * 30, &again, &Fetched::Unchanged).await;

    ask(&store, NOW + SECOND * 31, id).await;
    assert!(claim(&store, NOW + SECOND * 89).await.is_none(), "twice the interval");
    let third = claim(&store, NOW + SECOND * 90).await.unwrap();
    renew(&store, NOW + SECOND * 90, &third, &keys(&["a", "b"])).await.unwrap();
    ask(&store, NOW + SECOND * 91, id).await;
    assert!(claim(&store, NOW + SECOND * 120).await.is_some(), "something new came: the interval again");
    assert!(!ask(&store, NOW, fresh()).await, "an issuer nobody knows");
}

pub(crate) async fn keys_that_are_too_old_are_taken_out_of_force_once(db: Database) {
    let store = world(&db).await;
    let id = issuer(&store).await.id;
    let first = claim(&store, NOW).await.unwrap();
    renew(&store, NOW, &first, &keys(&["a"])).await.unwrap();
    let later = NOW + SECOND * 3600;
    let failed = claim(&store, later).await.unwrap();
    note(&store, later, &failed, &Fetched::Failed { reason: "connection refused".into() }).await;
    assert_eq!(store.fetched_before(NOW).await.unwrap().len(), 1, "a failure leaves the last good keys");
    store.tick(later).await.unwrap();

    let by = system::<ManageIssuers>();
    let by = &by;
    let drop_keys = || {
        store.write(by, later, move |tx: Tx| async move {
            match tx.drop_issuer_keys(by, id, NOW).await? {
                Some(dropped) => tx.done("dropped", dropped).await.map(|it| it.map(|_| true)),
                None => Ok::<_, StoreError>(store::Audited::unchanged(false)),
            }
        })
    };
    let (one, two) = tokio::join!(drop_keys(), drop_keys());
    assert!(one.unwrap().0 != two.unwrap().0, "one of two drops them");
    assert!(store.fetched_before(later).await.unwrap().is_empty());
    let tick = store.tick(later).await.unwrap();
    let published = tick.changes.iter().find_map(|change| match &change.entity {
        Some(Entity::Issuer(issuer)) if issuer.id == id => Some(issuer.jwks.clone()),
        _ => None,
    });
    assert_eq!((published, tick.min_revision), (Some(store::no_keys()), tick.revision));
}

pub(crate) async fn what_was_fetched_from_one_place_is_not_kept_for_another(db: Database) {
    let store = world(&db).await;
    let mut bound = issuer(&store).await;
    let first = claim(&store, NOW).await.unwrap();
    renew(&store, NOW, &first, &keys(&["a"])).await.unwrap();
    bound.audiences = vec!["billing".into()];
    let same = bound.clone();
    let same = change!(store, |tx, same| tx.update_issuer(&system(), same.clone())).unwrap().0;
    assert_eq!(same.jwks, keys(&["a"]), "the place is the same");
    bound.version = same.version;
    bound.jwks_url = Some("https://other.example.test/jwks".into());
    let moved = bound.clone();
    let moved = change!(store, |tx, moved| tx.update_issuer(&system(), moved.clone())).unwrap().0;
    assert_eq!(moved.jwks, store::no_keys());
    assert!(renew(&store, NOW, &first, &keys(&["a"])).await.is_none(), "a fetch from the place before");
    bound.version = moved.version;
    bound.jwks_url = None;
    bound.jwks = keys(&["given"]);
    let given = bound.clone();
    change!(store, |tx, given| tx.update_issuer(&system(), given.clone())).unwrap();
    assert!(store.issuer_fetch(bound.id).await.unwrap().is_none());
}
