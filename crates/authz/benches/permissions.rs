//! What asking a set of 500 grants, wildcards among them, costs. The goal is 200 ns.

#![allow(clippy::unwrap_used, missing_docs, reason = "a measuring program")]

use std::hint::black_box;

use authz::PermissionSet;
use criterion::{Criterion, criterion_group, criterion_main};
use domain::Permission;

/// 460 single permissions, 36 whole resources and 4 whole modules.
fn grants() -> Vec<Permission> {
    let single = (0..460).map(|n| format!("module-{}:resource-{}:action-{}", n % 20, n % 46, n % 10 + n / 230 * 10));
    let resources = (0..36).map(|n| format!("module-{}:whole-{n}:*", n % 20));
    let modules = (0..4).map(|n| format!("whole-{n}:*"));
    single.chain(resources).chain(modules).map(|text| text.parse().unwrap()).collect()
}

fn ask(criterion: &mut Criterion) {
    let grants = grants();
    assert_eq!(grants.len(), 500);
    let set = PermissionSet::new(&grants);
    let mut group = criterion.benchmark_group("permission check, 500 grants");
    for (case, asked, expected) in [
        ("held by name", "module-7:resource-27:action-7", true),
        ("held by its resource", "module-7:whole-7:action-7", true),
        ("held by its module", "whole-3:resource-27:action-7", true),
        ("not held", "module-7:resource-27:action-99", false),
    ] {
        let asked: Permission = asked.parse().unwrap();
        assert_eq!(set.covers(&asked), expected, "{case}");
        group.bench_function(case, |bencher| bencher.iter(|| set.covers(black_box(&asked))));
    }
    group.finish();
}

criterion_group!(benches, ask);
criterion_main!(benches);
