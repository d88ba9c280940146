//! Decisions of gateways: who may tell of what, who may read it, and that they do not pile up.

use std::time::Duration;

use authz::Scope;
use domain::{
    Decision, FleetName, ProjectId, RequestId, TenantId, Timestamp,
    decision::{Freshness, PERMIT, Shown},
    model::NewHostname,
};
use store::{DecisionsKept, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

const MINUTE: Duration = Duration::from_secs(60);

/// What a gateway tells of a request to `acme.example.com`.
fn decision(request: u128) -> Decision {
    at("acme.example.com", Some(CLOUD), Some(ACME), request)
}

fn at(host: &str, project_id: Option<ProjectId>, tenant_id: Option<TenantId>, request: u128) -> Decision {
    Decision {
        request_id: id(request),
        at: NOW,
        project_id,
        tenant_id,
        code: Shown::cut(PERMIT, 64),
        status: None,
        reason: None,
        stopped_at: None,
        method: Shown::cut("GET", 32),
        host: Some(Shown::cut(host, 253)),
        path: Some(Shown::cut("/orders", 512)),
        route: None,
        credential: None,
        principal: None,
        product: None,
        permission: None,
        freshness: Freshness { revision: 7, applied_seq: 3, proven: true, proof_age_ms: Some(12) },
    }
}

fn id(request: u128) -> RequestId {
    RequestId::new(uuid::Uuid::from_u128(request))
}

async fn tell(store: &Store, now: Timestamp, fleet: Option<&str>, told: &[Decision]) -> usize {
    let fleet: Option<FleetName> = fleet.map(|fleet| fleet.parse().unwrap());
    let fleet = fleet.as_ref();
    let kept =
        store.write_session(Scope::Platform, now, |tx| async move { tx.keep_decisions(("gw-1", fleet), told).await });
    kept.await.map_err(|error: StoreError| error).unwrap()
}

async fn known(store: &Store, requests: impl IntoIterator<Item = u128>) -> Vec<u128> {
    let mut known = Vec::new();
    for request in requests {
        if store.decision(id(request)).await.unwrap().is_some() {
            known.push(request);
        }
    }
    known
}

pub(crate) async fn a_decision_reads_back_as_it_was_told_and_only_once(db: Database) {
    let store = world(&db).await;
    let told = decision(1);
    assert_eq!(tell(&store, NOW, Some("default"), std::slice::from_ref(&told)).await, 1);
    let other = Decision { method: Shown::cut("POST", 32), ..decision(1) };
    tell(&store, NOW + MINUTE, Some("default"), &[other.clone(), decision(2), other]).await;
    let kept = store.decision(id(1)).await.unwrap().unwrap();
    assert_eq!((kept.gateway.as_str(), kept.fleet.as_str(), kept.received), ("gw-1", "default", NOW));
    assert_eq!(kept.decision, told, "the first account stands");
    assert_eq!(known(&store, 1..4).await, [1, 2]);
    assert_eq!(tell(&store, NOW, Some("default"), &[]).await, 0);
}

pub(crate) async fn a_decision_is_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    let theirs = at("globex.example.com", Some(CLOUD), Some(GLOBEX), 2);
    let nobodys = at("unknown.example.com", None, None, 3);
    assert_eq!(tell(&store, NOW, Some("default"), &[decision(1), theirs, nobodys]).await, 3);
    let acme = store.within(Scope::Tenant(CLOUD, ACME));
    assert!(acme.decision_of_tenant(ACME, id(1)).await.unwrap().is_some());
    for request in [2, 3, 4] {
        assert!(acme.decision_of_tenant(ACME, id(request)).await.unwrap().is_none(), "{request}");
    }
    let Some(_) = db.postgres().await else { return };
    // Without any predicate: what the database itself shows.
    for (scope, visible) in [
        (Scope::Tenant(CLOUD, ACME), vec![1]),
        (Scope::Tenant(CLOUD, GLOBEX), vec![2]),
        (Scope::Tenant(ROOT, ACME), vec![]),
        (Scope::Project(CLOUD), vec![1, 2]),
        (Scope::Platform, vec![1, 2, 3]),
    ] {
        assert_eq!(known(&store.within(scope), 1..4).await, visible, "{scope:?}");
    }
}

pub(crate) async fn a_gateway_tells_of_its_own_fleets_hostnames_only(db: Database) {
    let store = world(&db).await;
    let shared = NewHostname { tenant_id: None, ..hostname(fresh(), ACME, "cloud.example.com") };
    let abroad = NewHostname { fleet: "eu-1".parse().unwrap(), ..hostname(fresh(), ACME, "eu.example.com") };
    for new in [shared, abroad] {
        change!(store, |tx, new| tx.insert_hostname(&system(), new.clone())).unwrap();
    }
    let (acme, cloud, eu) = ("acme.example.com", "cloud.example.com", "eu.example.com");
    for (request, fleet, host, project, tenant, kept) in [
        (1, "default", acme, Some(CLOUD), Some(ACME), 1),
        (2, "eu-1", acme, Some(CLOUD), Some(ACME), 0),
        (3, "eu-1", eu, Some(CLOUD), Some(ACME), 1),
        (4, "default", acme, Some(CLOUD), Some(GLOBEX), 0),
        (5, "default", acme, Some(CLOUD), None, 0),
        (6, "default", acme, Some(ROOT), Some(ACME), 0),
        (7, "default", cloud, Some(CLOUD), Some(GLOBEX), 1),
        (8, "default", cloud, Some(CLOUD), None, 1),
        (9, "default", cloud, Some(CLOUD), Some(STAFF), 0),
        (10, "default", "unknown.example.com", Some(CLOUD), Some(ACME), 0),
        (11, "default", "unknown.example.com", None, None, 1),
        (12, "default", "unknown.example.com", None, Some(ACME), 0),
        (13, "eu-1", acme, None, None, 0),
    ] {
        assert_eq!(tell(&store, NOW, Some(fleet), &[at(host, project, tenant, request)]).await, kept, "{request}");
    }
    let unread = Decision { host: None, ..at("", None, None, 14) };
    assert_eq!(tell(&store, NOW, Some("eu-1"), &[unread]).await, 1, "of what had no single reading");
    assert_eq!(tell(&store, NOW, None, &[at(eu, Some(CLOUD), Some(ACME), 15)]).await, 1, "on a developer's machine");
}

pub(crate) async fn decisions_are_forgotten_by_age_and_beyond_so_many_of_a_tenant(db: Database) {
    let store = world(&db).await;
    let kept = DecisionsKept { each: 1200, age: MINUTE * 60 };
    // More than one batch of deletions, told in the order of their ids.
    for batch in 0..15_u32 {
        let numbers = (0..256).map(|n| u128::from(batch) * 256 + n);
        let told: Vec<Decision> = numbers.map(decision).collect();
        tell(&store, NOW + MINUTE * batch, Some("default"), &told).await;
    }
    let theirs = at("globex.example.com", Some(CLOUD), Some(GLOBEX), 100_000);
    let nobodys: Vec<Decision> = (0..256).map(|n| at("unknown.example.com", None, None, 200_000 + n)).collect();
    tell(&store, NOW, Some("default"), &[theirs]).await;
    tell(&store, NOW + MINUTE, Some("default"), &nobodys).await;

    let (now, begin) = (NOW + MINUTE * 15, Timestamp::default());
    assert_eq!(store.sweep_decisions(now, begin, kept).await.unwrap(), 15 * 256 - 1200);
    assert_eq!(known(&store, [2639, 2640, 3839, 100_000, 200_000]).await, [2640, 3839, 100_000, 200_000]);
    assert_eq!(store.sweep_decisions(now, begin, kept).await.unwrap(), 0, "swept once");

    let few = DecisionsKept { each: 200, ..kept };
    let later = NOW + MINUTE * 14;
    assert_eq!(store.sweep_decisions(now, later, few).await.unwrap(), 1000, "of whom was told of since");
    assert_eq!(store.sweep_decisions(now, begin, few).await.unwrap(), 56, "and of what belongs to no tenant");

    assert_eq!(store.sweep_decisions(NOW + MINUTE * 61, begin, few).await.unwrap(), 1, "globex's only one is too old");
    assert_eq!(store.sweep_decisions(NOW + MINUTE * 1000, begin, few).await.unwrap(), 400);
    assert_eq!(db.number("SELECT COUNT(*) FROM decisions").await, 0);
}

pub(crate) async fn a_tenant_that_is_erased_takes_its_decisions_along(db: Database) {
    let store = world(&db).await;
    let (bare, gone) = (fresh(), tenant(fresh(), CLOUD, "gone"));
    let lone = NewHostname { tenant_id: None, services: vec![], ..hostname(bare, ACME, "lone.example.com") };
    change!(store, |tx, gone| tx.insert_tenant(&system(), gone.clone())).unwrap();
    change!(store, |tx, lone| tx.insert_hostname(&system(), lone.clone())).unwrap();
    assert_eq!(tell(&store, NOW, None, &[at("lone.example.com", Some(CLOUD), Some(gone.id), 1), decision(2)]).await, 2);
    db.behind(&format!("DELETE FROM tenants WHERE id = '{}'", gone.id)).await;
    assert_eq!(known(&store, 1..3).await, [2]);
}

pub(crate) async fn two_that_sweep_and_many_that_tell_at_once_do_not_get_in_each_others_way(db: Database) {
    let store = world(&db).await;
    let kept = DecisionsKept { each: 100, age: MINUTE };
    let told = |from: u128| -> Vec<Decision> { (from..from + 64).map(decision).collect() };
    let (old, new) = (told(0), told(1000));
    tell(&store, NOW, Some("default"), &old).await;
    let now = NOW + MINUTE * 2;
    let sweeps = futures::future::join_all((0..4).map(|_| store.sweep_decisions(now, Timestamp::default(), kept)));
    let tells = futures::future::join_all((0..4).map(|_| tell(&store, now, Some("default"), &new)));
    let (sweeps, _) = futures::join!(sweeps, tells);
    let swept: u64 = sweeps.into_iter().map(Result::unwrap).sum();
    assert_eq!(swept, 64, "each is deleted once");
    assert_eq!(db.number("SELECT COUNT(*) FROM decisions").await, 64);
}
