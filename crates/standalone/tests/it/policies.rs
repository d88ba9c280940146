//! Runs the shipped policies' decision tables through the gate.

use std::{
    collections::HashMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use authn::Mirror;
use domain::{
    BootInstant, Clock as _, RequestId, RoleId, TenantId, UserId,
    declarative::{RawFile, ReadAs, compile},
    fact::Bindings,
    model::builtin,
    snapshot::{Algorithm, Assertion, Change, Entity, Issuer, Role},
};
use futures::FutureExt as _;
use gate::{
    BindingsError, Gate, GateConfig, Link, Listener, LookUp, RawHead, Stop, Trace, Version,
    link::{Found, Waiting},
};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use testkit::{FixedClock, TestIssuer};
use uuid::Uuid;

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Table {
    cases: Vec<Case>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "acme")]
    host: String,
    /// A request; or, without one, `permission` is asked of the roles themselves.
    method: Option<String>,
    path: Option<String>,
    permission: Option<domain::Permission>,
    principal: PrincipalIs,
    expect: String,
    reason: Option<String>,
}

fn acme() -> String {
    "acme.localhost".into()
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum PrincipalIs {
    Anonymous(Anonymous),
    Roles(Vec<String>),
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Anonymous {
    Anonymous,
}

/// Whoever asks holds the roles of the case at hand.
#[derive(Default)]
struct Holds(std::sync::Mutex<Vec<RoleId>>);

impl Link for Holds {
    fn bindings(&self, _: TenantId, _: UserId) -> Waiting<'_, Result<Found, BindingsError>> {
        let roles = self.0.lock().unwrap().clone();
        let bindings = Bindings { active: true, roles, ..Bindings::default() };
        Box::pin(async move { Ok(Found::fresh(bindings, BootInstant::default())) })
    }
    fn renewal(&self) -> Waiting<'_, ()> {
        Box::pin(async {})
    }
    fn look_up(&self, _: authn::mirror::Identity) -> Waiting<'_, LookUp> {
        Box::pin(async { LookUp::Unavailable })
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

fn read<T: serde::de::DeserializeOwned + schemars::JsonSchema>(path: &Path) -> T {
    let document = link::file::Document::open(path).unwrap();
    let loaded = link::file::load::<T>(document, &link::file::Overrides::none());
    loaded.and_then(link::file::Loaded::sound).unwrap_or_else(|e| panic!("{e}"))
}

/// The shipped policies together, with the built-in roles and an issuer of acme's project, in a gate.
struct World {
    gate: Gate,
    clock: FixedClock,
    holds: Arc<Holds>,
    issuer: TestIssuer,
    entities: Vec<Entity>,
}

impl World {
    fn new() -> Self {
        let mut file: RawFile = read(&folder().join("demo.yaml"));
        let identity: RawFile = read(&folder().join("identity.yaml"));
        for hostname in &mut file.hostnames {
            hostname.certificate = None;
            hostname.services.extend(identity.services.iter().map(|service| service.name.clone()));
        }
        file.upstreams.extend(identity.upstreams);
        file.services.extend(identity.services);
        let mut entities = compile(&file, ReadAs::Apply, &|_| Err("no files".into())).unwrap().entities;
        for entity in &mut entities {
            if let Entity::Upstream(upstream) = entity {
                upstream.assertion = Assertion::Off;
            }
        }
        entities.extend(builtin::all().into_iter().map(|role| {
            Entity::Role(Role {
                id: role.id,
                tenant_id: None,
                name: role.name,
                scope: role.scope,
                permissions: role.permissions,
                admin: role.admin,
                super_admin: role.super_admin,
            })
        }));
        let project = entities.iter().find_map(|entity| match entity {
            Entity::Project(project) if project.slug.as_str() == "acme" => Some(project.id),
            _ => None,
        });
        let issuer = TestIssuer::new("https://acme.localhost", Algorithm::EdDsa);
        entities.push(Entity::Issuer(Issuer { ..issuer.row(project.unwrap()) }));
        let holds = Arc::new(Holds::default());
        let mirror = Arc::new(Mirror::default());
        mirror.grant(BootInstant::from_nanos(1), BootInstant::from_nanos(u64::MAX));
        let gate = Gate::new(GateConfig::default(), mirror, Arc::clone(&holds) as Arc<dyn Link>);
        let change =
            |entity: &Entity| Change { revision: 1, key: entity.key(), min_reader: 1, entity: Some(entity.clone()) };
        let report = gate.snapshot().apply(entities.iter().map(change).collect(), 1);
        assert_eq!(report.refused, []);
        Self { gate, clock: FixedClock::default(), holds, issuer, entities }
    }

    fn tenant(&self, host: &str) -> &domain::snapshot::Tenant {
        let id = self.entities.iter().find_map(|entity| match entity {
            Entity::Hostname(hostname) if hostname.hostname.as_str() == host => hostname.tenant_id,
            _ => None,
        });
        let tenant = self.entities.iter().find_map(|entity| match entity {
            Entity::Tenant(tenant) if Some(tenant.id) == id => Some(tenant),
            _ => None,
        });
        tenant.unwrap_or_else(|| panic!("no tenant at {host}"))
    }

    fn role(&self, name: &str, tenant: TenantId) -> RoleId {
        let role = self.entities.iter().find_map(|entity| match entity {
            Entity::Role(role) if role.name == name && role.tenant_id.is_none_or(|id| id == tenant) => Some(role.id),
            _ => None,
        });
        role.unwrap_or_else(|| panic!("no role `{name}`"))
    }

    fn decide(&self, case: &Case) -> (String, String) {
        match (&case.method, &case.path, &case.permission) {
            (Some(method), Some(path), None) => self.request(case, method, path),
            (None, None, Some(permission)) => (self.holds(case, permission), String::new()),
            _ => panic!("`{}` names a method and a path, or a permission", case.name),
        }
    }

    fn holds(&self, case: &Case, permission: &domain::Permission) -> String {
        let PrincipalIs::Roles(names) = &case.principal else { panic!("`{}` names roles", case.name) };
        let tenant = self.tenant(&case.host).id;
        let ids: Vec<_> = names.iter().map(|name| self.role(name, tenant)).collect();
        let grants = self.entities.iter().filter_map(|entity| match entity {
            Entity::Role(role) if ids.contains(&role.id) => Some(&role.permissions),
            _ => None,
        });
        let held = authz::PermissionSet::new(grants.flatten()).covers(permission);
        if held { "permit".into() } else { "permission_denied".into() }
    }

    fn request(&self, case: &Case, method: &str, path: &str) -> (String, String) {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(&case.host).unwrap());
        if let PrincipalIs::Roles(names) = &case.principal {
            let tenant = self.tenant(&case.host);
            *self.holds.0.lock().unwrap() = names.iter().map(|name| self.role(name, tenant.id)).collect();
            let user = UserId::new(Uuid::new_v4());
            let claims =
                self.issuer.claims(self.clock.unix_now()).for_user(tenant.id, user).set("pid", tenant.project_id);
            let bearer = format!("Bearer {}", self.issuer.mint(claims));
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&bearer).unwrap());
        }
        let head = RawHead {
            listener: Listener::Tls,
            sni: None,
            certificate: None,
            version: Version::Http11,
            method,
            target: path.as_bytes(),
            authority: None,
            headers: &headers,
            has_body: false,
            client: IpAddr::from([127, 0, 0, 1]),
            request_id: RequestId::new(Uuid::nil()),
        };
        match self.gate.decide(&head, &self.clock, &mut Trace::default()).now_or_never().unwrap() {
            Ok(_) => ("permit".into(), String::new()),
            Err(Stop::Deny(denial)) => (denial.public().1.into(), denial.to_string()),
            Err(Stop::Answer(answer)) => (format!("{answer:?}"), String::new()),
        }
    }
}

#[test]
fn every_case_of_every_table_is_decided_as_it_says() {
    let mut tables = 0;
    let world = World::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".cases.yaml") {
            continue;
        }
        tables += 1;
        let table: Table = read(&path);
        assert!(!table.cases.is_empty(), "{name}");
        let mut wrong = HashMap::new();
        for case in &table.cases {
            let (decision, reason) = world.decide(case);
            if decision != case.expect || !reason.contains(case.reason.as_deref().unwrap_or_default()) {
                wrong.insert(case.name.as_str(), format!("{decision} ({reason}), expected {}", case.expect));
            }
        }
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
    assert!(tables > 0);
}

#[test]
fn every_policy_has_its_decision_table() {
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(stem) = name.strip_suffix(".yaml").filter(|stem| !stem.ends_with(".cases")) {
            assert!(folder().join(format!("{stem}.cases.yaml")).exists(), "policies/{name} has no table");
        }
    }
}
