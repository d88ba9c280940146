//! A long declaration in parts: each fits one request and holds all that its entities refer to.

use std::collections::{BTreeSet, HashMap};

use domain::{
    CertificateId,
    snapshot::{Entity, Origin, Route, TenantBinding},
};
use uuid::Uuid;

/// Most bytes of the entities of one request; the control API takes 1 MiB.
const MOST_BYTES: usize = 768 * 1024;

/// Most entities of one request: each is several statements, and all of them one transaction. A thousand take more than a second
/// on SQLite, whose one writer then keeps a gateway from proving within a second that it is fresh.
const MOST: usize = 250;

/// The parts, each as places in the declaration, in its order. What fits is one.
///
/// # Errors
/// For an entity that cannot be written as JSON.
pub(super) fn of(entities: &[Entity]) -> Result<Vec<Vec<usize>>, serde_json::Error> {
    let sizes = entities.iter().map(|it| serde_json::to_string(it).map(|text| text.len() + 1));
    Ok(split(entities, &sizes.collect::<Result<Vec<_>, _>>()?, MOST_BYTES))
}

fn split(entities: &[Entity], sizes: &[usize], most_bytes: usize) -> Vec<Vec<usize>> {
    if sizes.iter().sum::<usize>() <= most_bytes {
        return vec![(0..entities.len()).collect()];
    }
    let needs = Needs::of(entities);
    let (mut parts, mut part, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
    let mut done = BTreeSet::new();
    for root in order(entities) {
        if done.contains(&root) {
            continue;
        }
        let wanted = needs.with(root);
        let size = |part: &BTreeSet<usize>| -> usize { wanted.difference(part).filter_map(|at| sizes.get(*at)).sum() };
        if !part.is_empty() && (bytes + size(&part) > most_bytes || part.len() + wanted.len() > MOST) {
            parts.push(std::mem::take(&mut part).into_iter().collect());
            bytes = 0;
        }
        bytes += size(&part);
        done.extend(wanted.iter().copied());
        part.extend(wanted);
    }
    parts.push(part.into_iter().collect());
    parts
}

/// In which order entities are looked at: what others refer to, then hostnames as they stand, since a project is named
/// after its first, then what has none.
fn order(entities: &[Entity]) -> impl Iterator<Item = usize> {
    let rank = |entity: &Entity| match entity {
        Entity::Upstream(_) | Entity::Service(_) => 0,
        Entity::Hostname(_) => 1,
        Entity::Project(_) | Entity::Tenant(_) | Entity::Role(_) | Entity::Certificate(_) | Entity::Issuer(_) => 2,
    };
    let mut order: Vec<(i32, usize)> = entities.iter().map(rank).zip(0..).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, at)| at)
}

/// What each entity refers to.
struct Needs(Vec<Vec<usize>>);

impl Needs {
    fn of(entities: &[Entity]) -> Self {
        let places: HashMap<Uuid, usize> = entities.iter().map(id).zip(0..).collect();
        let at = |ids: Vec<Uuid>| ids.iter().filter_map(|id| places.get(id).copied()).collect();
        Self(entities.iter().map(|entity| at(named(entity))).collect())
    }

    /// An entity with all that it refers to, and what that does.
    fn with(&self, root: usize) -> BTreeSet<usize> {
        let (mut all, mut open) = (BTreeSet::new(), vec![root]);
        while let Some(next) = open.pop() {
            if all.insert(next) {
                open.extend(self.0.get(next).into_iter().flatten());
            }
        }
        all
    }
}

fn id(entity: &Entity) -> Uuid {
    match entity {
        Entity::Project(it) => it.id.uuid(),
        Entity::Tenant(it) => it.id.uuid(),
        Entity::Role(it) => it.id.uuid(),
        Entity::Certificate(it) => it.id.uuid(),
        Entity::Upstream(it) => it.id.uuid(),
        Entity::Service(it) => it.id.uuid(),
        Entity::Issuer(it) => it.id.uuid(),
        Entity::Hostname(it) => it.id.uuid(),
    }
}

fn named(entity: &Entity) -> Vec<Uuid> {
    let upstreams = |routes: &[Route]| -> Vec<Uuid> {
        routes.iter().filter_map(|route| route.upstream_id).map(|id| id.uuid()).collect()
    };
    match entity {
        Entity::Project(_) | Entity::Certificate(_) | Entity::Upstream(_) => Vec::new(),
        Entity::Tenant(it) => vec![it.project_id.uuid()],
        Entity::Role(it) => it.tenant_id.map(|id| id.uuid()).into_iter().collect(),
        Entity::Service(it) => [vec![it.upstream_id.uuid()], upstreams(&it.routes)].concat(),
        Entity::Issuer(it) => {
            let tenant = match &it.origin {
                Origin::External(binding) => match &binding.tenant {
                    TenantBinding::Tenant(id) => Some(id.uuid()),
                    TenantBinding::Claim(_) => None,
                },
                Origin::Own => None,
            };
            [Some(it.project_id.uuid()), tenant].into_iter().flatten().collect()
        }
        Entity::Hostname(it) => {
            let owners = [Some(it.project_id.uuid()), it.tenant_id.map(|id| id.uuid())];
            let certificate = it.certificate_id.map(CertificateId::uuid);
            let services = it.services.iter().map(|id| id.uuid());
            let own = owners.into_iter().flatten().chain(certificate).chain(services);
            own.chain(upstreams(&it.routes)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::declarative::{RawFile, ReadAs, compile};

    use super::*;

    fn declared() -> Vec<Entity> {
        let tenants: Vec<_> = (0..40).map(|n| serde_json::json!({ "slug": format!("tenant-{n}") })).collect();
        let hostname = |n: usize| serde_json::json!({ "hostname": format!("h{n}.example.com"), "tenant": format!("tenant-{n}"), "services": ["orders"] });
        let file: RawFile = serde_json::from_value(serde_json::json!({
            "tenants": tenants,
            "hostnames": (0..40).rev().map(hostname).collect::<Vec<_>>(),
            "roles": [{ "name": "reader", "tenant": "tenant-3", "permissions": ["orders:order:list"] }],
            "upstreams": [{ "name": "orders", "peers": ["127.0.0.1:3000"], "plaintext": true, "assertion": "off" }],
            "services": [{ "name": "orders", "upstream": "orders", "routes": [{ "path": "/**", "access": "public" }] }],
        }))
        .unwrap();
        compile(&file, ReadAs::Apply, &|_| Err("no files".into())).unwrap().entities
    }

    #[test]
    fn what_fits_is_one_part() {
        let entities = declared();
        assert_eq!(of(&entities).unwrap(), [(0..entities.len()).collect::<Vec<_>>()]);
    }

    #[test]
    fn every_part_fits_and_holds_what_it_refers_to_and_nothing_is_left_out() {
        let entities = declared();
        let sizes: Vec<usize> = entities.iter().map(|it| serde_json::to_string(it).unwrap().len()).collect();
        let parts = split(&entities, &sizes, 8_000);
        assert!(parts.len() > 2, "{}", parts.len());
        let mut all = BTreeSet::new();
        for part in &parts {
            assert!(part.iter().map(|at| sizes[*at]).sum::<usize>() <= 8_000);
            assert!(part.is_sorted(), "as they stand in the declaration");
            let here: BTreeSet<Uuid> = part.iter().map(|at| id(&entities[*at])).collect();
            let known: BTreeSet<Uuid> = entities.iter().map(id).collect();
            for at in part {
                for needed in named(&entities[*at]) {
                    assert!(here.contains(&needed) || !known.contains(&needed));
                }
            }
            all.extend(part.iter().copied());
        }
        assert_eq!(all.len(), entities.len());
        // The default project is named after the first hostname of the declaration.
        let first = parts[0].iter().find_map(|at| match &entities[*at] {
            Entity::Hostname(it) => Some(it.hostname.to_string()),
            _ => None,
        });
        assert_eq!(first.unwrap(), "h39.example.com");
    }
}
