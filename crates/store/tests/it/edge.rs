//! What the edge is told.

use std::time::Duration;

use domain::{
    Admission, Id,
    model::{
        AssertionKey, AssertionKeys, CertificateSource, GatewayNode, GatewayReport, NewCertificate, OtherKey,
        VerifyState,
    },
    snapshot::{Assertion, Change, Entity, EntityKind, RateLimit},
};
use store::{StoreError, read::*};
use uuid::Uuid;

use crate::{
    harness::{Database, NOW},
    world::*,
};

pub(crate) async fn a_certificate_follows_its_hostnames(db: Database) {
    let store = world(&db).await;
    let id = fresh();
    let new = NewCertificate {
        id,
        project_id: Some(CLOUD),
        names: vec!["acme.example.com".into()],
        chain_pem: "CHAIN".into(),
        key_pem: String::from("PRIVATE").into(),
        not_before: NOW,
        not_after: NOW,
        source: CertificateSource::Upload,
        fingerprint: "ab".into(),
    };
    change!(store, |tx, new| tx.insert_certificate(&system(), new.clone())).unwrap();
    let mut acme = store.hostname(ACME_HOST).await.unwrap().unwrap();
    acme.certificate_id = Some(id);
    change!(store, |tx, acme| tx.update_hostname(&system(), acme.clone())).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert!(tick.min_revision < tick.revision, "a new certificate does not narrow");
    let key = tick.changes.iter().find_map(|change| match &change.entity {
        Some(Entity::Certificate(it)) => Some(it.key_pem.expose().clone()),
        _ => None,
    });
    assert_eq!(key.as_deref(), Some("PRIVATE"));
    let leaks = "SELECT COUNT(*) FROM change_log WHERE kind = 'certificate' AND body IS NOT NULL";
    assert_eq!(db.number(leaks).await, 0);
    change!(store, |tx| tx.delete_certificate(&system(), id)).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision);
    assert!(tick.changes.iter().any(|it| it.key.kind == EntityKind::Certificate && it.entity.is_none()));
    assert_eq!(store.hostname(ACME_HOST).await.unwrap().unwrap().certificate_id, None);
}

pub(crate) async fn a_hostname_is_told_of_once_it_is_verified(db: Database) {
    let store = world(&db).await;
    let mut new = hostname(fresh(), ACME, "new.example.com");
    new.verify_state = VerifyState::Pending;
    change!(store, |tx, new| tx.insert_hostname(&system(), new.clone())).unwrap();
    assert!(!of_kind(&store.tick(NOW).await.unwrap().changes, EntityKind::Hostname));
    let mut verified = store.hostname(new.id).await.unwrap().unwrap();
    verified.verify_state = VerifyState::Verified;
    change!(store, |tx, verified| tx.update_hostname(&system(), verified.clone())).unwrap();
    assert!(of_kind(&store.tick(NOW).await.unwrap().changes, EntityKind::Hostname));
    change!(store, |tx| tx.delete_hostname(&system(), new.id, &RULES)).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    let tombstone = tick.changes.iter().find(|it| it.key.kind == EntityKind::Hostname).unwrap();
    assert!(tombstone.entity.is_none() && tombstone.key.id == new.id.uuid());
    assert_eq!(tick.min_revision, tick.revision);
}

pub(crate) async fn a_hostnames_say_over_its_answers_is_kept_and_told(db: Database) {
    let store = world(&db).await;
    let said = r#"{"hsts":{"max_age":"365d"},"set":{"x-frame-options":"DENY"},"remove":["server"],"error_page":"<p>{{code}}"}"#;
    let mut new = hostname(fresh(), ACME, "new.example.com");
    new.max_body = Some(domain::ByteSize::from_bytes(u64::MAX));
    change!(store, |tx, new| tx.insert_hostname(&system(), new.clone())).unwrap();
    let mut kept = store.hostname(new.id).await.unwrap().unwrap();
    assert_eq!((kept.max_body, kept.response.is_empty()), (new.max_body, true));
    kept.response = serde_json::from_str(said).unwrap();
    kept.max_body = None;
    change!(store, |tx, kept| tx.update_hostname(&system(), kept.clone())).unwrap();
    let again = store.hostname(new.id).await.unwrap().unwrap();
    assert_eq!((again.max_body, &again.response), (None, &kept.response));
    let tick = store.tick(NOW).await.unwrap();
    let told = tick.changes.iter().rev().find_map(|change| match &change.entity {
        Some(Entity::Hostname(it)) if it.id == new.id => Some((change.min_reader, it.max_body, it.response.clone())),
        _ => None,
    });
    assert_eq!(told, Some((2, None, kept.response)), "a gateway that cannot read it must not serve without it");
}

pub(crate) async fn an_upstream_is_told_of_with_its_key_and_stored_sealed(db: Database) {
    let store = world(&db).await;
    let AssertionKey { kid, key } = store.upstream_assertion_keys(ORDERS).await.unwrap().active;
    assert_eq!(key.expose().len(), 43, "32 bytes, base64url");
    let snapshot = store.snapshot().await.unwrap();
    let told = snapshot.changes.iter().find_map(|change| match &change.entity {
        Some(Entity::Upstream(it)) => Some(it),
        _ => None,
    });
    let Assertion::Hmac { key: told_key, kid: told_kid } = &told.unwrap().assertion else { panic!("{told:?}") };
    assert_eq!((told_key, told_kid), (&key, &kid));
    assert_eq!(db.number("SELECT COUNT(*) FROM change_log WHERE kind = 'upstream' AND body IS NOT NULL").await, 0);
    let used = change!(store, |tx| tx.delete_upstream(&system(), ORDERS));
    assert!(matches!(used, Err(StoreError::Reference)), "{used:?}");
}

pub(crate) async fn an_upstreams_key_is_exchanged_with_two_valid_in_between(db: Database) {
    let store = world(&db).await;
    let keys = async || store.upstream_assertion_keys(ORDERS).await.unwrap();
    let signing = |tick: &store::Tick| {
        tick.changes.iter().find_map(|change| match &change.entity {
            Some(Entity::Upstream(it)) => match &it.assertion {
                Assertion::Hmac { key, kid } => Some((kid.clone(), key.clone())),
                Assertion::Eddsa { .. } | Assertion::Off => None,
            },
            _ => None,
        })
    };
    store.tick(NOW).await.unwrap();
    let first = keys().await.active;
    let early = change!(store, |tx| tx.activate_assertion_key(&system(), ORDERS));
    assert!(matches!(early, Err(StoreError::Rule { code: "assertion_key_state", .. })), "{early:?}");

    change!(store, |tx| tx.prepare_assertion_key(&system(), ORDERS)).unwrap();
    let prepared = keys().await;
    let (state, next) = prepared.other.clone().unwrap();
    assert_eq!((&prepared.active, state), (&first, OtherKey::Next));
    assert!(next.kid != first.kid && next.key != first.key);
    assert_eq!(signing(&store.tick(NOW).await.unwrap()), None, "gateways are not told of a key that does not sign");
    let again = change!(store, |tx| tx.prepare_assertion_key(&system(), ORDERS));
    assert!(matches!(again, Err(StoreError::Rule { code: "assertion_key_overlap", .. })), "{again:?}");

    change!(store, |tx| tx.activate_assertion_key(&system(), ORDERS)).unwrap();
    let exchanged = keys().await;
    assert_eq!((&exchanged.active, &exchanged.other), (&next, &Some((OtherKey::Previous, first.clone()))));
    assert_eq!(signing(&store.tick(NOW).await.unwrap()), Some((next.kid.clone(), next.key.clone())));
    let active = change!(store, |tx, next| tx.remove_assertion_key(&system(), ORDERS, &next.kid));
    assert!(matches!(active, Err(StoreError::Rule { code: "assertion_key_state", .. })), "{active:?}");

    change!(store, |tx, first| tx.remove_assertion_key(&system(), ORDERS, &first.kid)).unwrap();
    assert_eq!(keys().await, AssertionKeys { active: next, other: None });
    let gone = change!(store, |tx, first| tx.remove_assertion_key(&system(), ORDERS, &first.kid));
    assert!(matches!(gone, Err(StoreError::NotFound { .. })), "{gone:?}");
}

pub(crate) async fn of_two_exchanges_at_once_one_is_begun(db: Database) {
    let store = world(&db).await;
    let begun = [(); 2].map(|()| {
        let store = store.clone();
        tokio::spawn(async move { change!(store, |tx| tx.prepare_assertion_key(&system(), ORDERS)) })
    });
    let mut won = 0;
    for begun in begun {
        match begun.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, StoreError::Rule { code: "assertion_key_overlap", .. }), "{error:?}"),
        }
    }
    assert_eq!(won, 1);
}

pub(crate) async fn gateways_are_known_by_their_last_report(db: Database) {
    let store = world(&db).await;
    let mut node = GatewayNode {
        id: Id::new(Uuid::from_u128(9)),
        name: "edge-1".into(),
        fleet: "main".into(),
        report: GatewayReport { revision: 3, applied: domain::Seq(4), reader: 1, lease_until: NOW },
        last_seen: NOW,
    };
    let history = store.head().await.unwrap().history;
    for revision in [3, 5] {
        node.report.revision = revision;
        let node = node.clone();
        store
            .write_session(authz::Scope::Platform, NOW, |tx| {
                let node = node.clone();
                async move { tx.report_gateway(&node, history).await }
            })
            .await
            .unwrap();
    }
    assert_eq!(store.gateways().await.unwrap(), [node.clone()]);
    assert!(store.begin_history(history).await.unwrap());
    assert!(!store.begin_history(history).await.unwrap(), "once");
    let nothing = GatewayReport { revision: 0, applied: domain::Seq::ZERO, ..node.report };
    let of_the_lost_one = store.write_session(authz::Scope::Platform, NOW, |tx| {
        let node = node.clone();
        async move { tx.report_gateway(&node, history).await }
    });
    of_the_lost_one.await.unwrap();
    assert_eq!(store.gateways().await.unwrap(), [GatewayNode { report: nothing, ..node }]);
}

pub(crate) async fn a_lease_is_noted_before_any_report_and_never_moves_back(db: Database) {
    let store = world(&db).await;
    let node = |revision, lease_ms| GatewayNode {
        id: Id::new(Uuid::from_u128(9)),
        name: "edge-1".into(),
        fleet: "main".into(),
        report: GatewayReport {
            revision,
            applied: domain::Seq(revision),
            reader: 1,
            lease_until: NOW + Duration::from_millis(lease_ms),
        },
        last_seen: NOW,
    };
    let leased = async |node: GatewayNode| {
        let noted = store.write_session(authz::Scope::Platform, NOW, |tx| {
            let node = node.clone();
            async move { tx.lease_gateway(&node).await }
        });
        noted.await.unwrap();
    };
    let history = store.head().await.unwrap().history;
    let reported = async |node: GatewayNode| {
        let noted = store.write_session(authz::Scope::Platform, NOW, |tx| {
            let node = node.clone();
            async move { tx.report_gateway(&node, history).await }
        });
        noted.await.unwrap();
    };
    leased(node(0, 2000)).await;
    assert_eq!(store.gateways().await.unwrap(), [node(0, 2000)]);
    reported(node(7, 0)).await;
    assert_eq!(store.gateways().await.unwrap(), [node(7, 2000)], "a report that was under way for long");
    leased(node(0, 1500)).await;
    assert_eq!(store.gateways().await.unwrap(), [node(7, 2000)], "a proof that was under way for long");
    leased(node(0, 2500)).await;
    assert_eq!(store.gateways().await.unwrap(), [node(7, 2500)]);
    reported(node(8, 3000)).await;
    assert_eq!(store.gateways().await.unwrap(), [node(8, 3000)]);
}

fn of_kind(changes: &[Change], kind: EntityKind) -> bool {
    changes.iter().any(|change| change.key.kind == kind && change.entity.is_some())
}

pub(crate) async fn who_is_let_in_is_told_to_gateways_that_understand_it(db: Database) {
    let store = world(&db).await;
    let deny = |text: &str| Admission { deny: vec![text.parse().unwrap()], in_flight: Some(7), ..Admission::default() };
    let mut acme = store.tenant(ACME).await.unwrap().unwrap();
    acme.admission = deny("192.0.2.0/24");
    acme.principal_rate_limit = Some(RateLimit { rps: 5, burst: 9 });
    change!(store, |tx, acme| tx.update_tenant(&system(), acme.clone())).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision, "who is shut out is out at once");
    let told = tick.changes.iter().find(|it| it.key.id == ACME.uuid()).unwrap();
    let Some(Entity::Tenant(tenant)) = &told.entity else { panic!("{told:?}") };
    assert_eq!((told.min_reader, &tenant.admission), (2, &acme.admission));
    assert_eq!(tenant.principal_rate_limit, acme.principal_rate_limit);
    let mut host = store.hostname(ACME_HOST).await.unwrap().unwrap();
    host.admission = deny("203.0.113.0/24");
    host.cors.origins = vec!["https://*.example.org".parse().unwrap()];
    change!(store, |tx, host| tx.update_hostname(&system(), host.clone())).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision);
    let told = tick.changes.iter().find(|it| it.key.id == ACME_HOST.uuid()).unwrap();
    let Some(Entity::Hostname(hostname)) = &told.entity else { panic!("{told:?}") };
    assert_eq!((told.min_reader, &hostname.admission, &hostname.cors), (2, &host.admission, &host.cors));
    let kept = store.hostname(ACME_HOST).await.unwrap().unwrap();
    assert_eq!((kept.admission, kept.cors.clone()), (host.admission, host.cors));
    let mut open = store.tenant(ACME).await.unwrap().unwrap();
    assert_eq!(open.admission, acme.admission);
    (open.admission, open.principal_rate_limit) = (Admission::default(), None);
    change!(store, |tx, open| tx.update_tenant(&system(), open.clone())).unwrap();
    let told = store.tick(NOW).await.unwrap().changes.into_iter().find(|it| it.key.id == ACME.uuid()).unwrap();
    assert_eq!(told.min_reader, 1, "any gateway reads a tenant without rules");
}

/// A gateway of the fleet that serves everything here says what it reads.
pub(crate) async fn reported(store: &store::Store, reader: u32, last_seen: domain::Timestamp) {
    let history = store.head().await.unwrap().history;
    let node = &GatewayNode {
        id: Id::new(Uuid::from_u128(9)),
        name: "edge-1".into(),
        fleet: "default".into(),
        report: GatewayReport { revision: 0, applied: domain::Seq::ZERO, reader, lease_until: NOW },
        last_seen,
    };
    let noted =
        store.write_session(authz::Scope::Platform, NOW, |tx| async move { tx.report_gateway(node, history).await });
    noted.await.unwrap();
}

pub(crate) async fn nothing_is_saved_that_a_gateway_which_is_there_could_not_read(db: Database) {
    let store = world(&db).await;
    let said = async |reader, last_seen| reported(&store, reader, last_seen).await;
    let bounded = async |tenant, connections| {
        let mut it = store.tenant(tenant).await.unwrap().unwrap();
        it.admission.connections = Some(connections);
        change!(store, |tx, it| tx.update_tenant(&system(), it.clone())).map(|_| ())
    };
    said(3, NOW).await;
    let refused = bounded(ACME, 100).await;
    let Err(StoreError::Rule { code: "gateway_too_old", detail }) = refused else { panic!("{refused:?}") };
    assert!(detail.contains("`edge-1` of fleet `default`"), "{detail}");
    assert!(store.tenant(ACME).await.unwrap().unwrap().admission.connections.is_none(), "nothing is saved");
    let mut named = store.tenant(ACME).await.unwrap().unwrap();
    named.name = "Acme Ltd".into();
    change!(store, |tx, named| tx.update_tenant(&system(), named.clone())).unwrap();
    // One that is gone is waited for no longer; one that has come back is served what it could not read before either.
    said(3, NOW - Duration::from_secs(61)).await;
    bounded(ACME, 100).await.unwrap();
    store.tick(NOW).await.unwrap();
    said(3, NOW).await;
    bounded(ACME, 50).await.unwrap();
    let step = domain::model::TenantTransition::Suspend;
    change!(store, |tx| tx.step_tenant(&system(), ACME, step)).unwrap();
    assert!(bounded(GLOBEX, 50).await.is_err());
    // One of a fleet that serves nothing of it does not count.
    db.behind("UPDATE gateways SET fleet = 'elsewhere'").await;
    bounded(GLOBEX, 50).await.unwrap();
}
