//! Decides the same request many times, warm: what `scripts/instructions.sh` counts the instructions of.
//!
//! `warm_decide N` warms up and then decides N times within [`measured`], whose instructions alone are counted.
//! `warm_decide N tenants|routes|permissions|refused` does it beside very many of these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a measuring program")]

#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod world;

use std::{net::IpAddr, sync::Arc};

use authn::Mirror;
use domain::{
    BootInstant, Clock as _, Fact, NumberedFact, RequestId, Seq, Tag, TenantId, Timestamp, UserId,
    fact::Bindings,
    snapshot::{
        Access, Algorithm, Assertion, Change, Entity, Issuer, Project, RateLimit, RoleScope, Service, Tenant, Upstream,
    },
};
use futures::FutureExt as _;
use gate::{
    BindingsError, Gate, GateConfig, Link, Listener, LookUp, RawHead, Trace, Version,
    link::{Found, Waiting},
};
use http::{HeaderMap, HeaderValue, header};
use testkit::{FixedClock, TestIssuer};
use uuid::Uuid;

use crate::world::{hostname, id, role, route, tenant, upstream};

/// No limit that this would reach.
const PLENTY: RateLimit = RateLimit { rps: 1_000_000, burst: 1_000_000 };

struct Member;

impl Link for Member {
    fn bindings(&self, _: TenantId, _: UserId) -> Waiting<'_, Result<Found, BindingsError>> {
        let bindings = Bindings { active: true, roles: vec![id(6)], ..Bindings::default() };
        Box::pin(async move { Ok(Found::fresh(bindings, BootInstant::default())) })
    }
    fn renewal(&self) -> Waiting<'_, ()> {
        Box::pin(async {})
    }
    fn look_up(&self, _: authn::mirror::Identity) -> Waiting<'_, LookUp> {
        Box::pin(async { LookUp::Unavailable })
    }
}

/// What there is beside the one tenant, its three routes and its user's one permission.
#[derive(Default)]
struct Beside {
    /// Other tenants, each with a hostname.
    tenants: u128,
    /// Other routes of the same hostname.
    routes: u128,
    /// Other permissions of the same user.
    permissions: u128,
    /// Tokens that are refused.
    refused: u128,
}

impl Beside {
    fn named(what: &str) -> Self {
        match what {
            "tenants" => Self { tenants: 100_000, ..Self::default() },
            "routes" => Self { routes: 10_000, ..Self::default() },
            "permissions" => Self { permissions: 500, ..Self::default() },
            "refused" => Self { refused: 1_000_000, ..Self::default() },
            what => panic!("`{what}` is not one of tenants, routes, permissions and refused"),
        }
    }
}

fn entities(issuer: Issuer, beside: &Beside) -> Vec<Entity> {
    let needs = |code: &str| Access::Permission(code.parse().unwrap());
    let mut routes = vec![
        route(40, "/demo/orders", &["GET"], needs("demo:order:list")),
        route(41, "/demo/orders/{id}", &["GET"], needs("demo:order:get")),
        route(42, "/demo/public/**", &["GET"], Access::Public),
    ];
    let thing = |n| format!("demo:thing-{n}:get");
    routes.extend(
        (0..beside.routes).map(|n| route(1_000 + n, &format!("/demo/thing-{n}/{{id}}"), &["GET"], needs(&thing(n)))),
    );
    let mut member = role(6, "member", RoleScope::Tenant, &["demo:order:*"]);
    member.permissions.extend((0..beside.permissions).map(|n| world::permission(&thing(n))));
    let unlimited = |n, slug: &str| Tenant { rate_limit: Some(PLENTY), ..tenant(n, id(1), slug) };
    let mut entities = vec![
        Entity::Project(Project { id: id(1), slug: "acme".parse().unwrap(), root: false, suspended: false }),
        Entity::Tenant(unlimited(2, "acme")),
        Entity::Role(member),
        Entity::Upstream(Upstream { assertion: Assertion::Off, ..upstream() }),
        Entity::Service(Service { id: id(400), name: "demo".into(), upstream_id: id(300), routes }),
        Entity::Issuer(issuer),
        Entity::Hostname(hostname(5, "acme.localhost", id(1), Some(id(2)))),
    ];
    for n in 0..beside.tenants {
        let (at, slug) = (1_000_000 + 2 * n, format!("other-{n}"));
        entities.push(Entity::Tenant(unlimited(at, &slug)));
        entities.push(Entity::Hostname(hostname(at + 1, &format!("{slug}.localhost"), id(1), Some(id(at)))));
    }
    entities
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().and_then(|n| n.parse().ok()).expect("a number of decisions");
    let beside = arguments.next().map_or_else(Beside::default, |what| Beside::named(&what));
    let clock = FixedClock::default();
    let issuer = TestIssuer::new("https://acme.localhost", Algorithm::EdDsa);
    let mirror = Arc::new(Mirror::default());
    mirror.grant(clock.boot_now(), BootInstant::from_nanos(u64::MAX));
    let gate = Gate::new(GateConfig { address_limit: PLENTY, ..GateConfig::default() }, mirror, Arc::new(Member));
    let change = |entity: Entity| Change { revision: 1, key: entity.key(), min_reader: 1, entity: Some(entity) };
    let changes = entities(issuer.row(id(1)), &beside).into_iter().map(change).collect();
    assert_eq!(gate.snapshot().apply(changes, 1).refused, [], "the world is whole");
    for n in 0..beside.refused {
        let fact = Fact::TokenRefused { jti: id(1_000_000 + n), exp: Timestamp::from_secs(4_000_000_000) };
        gate.mirror().apply(&NumberedFact { seq: Seq(u64::try_from(n).unwrap() + 1), tag: Tag(1), fact });
    }
    assert_eq!(gate.mirror().refused_count() as u128, beside.refused);
    let claims = issuer.claims(clock.unix_now()).for_user(id(2), id(7)).set("pid", Uuid::from_u128(1));
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("acme.localhost"));
    let bearer = format!("Bearer {}", issuer.mint(claims));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&bearer).unwrap());
    headers.insert(header::USER_AGENT, HeaderValue::from_static("curl/8.5.0"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    let head = RawHead {
        listener: Listener::Tls,
        sni: Some("acme.localhost"),
        certificate: None,
        version: Version::Http11,
        method: "GET",
        target: b"/demo/orders/7?page=2",
        authority: None,
        headers: &headers,
        has_body: false,
        client: IpAddr::from([192, 0, 2, 1]),
        request_id: RequestId::new(Uuid::nil()),
    };
    let decide = || {
        let decided = gate.decide(&head, &clock, &mut Trace::default()).now_or_never();
        assert!(matches!(decided, Some(Ok(_))), "{decided:?}");
    };
    for _ in 0..10 {
        decide();
    }
    measured(count, &decide);
}

/// What the script's `--toggle-collect` names.
#[inline(never)]
fn measured(count: usize, decide: &dyn Fn()) {
    for _ in 0..count {
        decide();
    }
}
