//! Routes and ties.

use std::collections::BTreeSet;

use domain::{
    Permission,
    model::{NewService, RouteOwner},
    snapshot::{Access, Change, Entity},
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

/// Read by whoever is signed in, page by page.
pub(crate) async fn what_routes_ask_for_is_said_once_and_by_one_statement(db: Database) {
    let store = world(&db).await;
    let known: BTreeSet<_> = store.route_permissions(None).await.unwrap().into_iter().collect();
    let asks = ["stock:item:list", "stock:item:get"].map(|it| Access::Permission(it.parse().unwrap()));
    let asks = [asks.as_slice(), &[Access::Platform("stock:item:list".parse().unwrap()), Access::Public]].concat();
    for n in 0..40 {
        let mut new = route(RouteOwner::Service(SHOP), &format!("/stock-{n}"), &[]);
        new.rule.access = asks[n % asks.len()].clone();
        change!(store, |tx, new| tx.insert_route(&system(), new.clone())).unwrap();
    }
    let before = store.statements();
    let found = store.route_permissions(None).await.unwrap();
    assert!(store.statements() - before <= 2, "{} statements", store.statements() - before);
    let added: Vec<(String, bool)> = found
        .iter()
        .filter(|it| !known.contains(*it))
        .map(|(code, is_staffs)| (code.to_string(), *is_staffs))
        .collect();
    let expected = [("stock:item:get", false), ("stock:item:list", false), ("stock:item:list", true)];
    let mut added: Vec<(&str, bool)> = added.iter().map(|(code, is_staffs)| (code.as_str(), *is_staffs)).collect();
    added.sort_unstable();
    assert_eq!(added, expected);
    // A tenant sees what its routes and those of services ask for, not another's own.
    let mut theirs = route(RouteOwner::Hostname(GLOBEX_HOST), "/own", &[]);
    theirs.rule.access = Access::Permission("globex:secret:get".parse().unwrap());
    change!(store, |tx, theirs| tx.insert_route(&system(), theirs.clone())).unwrap();
    let secret = |seen: &[(Permission, bool)]| seen.iter().any(|(code, _)| code.as_str() == "globex:secret:get");
    // Nor what a hostname asks for that is no tenant's.
    db.behind(&format!("UPDATE routes SET tenant_id = NULL, project_id = NULL WHERE id = '{}'", theirs.rule.id)).await;
    assert!(!secret(&store.route_permissions(Some(ACME)).await.unwrap()));
    db.behind(&format!(
        "UPDATE routes SET tenant_id = '{GLOBEX}', project_id = '{CLOUD}' WHERE id = '{}'",
        theirs.rule.id
    ))
    .await;
    let seen = store.route_permissions(Some(ACME)).await.unwrap();
    assert!(!secret(&seen) && seen.len() >= expected.len(), "{seen:?}");
    assert!(secret(&store.route_permissions(Some(GLOBEX)).await.unwrap()));
}
