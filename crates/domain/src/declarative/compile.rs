//! From the form of the file to entities, with every problem named.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Display,
    str::FromStr,
};

use uuid::Uuid;

use super::{
    Declared, Examined, Place, Problem, RawCertificate, RawFile, RawHostname, RawProject, RawRole, RawService,
    RawTenant, ReadAs, ids,
};
use crate::{
    Admission, CertificateId, HostName, Id, ProjectId, Secret, ServiceId, Slug, TenantId, UpstreamId,
    org_unit::MAX_ORG_UNITS,
    permission::EVERYTHING,
    snapshot::{Certificate, Entity, Hostname, Project, Role, RoleScope, Service, Tenant},
};

/// Turns a file into entities. `files` reads a file that it names, relative to it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile(
    file: &RawFile,
    read_as: ReadAs,
    files: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Declared, Vec<Problem>> {
    let Examined { declared, mut problems, unserved, .. } = examine(file, read_as, files);
    problems.extend(unserved);
    if problems.is_empty() { Ok(declared) } else { Err(problems) }
}

/// The same for who has more to check: gives what could be read together with what is wrong.
pub fn examine(file: &RawFile, read_as: ReadAs, files: &dyn Fn(&str) -> Result<String, String>) -> Examined {
    let mut compiler = Compiler::new(file, read_as, files);
    compiler.projects(&file.projects);
    compiler.tenants(&file.tenants);
    compiler.roles(&file.roles);
    compiler.unique("/upstreams", "name", "upstream", file.upstreams.iter().map(|u| u.name.clone()));
    for (at, upstream) in file.upstreams.iter().enumerate() {
        compiler.upstream(&format!("/upstreams/{at}"), upstream);
    }
    compiler.services(&file.services);
    compiler.issuers(&file.issuers);
    compiler.hostnames(&file.hostnames);
    let Compiler { declared, places, problems, unserved, .. } = compiler;
    Examined { declared, places, problems, unserved }
}

/// What is known so far, and what is wrong so far.
pub(super) struct Compiler<'f> {
    pub(super) read_as: ReadAs,
    pub(super) files: &'f dyn Fn(&str) -> Result<String, String>,
    pub(super) declared: Declared,
    places: Vec<Place>,
    pub(super) problems: Vec<Problem>,
    pub(super) unserved: Vec<Problem>,
    projects: HashMap<&'f str, ProjectId>,
    tenants: HashMap<&'f str, (TenantId, ProjectId)>,
    upstreams: HashMap<&'f str, UpstreamId>,
    services: HashMap<&'f str, ServiceId>,
    ids: HashSet<Uuid>,
    certificates: HashMap<(&'f str, &'f str), CertificateId>,
}

impl<'f> Compiler<'f> {
    /// Takes down all names first, so that things may refer to what stands below them.
    fn new(file: &'f RawFile, read_as: ReadAs, files: &'f dyn Fn(&str) -> Result<String, String>) -> Self {
        let project = |p: &'f RawProject| (p.slug.as_str(), id_or_named(p.id.as_deref(), "project", &[&p.slug]));
        let mut projects: HashMap<_, _> = file.projects.iter().map(project).collect();
        if projects.is_empty() {
            projects.insert(ids::DEFAULT_PROJECT, ids::default_project());
        }
        let project_of = |slug: Option<&String>| {
            let named = projects.get(slug.map_or(ids::DEFAULT_PROJECT, String::as_str));
            named.copied().unwrap_or_else(ids::default_project)
        };
        let tenant = |t: &'f RawTenant| {
            let id = id_or_named(t.id.as_deref(), "tenant", &[&t.slug]);
            (t.slug.as_str(), (id, project_of(t.project.as_ref())))
        };
        Self {
            tenants: file.tenants.iter().map(tenant).collect(),
            upstreams: names(&file.upstreams, |u| (&u.name, id_or_named(u.id.as_deref(), "upstream", &[&u.name]))),
            services: names(&file.services, |s| (&s.name, id_or_named(s.id.as_deref(), "service", &[&s.name]))),
            projects,
            read_as,
            files,
            declared: Declared::default(),
            places: Vec::new(),
            problems: Vec::new(),
            unserved: Vec::new(),
            ids: HashSet::new(),
            certificates: HashMap::new(),
        }
    }

    fn projects(&mut self, projects: &'f [RawProject]) {
        if projects.is_empty() {
            let slug = self.parsed("/projects", ids::DEFAULT_PROJECT);
            let id = self.projects.get(ids::DEFAULT_PROJECT).copied();
            if let (Some(slug), Some(id)) = (slug, id) {
                self.add("/projects", Entity::Project(Project { id, slug, root: false, suspended: false }));
            }
        }
        self.unique("/projects", "slug", "project", projects.iter().map(|p| p.slug.clone()));
        let roots: Vec<usize> = (0..).zip(projects).filter(|(_, p)| p.root).map(|(at, _)| at).collect();
        for at in roots.iter().skip(1) {
            self.refuse(format!("/projects/{at}/root"), "only one project is the root");
        }
        for (at, raw) in projects.iter().enumerate() {
            let place = format!("/projects/{at}");
            let slug = self.parsed::<Slug>(format!("{place}/slug"), &raw.slug);
            let id = self.id(&place, raw.id.as_deref(), "project", &[&raw.slug]);
            if let (Some(slug), Some(id)) = (slug, id) {
                self.add(&place, Entity::Project(Project { id, slug, root: raw.root, suspended: raw.suspended }));
            }
        }
    }

    fn tenants(&mut self, tenants: &'f [RawTenant]) {
        self.unique("/tenants", "slug", "tenant", tenants.iter().map(|t| t.slug.clone()));
        for (at, raw) in tenants.iter().enumerate() {
            let place = format!("/tenants/{at}");
            let slug = self.parsed::<Slug>(format!("{place}/slug"), &raw.slug);
            let id = self.id(&place, raw.id.as_deref(), "tenant", &[&raw.slug]);
            let project_id = self.project(&format!("{place}/project"), raw.project.as_deref());
            self.admission(&place, &raw.admission);
            self.quotas(&place, raw);
            if raw.org_units.len() > MAX_ORG_UNITS {
                self.refuse(format!("{place}/org_units"), format!("holds more than {MAX_ORG_UNITS} units"));
            }
            let (Some(slug), Some(id), Some(project_id)) = (slug, id, project_id) else { continue };
            self.add(
                &place,
                Entity::Tenant(Tenant {
                    id,
                    project_id,
                    slug,
                    status: raw.status,
                    kyc: raw.kyc,
                    payment: raw.payment,
                    plan: raw.plan.clone(),
                    products: raw.products.clone(),
                    quotas: raw.quotas.iter().filter(|(_, it)| !it.is_open()).map(|(k, it)| (k.clone(), *it)).collect(),
                    rate_limit: raw.rate_limit,
                    principal_rate_limit: raw.principal_rate_limit,
                    admission: raw.admission.clone(),
                    org_units: raw.org_units.clone(),
                    generation: 0,
                    cutoff: None,
                }),
            );
        }
    }

    fn roles(&mut self, roles: &'f [RawRole]) {
        let scope = |raw: &RawRole| raw.scope.unwrap_or(RoleScope::Tenant);
        let full = |r: &RawRole| format!("{} ({:?} {})", r.name, scope(r), r.tenant.as_deref().unwrap_or("of all"));
        self.unique("/roles", "name", "role", roles.iter().map(full));
        for (at, raw) in roles.iter().enumerate() {
            let place = format!("/roles/{at}");
            let scope = scope(raw);
            self.name(&place, &raw.name);
            let tenant = raw.tenant.as_deref();
            let tenant_id = tenant.and_then(|slug| self.tenant(&format!("{place}/tenant"), slug)).map(|(id, _)| id);
            if scope == RoleScope::Platform && tenant.is_some() {
                self.refuse(format!("{place}/tenant"), "a role of scope `platform` belongs to no tenant");
            }
            let mut permissions = Vec::new();
            for (index, text) in raw.permissions.iter().enumerate() {
                let place = format!("{place}/permissions/{index}");
                if text == EVERYTHING && scope != RoleScope::Platform {
                    self.refuse(place, format!("`{EVERYTHING}` is for roles of scope `platform`"));
                } else {
                    permissions.extend(self.parsed(place, text));
                }
            }
            let scope_name = format!("{scope:?}").to_ascii_lowercase();
            let id = self.id(&place, raw.id.as_deref(), "role", &[&raw.name, &scope_name, tenant.unwrap_or_default()]);
            if let Some(id) = id {
                let (admin, super_admin) =
                    (raw.admin && scope == RoleScope::Tenant, raw.admin && scope == RoleScope::Platform);
                self.add(
                    &place,
                    Entity::Role(Role {
                        id,
                        tenant_id,
                        name: raw.name.clone(),
                        scope,
                        permissions,
                        admin,
                        super_admin,
                    }),
                );
            }
            if raw.admin && scope == RoleScope::Ou {
                self.refuse(format!("{place}/admin"), "a role of scope `ou` administers nothing");
            }
        }
    }

    fn services(&mut self, services: &'f [RawService]) {
        self.unique("/services", "name", "service", services.iter().map(|s| s.name.clone()));
        for (at, raw) in services.iter().enumerate() {
            let place = format!("/services/{at}");
            self.name(&place, &raw.name);
            let id = self.id(&place, raw.id.as_deref(), "service", &[&raw.name]);
            let upstream_id = self.upstream_named(&format!("{place}/upstream"), &raw.upstream);
            // Where there is no such upstream, which is refused, the routes are still looked at.
            let upstream_id = upstream_id.unwrap_or_else(|| ids::named("upstream", &[&raw.upstream]));
            let (numbers, routes) = self.routes(&place, &["service", &raw.name], &raw.routes);
            if let Some(id) = id {
                let service = Service { id, name: raw.name.clone(), upstream_id, routes };
                let place = Place { pointer: place, routes: numbers, services: Vec::new() };
                self.add_at(place, Entity::Service(service));
            }
        }
    }

    fn hostnames(&mut self, hostnames: &'f [RawHostname]) {
        // Spellings of one name are one name.
        let folded =
            |h: &RawHostname| h.hostname.parse::<HostName>().map_or(h.hostname.clone(), |name| name.to_string());
        self.unique("/hostnames", "hostname", "hostname", hostnames.iter().map(folded));
        for (at, raw) in hostnames.iter().enumerate() {
            let place = format!("/hostnames/{at}");
            let hostname = self.parsed::<HostName>(format!("{place}/hostname"), &raw.hostname);
            let name = hostname.as_ref().map_or(raw.hostname.as_str(), HostName::as_str).to_owned();
            let id = self.id(&place, raw.id.as_deref(), "hostname", &[&name]);
            let tenant = raw.tenant.as_deref().map(|slug| self.tenant(&format!("{place}/tenant"), slug));
            let project_id = match (tenant, raw.project.as_deref()) {
                (Some(tenant), None) => tenant.map(|(_, project)| project),
                (tenant, project) => self.project(&format!("{place}/project"), project).inspect(|named| {
                    if tenant.flatten().is_some_and(|(_, project)| project != *named) {
                        self.refuse(format!("{place}/project"), "the tenant belongs to another project");
                    }
                }),
            };
            if raw.platform && raw.tenant.is_some() {
                self.refuse(format!("{place}/platform"), "a platform hostname has no tenant");
            }
            self.admission(&place, &raw.admission);
            if let Err(error) = raw.cors.check() {
                self.refuse(format!("{place}/cors/{}", error.field), error.reason);
            }
            let certificate_id =
                raw.certificate.as_ref().and_then(|c| self.certificate(&format!("{place}/certificate"), c));
            let client_certificates = raw.client_certificates.as_ref();
            let client_certificates = client_certificates
                .map(|raw| self.client_certificates(&format!("{place}/client_certificates"), &name, raw));
            let (mut numbers, mut services) = (Vec::new(), Vec::new());
            for (index, service) in raw.services.iter().enumerate() {
                let place = format!("{place}/services/{index}");
                match self.services.get(service.as_str()) {
                    Some(id) if services.contains(id) => {
                        self.refuse(place, format!("service `{service}` stands twice"))
                    }
                    Some(id) => {
                        services.push(*id);
                        numbers.push(index);
                    }
                    None => self.unknown(place, "services", service),
                }
            }
            let (route_numbers, routes) = self.routes(&place, &["hostname", &name], &raw.routes);
            for (index, _) in raw.routes.iter().enumerate().filter(|(_, route)| route.upstream.is_none()) {
                self.refuse(format!("{place}/routes/{index}"), "a hostname's own route names its `upstream`");
            }
            if let (Some(id), Some(hostname), Some(project_id)) = (id, hostname, project_id) {
                let hostname = Hostname {
                    id,
                    hostname,
                    project_id,
                    tenant_id: tenant.flatten().map(|(id, _)| id),
                    purpose: raw.purpose,
                    platform: raw.platform,
                    certificate_id,
                    services,
                    routes,
                    max_body: raw.max_body,
                    response: raw.response.clone(),
                    admission: raw.admission.clone(),
                    cors: raw.cors.clone(),
                    client_certificates,
                };
                let place = Place { pointer: place, routes: route_numbers, services: numbers };
                self.add_at(place, Entity::Hostname(hostname));
            }
        }
    }

    fn admission(&mut self, place: &str, admission: &Admission) {
        if let Err(error) = admission.check() {
            self.refuse(format!("{place}/admission/{}", error.field), error.reason);
        }
    }

    fn quotas(&mut self, place: &str, tenant: &RawTenant) {
        for (product, quota) in &tenant.quotas {
            if let Err(error) = quota.check() {
                self.refuse(format!("{place}/quotas/{product}/{}", error.field), "1 to 1,000,000,000,000 are allowed");
            }
            if !tenant.products.contains_key(product) {
                self.refuse(format!("{place}/quotas/{product}"), "the tenant is not entitled to this product");
            }
        }
    }

    /// Hostnames that name the same files share the certificate.
    fn certificate(&mut self, place: &str, raw: &'f RawCertificate) -> Option<CertificateId> {
        if let Some(id) = self.certificates.get(&(raw.chain.as_str(), raw.key.as_str())) {
            return Some(*id);
        }
        let chain = self.pem(&format!("{place}/chain"), &raw.chain, "CERTIFICATE-----");
        let key = self.pem(&format!("{place}/key"), &raw.key, "PRIVATE KEY-----");
        let (chain_pem, key) = (chain?, key?);
        let id = ids::named("certificate", &[&raw.chain, &raw.key]);
        self.certificates.insert((&raw.chain, &raw.key), id);
        self.add(place, Entity::Certificate(Certificate { id, chain_pem, key_pem: Secret::new(key) }));
        Some(id)
    }

    pub(super) fn pem(&mut self, place: &str, path: &str, label: &str) -> Option<String> {
        let text = self.file(place, path)?;
        if text.contains("-----BEGIN ") && text.contains(label) {
            return Some(text);
        }
        self.refuse(place, format!("file `{path}` holds no PEM block with `{label}`"));
        None
    }

    pub(super) fn file(&mut self, place: &str, path: &str) -> Option<String> {
        (self.files)(path).map_err(|error| self.refuse(place, format!("file `{path}`: {error}"))).ok()
    }

    pub(super) fn project(&mut self, place: &str, slug: Option<&str>) -> Option<ProjectId> {
        let slug = slug.unwrap_or(ids::DEFAULT_PROJECT);
        let found = self.projects.get(slug).copied();
        if found.is_none() {
            self.unknown(place, "projects", slug);
        }
        found
    }

    pub(super) fn tenant(&mut self, place: &str, slug: &str) -> Option<(TenantId, ProjectId)> {
        let found = self.tenants.get(slug).copied();
        if found.is_none() {
            self.unknown(place, "tenants", slug);
        }
        found
    }

    pub(super) fn upstream_named(&mut self, place: &str, name: &str) -> Option<UpstreamId> {
        let found = self.upstreams.get(name).copied();
        if found.is_none() {
            self.unknown(place, "upstreams", name);
        }
        found
    }

    /// The id the file gives, or the one its name gives. One that another thing has already is refused.
    pub(super) fn id<K>(&mut self, place: &str, given: Option<&str>, kind: &str, name: &[&str]) -> Option<Id<K>> {
        let id = match given {
            Some(text) => self.parsed(format!("{place}/id"), text)?,
            None => ids::named(kind, name),
        };
        // Things of one name were refused as such; this is about ids that were given.
        if !self.ids.insert(id.uuid()) && given.is_some() {
            self.refuse(format!("{place}/id"), format!("id {id} stands twice"));
        }
        Some(id)
    }

    /// Names go into claims, headers, logs and metric labels.
    pub(super) fn name(&mut self, place: &str, name: &str) {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        if !(1..=128).contains(&name.len()) || !name.bytes().all(allowed) {
            self.refuse(
                format!("{place}/name"),
                format!("`{name}` is not a name: 1 to 128 of letters, digits and `-_./`"),
            );
        }
    }

    /// Refuses what stands twice.
    pub(super) fn unique(&mut self, list: &str, key: &str, kind: &str, names: impl Iterator<Item = String>) {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        for (at, name) in names.enumerate() {
            match first.get(&name) {
                Some(held) => self.refuse(
                    format!("{list}/{at}/{key}"),
                    format!("{kind} `{name}` stands twice (first as number {})", held + 1),
                ),
                None => _ = first.insert(name, at),
            }
        }
    }

    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, place: impl Into<String>, text: &str) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.refuse(place, error.to_string())).ok()
    }

    fn unknown(&mut self, place: impl Into<String>, list: &'static str, name: &str) {
        let kind = list.trim_end_matches('s');
        let problem = Problem::new(place, format!("there is no {kind} `{name}`"));
        self.problems.push(Problem { sought_in: Some(list), ..problem });
    }

    pub(super) fn refuse(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.problems.push(Problem::new(place, message));
    }

    pub(super) fn add(&mut self, place: &str, entity: Entity) {
        self.add_at(Place { pointer: place.into(), ..Place::default() }, entity);
    }

    fn add_at(&mut self, place: Place, entity: Entity) {
        self.places.push(place);
        self.declared.entities.push(entity);
    }
}

/// A given id that cannot be read is refused where the thing itself is compiled.
fn id_or_named<K>(given: Option<&str>, kind: &str, name: &[&str]) -> Id<K> {
    given.and_then(|text| text.parse().ok()).unwrap_or_else(|| ids::named(kind, name))
}

fn names<'f, T, I>(list: &'f [T], entry: impl Fn(&'f T) -> (&'f String, I)) -> HashMap<&'f str, I> {
    list.iter().map(entry).map(|(name, id)| (name.as_str(), id)).collect()
}
