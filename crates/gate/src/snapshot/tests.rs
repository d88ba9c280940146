//! What is compiled change by change is what is compiled at once.

use domain::{
    TenantId,
    declarative::{RawFile, ReadAs, compile},
    snapshot::{Entity, EntityKey, TenantStatus},
};
use serde_json::json;

use super::*;

const TENANTS: usize = 24;

/// Projects with tenants, roles and hostnames, one hostname of each project without a tenant of its own.
fn declared() -> Vec<Entity> {
    let project = |n: usize| format!("project-{}", n % 4);
    let slug = |n: usize| format!("tenant-{n}");
    let mut hostnames: Vec<_> = (0..TENANTS)
        .map(|n| json!({ "hostname": format!("h{n}.example.com"), "tenant": slug(n), "services": ["orders"] }))
        .collect();
    hostnames.extend(
        (0..4).map(
            |n| json!({ "hostname": format!("all{n}.example.com"), "project": project(n), "services": ["orders"] }),
        ),
    );
    let role =
        |n: usize| json!({ "name": "reader", "tenant": slug(n), "permissions": [format!("orders:order:get{n}")] });
    let file: RawFile = serde_json::from_value(json!({
        "projects": (0..4).map(|n| json!({ "slug": project(n) })).collect::<Vec<_>>(),
        "tenants": (0..TENANTS).map(|n| json!({ "slug": slug(n), "project": project(n) })).collect::<Vec<_>>(),
        "roles": (0..TENANTS).step_by(3).map(role).chain([json!({ "name": "all", "permissions": ["a:b:c"] })]).collect::<Vec<_>>(),
        "hostnames": hostnames,
        "issuers": (0..4).map(|n| json!({
            "issuer": format!("https://id{n}.example.com"), "project": project(n), "jwks": { "url": "https://id.example.com/jwks" },
            "audiences": ["orders"], "algorithms": ["ES256"], "tenant_claim": "tid",
        })).collect::<Vec<_>>(),
        "upstreams": [{ "name": "orders", "peers": ["127.0.0.1:3000"], "plaintext": true, "assertion": "off" }],
        "services": [{ "name": "orders", "upstream": "orders", "routes": [{ "path": "/**", "access": "public" }] }],
    }))
    .unwrap();
    compile(&file, ReadAs::Apply, &|_| Err("no files".into())).unwrap().entities
}

/// All that a request could find.
fn described(snapshot: &Snapshot, tenants: &[TenantId], refused: &[(EntityKey, String)]) -> Vec<String> {
    let tenant = |it: &TenantInfo| format!("{} {:?} {:?} {:?}", it.slug, it.status, it.generation, it.made_from.1);
    let names = (0..TENANTS).map(|n| format!("h{n}.example.com")).chain((0..4).map(|n| format!("all{n}.example.com")));
    let mut lines: Vec<String> = names
        .map(|name| match snapshot.entry(&name) {
            None => format!("{name} -"),
            Some(Entry::Unsupported) => format!("{name} unsupported"),
            Some(Entry::Site(site)) => {
                let map = site.project.tenants.load();
                let known: Vec<_> = tenants.iter().filter_map(|id| map.by_id(*id)).map(|it| tenant(it)).collect();
                let named: Vec<_> = (0..TENANTS + 9)
                    .filter_map(|n| map.by_name(&format!("tenant-{n}")))
                    .map(|it| it.id.to_string())
                    .collect();
                let own = site.tenant.as_deref().map(tenant);
                let issuers: Vec<_> = site.issuers.iter().map(|it| it.id.to_string()).collect();
                let roles = site.roles.by_id.len();
                format!("{name} {own:?} {known:?} {named:?} {issuers:?} {roles} {}", site.project.suspended)
            }
        })
        .collect();
    lines.extend(snapshot.unserved().iter().map(|name| format!("unserved {name}")));
    lines.extend(refused.iter().map(|(key, why)| format!("refused {key:?} {why}")));
    lines
}

/// A generator of its own (xorshift), so that a failure can be looked at again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

fn altered(entity: &Entity, all: &[Entity], dice: &mut Dice) -> Entity {
    let mut entity = entity.clone();
    let other = |kind: fn(&Entity) -> Option<uuid::Uuid>, dice: &mut Dice| {
        let ids: Vec<_> = all.iter().filter_map(kind).collect();
        ids[dice.below(ids.len())]
    };
    let project = |it: &Entity| if let Entity::Project(it) = it { Some(it.id.uuid()) } else { None };
    let tenant = |it: &Entity| if let Entity::Tenant(it) = it { Some(it.id.uuid()) } else { None };
    match &mut entity {
        Entity::Project(it) => it.suspended = !it.suspended,
        Entity::Tenant(it) => match dice.below(4) {
            0 => it.status = [TenantStatus::Active, TenantStatus::Frozen, TenantStatus::Suspended][dice.below(3)],
            1 => it.slug = format!("tenant-{}", TENANTS + dice.below(9)).parse().unwrap(),
            2 => it.project_id = domain::Id::new(other(project, dice)),
            _ => it.generation += 1,
        },
        Entity::Role(it) if it.tenant_id.is_some() => match dice.below(2) {
            0 => it.tenant_id = Some(domain::Id::new(other(tenant, dice))),
            _ => it.admin = !it.admin,
        },
        Entity::Role(it) => it.admin = !it.admin,
        Entity::Hostname(it) => it.tenant_id = it.tenant_id.map(|_| domain::Id::new(other(tenant, dice))),
        Entity::Issuer(it) => it.project_id = domain::Id::new(other(project, dice)),
        Entity::Certificate(_) | Entity::Upstream(_) | Entity::Service(_) => {}
    }
    entity
}

#[test]
fn changes_one_by_one_come_to_the_same_as_all_at_once() {
    let entities = declared();
    let tenants: Vec<_> =
        entities.iter().filter_map(|it| if let Entity::Tenant(it) = it { Some(it.id) } else { None }).collect();
    for seed in 1..=20 {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
        let (snapshot, mut revision) = (Snapshot::default(), 0);
        let mut latest = entities.clone();
        for step in 0..150 {
            let changes = (0..=dice.below(3)).map(|_| {
                revision += 1;
                let at = dice.below(entities.len());
                let unreadable = u32::MAX;
                let (entity, min_reader) = match dice.below(8) {
                    0 => (None, 1),
                    1 => (Some(latest[at].clone()), unreadable),
                    2..=4 => {
                        latest[at] = altered(&latest[at], &entities, &mut dice);
                        (Some(latest[at].clone()), 1)
                    }
                    _ => (Some(latest[at].clone()), 1),
                };
                Change { revision, key: latest[at].key(), min_reader, entity }
            });
            let changes: Vec<_> = changes.collect();
            let report = snapshot.apply(changes, revision);
            let whole = Snapshot::default();
            // Of a service that is missing the first hostname is named, whichever that is; what cannot be read always is.
            let mut at_once = whole.replace(snapshot.entities(), revision).refused;
            at_once.retain(|(_, why)| why.contains("reader"));
            assert_eq!(
                described(&snapshot, &tenants, &[]),
                described(&whole, &tenants, &[]),
                "seed {seed}, step {step}"
            );
            assert!(at_once.iter().all(|it| report.refused.contains(it)));
            // And in place of what there was.
            if dice.below(10) == 0 {
                let kept: Vec<_> = snapshot.entities().into_iter().filter(|_| dice.below(4) > 0).collect();
                snapshot.replace(kept.clone(), revision);
                let whole = Snapshot::default();
                whole.replace(kept, revision);
                assert_eq!(described(&snapshot, &tenants, &[]), described(&whole, &tenants, &[]), "replaced");
            }
        }
    }
}

#[test]
fn what_is_served_of_a_tenant_is_forgotten_when_it_is_gone_and_nobody_holds_it() {
    let entities = declared();
    let snapshot = Snapshot::default();
    let change = |entity: &Entity, revision, gone: bool| Change {
        revision,
        key: entity.key(),
        min_reader: 1,
        entity: (!gone).then(|| entity.clone()),
    };
    snapshot.apply(entities.iter().map(|entity| change(entity, 1, false)).collect(), 1);
    let known = |snapshot: &Snapshot| snapshot.state.lock().loads();
    let before = known(&snapshot);
    let of_first = |it: &&Entity| match it {
        Entity::Tenant(it) => it.slug.as_str() == "tenant-0",
        Entity::Hostname(it) => it.hostname.as_str() == "h0.example.com",
        _ => false,
    };
    let gone: Vec<_> = entities.iter().filter(of_first).collect();
    assert_eq!(gone.len(), 2);
    snapshot.apply(gone.iter().map(|entity| change(entity, 2, true)).collect(), 2);
    let other = entities.iter().find(|it| matches!(it, Entity::Project(_))).unwrap();
    snapshot.apply(vec![change(other, 3, false)], 3);
    assert_eq!(known(&snapshot), before - 2);
}
