//! Enrolments: join tokens, certificates and their end.

use std::time::Duration;

use authz::Scope;
use domain::{
    GatewayId, Timestamp,
    model::{Enrolment, EnrolmentState, GatewayNode, GatewayReport, NewEnrolment},
};
use store::{
    Store, StoreError,
    list::{GatewayList, Selection},
    read::*,
};

use crate::{
    harness::{Database, NOW},
    world::*,
};

const HOUR: Duration = Duration::from_secs(3600);
const TOKEN: [u8; 32] = [1; 32];

fn enrolment(name: &str, token_hash: [u8; 32]) -> NewEnrolment {
    let fleet = "eu-1".parse().unwrap();
    NewEnrolment { id: fresh(), name: name.into(), fleet, token_hash, token_expires_at: NOW + HOUR }
}

async fn join(store: &Store, now: Timestamp, token: [u8; 32], key: [u8; 32]) -> Option<Enrolment> {
    let until = now + 24 * HOUR;
    let joined =
        store.write_session(Scope::Platform, now, |tx| async move { tx.join_gateway(token, key, until).await });
    joined.await.unwrap_or_else(|error: StoreError| panic!("{error:?}"))
}

async fn renew(store: &Store, now: Timestamp, id: GatewayId, fleet: &str, key: [u8; 32]) -> Option<Enrolment> {
    let until = now + 24 * HOUR;
    let fleet = &fleet.parse().unwrap();
    let renewed =
        store.write_session(Scope::Platform, now, |tx| async move { tx.renew_gateway((id, fleet), key, until).await });
    renewed.await.unwrap_or_else(|error: StoreError| panic!("{error:?}"))
}

pub(crate) async fn of_many_that_show_one_join_token_one_key_wins(db: Database) {
    let store = world(&db).await;
    let new = enrolment("edge-1", TOKEN);
    change!(store, |tx, new| tx.insert_enrolment(&system(), new.clone())).unwrap();
    let joins: Vec<_> = (0..16_u8)
        .map(|key| {
            let store = store.clone();
            tokio::spawn(async move { join(&store, NOW, TOKEN, [key; 32]).await.map(|_| key) })
        })
        .collect();
    let mut winners = Vec::new();
    for joined in joins {
        winners.extend(joined.await.unwrap());
    }
    let [winner] = winners[..] else { panic!("{winners:?}") };
    let again = join(&store, NOW + HOUR / 2, TOKEN, [winner; 32]).await.unwrap();
    assert_eq!(again.joined_at, Some(NOW), "an answer that got lost can be asked for again");
    assert_eq!(join(&store, NOW + HOUR, TOKEN, [winner; 32]).await, None, "not for ever");
    assert_eq!(db.number("SELECT COUNT(*) FROM enrolments WHERE joined_at IS NOT NULL").await, 1);
}

pub(crate) async fn a_join_token_that_is_unknown_expired_or_revoked_is_worth_nothing(db: Database) {
    let store = world(&db).await;
    let new = enrolment("edge-1", TOKEN);
    change!(store, |tx, new| tx.insert_enrolment(&system(), new.clone())).unwrap();
    assert_eq!(join(&store, NOW, [2; 32], [7; 32]).await, None, "unknown");
    assert_eq!(join(&store, NOW + HOUR, TOKEN, [7; 32]).await, None, "expired");
    change!(store, |tx| tx.revoke_enrolment(&system(), new.id)).unwrap();
    assert_eq!(join(&store, NOW, TOKEN, [7; 32]).await, None, "revoked");
    let found = store.enrolment(new.id).await.unwrap().unwrap();
    assert_eq!((found.state(NOW), found.joined_at), (EnrolmentState::Revoked, None));
}

pub(crate) async fn a_certificate_is_renewed_for_the_key_that_joined_only(db: Database) {
    let store = world(&db).await;
    let new = enrolment("edge-1", TOKEN);
    change!(store, |tx, new| tx.insert_enrolment(&system(), new.clone())).unwrap();
    assert_eq!(renew(&store, NOW, new.id, "eu-1", [7; 32]).await, None, "it has not joined");
    join(&store, NOW, TOKEN, [7; 32]).await.unwrap();
    let later = NOW + 12 * HOUR;
    assert_eq!(renew(&store, later, new.id, "eu-1", [8; 32]).await, None, "another key");
    assert_eq!(renew(&store, later, new.id, "eu-2", [7; 32]).await, None, "another fleet");
    let renewed = renew(&store, later, new.id, "eu-1", [7; 32]).await.unwrap();
    assert_eq!(renewed.certificate_expires_at, Some(later + 24 * HOUR));
    assert_eq!(renew(&store, later + 24 * HOUR, new.id, "eu-1", [7; 32]).await, None, "its certificate has expired");
    change!(store, |tx| tx.revoke_enrolment(&system(), new.id)).unwrap();
    assert_eq!(renew(&store, later, new.id, "eu-1", [7; 32]).await, None, "revoked");
}

pub(crate) async fn a_name_is_free_again_once_its_gateway_cannot_ask_any_more(db: Database) {
    let store = world(&db).await;
    let first = enrolment("edge-1", TOKEN);
    change!(store, |tx, first| tx.insert_enrolment(&system(), first.clone())).unwrap();
    let second = enrolment("edge-1", [2; 32]);
    change!(store, |tx, second| tx.insert_enrolment(&system(), second.clone())).unwrap();
    assert_eq!(join(&store, NOW, TOKEN, [7; 32]).await, None, "the token that was not used gave way");
    join(&store, NOW, [2; 32], [7; 32]).await.unwrap();
    let third = enrolment("edge-1", [3; 32]);
    let taken = change!(store, |tx, third| tx.insert_enrolment(&system(), third.clone()));
    assert!(taken.is_err_and(|error| error.is_conflict("enrolments", "name")));
    change!(store, |tx| tx.revoke_enrolment(&system(), second.id)).unwrap();
    change!(store, |tx, third| tx.insert_enrolment(&system(), third.clone())).unwrap();
    let listed = async |now: Timestamp, since: Timestamp, query: &[(&str, &str)]| -> Vec<(GatewayId, EnrolmentState)> {
        let asked = Selection::<GatewayList>::read(query.iter().copied()).unwrap();
        let found = store.list((now, since), &asked).await.unwrap().rows;
        found.into_iter().map(|it| it.enrolment.unwrap()).map(|it| (it.id, it.state(now))).collect()
    };
    use EnrolmentState::{Expired, Pending, Revoked};
    let mut all = listed(NOW, NOW - HOUR, &[]).await;
    all.sort_by_key(|(id, _)| *id);
    let mut expected = [(first.id, Revoked), (second.id, Revoked), (third.id, Pending)];
    expected.sort_by_key(|(id, _)| *id);
    assert_eq!(all, expected);
    for (now, since, query, found) in [
        (NOW, NOW - HOUR, ("state", "pending"), vec![(third.id, Pending)]),
        (NOW, NOW - HOUR, ("state", "enrolled"), vec![]),
        (NOW + 2 * HOUR, NOW, ("state", "expired"), vec![(third.id, Expired)]),
        (NOW + 2 * HOUR, NOW, ("search", "EDGE-"), vec![(third.id, Expired)]),
        (NOW, NOW - HOUR, ("fleet", "eu-2"), vec![]),
    ] {
        assert_eq!(listed(now, since, &[query]).await, found, "{query:?}");
    }
    assert_eq!(store.revoked_after(NOW - HOUR).await.unwrap().len(), 2);
}

pub(crate) async fn a_revoked_gateway_is_noted_no_lease_and_keeps_its_last(db: Database) {
    let store = world(&db).await;
    let new = enrolment("edge-1", TOKEN);
    change!(store, |tx, new| tx.insert_enrolment(&system(), new.clone())).unwrap();
    let history = store.head().await.unwrap().history;
    let lease = async |ms| {
        let report = GatewayReport {
            revision: 0,
            applied: domain::Seq::ZERO,
            reader: 1,
            lease_until: NOW + Duration::from_millis(ms),
        };
        let node = &GatewayNode { id: new.id, name: "edge-1".into(), fleet: "eu-1".into(), report, last_seen: NOW };
        let leased = store.write_session(Scope::Platform, NOW, |tx| async move {
            tx.report_gateway(node, history).await?;
            tx.lease_gateway(node).await
        });
        leased.await
    };
    lease(2000).await.unwrap();
    change!(store, |tx| tx.revoke_enrolment(&system(), new.id)).unwrap();
    let refused: Result<(), StoreError> = lease(4000).await;
    assert!(matches!(refused, Err(StoreError::Rule { code: "gateway_revoked", .. })), "{refused:?}");
    let [node] = &store.gateways().await.unwrap()[..] else { panic!("it is waited for no more") };
    assert_eq!(node.report.lease_until, NOW + Duration::from_millis(2000));
}
