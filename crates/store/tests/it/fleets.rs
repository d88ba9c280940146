//! Fleets: each is told of its own hostnames and what hangs on them.

use std::collections::BTreeSet;

use domain::{
    CertificateId, FleetName, SnapshotVersion,
    model::{CertificateSource, Hostname, NewCertificate, NewService, RouteOwner},
    snapshot::{Change, EntityKind},
};
use store::{Delta, Store, read::*};
use uuid::Uuid;

use crate::{
    harness::{Database, NOW},
    world::*,
};

type Held = BTreeSet<(EntityKind, Uuid)>;

fn eu() -> FleetName {
    "eu".parse().unwrap()
}

/// A gateway's state: what it was told, applied in order.
#[derive(Default)]
struct Gateway {
    at: Option<SnapshotVersion>,
    held: Held,
}

impl Gateway {
    /// Hears what is new, and checks that it then holds what the full state of its fleet holds.
    async fn hear(&mut self, store: &Store, fleet: &FleetName) -> Vec<Change> {
        store.tick(NOW).await.unwrap();
        let changes = match self.at {
            None => store.snapshot_of(fleet).await.unwrap().changes,
            Some(at) => match store.changes_of(fleet, at, 1000).await.unwrap() {
                Delta::Changes { changes, .. } => changes,
                Delta::Resync => panic!("the history is whole"),
            },
        };
        for change in &changes {
            let key = (change.key.kind, change.key.id);
            if change.entity.is_some() {
                self.held.insert(key)
            } else {
                self.held.remove(&key)
            };
        }
        let full = store.snapshot_of(fleet).await.unwrap();
        self.at = Some(full.version);
        let whole: Held = full.changes.iter().map(|change| (change.key.kind, change.key.id)).collect();
        assert_eq!(self.held, whole, "what was told one by one is the whole of fleet `{fleet}`");
        changes
    }

    fn holds(&self, kind: EntityKind, id: Uuid) -> bool {
        self.held.contains(&(kind, id))
    }
}

fn certificate(id: CertificateId) -> NewCertificate {
    NewCertificate {
        id,
        project_id: Some(CLOUD),
        names: vec!["acme.example.com".into()],
        chain_pem: "CHAIN".into(),
        key_pem: String::from("PRIVATE").into(),
        not_before: NOW,
        not_after: NOW,
        source: CertificateSource::Upload,
        fingerprint: "ab".into(),
    }
}

async fn edit(store: &Store, change: impl FnOnce(&mut Hostname)) {
    let mut acme = store.hostname(ACME_HOST).await.unwrap().unwrap();
    change(&mut acme);
    change!(store, |tx, acme| tx.update_hostname(&system(), acme.clone())).unwrap();
}

pub(crate) async fn a_move_is_a_row_for_one_fleet_and_a_tombstone_for_the_other(db: Database) {
    let store = world(&db).await;
    let id = fresh();
    change!(store, |tx| tx.insert_certificate(&system(), certificate(id))).unwrap();
    edit(&store, |acme| acme.certificate_id = Some(id)).await;
    let (mut here, mut there) = (Gateway::default(), Gateway::default());
    here.hear(&store, &FleetName::default()).await;
    there.hear(&store, &eu()).await;
    assert!(here.holds(EntityKind::Certificate, id.uuid()) && here.holds(EntityKind::Upstream, ORDERS.uuid()));
    assert!(!there.holds(EntityKind::Hostname, GLOBEX_HOST.uuid()), "nothing of another fleet");
    assert!(!there.holds(EntityKind::Certificate, id.uuid()) && !there.holds(EntityKind::Upstream, ORDERS.uuid()));
    let kinds: BTreeSet<_> = there.held.iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.contains(&EntityKind::Tenant) && kinds.contains(&EntityKind::Project), "{kinds:?}");

    edit(&store, |acme| acme.fleet = eu()).await;
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision, "who serves what was moved away loses its lease");
    here.hear(&store, &FleetName::default()).await;
    there.hear(&store, &eu()).await;
    for (kind, id) in [(EntityKind::Hostname, ACME_HOST.uuid()), (EntityKind::Certificate, id.uuid())] {
        assert!(!here.holds(kind, id) && there.holds(kind, id), "{kind:?}");
    }
    // Globex, which stayed, offers the same service.
    for (kind, id) in [(EntityKind::Service, SHOP.uuid()), (EntityKind::Upstream, ORDERS.uuid())] {
        assert!(here.holds(kind, id) && there.holds(kind, id), "{kind:?}");
    }

    edit(&store, |acme| acme.fleet = FleetName::default()).await;
    let told = there.hear(&store, &eu()).await;
    assert!(told.iter().all(|change| change.entity.is_none()), "nothing but tombstones: {told:?}");
    assert!(!there.holds(EntityKind::Upstream, ORDERS.uuid()), "the last that went there has left");
    here.hear(&store, &FleetName::default()).await;
    assert!(here.holds(EntityKind::Certificate, id.uuid()));
}

pub(crate) async fn keys_of_another_fleet_are_told_to_nobody_whatever_changes(db: Database) {
    let store = world(&db).await;
    edit(&store, |acme| acme.fleet = eu()).await;
    let (mut here, mut there) = (Gateway::default(), Gateway::default());
    let id = fresh();
    // Before anything uses it, no fleet has it.
    change!(store, |tx| tx.insert_certificate(&system(), certificate(id))).unwrap();
    here.hear(&store, &FleetName::default()).await;
    there.hear(&store, &eu()).await;
    assert!(!here.holds(EntityKind::Certificate, id.uuid()) && !there.holds(EntityKind::Certificate, id.uuid()));
    edit(&store, |acme| acme.certificate_id = Some(id)).await;
    // An upstream of one route of a hostname, then of one route of a service, then of the service.
    let (own, routed, moved) = (fresh(), fresh(), fresh());
    for (id, name) in [(own, "own"), (routed, "routed"), (moved, "moved")] {
        change!(store, |tx| tx.insert_upstream(&system(), upstream(id, name))).unwrap();
    }
    let service = NewService { id: fresh(), name: "billing".into(), upstream_id: ORDERS };
    change!(store, |tx, service| tx.insert_service(&system(), service.clone())).unwrap();
    edit(&store, |acme| acme.services = vec![service.id]).await;
    for (owner, upstream) in [(RouteOwner::Hostname(ACME_HOST), own), (RouteOwner::Service(service.id), routed)] {
        let mut new = route(owner, "/x/**", &[]);
        new.rule.upstream_id = Some(upstream);
        change!(store, |tx, new| tx.insert_route(&system(), new.clone())).unwrap();
    }
    here.hear(&store, &FleetName::default()).await;
    there.hear(&store, &eu()).await;
    for upstream in [own, routed] {
        assert!(
            there.holds(EntityKind::Upstream, upstream.uuid()) && !here.holds(EntityKind::Upstream, upstream.uuid())
        );
    }
    assert!(there.holds(EntityKind::Certificate, id.uuid()) && !here.holds(EntityKind::Certificate, id.uuid()));
    let mut elsewhere = store.service(service.id).await.unwrap().unwrap();
    elsewhere.upstream_id = moved;
    change!(store, |tx, elsewhere| tx.update_service(&system(), elsewhere.clone())).unwrap();
    there.hear(&store, &eu()).await;
    assert!(there.holds(EntityKind::Upstream, moved.uuid()) && !there.holds(EntityKind::Upstream, ORDERS.uuid()));
    let routes = store.routes(RouteOwner::Hostname(ACME_HOST)).await.unwrap();
    change!(store, |tx, routes| tx.delete_route(&system(), routes[0].rule.id)).unwrap();
    there.hear(&store, &eu()).await;
    assert!(!there.holds(EntityKind::Upstream, own.uuid()));
    change!(store, |tx| tx.delete_certificate(&system(), id)).unwrap();
    change!(store, |tx| tx.delete_hostname(&system(), ACME_HOST, &RULES)).unwrap();
    there.hear(&store, &eu()).await;
    here.hear(&store, &FleetName::default()).await;
    let secret = |kind: &EntityKind| matches!(kind, EntityKind::Certificate | EntityKind::Upstream);
    assert!(!there.held.iter().any(|(kind, _)| secret(kind)), "{:?}", there.held);
}
