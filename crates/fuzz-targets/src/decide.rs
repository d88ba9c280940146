//! A whole decision, and what would be forwarded by it.

use std::sync::{Arc, LazyLock};

use authn::{Mirror, mirror::Identity};
use domain::{
    BootInstant, Clock, TenantId, Timestamp, UserId,
    declarative::{RawFile, ReadAs, examine},
    snapshot::{Change, READER},
};
use futures::FutureExt as _;
use gate::{
    BindingsError, Gate, GateConfig, Link, LookUp, Trace, canonical,
    forward::{self, UpstreamHead},
    link::{Found, Waiting},
};
use http::{HeaderMap, HeaderValue, header};
use link::file::{Document, Overrides, load};

use crate::{canonical::check, head::Sent};

/// A hostname with a route of each open kind, and one that asks for a token.
const SERVED: &str = "
hostnames: [{ hostname: acme.localhost, tenant: acme, services: [s] }, { hostname: globex.localhost, tenant: globex, services: [s] }]
tenants: [{ slug: acme }, { slug: globex }]
upstreams: [{ name: u, peers: ['127.0.0.1:1'], plaintext: true, assertion: off }]
services:
  - name: s
    upstream: u
    routes:
      - { path: /public/**, access: public }
      - { path: /optional/**, access: optional }
      - { path: '/items/{id}', methods: [GET, PUT], access: public }
      - { path: /echo/**, access: authenticated }
";

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let document = Document::parse("served", SERVED).expect("the file is YAML");
    let file =
        load::<RawFile>(document, &Overrides::none()).and_then(link::file::Loaded::sound).expect("and of its form");
    let examined = examine(&file, ReadAs::EdgeFile, &|name| Err(format!("{name} is not there")));
    assert!(examined.problems.is_empty(), "{:?}", examined.problems);
    let gate = Gate::new(GateConfig::default(), Arc::new(Mirror::default()), Arc::new(Nobody));
    let changes = examined.declared.entities.into_iter().zip(1..);
    let changes = changes.map(|(entity, revision)| {
        let (key, entity) = (entity.key(), Some(entity));
        Change { revision, key, min_reader: READER, entity }
    });
    let report = gate.snapshot().apply(changes.collect(), 1);
    assert!(report.refused.is_empty(), "{report:?}");
    gate
});

/// Decides on a head.
pub fn run(bytes: &[u8]) {
    let sent = Sent::parse(bytes);
    let head = sent.head();
    let clock = Passing;
    let decided = GATE.decide(&head, &clock, &mut Trace::default()).now_or_never().expect("nobody is waited for");
    let Ok(permit) = decided else { return };
    let request = canonical::read(&head).expect("what is permitted has one reading");
    check(&head, &request);
    assert!(
        request.path.starts_with("/public")
            || request.path.starts_with("/optional")
            || request.path.starts_with("/items/")
    );

    let mut upstream =
        Upstream { path: String::from_utf8_lossy(head.target).into_owned(), fields: head.headers.clone() };
    let path = permit.path.as_deref().unwrap_or(&request.path).to_owned();
    forward::prepare(&permit, &mut upstream, &path, &clock).expect("a permit without an assertion can be prepared");
    assert_eq!(path, request.path, "what is decided is what is forwarded");
    if permit.path.is_some() {
        assert_eq!(upstream.path, request.path);
    }
    assert!(!upstream.fields.contains_key(&header::AUTHORIZATION), "credentials stay here");
    let hosts: Vec<_> = upstream.fields.get_all(header::HOST).iter().collect();
    assert_eq!(hosts, [&HeaderValue::from_str(&request.host).expect("a host")]);
    for name in upstream.fields.keys() {
        if forward::is_stripped(name.as_str()) {
            assert_eq!(upstream.fields.get_all(name).iter().count(), 1, "`{name}` is ours and is said once");
            let ours = ["x-request-id", "x-forwarded-", "x-md-global-request-id", "x-md-global-tenant-"];
            assert!(ours.iter().any(|it| name.as_str().starts_with(it)), "`{name}` was forged");
        }
    }
}

/// A request on its way.
struct Upstream {
    path: String,
    fields: HeaderMap,
}

/// Stands still.
struct Passing;

impl Clock for Passing {
    fn unix_now(&self) -> Timestamp {
        Timestamp::from_secs(1_767_225_600)
    }
    fn boot_now(&self) -> BootInstant {
        // Far apart, so that no limit is ever reached.
        static TIME: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        BootInstant::from_nanos(TIME.fetch_add(1_000_000_000, std::sync::atomic::Ordering::Relaxed))
    }
}

/// Knows nobody.
struct Nobody;

impl Link for Nobody {
    fn bindings(&self, _: TenantId, _: UserId) -> Waiting<'_, Result<Found, BindingsError>> {
        Box::pin(async { Err(BindingsError) })
    }
    fn renewal(&self) -> Waiting<'_, ()> {
        Box::pin(async {})
    }
    fn look_up(&self, _: Identity) -> Waiting<'_, LookUp> {
        Box::pin(async { LookUp::Unavailable })
    }
}

impl UpstreamHead for Upstream {
    fn fields(&mut self) -> &mut HeaderMap {
        &mut self.fields
    }
    fn set_path(&mut self, path: &str) {
        path.clone_into(&mut self.path);
    }
}
