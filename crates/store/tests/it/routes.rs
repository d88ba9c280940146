//! Routes and ties.

use domain::{
    model::{NewService, RouteOwner},
    snapshot::{Change, Entity},
};
use store::{StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

const OWNER: RouteOwner = RouteOwner::Service(SHOP);

pub(crate) async fn a_tie_within_a_service_is_refused(db: Database) {
    let store = world(&db).await;
    change!(store, |tx| tx.insert_route(&system(), route(OWNER, "/orders/{id}", &["GET"]))).unwrap();
    let tie = change!(store, |tx| tx.insert_route(&system(), route(OWNER, "/orders/{order}", &["PUT", "GET"])));
    let Err(StoreError::Tie(tie)) = tie else { panic!("{tie:?}") };
    let mut both = [tie.first.as_str(), tie.second.as_str()];
    both.sort_unstable();
    assert_eq!((both, tie.method.as_str()), (["/orders/{id}", "/orders/{order}"], "GET"));
    change!(store, |tx| tx.insert_route(&system(), route(OWNER, "/orders/{order}", &["PUT"]))).unwrap();
    assert_eq!(store.routes(OWNER).await.unwrap().len(), 2);
}

pub(crate) async fn a_tie_between_services_of_one_hostname_is_refused(db: Database) {
    let store = world(&db).await;
    let other = fresh();
    let service = NewService { id: other, name: "blog".into(), upstream_id: ORDERS };
    change!(store, |tx, service| tx.insert_service(&system(), service.clone())).unwrap();
    change!(store, |tx| tx.insert_route(&system(), route(OWNER, "/news", &[]))).unwrap();
    // Apart they may have the same route …
    change!(store, |tx| tx.insert_route(&system(), route(RouteOwner::Service(other), "/news", &[]))).unwrap();
    let mut acme = store.hostname(ACME_HOST).await.unwrap().unwrap();
    acme.services.push(other);
    // … on one hostname they may not.
    let tie = change!(store, |tx, acme| tx.update_hostname(&system(), acme.clone()));
    assert!(matches!(tie, Err(StoreError::Tie(_))), "{tie:?}");
    let own = store.routes(RouteOwner::Service(other)).await.unwrap().pop().unwrap();
    change!(store, |tx| tx.delete_route(&system(), own.rule.id)).unwrap();
    change!(store, |tx, acme| tx.update_hostname(&system(), acme.clone())).unwrap();
    let tie = change!(store, |tx| tx.insert_route(&system(), route(RouteOwner::Service(other), "/news", &[])));
    assert!(matches!(tie, Err(StoreError::Tie(_))), "{tie:?}");
}

pub(crate) async fn a_hostnames_own_route_wins_without_a_tie(db: Database) {
    let store = world(&db).await;
    change!(store, |tx| tx.insert_route(&system(), route(OWNER, "/news", &[]))).unwrap();
    let own = RouteOwner::Hostname(ACME_HOST);
    change!(store, |tx| tx.insert_route(&system(), route(own, "/news", &[]))).unwrap();
    let tie = change!(store, |tx| tx.insert_route(&system(), route(own, "/news", &[])));
    assert!(matches!(tie, Err(StoreError::Tie(_))), "{tie:?}");
    let tick = store.tick(NOW).await.unwrap();
    let acme = tick.changes.iter().find_map(|change| match &change.entity {
        Some(Entity::Hostname(host)) if host.id == ACME_HOST => Some(host),
        _ => None,
    });
    assert_eq!(acme.unwrap().routes.len(), 1);
}

pub(crate) async fn disabled_routes_neither_tie_nor_are_told_of(db: Database) {
    let store = world(&db).await;
    change!(store, |tx| tx.insert_route(&system(), route(OWNER, "/news", &[]))).unwrap();
    let mut off = route(OWNER, "/news", &[]);
    off.enabled = false;
    change!(store, |tx, off| tx.insert_route(&system(), off.clone())).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(told(&tick.changes), 1);
    let mut on = store.route(off.rule.id).await.unwrap().unwrap();
    on.enabled = true;
    let tie = change!(store, |tx, on| tx.update_route(&system(), on.clone()));
    assert!(matches!(tie, Err(StoreError::Tie(_))), "{tie:?}");
}

pub(crate) async fn the_ou_parameter_must_be_in_the_path(db: Database) {
    let store = world(&db).await;
    let mut bad = route(OWNER, "/units/{unit}", &[]);
    bad.rule.ou_parameter = Some("ou".into());
    let refused = change!(store, |tx, bad| tx.insert_route(&system(), bad.clone()));
    assert!(matches!(refused, Err(StoreError::Rule { code: "route_ou_parameter", .. })), "{refused:?}");
}

fn told(changes: &[Change]) -> usize {
    changes
        .iter()
        .find_map(|change| match &change.entity {
            Some(Entity::Service(service)) => Some(service.routes.len()),
            _ => None,
        })
        .unwrap()
}
