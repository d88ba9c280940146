//! Signing keys and issuers.

use std::collections::BTreeMap;

use domain::{
    Fact, SigningKeyId,
    model::{ASSERTION_KEY_LEAD, ExternalIssuer, KeyPurpose, KeySource, KeyState, NewSigningKey, SignerKind},
    snapshot::{Algorithm, Entity, EntityKind, ExternalBinding, TenantBinding},
};
use serde_json::json;
use store::{Store, StoreError, list::SigningKeyList, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

pub(crate) fn key(kid: SigningKeyId) -> NewSigningKey {
    NewSigningKey {
        kid,
        project_id: CLOUD,
        purpose: KeyPurpose::Tokens,
        algorithm: Algorithm::Es256,
        material: vec![1, 2, 3].into(),
        public_jwk: json!({ "kty": "EC", "kid": kid.to_string() }),
        source: KeySource::Made,
        signer: SignerKind::Local,
        not_before: None,
        expires_at: None,
    }
}

async fn two_keys(store: &Store) -> [SigningKeyId; 2] {
    let kids = [fresh(), fresh()];
    for kid in kids {
        change!(store, |tx| tx.insert_signing_key(&system(), key(kid))).unwrap();
    }
    kids
}

pub(crate) async fn of_two_activations_at_once_one_key_is_active(db: Database) {
    let store = world(&db).await;
    let kids = two_keys(&store).await;
    let activations = kids.map(|kid| {
        let store = store.clone();
        tokio::spawn(async move { change!(store, |tx| tx.activate_signing_key(&system(), kid)) })
    });
    for activation in activations {
        activation.await.unwrap().unwrap();
    }
    let states: Vec<_> = listed::<SigningKeyList>(&store, CLOUD).await.iter().map(|key| key.state).collect();
    assert!(states.contains(&KeyState::Active) && states.contains(&KeyState::Retiring), "{states:?}");
    let (active, private) = store.active_key(CLOUD, KeyPurpose::Tokens).await.unwrap().unwrap();
    assert_eq!((active.state, private.expose().as_slice()), (KeyState::Active, &[1, 2, 3][..]));
}

pub(crate) async fn a_key_of_the_fleet_signs_a_day_after_it_was_published(db: Database) {
    let store = world(&db).await;
    let [first, second] = [fresh(), fresh()];
    for kid in [first, second] {
        let new = NewSigningKey { purpose: KeyPurpose::Assertions, project_id: ROOT, ..key(kid) };
        change!(store, |tx, new| tx.insert_signing_key(&system(), new.clone())).unwrap();
    }
    change!(store, |tx| tx.activate_signing_key(&system(), first)).unwrap();
    let early = change!(store, |tx| tx.activate_signing_key(&system(), second));
    assert!(matches!(early, Err(StoreError::Rule { code: "signing_key_unpublished", .. })), "{early:?}");
    let by = system::<authz::action::ManageSigningKeys>();
    let by = &by;
    let a_day_later = store.write(by, NOW + ASSERTION_KEY_LEAD, |tx| async move {
        tx.done("activated", tx.activate_signing_key(by, second).await?).await
    });
    a_day_later.await.unwrap();
}

pub(crate) async fn the_key_set_holds_every_key_that_was_not_retired(db: Database) {
    let store = world(&db).await;
    let [first, second] = two_keys(&store).await;
    change!(store, |tx| tx.activate_signing_key(&system(), first)).unwrap();
    change!(store, |tx| tx.activate_signing_key(&system(), second)).unwrap();
    let keys = |tick: &store::Tick| {
        tick.changes.iter().find_map(|change| match &change.entity {
            Some(Entity::Issuer(issuer)) => Some(issuer.jwks["keys"].as_array().unwrap().len()),
            _ => None,
        })
    };
    assert_eq!(keys(&store.tick(NOW).await.unwrap()), Some(2));
    let active = change!(store, |tx| tx.retire_signing_key(&system(), second));
    assert!(matches!(active, Err(StoreError::Rule { code: "signing_key_state", .. })), "{active:?}");
    change!(store, |tx| tx.retire_signing_key(&system(), first)).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!((keys(&tick), tick.min_revision), (Some(1), tick.revision));
    let again = change!(store, |tx| tx.activate_signing_key(&system(), first));
    assert!(matches!(again, Err(StoreError::Rule { code: "signing_key_state", .. })), "{again:?}");
}

pub(crate) async fn of_many_successors_made_at_once_one_is_stored(db: Database) {
    let store = world(&db).await;
    let makers = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let successor = NewSigningKey { source: KeySource::Schedule, not_before: Some(NOW), ..key(fresh()) };
            let successor = &successor;
            change!(store, |tx, successor| tx.insert_signing_key(&system(), (*successor).clone()))
        })
    });
    let mut made = 0;
    for maker in makers.collect::<Vec<_>>() {
        match maker.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert!(error.is_conflict("signing_keys", "project_id"), "{error:?}"),
        }
    }
    assert_eq!((made, listed::<SigningKeyList>(&store, CLOUD).await.len()), (1, 1));
}

pub(crate) async fn keys_in_motion_are_those_something_may_be_due_for(db: Database) {
    let store = world(&db).await;
    let motion = async |aged: u64| {
        let aged = NOW - std::time::Duration::from_secs(aged);
        let keys = store.keys_in_motion(NOW, aged).await.unwrap();
        keys.into_iter().map(|key| (key.kid, key.state)).collect::<Vec<_>>()
    };
    let [first, second] = two_keys(&store).await;
    assert_eq!(
        store.projects_without_key().await.unwrap().iter().map(|it| it.as_str()).collect::<Vec<_>>(),
        ["cloud", "root"]
    );
    change!(store, |tx| tx.activate_signing_key(&system(), first)).unwrap();
    assert_eq!(store.projects_without_key().await.unwrap().len(), 1);
    assert_eq!(motion(1).await, [(second, KeyState::Pending)]);
    assert_eq!(motion(0).await.len(), 2);
    let due = Some(NOW);
    change!(store, |tx| tx.reschedule_signing_key(&system(), second, (due, due))).unwrap();
    assert_eq!(motion(1).await.len(), 2, "the active key is to be compared with the pending one");
    change!(store, |tx| tx.activate_signing_key(&system(), second)).unwrap();
    assert_eq!(motion(1).await.len(), 2, "the active key has expired");
    change!(store, |tx| tx.expire_signing_key(&system(), second)).unwrap();
    assert!(store.active_key(CLOUD, KeyPurpose::Tokens).await.unwrap().is_none());
    let again = change!(store, |tx| tx.expire_signing_key(&system(), second));
    assert!(matches!(again, Err(StoreError::Rule { code: "signing_key_state", .. })), "{again:?}");
}

pub(crate) async fn an_ambiguous_issuer_is_refused(db: Database) {
    let store = world(&db).await;
    let issuer = |audience: &str, claims: &[(&str, &str)]| ExternalIssuer {
        id: fresh(),
        project_id: CLOUD,
        issuer: "https://id.example.test".into(),
        audiences: vec![audience.into()],
        algorithms: vec![Algorithm::Rs256],
        binding: ExternalBinding {
            tenant: TenantBinding::Tenant(ACME),
            subject_claim: "sub".into(),
            roles_claim: None,
            required_claims: claims.iter().map(|(k, v)| ((*k).into(), json!(v))).collect::<BTreeMap<_, _>>(),
        },
        jwks: json!({ "keys": [] }),
        jwks_url: None,
        version: domain::model::Version(1),
    };
    let first = issuer("orders", &[("org", "acme")]);
    change!(store, |tx, first| tx.insert_issuer(&system(), first.clone())).unwrap();
    for (new, allowed) in [
        (issuer("orders", &[]), false),
        (issuer("orders", &[("org", "acme")]), false),
        (issuer("orders", &[("org", "globex")]), true),
        (issuer("billing", &[]), true),
    ] {
        let outcome = change!(store, |tx, new| tx.insert_issuer(&system(), new.clone()));
        assert_eq!(outcome.is_ok(), allowed, "{outcome:?}");
    }
    change!(store, |tx| tx.delete_issuer(&system(), first.id)).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert!(tick.changes.iter().any(|it| it.key.kind == EntityKind::Issuer && it.entity.is_none()));
    assert!(tick.facts.iter().all(|it| !matches!(it.fact, Fact::TokenRefused { .. })));
}
