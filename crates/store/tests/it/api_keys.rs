//! API keys: what is kept of them, who sees them, and that every change is a fact.

use std::time::Duration;

use authz::{Authorized, Scope, action::ManageApiKeys};
use domain::{
    ApiKeyId, ApiKeyScheme, Fact, FleetName, KeyPrefix, Secret, TenantId, Timestamp, UserId,
    model::{ApiKey, NewApiKey, Version},
};
use store::{Page, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const HOUR: Duration = Duration::from_secs(3600);

fn new_key(scheme: ApiKeyScheme, tenant: TenantId, owner: UserId, public: char) -> NewApiKey {
    let prefix: KeyPrefix = format!("{}{}", scheme.mark(), public.to_string().repeat(16)).parse().unwrap();
    NewApiKey {
        id: fresh(),
        project_id: CLOUD,
        tenant_id: tenant,
        owner_id: owner,
        name: "build".into(),
        prefix,
        verifier: Secret::new(vec![1; 32]),
        scopes: vec!["shop:order:list".parse().unwrap()],
        networks: vec!["192.0.2.0/24".parse().unwrap()],
        rate_limit: None,
        expires_at: Some(NOW + 24 * HOUR),
    }
}

async fn made(store: &Store, new: NewApiKey) -> ApiKey {
    change!(store, |tx, new| tx.insert_api_key(&system(), new.clone())).unwrap().0
}

async fn rotate(store: &Store, key: (ApiKeyId, Version), byte: u8) -> Result<ApiKey, StoreError> {
    let by: Authorized<ManageApiKeys> = system();
    let (by, secret) = (&by, &Secret::new(vec![byte; 32]));
    let rotated = store.write(by, NOW, |tx| async move {
        tx.done("rotated", tx.rotate_api_key(by, key, secret, NOW + HOUR).await?).await
    });
    rotated.await.map(|(key, _)| key)
}

async fn facts(store: &Store) -> Vec<Fact> {
    store.tick(NOW).await.unwrap().facts.into_iter().map(|numbered| numbered.fact).collect()
}

pub(crate) async fn a_key_reads_back_and_its_secret_is_a_hash_or_sealed(db: Database) {
    let store = world(&db).await;
    for (scheme, public) in [(ApiKeyScheme::Bearer, 'a'), (ApiKeyScheme::Hmac, 'b')] {
        let new = new_key(scheme, ACME, ANN, public);
        let key = made(&store, new.clone()).await;
        assert_eq!((key.scheme(), &key.scopes, &key.networks), (scheme, &new.scopes, &new.networks));
        let state = store.api_key_state(&new.prefix, None).await.unwrap().unwrap();
        assert_eq!((state.id, state.tenant, state.owner), (new.id, ACME, ANN));
        assert_eq!(state.owner_name.as_deref(), Some("ann"));
        let [verifier] = &state.verifiers[..] else { panic!("{state:?}") };
        assert_eq!((&verifier.secret, verifier.until), (&new.verifier, None));
    }
    // A signing key does not lie there as it is.
    assert_eq!(db.number("SELECT COUNT(*) FROM api_keys WHERE secret_hash IS NOT NULL").await, 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM api_keys WHERE length(secret_enc) > 60").await, 1);
    assert!(store.api_key_state(&"pck_zzzzzzzzzzzzzzzz".parse().unwrap(), None).await.unwrap().is_none());
    let elsewhere = "eu-9".parse().unwrap();
    let prefix = "pck_aaaaaaaaaaaaaaaa".parse().unwrap();
    assert!(store.api_key_state(&prefix, Some(&elsewhere)).await.unwrap().is_none(), "another fleet's");
    assert!(store.api_key_state(&prefix, Some(&domain::FleetName::default())).await.unwrap().is_some());
    let again = change!(store, |tx| tx.insert_api_key(&system(), new_key(ApiKeyScheme::Bearer, GLOBEX, GUS, 'a')));
    assert!(again.is_err_and(|error| error.is_conflict("api_keys", "prefix")), "a public part is unique everywhere");
}

pub(crate) async fn every_change_of_a_key_is_a_fact_that_names_it(db: Database) {
    let store = world(&db).await;
    let key = made(&store, new_key(ApiKeyScheme::Bearer, ACME, ANN, 'a')).await;
    facts(&store).await;
    let told = [Fact::KeyChanged { key: key.id }];
    let state = async || store.api_key_state(&key.prefix, None).await.unwrap();
    for disabled in [true, false] {
        change!(store, |tx| tx.set_api_key_disabled(&system(), key.id, disabled)).unwrap();
        assert_eq!(facts(&store).await, told);
        let now = state().await.unwrap();
        assert_eq!((now.disabled, now.as_of), (disabled, store.head().await.unwrap().seq));
    }
    let key = store.api_key(key.id).await.unwrap().unwrap();
    rotate(&store, (key.id, key.version), 2).await.unwrap();
    assert_eq!(facts(&store).await, told);
    let rotated = state().await.unwrap();
    let untils: Vec<_> = rotated.verifiers.iter().map(|it| (it.secret.expose()[0], it.until)).collect();
    assert_eq!(untils, [(2, None), (1, Some(NOW + HOUR))]);
    change!(store, |tx| tx.revoke_api_key(&system(), key.id)).unwrap();
    assert_eq!(facts(&store).await, told);
    assert!(state().await.is_none());
    for outcome in [
        change!(store, |tx| tx.set_api_key_disabled(&system(), key.id, false)),
        change!(store, |tx| tx.revoke_api_key(&system(), key.id)),
    ] {
        assert!(matches!(outcome, Err(StoreError::NotFound { .. })), "it does not come back");
    }
}

pub(crate) async fn of_many_that_rotate_a_key_at_once_one_does(db: Database) {
    let store = world(&db).await;
    for (scheme, public) in [(ApiKeyScheme::Bearer, 'a'), (ApiKeyScheme::Hmac, 'b')] {
        let key = made(&store, new_key(scheme, ACME, ANN, public)).await;
        let attempts = (10..18_u8).map(|byte| {
            let store = store.clone();
            tokio::spawn(async move { rotate(&store, (key.id, key.version), byte).await.map(|_| byte) })
        });
        let mut winners = Vec::new();
        for attempt in attempts.collect::<Vec<_>>() {
            match attempt.await.unwrap() {
                Ok(byte) => winners.push(byte),
                Err(error) => assert!(matches!(error, StoreError::VersionMismatch { .. }), "{error:?}"),
            }
        }
        let [winner] = winners[..] else { panic!("{winners:?}") };
        let state = store.api_key_state(&key.prefix, None).await.unwrap().unwrap();
        let held: Vec<_> = state.verifiers.iter().map(|it| it.secret.expose()[0]).collect();
        assert_eq!(held, [winner, 1], "the first one is not lost to a second rotation");
    }
}

pub(crate) async fn keys_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    let key = made(&store, new_key(ApiKeyScheme::Bearer, ACME, ANN, 'a')).await;
    assert_eq!(store.api_keys(ACME, None, Page::FIRST).await.unwrap().len(), 1);
    assert_eq!(store.api_keys(ACME, Some(GUS), Page::FIRST).await.unwrap(), []);
    assert_eq!(store.api_keys(GLOBEX, None, Page::FIRST).await.unwrap(), []);
    let Some(client) = db.postgres().await else { return };
    assert!(store.within(Scope::Tenant(CLOUD, GLOBEX)).api_key(key.id).await.unwrap().is_none());
    for (tenant, expected) in [(ACME, 1), (GLOBEX, 0)] {
        let scope = scope_settings("tenant", Some(CLOUD), Some(tenant));
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        let row = client.query_one("SELECT COUNT(*) FROM api_keys", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), expected, "without any predicate");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

pub(crate) async fn a_use_is_noted_to_the_minute_and_who_leaves_takes_their_keys_along(db: Database) {
    let store = world(&db).await;
    let key = made(&store, new_key(ApiKeyScheme::Bearer, ACME, ANN, 'a')).await;
    let (own, elsewhere) = (FleetName::default(), "eu-9".parse::<FleetName>().unwrap());
    let told = async |fleet: &FleetName, after: Duration| {
        let (at, uses) = (NOW + after, &[(key.id, NOW + after), (fresh(), NOW)]);
        let noted =
            store.write_session(Scope::Platform, at, |tx| async move { tx.note_api_key_uses(Some(fleet), uses).await });
        noted.await.unwrap_or_else(|error: StoreError| panic!("{error:?}"));
        store.api_key(key.id).await.unwrap().unwrap().last_used_at
    };
    assert_eq!(told(&elsewhere, Duration::ZERO).await, None, "another fleet knows nothing of it");
    let used = async |after: Duration| told(&own, after).await.unwrap();
    let second = Duration::from_secs(1);
    assert_eq!(used(Duration::ZERO).await, NOW);
    assert_eq!(used(59 * second).await, NOW);
    assert_eq!(used(60 * second).await, NOW + 60 * second);
    assert_eq!(used(30 * second).await, NOW + 60 * second, "an older report changes nothing");
    assert_eq!(store.api_key(key.id).await.unwrap().unwrap().version, key.version, "a use is no change");
    facts(&store).await;
    change!(store, |tx| tx.delete_membership(&system(), ACME, ANN)).unwrap();
    assert!(facts(&store).await.contains(&Fact::KeyChanged { key: key.id }));
    assert!(store.api_key_state(&key.prefix, None).await.unwrap().is_none());
}

pub(crate) async fn a_revoked_key_is_listed_for_ninety_days(db: Database) {
    let store = world(&db).await;
    let key = made(&store, new_key(ApiKeyScheme::Bearer, ACME, ANN, 'a')).await;
    let kept = made(&store, new_key(ApiKeyScheme::Hmac, ACME, ANN, 'b')).await;
    change!(store, |tx, key| tx.revoke_api_key(&system(), key.id)).unwrap();
    let listed = async |at: Timestamp| {
        store.prune(at).await.unwrap();
        store.api_keys(ACME, None, Page::FIRST).await.unwrap().iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert!(listed(NOW + 90 * 24 * HOUR).await.contains(&key.id));
    assert_eq!(
        listed(NOW + 90 * 24 * HOUR + Duration::from_millis(1)).await,
        [kept.id],
        "one that was not revoked stays"
    );
}
