//! What a change of one of 100,000 tenants, each with a hostname, costs the gate. The goal is 1 ms.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a measuring program"
)]

use criterion::{Criterion, criterion_group, criterion_main};
use domain::{
    declarative::{RawFile, ReadAs, compile},
    snapshot::{Change, Entity, TenantStatus},
};
use gate::snapshot::Snapshot;
use serde_json::json;

const TENANTS: usize = 100_000;

/// Half of the tenants in one project, each other in a project of its own.
fn declared() -> Vec<Entity> {
    let project = |n: usize| if n.is_multiple_of(2) { "shared".to_owned() } else { format!("project-{n}") };
    let slug = |n: usize| format!("tenant-{n}");
    let mut projects: Vec<_> = (0..TENANTS).map(project).collect();
    projects.sort_unstable();
    projects.dedup();
    let file: RawFile = serde_json::from_value(json!({
        "projects": projects.iter().map(|slug| json!({ "slug": slug })).collect::<Vec<_>>(),
        "tenants": (0..TENANTS).map(|n| json!({ "slug": slug(n), "project": project(n) })).collect::<Vec<_>>(),
        "hostnames": (0..TENANTS)
            .map(|n| json!({ "hostname": format!("h{n}.example.com"), "tenant": slug(n), "services": ["orders"] }))
            .collect::<Vec<_>>(),
        "upstreams": [{ "name": "orders", "peers": ["127.0.0.1:3000"], "plaintext": true, "assertion": "off" }],
        "services": [{ "name": "orders", "upstream": "orders", "routes": [{ "path": "/**", "access": "public" }] }],
    }))
    .unwrap();
    compile(&file, ReadAs::Apply, &|_| Err("no files".into())).unwrap().entities
}

fn changes(criterion: &mut Criterion) {
    let entities = declared();
    let change = |entity: &Entity, revision: u64, gone: bool| Change {
        revision,
        key: entity.key(),
        min_reader: 1,
        entity: (!gone).then(|| entity.clone()),
    };
    let snapshot = Snapshot::default();
    snapshot.replace(entities.iter().map(|entity| change(entity, 1, false)).collect(), 1);
    let tenants: Vec<&Entity> = entities.iter().filter(|it| matches!(it, Entity::Tenant(_))).collect();
    let hostnames: Vec<&Entity> = entities.iter().filter(|it| matches!(it, Entity::Hostname(_))).collect();
    let mut group = criterion.benchmark_group("one of 100,000 tenants");
    let mut revision = 1;
    for (case, at) in [("of a large project", 2_000), ("of a project of its own", 2_001)] {
        group.bench_function(format!("{case}: changed"), |bencher| {
            bencher.iter(|| {
                revision += 1;
                let Entity::Tenant(mut tenant) = tenants[at].clone() else { panic!() };
                tenant.status = if revision % 2 == 0 { TenantStatus::Suspended } else { TenantStatus::Active };
                snapshot.apply(vec![change(&Entity::Tenant(tenant), revision, false)], revision)
            });
        });
        group.bench_function(format!("{case}: removed and added with its hostname"), |bencher| {
            bencher.iter(|| {
                for gone in [true, false] {
                    revision += 1;
                    let both = [tenants[at], hostnames[at]].map(|entity| change(entity, revision, gone));
                    snapshot.apply(both.into(), revision);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, changes);
criterion_main!(benches);
