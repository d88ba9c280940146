//! A small world to decide in: two dedicated tenants, a shared project of two, the platform's own, one service.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use authn::Mirror;
use domain::{
    Acr, ApiKeyId, ApiKeyState, BootInstant, Clock as _, Decision, Fact, HumanDuration, Id, KeyPrefix, NumberedFact,
    ProjectId, RequestId, Requirement, RoleId, Secret, Seq, Tag, TenantId, Timestamp, UserId,
    decision::BindingsLevel,
    fact::Bindings,
    snapshot::{
        Access, Algorithm, Assertion, Change, Entity, HostPolicy, Hostname, KycStatus, PaymentStatus, Peer, Project,
        Purpose, Role, RoleScope, Route, Service, Tenant, TenantStatus, Upstream,
    },
};
use futures::FutureExt as _;
use gate::{
    About, BindingsError, Denial, Gate, GateConfig, Link, Listener, LookUp, Permit, RawHead, Stop, Trace, Version,
    link::{Found, HeldBindings, HeldKey, KeysError, Nonce, Waiting},
};
use http::{HeaderMap, HeaderValue, header};
use testkit::{FixedClock, TestIssuer, claims::Claims};
use uuid::Uuid;

pub(crate) fn id<K>(n: u128) -> Id<K> {
    Id::new(Uuid::from_u128(n))
}

pub(crate) const ASSERTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// Users, each with the bindings the control plane would answer.
pub(crate) const MEMBER: u128 = 501;
pub(crate) const ADMIN: u128 = 502;
pub(crate) const STAFF: u128 = 503;
pub(crate) const STRANGER: u128 = 504;

pub(crate) const ROLE_MEMBER: u128 = 601;
pub(crate) const ROLE_ADMIN: u128 = 602;
pub(crate) const ROLE_PLATFORM: u128 = 603;
pub(crate) const ROLE_UNIT: u128 = 604;
pub(crate) const UNIT: u128 = 701;

pub(crate) struct Shard {
    pub(crate) project: ProjectId,
    pub(crate) tenant: TenantId,
    pub(crate) issuer: TestIssuer,
}

pub(crate) struct World {
    pub(crate) gate: Gate,
    pub(crate) clock: FixedClock,
    pub(crate) link: Arc<FakeLink>,
    pub(crate) acme: Shard,
    pub(crate) globex: Shard,
    pub(crate) root: Shard,
    pub(crate) cloud: Shard,
    seq: AtomicUsize,
    revision: AtomicUsize,
}

type UsedNonces = HashSet<(ApiKeyId, Arc<str>)>;

/// The outside of the gate, as a table.
#[derive(Default)]
pub(crate) struct FakeLink {
    pub(crate) bindings: Mutex<HashMap<UserId, Bindings>>,
    /// What was last answered of each: the same while it is the same, as of a gateway that keeps it.
    held: Mutex<HashMap<UserId, Arc<HeldBindings>>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) store: Mutex<Option<LookUp>>,
    keys: Mutex<HashMap<KeyPrefix, ApiKeyState>>,
    keys_asked: AtomicUsize,
    keys_lost: AtomicBool,
    keys_silent: AtomicBool,
    /// None once they are lost.
    nonces: Mutex<Option<UsedNonces>>,
}

impl FakeLink {
    fn held(&self, user: UserId, bindings: &Bindings) -> Arc<HeldBindings> {
        let mut held = self.held.lock().unwrap();
        let fresh = || Arc::new(HeldBindings::new(bindings.clone(), BootInstant::default()));
        let it = held.entry(user).or_insert_with(fresh);
        let known: &Bindings = it;
        if known != bindings {
            *it = fresh();
        }
        Arc::clone(it)
    }
    /// There is this key, and it is so.
    pub(crate) fn know(&self, key: ApiKeyState) {
        self.nonces.lock().unwrap().get_or_insert_default();
        self.keys.lock().unwrap().insert(key.prefix.clone(), key);
    }
    pub(crate) fn forget_keys(&self) {
        self.keys.lock().unwrap().clear();
    }
    pub(crate) fn keys_asked(&self) -> usize {
        self.keys_asked.load(Ordering::SeqCst)
    }
    pub(crate) fn never_answer(&self) {
        self.keys_silent.store(true, Ordering::SeqCst);
    }
    pub(crate) fn lose_keys(&self) {
        self.keys_lost.store(true, Ordering::SeqCst);
    }
    pub(crate) fn lose_nonces(&self) {
        *self.nonces.lock().unwrap() = None;
    }
    pub(crate) fn nonces_taken(&self) -> usize {
        self.nonces.lock().unwrap().as_ref().unwrap().len()
    }
}

impl Link for FakeLink {
    fn bindings(&self, _tenant: TenantId, user: UserId) -> Waiting<'_, Result<Found, BindingsError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let found = self.bindings.lock().unwrap().get(&user).cloned();
        let found =
            found.map(|bindings| Found { bindings: self.held(user, &bindings), level: BindingsLevel::ControlApi });
        Box::pin(async move { found.ok_or(BindingsError) })
    }
    fn api_key(&self, prefix: KeyPrefix) -> Waiting<'_, Result<Option<Arc<HeldKey>>, KeysError>> {
        self.keys_asked.fetch_add(1, Ordering::SeqCst);
        if self.keys_silent.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let lost = self.keys_lost.load(Ordering::SeqCst);
        let found = self.keys.lock().unwrap().get(&prefix).cloned();
        Box::pin(async move { if lost { Err(KeysError) } else { Ok(found.map(|it| Arc::new(HeldKey::new(it)))) } })
    }
    fn take_nonce(&self, key: ApiKeyId, nonce: Arc<str>, _: Timestamp) -> Waiting<'_, Nonce> {
        let taken = self.nonces.lock().unwrap().as_mut().map(|nonces| nonces.insert((key, nonce)));
        Box::pin(async move { taken.map_or(Nonce::Unavailable, |new| if new { Nonce::Fresh } else { Nonce::Used }) })
    }
    fn renewal(&self) -> Waiting<'_, ()> {
        Box::pin(async {})
    }
    fn look_up(&self, _token: authn::mirror::Identity) -> Waiting<'_, LookUp> {
        let answer = self.store.lock().unwrap().unwrap_or(LookUp::Unavailable);
        Box::pin(async move { answer })
    }
}

pub(crate) fn permission(text: &str) -> domain::Permission {
    text.parse().unwrap()
}

pub(crate) fn route(n: u128, path: &str, methods: &[&str], access: Access) -> Route {
    Route {
        id: id(n),
        path: path.parse().unwrap(),
        methods: methods.iter().map(|m| (*m).to_owned()).collect(),
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

pub(crate) fn routes() -> Vec<Route> {
    let needs = |p: &str| Access::Permission(permission(p));
    vec![
        route(1, "/public/**", &[], Access::Public),
        route(2, "/optional/**", &[], Access::Optional),
        route(3, "/me", &["GET", "POST"], Access::Authenticated),
        route(4, "/orders", &["GET"], needs("demo:order:list")),
        route(5, "/orders", &["POST"], needs("demo:order:create")),
        Route { tenant_api: true, ..route(6, "/api/v1/tenant/users", &["GET"], needs("tenant:user:list")) },
        Route { product: Some("crm".into()), ..route(7, "/crm", &["GET", "POST"], Access::Authenticated) },
        Route { ou_parameter: Some("ou".into()), ..route(8, "/ou/{ou}/files", &["GET"], needs("demo:file:list")) },
        route(9, "/platform", &["GET"], Access::Platform(permission("platform:tenant:list"))),
        Route { session: true, ..route(10, "/login", &["POST"], Access::Public) },
        Route {
            on_unproven: Some(domain::snapshot::OnUnproven::Refuse),
            ..route(11, "/strict", &["GET", "POST"], Access::Authenticated)
        },
        Route {
            on_unproven: Some(domain::snapshot::OnUnproven::ReadOnly),
            ..route(12, "/readable", &["GET", "POST"], Access::Authenticated)
        },
        route(13, "/admin-only-in-demo", &["GET"], needs("demo:secret:get")),
        Route {
            ou_parameter: Some("workspace".into()),
            ..route(14, "/w/{workspace}/notes", &[], needs("demo:note:write"))
        },
        Route { ou_header: Some("x-workspace-id".into()), ..route(15, "/notes", &[], needs("demo:note:write")) },
        Route {
            ou_parameter: Some("ou".into()),
            ..route(16, "/ou/{ou}/home", &["GET", "POST"], Access::Authenticated)
        },
        Route {
            require: Some(Requirement { acr: Some(Acr::Aal2), max_age: "5m".parse().ok(), ..Requirement::default() }),
            ..route(17, "/sure", &["GET"], Access::Authenticated)
        },
    ]
}

pub(crate) fn upstream() -> Upstream {
    Upstream {
        id: id(300),
        name: "echo".into(),
        peers: vec![Peer::Socket("127.0.0.1:9200".parse().unwrap())],
        tls: None,
        http2: false,
        assertion: Assertion::Hmac { key: Secret::new(ASSERTION_KEY.into()), kid: "echo-1".into() },
        headers: None,
        host: HostPolicy::Preserve,
        forward_credentials: false,
        connect_timeout: HumanDuration::from_secs(5),
        read_timeout: HumanDuration::from_secs(60),
        write_timeout: HumanDuration::from_secs(60),
    }
}

pub(crate) fn tenant(n: u128, project: ProjectId, slug: &str) -> Tenant {
    Tenant {
        id: id(n),
        project_id: project,
        slug: slug.parse().unwrap(),
        status: TenantStatus::Active,
        kyc: KycStatus::Completed,
        payment: PaymentStatus::Ok,
        plan: Some("gold".into()),
        products: [("crm".to_owned(), None), ("erp".to_owned(), None)].into(),
        quotas: Default::default(),
        rate_limit: None,
        principal_rate_limit: None,
        admission: domain::Admission::default(),
        org_units: [id(UNIT), id(UNIT + 1), id(UNIT + 2)].into(),
        generation: 0,
        cutoff: None,
    }
}

pub(crate) fn hostname(n: u128, host: &str, project: ProjectId, tenant: Option<TenantId>) -> Hostname {
    Hostname {
        id: id(n),
        hostname: host.parse().unwrap(),
        project_id: project,
        tenant_id: tenant,
        purpose: Purpose::App,
        platform: false,
        certificate_id: None,
        services: vec![id(400)],
        routes: Vec::new(),
        max_body: None,
        response: Default::default(),
        admission: domain::Admission::default(),
        cors: domain::Cors::default(),
        client_certificates: None,
    }
}

pub(crate) fn role(n: u128, name: &str, scope: RoleScope, permissions: &[&str]) -> Role {
    Role {
        id: id(n),
        tenant_id: None,
        name: name.into(),
        scope,
        permissions: permissions.iter().map(|p| permission(p)).collect(),
        admin: false,
        super_admin: false,
    }
}

fn project(n: u128, slug: &str, root: bool) -> Project {
    Project { id: id(n), slug: slug.parse().unwrap(), root, suspended: false }
}

fn shard(project: u128, tenant: u128, host: &str) -> Shard {
    Shard {
        project: id(project),
        tenant: id(tenant),
        issuer: TestIssuer::new(&format!("https://{host}"), Algorithm::EdDsa),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_config(GateConfig::default())
    }

    pub(crate) fn with_config(config: GateConfig) -> Self {
        let link = Arc::new(FakeLink::default());
        let mirror = Arc::new(Mirror::default());
        let world = Self {
            gate: Gate::new(config, mirror, Arc::clone(&link) as Arc<dyn Link>),
            clock: FixedClock::default(),
            link,
            acme: shard(10, 1, "acme.localhost"),
            globex: shard(11, 2, "globex.localhost"),
            root: shard(12, 3, "console.localhost"),
            cloud: shard(13, 4, "cloud.localhost"),
            seq: AtomicUsize::new(0),
            revision: AtomicUsize::new(0),
        };
        world.prove();
        let bind = |user: u128, roles: &[u128]| {
            let roles: Vec<RoleId> = roles.iter().map(|r| id(*r)).collect();
            let unit_roles = vec![(id(UNIT), id(ROLE_UNIT))];
            world.bind(user, Bindings { active: true, roles, unit_roles, ..Bindings::default() });
        };
        bind(MEMBER, &[ROLE_MEMBER]);
        bind(ADMIN, &[ROLE_ADMIN]);
        bind(STAFF, &[ROLE_PLATFORM]);
        let entities = world.entities();
        let report = world.put(entities);
        assert_eq!(report.refused, [], "the world is whole");
        world
    }

    fn entities(&self) -> Vec<Entity> {
        let shards = [&self.acme, &self.globex, &self.root, &self.cloud];
        let issuer = |shard: &Shard, n: u128| domain::snapshot::Issuer { id: id(n), ..shard.issuer.row(shard.project) };
        let mut entities = vec![
            Entity::Project(project(10, "acme", false)),
            Entity::Project(project(11, "globex", false)),
            Entity::Project(project(12, "root", true)),
            Entity::Project(project(13, "cloud", false)),
            Entity::Tenant(tenant(1, self.acme.project, "acme")),
            Entity::Tenant(tenant(2, self.globex.project, "globex")),
            Entity::Tenant(tenant(3, self.root.project, "platform")),
            Entity::Tenant(tenant(4, self.cloud.project, "alpha")),
            Entity::Tenant(tenant(5, self.cloud.project, "beta")),
            Entity::Role(role(ROLE_MEMBER, "member", RoleScope::Tenant, &["demo:order:list"])),
            Entity::Role(Role { admin: true, ..role(ROLE_ADMIN, "admin", RoleScope::Tenant, &["demo:order:*"]) }),
            Entity::Role(Role {
                super_admin: true,
                ..role(ROLE_PLATFORM, "platform_admin", RoleScope::Platform, &["*:*:*"])
            }),
            Entity::Role(role(ROLE_UNIT, "ou_auditor", RoleScope::Ou, &["demo:file:list"])),
            Entity::Upstream(upstream()),
            Entity::Service(Service { id: id(400), name: "demo".into(), upstream_id: id(300), routes: routes() }),
            Entity::Hostname(hostname(20, "acme.localhost", self.acme.project, Some(self.acme.tenant))),
            Entity::Hostname(hostname(21, "globex.localhost", self.globex.project, Some(self.globex.tenant))),
            Entity::Hostname(Hostname { platform: true, ..hostname(22, "console.localhost", self.root.project, None) }),
            Entity::Hostname(hostname(23, "cloud.localhost", self.cloud.project, None)),
            Entity::Hostname(hostname(24, "alpha.localhost", self.cloud.project, Some(id(4)))),
        ];
        entities.extend(shards.iter().zip(30..).map(|(shard, n)| Entity::Issuer(issuer(shard, n))));
        entities
    }

    /// Sends entities through the feed.
    pub(crate) fn put(&self, entities: Vec<Entity>) -> gate::ApplyReport {
        let revision = self.revision.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        let change = |entity: Entity| Change { revision, key: entity.key(), min_reader: 1, entity: Some(entity) };
        self.gate.snapshot().apply(entities.into_iter().map(change).collect(), revision)
    }

    pub(crate) fn put_one(&self, entity: Entity) -> gate::ApplyReport {
        self.put(vec![entity])
    }

    pub(crate) fn change(&self, change: impl FnOnce(u64) -> Change) -> gate::ApplyReport {
        let revision = self.revision.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        self.gate.snapshot().apply(vec![change(revision)], revision)
    }

    /// Applies a fact.
    pub(crate) fn say(&self, fact: Fact) -> Seq {
        let seq = Seq(self.seq.fetch_add(1, Ordering::SeqCst) as u64 + 1);
        self.gate.mirror().apply(&NumberedFact { seq, tag: Tag(1), fact });
        seq
    }

    /// Grants the lease for two seconds from now.
    pub(crate) fn prove(&self) {
        let now: BootInstant = self.clock.boot_now();
        self.gate.mirror().grant(now, now + std::time::Duration::from_secs(2));
    }

    /// A user may do this, wherever it is asked for.
    pub(crate) fn bind(&self, user: u128, bindings: Bindings) {
        self.link.held(id(user), &bindings);
        self.link.bindings.lock().unwrap().insert(id(user), bindings);
    }

    pub(crate) fn claims(&self, shard: &Shard, user: u128) -> Claims {
        shard.issuer.claims(self.clock.unix_now()).for_user(shard.tenant, id(user)).set("pid", shard.project)
    }

    pub(crate) fn token(&self, shard: &Shard, user: u128) -> String {
        shard.issuer.mint(self.claims(shard, user))
    }

    pub(crate) fn staff_token(&self) -> String {
        self.root.issuer.mint(self.claims(&self.root, STAFF).set("ctx", "sys"))
    }

    pub(crate) fn send(&self, request: &Sent) -> Result<Permit, Stop> {
        let mut trace = Trace::default();
        self.gate.decide(&request.head(), &self.clock, &mut trace).now_or_never().expect("nothing here waits")
    }

    /// The account of a request's decision.
    pub(crate) fn explained(&self, request: &Sent) -> Decision {
        self.told(&request.head()).0
    }

    /// The account of a refusal, and the refusal.
    pub(crate) fn refused(&self, request: &Sent) -> (Decision, Denial) {
        self.refused_head(&request.head())
    }

    pub(crate) fn refused_head(&self, head: &RawHead<'_>) -> (Decision, Denial) {
        let (account, denial) = self.told(head);
        (account, denial.expect("a refusal"))
    }

    pub(crate) fn told(&self, head: &RawHead<'_>) -> (Decision, Option<Denial>) {
        let mut trace = Trace::default();
        let decided = self.gate.decide(head, &self.clock, &mut trace).now_or_never().expect("nothing here waits");
        let denial = match decided {
            Ok(_) => None,
            Err(Stop::Deny(denial)) => Some(denial),
            Err(Stop::Answer(answer)) => panic!("{answer:?}"),
        };
        (self.gate.explain(&About::Head(head), &trace, denial.as_ref(), &self.clock), denial)
    }

    /// The account of a request that was refused before the gate was asked.
    pub(crate) fn explained_unread(&self, request: &Sent, denial: &Denial) -> Decision {
        self.gate.explain(&About::Head(&request.head()), &Trace::default(), Some(denial), &self.clock)
    }

    /// The account of a request that was permitted first and refused later.
    pub(crate) fn explained_later(&self, request: &Sent, denial: &Denial) -> Decision {
        let (head, mut trace) = (request.head(), Trace::default());
        let decided = self.gate.decide(&head, &self.clock, &mut trace).now_or_never().expect("nothing here waits");
        assert!(decided.is_ok(), "{decided:?}");
        self.gate.explain(&About::Head(&head), &trace, Some(denial), &self.clock)
    }

    /// Judges a permit again, as given for this request.
    pub(crate) fn still_holds(&self, permit: &Permit, sent: &Sent) -> Result<(), Denial> {
        let path = sent.target.split('?').next().unwrap();
        self.gate.still_holds(permit, path, &self.clock).now_or_never().expect("nothing here waits")
    }

    /// The denial's public code, or `permit`.
    pub(crate) fn code(&self, request: &Sent) -> &'static str {
        match self.send(request) {
            Ok(_) => "permit",
            Err(Stop::Deny(denial)) => denial.public().1,
            Err(Stop::Answer(_)) => "answer",
        }
    }

    pub(crate) fn denial(&self, request: &Sent) -> Denial {
        match self.send(request) {
            Err(Stop::Deny(denial)) => denial,
            other => panic!("not denied: {other:?}"),
        }
    }
}

/// A request as a client sends it.
pub(crate) struct Sent {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) client: IpAddr,
}

impl Sent {
    pub(crate) fn new(method: &'static str, host: &str, target: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        Self { method, target: target.into(), headers, client: IpAddr::from([192, 0, 2, 1]) }
    }

    pub(crate) fn get(host: &str, target: &str) -> Self {
        Self::new("GET", host, target)
    }

    pub(crate) fn bearer(mut self, token: &str) -> Self {
        self.headers.append(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn head(&self) -> RawHead<'_> {
        RawHead {
            listener: Listener::Tls,
            sni: None,
            certificate: None,
            version: Version::Http11,
            method: self.method,
            target: self.target.as_bytes(),
            authority: None,
            headers: &self.headers,
            has_body: false,
            client: self.client,
            request_id: RequestId::new(Uuid::from_u128(99)),
        }
    }
}
