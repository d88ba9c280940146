//! The latest wire entities, and what they compile to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use authn::Issuer;
use authz::{PermissionSet, RouteTableBuilder};
use aws_lc_rs::digest;
use domain::{
    CertificateId, HostnameId, IssuerId, ProductQuota, ProjectId, RoleId, ServiceId, TenantId, UpstreamId,
    snapshot::{self, Change, Entity, EntityKey, EntityKind, READER},
};
use http::HeaderValue;
use uuid::Uuid;

use super::{
    Entry,
    client::{Clients, ClientsError},
    index::Index,
    response::CompiledResponse,
    route::CompiledRoute,
    site::{CertificateData, CompiledRole, ProjectInfo, Roles, Routes, Site, TenantInfo, TenantMap, Tenants},
    upstream::CompiledUpstream,
};
use crate::{
    cors::CompiledCors,
    load::Load,
    quota::{CompiledQuota, Ledger},
};

/// A hostname's own routes stand before its services' of the same shape and method.
const SERVICE_RANK: authz::route_table::Rank = 0;
const OWN_RANK: authz::route_table::Rank = 1;

#[derive(Default)]
pub(super) struct State {
    rows: BTreeMap<EntityKey, Row>,
    index: Index,
    tenants: HashMap<ProjectId, Arc<Tenants>>,
    /// What is served of tenants and hostnames, by id: it goes on through every change of their rows.
    loads: HashMap<Uuid, Arc<Load>>,
    /// Those of them that no row names any more: each is forgotten once nothing holds it.
    parting: BTreeSet<Uuid>,
    /// What tenants use of products, likewise.
    pub(super) ledger: Arc<Ledger>,
    /// Hostnames that are known and not served.
    unserved: BTreeSet<Arc<str>>,
    kept: Kept,
}

/// What was compiled before, with the rows it was made from. As long as those are equal the very same object is used
/// again: what hangs on its identity (verified tokens, resolved principals) stays warm through unrelated changes.
#[derive(Default)]
struct Kept {
    issuers: HashMap<IssuerId, (snapshot::Issuer, Arc<Issuer>)>,
    clients: HashMap<HostnameId, Arc<Clients>>,
    shared_roles: Option<(Vec<snapshot::Role>, Arc<Roles>)>,
}

struct Row {
    revision: u64,
    min_reader: u32,
    /// None when this build cannot read it.
    entity: Option<Entity>,
}

/// What a batch of changes touched.
#[derive(Default)]
pub(super) struct Dirty {
    everything: bool,
    projects: BTreeSet<ProjectId>,
    /// Each with the project that it is, or was, in.
    tenants: BTreeSet<(ProjectId, TenantId)>,
    hostnames: BTreeSet<HostnameId>,
    /// Names to look at even when no row holds them any more.
    names: BTreeSet<Arc<str>>,
}

/// What changed, by name; none for a name that is gone.
pub(super) type Sites = Vec<(Arc<str>, Option<Entry>)>;
type Refused = Vec<(EntityKey, String)>;

impl Dirty {
    pub(super) fn add_all_hostnames(&mut self, state: &State) {
        self.everything = true;
        self.names.extend(state.hostnames().map(|h| Arc::from(h.hostname.as_str())));
    }
}

impl State {
    /// An empty state that remembers what was compiled, for a full replacement.
    pub(super) fn emptied(&mut self) -> Self {
        let before = std::mem::take(self);
        self.tenants.clone_from(&before.tenants);
        self.loads.clone_from(&before.loads);
        self.ledger = Arc::clone(&before.ledger);
        self.kept = Kept {
            issuers: before.kept.issuers.clone(),
            clients: before.kept.clients.clone(),
            shared_roles: before.kept.shared_roles.clone(),
        };
        before
    }

    /// Takes the changes over and says what they touch.
    pub(super) fn take(&mut self, changes: Vec<Change>) -> Dirty {
        let mut dirty = Dirty::default();
        for change in changes {
            if self.rows.get(&change.key).is_some_and(|row| row.revision > change.revision) {
                continue;
            }
            self.touch(&change.key, &mut dirty);
            if let Some(before) = self.rows.remove(&change.key) {
                self.index.remove(&change.key, before.entity.as_ref());
            }
            if change.entity.is_none() && change.min_reader <= READER {
                self.forget(&change.key);
            } else {
                let entity = change.entity.filter(|_| change.min_reader <= READER);
                self.index.add(&change.key, entity.as_ref(), change.min_reader);
                let row = Row { revision: change.revision, min_reader: change.min_reader, entity };
                self.rows.insert(change.key.clone(), row);
            }
            self.touch(&change.key, &mut dirty);
        }
        dirty
    }

    /// What was kept of an entity that is gone.
    fn forget(&mut self, key: &EntityKey) {
        match key.kind {
            EntityKind::Tenant | EntityKind::Hostname => {
                self.parting.insert(key.id);
                self.kept.clients.remove(&HostnameId::new(key.id));
            }
            EntityKind::Issuer => _ = self.kept.issuers.remove(&IssuerId::new(key.id)),
            EntityKind::Project
            | EntityKind::Role
            | EntityKind::Certificate
            | EntityKind::Upstream
            | EntityKind::Service => {}
        }
    }

    /// Marks what depends on an entity, as it is now.
    fn touch(&self, key: &EntityKey, dirty: &mut Dirty) {
        let entity = self.rows.get(key).and_then(|row| row.entity.as_ref());
        match (key.kind, entity) {
            (EntityKind::Hostname, Some(Entity::Hostname(hostname))) => {
                dirty.hostnames.insert(hostname.id);
                dirty.names.insert(hostname.hostname.as_str().into());
            }
            (EntityKind::Project, _) => _ = dirty.projects.insert(ProjectId::new(key.id)),
            (EntityKind::Tenant, Some(Entity::Tenant(tenant))) => self.touch_tenant(tenant, dirty),
            (EntityKind::Issuer, Some(Entity::Issuer(issuer))) => _ = dirty.projects.insert(issuer.project_id),
            (EntityKind::Role, Some(Entity::Role(snapshot::Role { tenant_id: Some(tenant), .. }))) => {
                if let Some(tenant) = self.tenant(*tenant) {
                    self.touch_tenant(tenant, dirty);
                }
            }
            (EntityKind::Service, _) => self.touch_service(ServiceId::new(key.id), dirty),
            (EntityKind::Upstream, _) => {
                let upstream = UpstreamId::new(key.id);
                for service in self.services().filter(|s| uses(s, upstream)) {
                    self.touch_service(service.id, dirty);
                }
                let own = |h: &&snapshot::Hostname| h.routes.iter().any(|r| r.upstream_id == Some(upstream));
                dirty.hostnames.extend(self.hostnames().filter(own).map(|h| h.id));
            }
            (EntityKind::Certificate, _) => {
                dirty.hostnames.extend(self.index.hosts_by_certificate.of(CertificateId::new(key.id)));
            }
            (EntityKind::Role, Some(_)) => dirty.everything = true,
            // Not there before, or not readable: whoever names it is found when it is.
            (EntityKind::Hostname | EntityKind::Tenant | EntityKind::Issuer | EntityKind::Role, _) => {}
        }
    }

    fn touch_service(&self, service: ServiceId, dirty: &mut Dirty) {
        dirty.hostnames.extend(self.hostnames().filter(|h| h.services.contains(&service)).map(|h| h.id));
    }

    fn touch_tenant(&self, tenant: &snapshot::Tenant, dirty: &mut Dirty) {
        dirty.tenants.insert((tenant.project_id, tenant.id));
        dirty.hostnames.extend(self.index.hosts_by_tenant.of(tenant.id));
    }

    /// Compiles the sites that `dirty` names.
    pub(super) fn compile(&mut self, dirty: &Dirty) -> (Sites, Refused) {
        let mut ids = dirty.hostnames.clone();
        for project in &dirty.projects {
            ids.extend(self.index.hosts_by_project.of(*project));
        }
        if dirty.everything {
            ids.extend(self.hostnames().map(|h| h.id));
        }
        self.part(dirty);
        for id in &ids {
            self.loads.entry(id.uuid()).or_default();
        }
        self.compile_tenants(dirty);
        let mut compiler =
            Compiler { state: self, kept: Kept::default(), refused: Vec::new(), shared: Shared::default() };
        let mut sites: BTreeMap<Arc<str>, Option<Entry>> =
            dirty.names.iter().map(|name| (Arc::clone(name), None)).collect();
        for id in ids {
            let Some(hostname) = compiler.state.hostname(id) else { continue };
            let host: Arc<str> = hostname.hostname.as_str().into();
            let entry = match compiler.site(hostname, &host) {
                Some(site) => Entry::Site(Arc::new(site)),
                None => Entry::Unsupported,
            };
            sites.insert(host, Some(entry));
        }
        let Compiler { mut refused, kept, .. } = compiler;
        for (host, entry) in &sites {
            match entry {
                Some(Entry::Unsupported) => _ = self.unserved.insert(Arc::clone(host)),
                Some(Entry::Site(_)) | None => _ = self.unserved.remove(host),
            }
        }
        self.kept.issuers.extend(kept.issuers);
        self.kept.clients.extend(kept.clients);
        if dirty.everything {
            let rows = &self.rows;
            let named = |kind, id| rows.contains_key(&EntityKey { kind, id });
            self.kept.issuers.retain(|id, _| named(EntityKind::Issuer, id.uuid()));
            self.kept.clients.retain(|id, _| named(EntityKind::Hostname, id.uuid()));
        }
        self.kept.shared_roles = kept.shared_roles.or(self.kept.shared_roles.take());
        refused.extend(self.index.unreadable.iter().map(|(key, needed)| {
            (key.clone(), format!("it needs a reader of version {needed}; this one is {READER}"))
        }));
        refused.sort();
        refused.dedup();
        (sites.into_iter().collect(), refused)
    }

    /// Forgets what is served of those whom no row names, once nothing else holds it.
    fn part(&mut self, dirty: &Dirty) {
        let Self { rows, loads, parting, .. } = self;
        let named = |id| {
            let row = |kind| rows.contains_key(&EntityKey { kind, id });
            row(EntityKind::Tenant) || row(EntityKind::Hostname)
        };
        if dirty.everything {
            parting.extend(loads.keys().copied());
        }
        parting.retain(|id| {
            if named(*id) {
                return false;
            }
            let held = loads.get(id).is_some_and(|load| Arc::strong_count(load) > 1);
            if !held {
                loads.remove(id);
            }
            held
        });
    }

    /// Tenants are shared by the hostnames of their project and swapped in place: those that changed, or all.
    fn compile_tenants(&mut self, dirty: &Dirty) {
        let mut touched: BTreeMap<ProjectId, Vec<TenantId>> =
            dirty.projects.iter().map(|project| (*project, Vec::new())).collect();
        for (project, tenant) in &dirty.tenants {
            touched.entry(*project).or_default().push(*tenant);
        }
        if dirty.everything {
            touched.extend(self.tenants.keys().map(|project| (*project, Vec::new())));
            touched.extend(self.of_kind(EntityKind::Project).filter_map(|entity| match entity {
                Entity::Project(project) => Some((project.id, Vec::new())),
                _ => None,
            }));
            for entity in self.of_kind(EntityKind::Tenant) {
                if let Entity::Tenant(tenant) = entity {
                    touched.entry(tenant.project_id).or_default().push(tenant.id);
                }
            }
        }
        for (project, tenants) in touched {
            let held = Arc::clone(self.tenants.entry(project).or_default());
            let before = held.load_full();
            // Who is there no more is not among all.
            let mut map = if dirty.everything { TenantMap::default() } else { TenantMap::clone(&before) };
            for id in tenants {
                match self.tenant_info(project, id, before.by_id(id)) {
                    Some(info) => map.insert(info),
                    None => map.remove(id),
                }
            }
            held.store(Arc::new(map));
        }
        if dirty.everything {
            let Self { rows, tenants, .. } = self;
            tenants.retain(|project, tenants| {
                let known = rows.contains_key(&EntityKey { kind: EntityKind::Project, id: project.uuid() });
                known || !tenants.load().is_empty()
            });
        }
    }

    /// A tenant of a project as it is now; the same object as before where nothing changed.
    fn tenant_info(
        &mut self,
        project: ProjectId,
        id: TenantId,
        before: Option<&Arc<TenantInfo>>,
    ) -> Option<Arc<TenantInfo>> {
        let tenant = self.tenant(id).filter(|tenant| tenant.project_id == project)?.clone();
        let roles = self.index.roles_by_tenant.of(Some(id)).filter_map(|role| self.role(role).cloned()).collect();
        let made_from = (tenant, roles);
        if let Some(info) = before.filter(|info| info.made_from == made_from) {
            return Some(Arc::clone(info));
        }
        let load = Arc::clone(self.loads.entry(id.uuid()).or_default());
        tenant_info(made_from, load, &self.ledger).map(Arc::new)
    }

    /// Hostnames that are known and not served.
    pub(super) const fn unserved(&self) -> &BTreeSet<Arc<str>> {
        &self.unserved
    }

    #[cfg(test)]
    pub(super) fn loads(&self) -> usize {
        self.loads.len()
    }

    /// Everything as changes from nothing.
    pub(super) fn changes(&self) -> Vec<Change> {
        let change = |(key, row): (&EntityKey, &Row)| Change {
            revision: row.revision,
            key: key.clone(),
            min_reader: row.min_reader,
            entity: row.entity.clone(),
        };
        self.rows.iter().map(change).collect()
    }

    fn entity(&self, kind: EntityKind, id: Uuid) -> Option<(&Entity, u64)> {
        let row = self.rows.get(&EntityKey { kind, id })?;
        Some((row.entity.as_ref()?, row.revision))
    }

    fn hostname(&self, id: HostnameId) -> Option<&snapshot::Hostname> {
        match self.entity(EntityKind::Hostname, id.uuid()) {
            Some((Entity::Hostname(hostname), _)) => Some(hostname),
            _ => None,
        }
    }

    fn tenant(&self, id: TenantId) -> Option<&snapshot::Tenant> {
        match self.entity(EntityKind::Tenant, id.uuid()) {
            Some((Entity::Tenant(tenant), _)) => Some(tenant),
            _ => None,
        }
    }

    fn hostnames(&self) -> impl Iterator<Item = &snapshot::Hostname> {
        self.of_kind(EntityKind::Hostname).filter_map(|entity| match entity {
            Entity::Hostname(hostname) => Some(hostname),
            _ => None,
        })
    }

    fn services(&self) -> impl Iterator<Item = &snapshot::Service> {
        self.of_kind(EntityKind::Service).filter_map(|entity| match entity {
            Entity::Service(service) => Some(service),
            _ => None,
        })
    }

    fn role(&self, id: RoleId) -> Option<&snapshot::Role> {
        match self.entity(EntityKind::Role, id.uuid()) {
            Some((Entity::Role(role), _)) => Some(role),
            _ => None,
        }
    }

    fn of_kind(&self, kind: EntityKind) -> impl Iterator<Item = &Entity> {
        let from = EntityKey { kind, id: Uuid::nil() };
        let to = EntityKey { kind, id: Uuid::max() };
        self.rows.range(from..=to).filter_map(|(_, row)| row.entity.as_ref())
    }
}

fn uses(service: &snapshot::Service, upstream: UpstreamId) -> bool {
    service.upstream_id == upstream || service.routes.iter().any(|route| route.upstream_id == Some(upstream))
}

/// Compiles sites, each shared part once a batch.
struct Compiler<'s> {
    state: &'s State,
    kept: Kept,
    refused: Refused,
    shared: Shared,
}

#[derive(Default)]
struct Shared {
    roles: Option<Arc<Roles>>,
    upstreams: HashMap<UpstreamId, Option<Arc<CompiledUpstream>>>,
    issuers: HashMap<ProjectId, Arc<[Arc<Issuer>]>>,
    projects: HashMap<ProjectId, Option<Arc<ProjectInfo>>>,
    tables: HashMap<Vec<ServiceId>, Option<Arc<Routes>>>,
    certificates: HashMap<Uuid, Option<Arc<CertificateData>>>,
}

impl Compiler<'_> {
    fn refuse(&mut self, kind: EntityKind, id: Uuid, reason: impl ToString) {
        self.refused.push((EntityKey { kind, id }, reason.to_string()));
    }

    /// None, with the reason noted, when a part is missing, broken or unreadable.
    fn site(&mut self, hostname: &snapshot::Hostname, host: &Arc<str>) -> Option<Site> {
        let Some(project) = self.project(hostname.project_id) else {
            self.refuse(EntityKind::Hostname, hostname.id.uuid(), "its project is missing or cannot be read");
            return None;
        };
        let tenant = match hostname.tenant_id {
            None => None,
            Some(id) => match project.tenants.load().by_id(id) {
                Some(tenant) => Some(Arc::clone(tenant)),
                None => {
                    self.refuse(EntityKind::Hostname, hostname.id.uuid(), "its tenant is missing or cannot be read");
                    return None;
                }
            },
        };
        let clients = match self.clients(hostname) {
            Ok(clients) => clients,
            Err(error) => {
                self.refuse(EntityKind::Hostname, hostname.id.uuid(), format!("hostname `{host}`: {error}"));
                return None;
            }
        };
        Some(Site {
            host: Arc::clone(host),
            purpose: hostname.purpose,
            platform: hostname.platform,
            tenant,
            issuers: self.issuers(hostname.project_id),
            roles: self.roles(),
            routes: self.routes(hostname)?,
            certificate: hostname.certificate_id.and_then(|id| self.certificate(id.uuid())),
            clients,
            max_body: hostname.max_body,
            response: CompiledResponse::new(&hostname.response).map(Arc::new),
            admission: hostname.admission.clone(),
            cors: CompiledCors::new(&hostname.cors).map(Arc::new),
            load: self.state.loads.get(&hostname.id.uuid()).cloned().unwrap_or_default(),
            project,
        })
    }

    fn clients(&mut self, hostname: &snapshot::Hostname) -> Result<Option<Arc<Clients>>, ClientsError> {
        let Some(row) = &hostname.client_certificates else { return Ok(None) };
        let before = self.state.kept.clients.get(&hostname.id);
        let clients = match before {
            Some(before) if before.made_from == *row => Arc::clone(before),
            Some(_) | None => Arc::new(Clients::compile(row, hostname.tenant_id.is_some(), before.map(Arc::as_ref))?),
        };
        self.kept.clients.insert(hostname.id, Arc::clone(&clients));
        Ok(Some(clients))
    }

    fn project(&mut self, id: ProjectId) -> Option<Arc<ProjectInfo>> {
        if let Some(known) = self.shared.projects.get(&id) {
            return known.clone();
        }
        let tenants = self.state.tenants.get(&id).cloned().unwrap_or_default();
        let project = match self.state.entity(EntityKind::Project, id.uuid()) {
            Some((Entity::Project(project), _)) => {
                Some(Arc::new(ProjectInfo { id, root: project.root, suspended: project.suspended, tenants }))
            }
            _ => None,
        };
        self.shared.projects.insert(id, project.clone());
        project
    }

    fn issuers(&mut self, project: ProjectId) -> Arc<[Arc<Issuer>]> {
        if let Some(known) = self.shared.issuers.get(&project) {
            return Arc::clone(known);
        }
        let mut issuers = Vec::new();
        let state = self.state;
        for id in state.index.issuers_by_project.of(project) {
            let Some((Entity::Issuer(issuer), _)) = state.entity(EntityKind::Issuer, id.uuid()) else { continue };
            if let Some((row, compiled)) = state.kept.issuers.get(&issuer.id)
                && row == issuer
            {
                issuers.push(Arc::clone(compiled));
                continue;
            }
            match Issuer::compile(issuer) {
                Ok(compiled) => {
                    let compiled = Arc::new(compiled);
                    self.kept.issuers.insert(issuer.id, (issuer.clone(), Arc::clone(&compiled)));
                    issuers.push(compiled);
                }
                Err(error) => self.refuse(EntityKind::Issuer, id.uuid(), error),
            }
        }
        let issuers: Arc<[_]> = issuers.into();
        self.shared.issuers.insert(project, Arc::clone(&issuers));
        issuers
    }

    fn roles(&mut self) -> Arc<Roles> {
        if let Some(known) = &self.shared.roles {
            return Arc::clone(known);
        }
        let shared = self.state.index.roles_by_tenant.of(None);
        let rows: Vec<_> = shared.filter_map(|id| self.state.role(id).cloned()).collect();
        let roles = match &self.state.kept.shared_roles {
            Some((before, roles)) if *before == rows => Arc::clone(roles),
            Some(_) | None => Arc::new(compile_roles(&rows)),
        };
        self.kept.shared_roles = Some((rows, Arc::clone(&roles)));
        self.shared.roles = Some(Arc::clone(&roles));
        roles
    }

    fn certificate(&mut self, id: Uuid) -> Option<Arc<CertificateData>> {
        let state = self.state;
        let compile = || match state.entity(EntityKind::Certificate, id) {
            Some((Entity::Certificate(certificate), _)) => Some(Arc::new(CertificateData {
                id: certificate.id,
                revision: contents(certificate),
                chain_pem: certificate.chain_pem.clone(),
                key_pem: certificate.key_pem.clone(),
            })),
            _ => None,
        };
        self.shared.certificates.entry(id).or_insert_with(compile).clone()
    }

    fn upstream(&mut self, id: UpstreamId) -> Option<Arc<CompiledUpstream>> {
        if let Some(known) = self.shared.upstreams.get(&id) {
            return known.clone();
        }
        let compiled = match self.state.entity(EntityKind::Upstream, id.uuid()) {
            Some((Entity::Upstream(upstream), _)) => match CompiledUpstream::new(upstream) {
                Ok(compiled) => Some(Arc::new(compiled)),
                Err(error) => {
                    self.refuse(EntityKind::Upstream, id.uuid(), error);
                    None
                }
            },
            _ => None,
        };
        self.shared.upstreams.insert(id, compiled.clone());
        compiled
    }

    /// The table of a hostname: shared with all that offer the same services and have no routes of their own.
    fn routes(&mut self, hostname: &snapshot::Hostname) -> Option<Arc<Routes>> {
        let mut services = hostname.services.clone();
        services.sort_unstable();
        services.dedup();
        if hostname.routes.is_empty()
            && let Some(known) = self.shared.tables.get(&services)
        {
            return known.clone();
        }
        let table = self.table(&services, hostname);
        if hostname.routes.is_empty() {
            self.shared.tables.insert(services, table.clone());
        }
        table
    }

    fn table(&mut self, services: &[ServiceId], hostname: &snapshot::Hostname) -> Option<Arc<Routes>> {
        let mut builder = RouteTableBuilder::default();
        for id in services {
            let Some((Entity::Service(service), _)) = self.state.entity(EntityKind::Service, id.uuid()) else {
                self.refuse(EntityKind::Hostname, hostname.id.uuid(), format!("service {id} is missing or unreadable"));
                return None;
            };
            let key = EntityKey { kind: EntityKind::Service, id: id.uuid() };
            let fallback = Some(service.upstream_id);
            let name = Arc::from(service.name.as_str());
            self.insert(&mut builder, &service.routes, (Some(&name), fallback), SERVICE_RANK, &key)?;
        }
        let key = EntityKey { kind: EntityKind::Hostname, id: hostname.id.uuid() };
        self.insert(&mut builder, &hostname.routes, (None, None), OWN_RANK, &key)?;
        Some(Arc::new(builder.build()))
    }

    fn insert(
        &mut self,
        builder: &mut RouteTableBuilder<Arc<CompiledRoute>>,
        routes: &[snapshot::Route],
        (service, fallback): (Option<&Arc<str>>, Option<UpstreamId>),
        rank: authz::route_table::Rank,
        owner: &EntityKey,
    ) -> Option<()> {
        for route in routes {
            let Some(upstream) = route.upstream_id.or(fallback).and_then(|id| self.upstream(id)) else {
                let reason = format!("the upstream of route `{}` is missing or cannot be used", route.path);
                self.refused.push((owner.clone(), reason));
                return None;
            };
            if route.ou_parameter.as_deref().is_some_and(|name| route.path.parameter(name).is_none()) {
                let reason = format!("route `{}` has no parameter of its `ou_parameter`", route.path);
                self.refused.push((owner.clone(), reason));
                return None;
            }
            let compiled = Arc::new(CompiledRoute::new(route, service, upstream));
            if let Err(tie) = builder.insert(&route.path, &route.methods, rank, compiled) {
                self.refused.push((owner.clone(), tie.to_string()));
                return None;
            }
        }
        Some(())
    }
}

fn compile_roles(rows: &[snapshot::Role]) -> Roles {
    Roles { by_id: rows.iter().map(|role| (role.id, Arc::new(compile_role(role)))).collect() }
}

fn compile_role(role: &snapshot::Role) -> CompiledRole {
    CompiledRole {
        id: role.id,
        name: role.name.as_str().into(),
        scope: role.scope,
        permissions: PermissionSet::new(&role.permissions),
        admin: role.admin,
        super_admin: role.super_admin && role.tenant_id.is_none(),
    }
}

/// A number of the certificate's contents. Row revisions would not do: a restored backup counts them anew.
fn contents(certificate: &snapshot::Certificate) -> u64 {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(certificate.chain_pem.as_bytes());
    context.update(certificate.key_pem.expose().as_bytes());
    context.finish().as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// None for a tenant whose names cannot stand in a header, which the control plane does not make.
fn tenant_info(
    made_from: (snapshot::Tenant, Vec<snapshot::Role>),
    load: Arc<Load>,
    ledger: &Ledger,
) -> Option<TenantInfo> {
    let (tenant, roles) = &made_from;
    let quota = |(product, quota): (&String, &ProductQuota)| CompiledQuota {
        product: product.as_str().into(),
        quota: *quota,
        usage: ledger.usage(tenant.id, product),
    };
    let header = |text: &str| HeaderValue::from_str(text).ok();
    Some(TenantInfo {
        id: tenant.id,
        slug: tenant.slug.as_str().into(),
        status: tenant.status,
        kyc: tenant.kyc,
        payment: tenant.payment,
        rate_limit: tenant.rate_limit,
        principal_rate_limit: tenant.principal_rate_limit,
        admission: tenant.admission.clone(),
        load,
        generation: tenant.generation,
        cutoff: tenant.cutoff,
        org_units: tenant.org_units.iter().copied().collect(),
        products: tenant.products.iter().map(|(name, ends)| (name.as_str().into(), *ends)).collect(),
        quotas: tenant.quotas.iter().map(quota).collect(),
        roles: compile_roles(roles),
        header_id: header(&tenant.id.to_string())?,
        header_slug: header(tenant.slug.as_str())?,
        header_plan: tenant.plan.as_deref().filter(|plan| !plan.is_empty()).and_then(header),
        made_from,
    })
}
