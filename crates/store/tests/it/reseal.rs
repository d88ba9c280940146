//! A new master key.

use domain::{
    model::{CertificateSource, KeyPurpose, NewCertificate},
    snapshot::Entity,
};
use store::{Claim, Store, StoreError, read::*, seal::SealError};

use crate::{
    harness::{Database, NOW, sealer_of},
    keys::key,
    world::*,
};

async fn populate(store: &Store) -> domain::SigningKeyId {
    let kid = fresh();
    change!(store, |tx| tx.insert_signing_key(&system(), key(kid))).unwrap();
    change!(store, |tx| tx.activate_signing_key(&system(), kid)).unwrap();
    for (fingerprint, name) in [("ab", "acme.example.com"), ("cd", "globex.example.com")] {
        let new = NewCertificate {
            id: fresh(),
            project_id: Some(CLOUD),
            names: vec![name.into()],
            chain_pem: "CHAIN".into(),
            key_pem: String::from("PRIVATE").into(),
            not_before: NOW,
            not_after: NOW,
            source: CertificateSource::Upload,
            fingerprint: fingerprint.into(),
        };
        change!(store, |tx, new| tx.insert_certificate(&system(), new.clone())).unwrap();
    }
    let by = system::<authz::action::ManageTenants>();
    let claim = Claim::new("ann", "/v1/tenants", "k1", [1; 32]);
    let nothing = store.write(&by, NOW, |_| async move { Ok::<_, StoreError>(store::Audited::unchanged(())) });
    claim.during(nothing).await.unwrap();
    store.keep_response(&claim, 201, &b"shown once".to_vec().into(), NOW).await.unwrap();
    store.tick(NOW).await.unwrap();
    // Left for the next tick.
    change!(store, |tx| tx.insert_upstream(&system(), upstream(fresh(), "billing"))).unwrap();
    kid
}

pub(crate) async fn every_sealed_value_is_sealed_anew_in_parts_and_by_two_at_once(db: Database) {
    let kid = populate(&world(&db).await).await;
    let both = db.reopened(sealer_of(8, &[7]));
    let all = both.sealed_with_older_keys().await.unwrap();
    assert!(all >= 8, "{all}");
    assert_eq!(both.reseal(1).await.unwrap(), 1);
    // The first stops here; two others go on, at once.
    let rest = [db.reopened(sealer_of(8, &[7])), db.reopened(sealer_of(8, &[7]))]
        .map(|store| tokio::spawn(async move { while store.reseal(2).await.unwrap() > 0 {} }));
    for one in rest {
        one.await.unwrap();
    }
    assert_eq!(both.sealed_with_older_keys().await.unwrap(), 0);

    let new = db.reopened(sealer_of(8, &[]));
    let (active, private) = new.active_key(CLOUD, KeyPurpose::Tokens).await.unwrap().unwrap();
    assert_eq!((active.kid, private.expose().as_slice()), (kid, &[1, 2, 3][..]));
    let claim = Claim::new("ann", "/v1/tenants", "k1", [1; 32]);
    let stored = new.stored_response(&claim).await.unwrap().unwrap();
    assert_eq!(stored.body.expose(), b"shown once");
    new.tick(NOW).await.unwrap();
    let upstreams = new.snapshot().await.unwrap().changes;
    let upstreams = upstreams.iter().filter(|change| matches!(change.entity, Some(Entity::Upstream(_))));
    assert_eq!(upstreams.count(), 2);

    let old = db.reopened(sealer_of(7, &[])).active_key(CLOUD, KeyPurpose::Tokens).await;
    assert!(matches!(old, Err(StoreError::Seal(SealError::UnknownKey { .. }))), "{old:?}");
    let unknown = db.reopened(sealer_of(9, &[7])).reseal(10).await;
    assert!(matches!(unknown, Err(StoreError::Seal(SealError::UnknownKey { .. }))), "{unknown:?}");
}

pub(crate) async fn no_sealed_column_is_forgotten(db: Database) {
    let columns = if db.postgres().await.is_some() {
        "SELECT COUNT(*) FROM information_schema.columns
         WHERE table_schema = 'public' AND (column_name LIKE '%\\_enc' OR column_name = 'sealed')"
    } else {
        "SELECT COUNT(*) FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
         WHERE t.type = 'table' AND (c.name LIKE '%\\_enc' ESCAPE '\\' OR c.name = 'sealed')"
    };
    let known = store::reseal::sealed_columns().count();
    assert_eq!(db.number(columns).await, i64::try_from(known).unwrap());
}
