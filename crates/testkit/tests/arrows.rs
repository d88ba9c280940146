//! The arrows between crates (`docs/architecture.md`): who may depend on whom, and what must never be linked where.
//! Read from `cargo metadata`, so nothing has to be built or installed to check them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Each crate and the crates of ours that it may use outside its tests.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("authn", &["domain"]),
    ("authz", &["domain"]),
    ("gate", &["domain", "authn", "authz"]),
    ("fuzz-targets", &["gate", "link", "authn", "domain"]),
    ("link", &["domain", "authn", "authz"]),
    ("model", &[]),
    ("store", &["domain", "authz"]),
    ("gateway", &["gate", "link", "authn", "authz", "domain"]),
    ("control-api", &["store", "link", "authn", "authz", "domain"]),
    ("standalone", &["gateway", "control-api", "store", "link", "gate", "authn", "authz", "domain"]),
    ("testkit", &["authn", "domain"]),
    // Knows a node from outside only: what measures shares nothing with what it measures.
    ("load-tests", &[]),
    ("floor", &[]),
    // What services behind the gateway link: nothing of ours.
    ("portcullis-assertion", &[]),
];

/// Each crate and what it must not link, by whatever way.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("domain", &["tokio", "pingora-core", "axum", "tokio-postgres", "rusqlite", "redis"]),
    ("authn", &["tokio", "pingora-core", "axum", "tokio-postgres", "rusqlite", "redis", "tonic"]),
    ("authz", &["tokio", "pingora-core", "axum", "tokio-postgres", "rusqlite", "redis", "tonic"]),
    ("gate", &["pingora-core", "axum", "tokio-postgres", "rusqlite", "redis", "tonic"]),
    ("fuzz-targets", &["pingora-core", "store"]),
    ("store", &["pingora-core", "axum", "redis", "tonic"]),
    ("gateway", &["store", "control-api", "tokio-postgres", "rusqlite"]),
    ("control-api", &["gateway", "gate", "pingora-core"]),
    ("portcullis-assertion", &["tokio", "axum", "hyper", "rustls"]),
];

#[test]
fn only_the_allowed_arrows_exist() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let known: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(ours, known, "a new crate needs a reason no module can meet, and a line in this test");

    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let (_, allowed) = ALLOWED.iter().find(|(name, _)| *name == package.name.as_str()).unwrap();
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            if dependency.kind != DependencyKind::Development && ours.contains(name) && !allowed.contains(&name) {
                wrong.push(format!("{} -> {name}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that docs/architecture.md does not have: {wrong:?}");
}

#[test]
fn the_test_kit_is_a_dev_dependency_only() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let uses = package.dependencies.iter().filter(|dependency| dependency.name == "testkit");
        assert!(uses.clone().all(|dependency| dependency.kind == DependencyKind::Development), "{}", package.name);
    }
}

#[test]
fn no_crate_links_what_it_must_not() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for (name, forbidden) in FORBIDDEN {
        let linked = linked(&metadata, name);
        wrong.extend(forbidden.iter().filter(|it| linked.contains(**it)).map(|it| format!("{name} links {it}")));
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// tonic's server brings axum into the gateway's tree; the gateway itself must not use it.
#[test]
fn the_gateway_does_not_use_axum() {
    let metadata = metadata();
    let uses = package(&metadata, "gateway").dependencies.iter().any(|dependency| dependency.name == "axum");
    assert!(!uses, "gateway depends on axum; its own listeners are Pingora's");
}

/// ring is linked too: Pingora's rustls backend names it. It is never installed, because each `main` installs
/// aws-lc-rs before anything of Pingora is made.
#[test]
fn no_crypto_library_is_linked_beside_aws_lc_and_pingoras() {
    const NONE: [&str; 8] =
        ["openssl", "openssl-sys", "native-tls", "boring", "boring-sys", "rsa", "p256", "ed25519-dalek"];
    // What verifies passkeys brings its own, for that and nothing else (ADR 30).
    const OF_PASSKEYS: [&str; 2] = ["rsa", "p256"];
    let metadata = metadata();
    let at_the_edge = linked(&metadata, "gateway");
    for other in NONE {
        assert!(!at_the_edge.contains(other), "{other} is linked beside aws-lc-rs");
    }
    let linked = linked(&metadata, "standalone");
    for other in NONE.into_iter().filter(|other| !OF_PASSKEYS.contains(other)) {
        assert!(!linked.contains(other), "{other} is linked beside aws-lc-rs");
    }
    assert!(linked.contains("aws-lc-rs"));
}

fn metadata() -> Metadata {
    MetadataCommand::new().other_options(["--locked".to_owned()]).exec().unwrap()
}

fn package<'m>(metadata: &'m Metadata, name: &str) -> &'m Package {
    metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == name).unwrap()
}

/// Names of all crates that end up in what `name` builds; not those of build scripts, macros' own and tests.
fn linked<'m>(metadata: &'m Metadata, name: &str) -> BTreeSet<&'m str> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut found = BTreeSet::new();
    let mut open = vec![&package(metadata, name).id];
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if normal && found.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    found.iter().map(|id| metadata[*id].name.as_str()).collect()
}
