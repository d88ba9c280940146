//! Decides the same request many times, warm: what `scripts/instructions.sh` counts the instructions of.
//!
//! `warm_decide N` warms up and then decides N times within [`measured`], whose instructions alone are counted.
//! `warm_decide N tenants|routes|permissions|refused` does it beside very many of these.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "a measuring program")]

use std::{net::IpAddr, sync::Arc};

use authn::Mirror;
use domain::{
    BootInstant, Clock as _, Fact, HumanDuration, Id, NumberedFact, RequestId, Seq, Tag, TenantId, Timestamp, UserId,
    fact::Bindings,
    snapshot::{
        Access, Algorithm, Assertion, Change, Entity, HostPolicy, Hostname, Issuer, KycStatus, PaymentStatus, Peer,
        Project, Purpose, Role, RoleScope, Route, Service, Tenant, TenantStatus, Upstream,
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

fn id<K>(n: u128) -> Id<K> {
    Id::new(Uuid::from_u128(n))
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

fn tenant(n: u128, slug: &str) -> Tenant {
    Tenant {
        id: id(n),
        project_id: id(1),
        slug: slug.parse().unwrap(),
        status: TenantStatus::Active,
        kyc: KycStatus::Completed,
        payment: PaymentStatus::Ok,
        plan: None,
        products: std::collections::BTreeMap::new(),
        quotas: std::collections::BTreeMap::new(),
        rate_limit: Some(domain::snapshot::RateLimit { rps: 1_000_000, burst: 1_000_000 }),
        principal_rate_limit: None,
        admission: domain::Admission::default(),
        org_units: Default::default(),
        generation: 0,
        cutoff: None,
    }
}

fn hostname(n: u128, name: &str, of: u128) -> Hostname {
    Hostname {
        id: id(n),
        hostname: name.parse().unwrap(),
        project_id: id(1),
        tenant_id: Some(id(of)),
        purpose: Purpose::App,
        platform: false,
        certificate_id: None,
        services: vec![id(4)],
        routes: vec![],
        max_body: None,
        response: Default::default(),
        admission: domain::Admission::default(),
        cors: domain::Cors::default(),
        client_certificates: None,
    }
}

fn route(n: u128, path: &str, access: Access) -> Route {
    Route {
        id: id(n),
        path: path.parse().unwrap(),
        methods: vec!["GET".into()],
        access,
        upstream_id: None,
        product: None,
        ou_parameter: None,
        ou_header: None,
        credentials: domain::Credentials::default(),
        on_unproven: None,
        session: false,
        tenant_api: false,
        rate_limit: None,
        max_body: None,
        max_stream: None,
        require: None,
    }
}

fn entities(issuer: Issuer, beside: &Beside) -> Vec<Entity> {
    let needs = |code: &str| Access::Permission(code.parse().unwrap());
    let mut routes = vec![
        route(40, "/demo/orders", needs("demo:order:list")),
        route(41, "/demo/orders/{id}", needs("demo:order:get")),
        route(42, "/demo/public/**", Access::Public),
    ];
    let more = |n| route(1_000 + n, &format!("/demo/thing-{n}/{{id}}"), needs(&format!("demo:thing-{n}:get")));
    routes.extend((0..beside.routes).map(more));
    let mut permissions = vec!["demo:order:*".parse().unwrap()];
    permissions.extend((0..beside.permissions).map(|n| format!("demo:thing-{n}:get").parse().unwrap()));
    let mut entities = vec![
        Entity::Project(Project { id: id(1), slug: "acme".parse().unwrap(), root: false, suspended: false }),
        Entity::Tenant(tenant(2, "acme")),
        Entity::Role(Role {
            id: id(6),
            tenant_id: None,
            name: "member".into(),
            scope: RoleScope::Tenant,
            permissions,
            admin: false,
            super_admin: false,
        }),
        Entity::Upstream(Upstream {
            id: id(3),
            name: "echo".into(),
            peers: vec![Peer::Socket("127.0.0.1:9200".parse().unwrap())],
            tls: None,
            http2: false,
            assertion: Assertion::Off,
            headers: None,
            host: HostPolicy::Preserve,
            forward_credentials: false,
            connect_timeout: HumanDuration::from_secs(5),
            read_timeout: HumanDuration::from_secs(60),
            write_timeout: HumanDuration::from_secs(60),
        }),
        Entity::Service(Service { id: id(4), name: "demo".into(), upstream_id: id(3), routes }),
        Entity::Issuer(issuer),
        Entity::Hostname(hostname(5, "acme.localhost", 2)),
    ];
    for n in 0..beside.tenants {
        let (at, slug) = (1_000_000 + 2 * n, format!("other-{n}"));
        entities.push(Entity::Tenant(tenant(at, &slug)));
        entities.push(Entity::Hostname(hostname(at + 1, &format!("{slug}.localhost"), at)));
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
    let plenty = domain::snapshot::RateLimit { rps: 1_000_000, burst: 1_000_000 };
    let gate = Gate::new(GateConfig { address_limit: plenty, ..GateConfig::default() }, mirror, Arc::new(Member));
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
