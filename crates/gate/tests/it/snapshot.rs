//! The snapshot as changes come and go.

use domain::snapshot::{Access, Change, Entity, EntityKey, EntityKind, Hostname, READER, Service};
use uuid::Uuid;

use crate::world::{Sent, World, hostname, id, route, routes, upstream};

fn public(world: &World, host: &str) -> &'static str {
    world.code(&Sent::get(host, "/public/x"))
}

#[test]
fn a_row_this_build_cannot_read_is_refused_and_never_ignored() {
    let world = World::new();
    for (kind, n) in [(EntityKind::Service, 400), (EntityKind::Upstream, 300), (EntityKind::Tenant, 1)] {
        let world = World::new();
        let key = EntityKey { kind, id: Uuid::from_u128(n) };
        let report =
            world.change(|revision| Change { revision, key: key.clone(), min_reader: READER + 1, entity: None });
        assert_eq!(report.refused.iter().filter(|(refused, _)| *refused == key).count(), 1);
        assert_eq!(public(&world, "acme.localhost"), "snapshot_unsupported", "{kind:?}");
    }
    assert_eq!(public(&world, "acme.localhost"), "permit");
}

#[test]
fn rows_may_come_in_any_order() {
    let reference = World::new();
    let mut changes = reference.gate.snapshot().entities();
    for _ in 0..changes.len() {
        changes.rotate_left(1);
        let world = World::new();
        let key = |change: &Change| EntityKey { kind: change.key.kind, id: change.key.id };
        world.gate.snapshot().replace(Vec::new(), 1);
        assert_eq!(public(&world, "acme.localhost"), "hostname_unknown");
        for change in &changes {
            world.gate.snapshot().apply(vec![Change { key: key(change), ..change.clone() }], 2);
        }
        assert_eq!(public(&world, "acme.localhost"), "permit");
        assert_eq!(public(&world, "cloud.localhost"), "permit");
    }
}

#[test]
fn a_replacement_forgets_what_is_not_in_it() {
    let world = World::new();
    let keep = |change: &Change| !matches!(&change.entity, Some(Entity::Hostname(h)) if h.hostname.as_str() == "acme.localhost");
    let changes: Vec<_> = world.gate.snapshot().entities().into_iter().filter(keep).collect();
    world.gate.snapshot().replace(changes, 9);
    assert_eq!(public(&world, "acme.localhost"), "hostname_unknown");
    assert_eq!(public(&world, "globex.localhost"), "permit");
    assert_eq!(world.gate.snapshot().revision(), 9);
}

#[test]
fn a_renamed_or_removed_hostname_is_gone_at_once() {
    let world = World::new();
    world.put_one(Entity::Hostname(hostname(20, "new.localhost", world.acme.project, Some(world.acme.tenant))));
    assert_eq!(public(&world, "acme.localhost"), "hostname_unknown");
    assert_eq!(public(&world, "new.localhost"), "permit");
    let key = EntityKey { kind: EntityKind::Hostname, id: Uuid::from_u128(20) };
    world.change(|revision| Change { revision, key, min_reader: 1, entity: None });
    assert_eq!(public(&world, "new.localhost"), "hostname_unknown");
}

#[test]
fn an_older_change_never_undoes_a_newer_one() {
    let world = World::new();
    let key = EntityKey { kind: EntityKind::Hostname, id: Uuid::from_u128(20) };
    world.change(|_| Change { revision: 0, key, min_reader: 1, entity: None });
    assert_eq!(public(&world, "acme.localhost"), "permit");
}

#[test]
fn a_hostnames_own_route_stands_before_its_services() {
    let world = World::new();
    let own = route(50, "/public/**", &[], Access::Authenticated);
    let own = domain::snapshot::Route { upstream_id: Some(id(300)), ..own };
    let acme = hostname(20, "acme.localhost", world.acme.project, Some(world.acme.tenant));
    world.put_one(Entity::Hostname(Hostname { routes: vec![own], ..acme }));
    assert_eq!(public(&world, "acme.localhost"), "credential_missing");
    assert_eq!(public(&world, "globex.localhost"), "permit");
}

#[test]
fn ties_and_missing_parts_refuse_the_hostnames_that_need_them() {
    let world = World::new();
    let mut tied = routes();
    tied.push(route(51, "/me", &["GET"], Access::Public));
    let service = |routes| Entity::Service(Service { id: id(400), name: "demo".into(), upstream_id: id(300), routes });
    let report = world.put_one(service(tied));
    assert!(report.refused.iter().any(|(_, reason)| reason.contains("`/me` and `/me`")), "{report:?}");
    assert_eq!(public(&world, "acme.localhost"), "snapshot_unsupported");
    world.put_one(service(routes()));
    assert_eq!(public(&world, "acme.localhost"), "permit");
    let mut broken = upstream();
    broken.peers.clear();
    world.put_one(Entity::Upstream(broken));
    assert_eq!(public(&world, "acme.localhost"), "snapshot_unsupported");
}

#[test]
fn h1_ten_thousand_hostnames_mean_what_one_means() {
    let world = World::new();
    let hosts = (0..10_000).map(|n| {
        Entity::Hostname(hostname(10_000 + n, &format!("h{n}.localhost"), world.acme.project, Some(world.acme.tenant)))
    });
    world.put(hosts.collect());
    for host in ["h0.localhost", "H9999.LOCALHOST.", "h5000.localhost:443", "acme.localhost"] {
        assert_eq!(public(&world, host), "permit", "{host}");
    }
    assert_eq!(public(&world, "h10000.localhost"), "hostname_unknown");
}
