//! Applies what a declarative file or folder says: makes what is missing, changes what differs, leaves the rest alone.
//! All of it in one transaction, so that a file is in force or it is not.
//!
//! Things are found again by name, so that what the console made and what a file says are one thing. Nothing is
//! deleted but routes that a declared service no longer has: a file says what must be, not what else may be.

mod entitlements;

use std::collections::HashMap;

use authz::{
    Action, Authorized,
    action::{
        ManageCertificates, ManageCustomers, ManageEntitlements, ManageHostnames, ManageIssuers, ManageProducts,
        ManageProjects, ManageRoles, ManageRoutes, ManageSigningKeys, ManageTenants, ManageUpstreams,
    },
};
use domain::{
    CertificateId, CustomerId, FleetName, HostName, IssuerId, ProductId, ProjectId, ServiceId, Slug, TaxIds, TenantId,
    UpstreamId,
    model::{
        AssertionMode, Branding, ClaimState, CustomerKind, ExternalIssuer, HostnameKind, KycKind, NewCertificate,
        NewCustomer, NewHostname, NewProject, NewRole, NewRoute, NewService, NewSigningKey, NewTenant, NewUpstream,
        ProjectKind, Role, RouteOwner, Tenancy, TlsMode, UpstreamSpec, VerifyState, Version,
    },
    snapshot::{self, Assertion, Entity, KycStatus, PaymentStatus, TenantStatus},
};
use serde::{Deserialize, Serialize};
use store::{Audited, Commit, Page, Tx, read::*};
use uuid::Uuid;

use super::{
    certificates, client_certificates, issuers, new_tenant, projects, role_bindings, roles, signing_keys, upstreams,
};
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// Proofs that somebody may write all that a declarative file can hold.
#[derive(Clone, Debug)]
pub struct Writer {
    certificates: Authorized<ManageCertificates>,
    customers: Authorized<ManageCustomers>,
    hostnames: Authorized<ManageHostnames>,
    issuers: Authorized<ManageIssuers>,
    keys: Authorized<ManageSigningKeys>,
    projects: Authorized<ManageProjects>,
    roles: Authorized<ManageRoles>,
    routes: Authorized<ManageRoutes>,
    tenants: Authorized<ManageTenants>,
    upstreams: Authorized<ManageUpstreams>,
    /// Who may give no role that holds more than themselves; none for the system.
    principal: Option<Principal>,
    /// What the system calls itself.
    job: &'static str,
}

impl Writer {
    /// A principal's proofs: of all that a file can come to, whatever this one says.
    ///
    /// # Errors
    /// [`AppError::Forbidden`] names the first one it lacks.
    pub fn of(principal: &Principal) -> Result<Self, AppError> {
        fn may<A: Action>(principal: &Principal) -> Result<Authorized<A>, AppError> {
            principal.may::<A>("update")?;
            principal.may::<A>("create")
        }
        // What a file names is there as a whole: hostnames verified, customers in good standing, other routes gone.
        principal.may::<ManageHostnames>("verify")?;
        principal.may::<ManageCustomers>("kyc")?;
        principal.may::<ManageRoutes>("delete")?;
        Ok(Self {
            certificates: may(principal)?,
            customers: may(principal)?,
            hostnames: may(principal)?,
            issuers: may(principal)?,
            keys: may(principal)?,
            projects: may(principal)?,
            roles: may(principal)?,
            routes: may(principal)?,
            tenants: may(principal)?,
            upstreams: may(principal)?,
            principal: Some(principal.clone()),
            job: "apply",
        })
    }

    /// For what the system applies of itself, such as the demo. `job` is the name in the audit trail.
    pub fn system(job: &'static str) -> Self {
        Self {
            certificates: Authorized::system(job),
            customers: Authorized::system(job),
            hostnames: Authorized::system(job),
            issuers: Authorized::system(job),
            keys: Authorized::system(job),
            projects: Authorized::system(job),
            roles: Authorized::system(job),
            routes: Authorized::system(job),
            tenants: Authorized::system(job),
            upstreams: Authorized::system(job),
            principal: None,
            job,
        }
    }

    /// What a file with products needs beside: who applies others need not sell.
    fn seller(&self) -> Result<(Authorized<ManageEntitlements>, Authorized<ManageProducts>), AppError> {
        match &self.principal {
            Some(principal) => Ok((principal.may("update")?, principal.may("create")?)),
            None => Ok((Authorized::system(self.job), Authorized::system(self.job))),
        }
    }

    fn may_give(&self, role: &Role) -> Result<(), AppError> {
        self.principal.as_ref().map_or(Ok(()), |principal| role_bindings::may_give(principal, role, None))
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Outcome {
    /// Things made.
    pub created: u32,
    /// Things changed.
    pub updated: u32,
    /// Things that were as they should be.
    pub unchanged: u32,
}

/// Applies entities as [`domain::declarative`] compiles them. `public_port` is the edge's HTTPS port where it is not
/// 443: a project that is made here gets `https://{its first hostname}[:port]` for its issuer.
///
/// # Errors
/// [`AppError`]; nothing was written then.
pub async fn apply(
    app: &App,
    writer: &Writer,
    entities: &[Entity],
    jwks_urls: &[(IssuerId, String)],
    public_port: Option<u16>,
) -> Result<(Outcome, Commit), AppError> {
    for entity in entities {
        if let Entity::Upstream(upstream) = entity {
            upstreams::reachable(app, &spec(upstream)).await?;
        }
    }
    let issuers = first_hostnames(entities, public_port);
    let issuers = &issuers;
    app.store
        .write(&writer.projects, app.now(), |tx| async move {
            let (ids, products) = (HashMap::new(), HashMap::new());
            let mut run = Run { app, tx, writer, issuers, jwks_urls, ids, products, outcome: Outcome::default() };
            for entity in entities {
                run.entity(entity).await?;
            }
            Ok(Audited::unchanged(run.outcome))
        })
        .await
}

/// The issuer a new project gets: the origin of its first hostname.
fn first_hostnames(entities: &[Entity], public_port: Option<u16>) -> HashMap<ProjectId, String> {
    let port = public_port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
    let mut first = HashMap::new();
    for entity in entities {
        if let Entity::Hostname(hostname) = entity {
            first.entry(hostname.project_id).or_insert_with(|| format!("https://{}{port}", hostname.hostname));
        }
    }
    first
}

struct Run<'a> {
    app: &'a App,
    tx: Tx,
    writer: &'a Writer,
    issuers: &'a HashMap<ProjectId, String>,
    /// Where the key sets of external issuers are fetched from.
    jwks_urls: &'a [(IssuerId, String)],
    /// Ids of the file to ids of the store, where a thing of that name was there before.
    ids: HashMap<Uuid, Uuid>,
    /// Products by name, once they were looked for.
    products: HashMap<String, ProductId>,
    outcome: Outcome,
}

impl Run<'_> {
    async fn entity(&mut self, entity: &Entity) -> Result<(), AppError> {
        match entity {
            Entity::Project(project) => self.project(project).await,
            Entity::Tenant(tenant) => self.tenant(tenant).await,
            Entity::Role(role) => self.role(role).await,
            // Certificates are read with the hostname that names them.
            Entity::Certificate(certificate) => self.certificate(certificate).await,
            Entity::Upstream(upstream) => self.upstream(upstream).await,
            Entity::Service(service) => self.service(service).await,
            Entity::Issuer(issuer) => self.issuer(issuer).await,
            Entity::Hostname(hostname) => self.hostname(hostname).await,
        }
    }

    fn stored<K>(&self, id: domain::Id<K>) -> domain::Id<K> {
        domain::Id::new(self.ids.get(&id.uuid()).copied().unwrap_or(id.uuid()))
    }

    fn is(&mut self, declared: Uuid, stored: Uuid) {
        self.ids.insert(declared, stored);
    }

    async fn project(&mut self, declared: &snapshot::Project) -> Result<(), AppError> {
        if let Some(found) = self.tx.project_by_slug(declared.slug.as_str()).await? {
            self.is(declared.id.uuid(), found.id.uuid());
            self.outcome.unchanged += 1;
            return Ok(());
        }
        let missing = || {
            let detail = format!("project `{}` has no hostname to take its issuer from", declared.slug);
            AppError::field("/entities", "required", detail)
        };
        let issuer = self.issuers.get(&declared.id).cloned().ok_or_else(missing)?;
        let new = NewProject {
            id: declared.id,
            slug: declared.slug.clone(),
            name: declared.slug.to_string(),
            kind: ProjectKind::Dedicated,
            audiences: vec![issuer.clone()],
            issuer,
            config: serde_json::json!({}),
        };
        let key: NewSigningKey = signing_keys::fresh_key(self.app, new.id)?;
        projects::insert(&self.tx, &self.writer.projects, &self.writer.keys, new, key).await?;
        self.outcome.created += 1;
        Ok(())
    }

    /// The customer that stands for a declared project: who pays is not the file's to say.
    async fn customer(&mut self, project: &Slug) -> Result<CustomerId, AppError> {
        if let Some(found) = self.tx.customer_by_code(project.as_str()).await? {
            return Ok(found.id);
        }
        let new = NewCustomer {
            id: new_id(&*self.app.clock),
            code: project.to_string(),
            name: project.to_string(),
            description: String::new(),
            kind: CustomerKind::Company,
            tenancy: Tenancy::Dedicated,
            address: None,
            contact: None,
            tax_ids: TaxIds::default(),
            kyc: KycStatus::Completed,
            kyc_kind: KycKind::Kyb,
            payment: PaymentStatus::Ok,
            is_root: false,
        };
        let id = new.id;
        self.tx.created(self.tx.insert_customer(&self.writer.customers, new).await?).await?;
        self.outcome.created += 1;
        Ok(id)
    }

    async fn tenant(&mut self, declared: &snapshot::Tenant) -> Result<(), AppError> {
        let site = self.tenant_alone(declared).await?;
        self.entitlements(site, declared).await
    }

    async fn tenant_alone(&mut self, declared: &snapshot::Tenant) -> Result<Site, AppError> {
        let by = &self.writer.tenants;
        if let Some(mut found) = self.tx.tenant_by_slug(declared.slug.as_str()).await? {
            self.is(declared.id.uuid(), found.id.uuid());
            let site = Site { project: found.project_id, tenant: found.id };
            if found.plan == declared.plan
                && found.rate_limit == declared.rate_limit
                && found.principal_rate_limit == declared.principal_rate_limit
                && found.admission == declared.admission
            {
                self.outcome.unchanged += 1;
                return Ok(site);
            }
            found.plan.clone_from(&declared.plan);
            found.rate_limit = declared.rate_limit;
            found.principal_rate_limit = declared.principal_rate_limit;
            found.admission.clone_from(&declared.admission);
            self.tx.updated(self.tx.update_tenant(by, found).await?).await?;
            self.outcome.updated += 1;
            return Ok(site);
        }
        new_tenant::free(self.app, &declared.slug)?;
        let project_id: ProjectId = self.stored(declared.project_id);
        let project = self.tx.project(project_id).await?.ok_or(AppError::NotFound("project"))?;
        let customer_id = self.customer(&project.slug).await?;
        let new = NewTenant {
            id: declared.id,
            project_id,
            customer_id,
            slug: declared.slug.clone(),
            name: declared.slug.to_string(),
            status: match declared.status {
                status @ (TenantStatus::Trial | TenantStatus::Active) => status,
                TenantStatus::Frozen | TenantStatus::Suspended | TenantStatus::Deleted => {
                    let detail = format!("tenant `{}` starts as `trial` or `active`", declared.slug);
                    return Err(AppError::field("/entities", "status", detail));
                }
            },
            claim_state: ClaimState::Claimed,
            plan: declared.plan.clone(),
            trial_ends_at: None,
            rate_limit: declared.rate_limit,
            principal_rate_limit: declared.principal_rate_limit,
            admission: declared.admission.clone(),
            branding: Branding::default(),
        };
        self.tx.created(self.tx.insert_tenant(&self.writer.tenants, new).await?).await?;
        self.outcome.created += 1;
        Ok(Site { project: project_id, tenant: declared.id })
    }

    async fn role(&mut self, declared: &snapshot::Role) -> Result<(), AppError> {
        let by = &self.writer.roles;
        let tenant: TenantId = match declared.tenant_id {
            Some(tenant) => self.stored(tenant),
            None => {
                let detail = format!("role `{}` names no tenant; built-in roles come with the release", declared.name);
                return Err(AppError::field("/entities", "tenant", detail));
            }
        };
        let found = self.tx.roles_of_tenant(tenant, Page::WIDEST).await?.into_iter();
        let found = found.filter(|role| role.tenant_id == Some(tenant) && role.scope == declared.scope);
        if let Some(mut found) = found.into_iter().find(|role| role.name == declared.name) {
            self.is(declared.id.uuid(), found.id.uuid());
            if found.permissions == declared.permissions && found.admin == declared.admin {
                self.outcome.unchanged += 1;
                return Ok(());
            }
            self.writer.may_give(&found)?;
            found.permissions.clone_from(&declared.permissions);
            found.admin = declared.admin;
            self.writer.may_give(&found)?;
            self.tx.updated(self.tx.update_role(by, found).await?).await?;
            self.outcome.updated += 1;
            return Ok(());
        }
        let new = NewRole {
            id: declared.id,
            tenant_id: Some(tenant),
            scope: declared.scope,
            name: declared.name.clone(),
            description: String::new(),
            permissions: declared.permissions.clone(),
            admin: declared.admin,
            super_admin: false,
        };
        self.writer.may_give(&roles::preview(self.app, &new))?;
        self.tx.created(self.tx.insert_role(by, new).await?).await?;
        self.outcome.created += 1;
        Ok(())
    }

    async fn upstream(&mut self, declared: &snapshot::Upstream) -> Result<(), AppError> {
        let by = &self.writer.upstreams;
        let (assertion, spec) = (mode(&declared.assertion), spec(declared));
        if let Some(mut found) = self.tx.upstream_by_name(&declared.name).await? {
            self.is(declared.id.uuid(), found.id.uuid());
            if found.assertion == assertion && same(&found.spec, &spec)? {
                self.outcome.unchanged += 1;
                return Ok(());
            }
            upstreams::refuse_built_in(&found.name)?;
            found.assertion = assertion;
            found.spec = spec;
            self.tx.updated(self.tx.update_upstream(by, found).await?).await?;
            self.outcome.updated += 1;
            return Ok(());
        }
        upstreams::refuse_built_in(&declared.name)?;
        let new = NewUpstream { id: declared.id, name: declared.name.clone(), assertion, spec };
        self.tx.created(self.tx.insert_upstream(by, new).await?).await?;
        self.outcome.created += 1;
        Ok(())
    }

    async fn service(&mut self, declared: &snapshot::Service) -> Result<(), AppError> {
        let by = &self.writer.routes;
        let upstream_id: UpstreamId = self.stored(declared.upstream_id);
        let id = match self.tx.service_by_name(&declared.name).await? {
            Some(mut found) => {
                let id = found.id;
                self.is(declared.id.uuid(), id.uuid());
                if found.upstream_id == upstream_id {
                    self.outcome.unchanged += 1;
                } else {
                    found.upstream_id = upstream_id;
                    self.tx.updated(self.tx.update_service(by, found).await?).await?;
                    self.outcome.updated += 1;
                }
                id
            }
            None => {
                let new = NewService { id: declared.id, name: declared.name.clone(), upstream_id };
                self.tx.created(self.tx.insert_service(by, new).await?).await?;
                self.outcome.created += 1;
                declared.id
            }
        };
        self.routes(RouteOwner::Service(id), &declared.routes).await
    }

    /// Exactly the declared routes: those no longer declared go first, so that they tie with none that comes.
    async fn routes(&mut self, owner: RouteOwner, declared: &[snapshot::Route]) -> Result<(), AppError> {
        let by = &self.writer.routes;
        let mut there = HashMap::new();
        for route in self.tx.routes(owner).await? {
            if declared.iter().any(|rule| rule.id == route.rule.id) {
                there.insert(route.rule.id, route);
            } else {
                self.tx.deleted(self.tx.delete_route(by, route.rule.id).await?).await?;
                self.outcome.updated += 1;
            }
        }
        for rule in declared {
            let rule = snapshot::Route { upstream_id: rule.upstream_id.map(|id| self.stored(id)), ..rule.clone() };
            match there.remove(&rule.id) {
                Some(route) if same(&route.rule, &rule)? && route.enabled => self.outcome.unchanged += 1,
                Some(mut route) => {
                    route.rule = rule;
                    route.enabled = true;
                    self.tx.updated(self.tx.update_route(by, route).await?).await?;
                    self.outcome.updated += 1;
                }
                None => {
                    let new = NewRoute { owner, rule, enabled: true };
                    self.tx.created(self.tx.insert_route(by, new).await?).await?;
                    self.outcome.created += 1;
                }
            }
        }
        Ok(())
    }

    async fn issuer(&mut self, declared: &snapshot::Issuer) -> Result<(), AppError> {
        let by = &self.writer.issuers;
        let snapshot::Origin::External(mut binding) = declared.origin.clone() else {
            return Err(AppError::field("/entities", "origin", "an own issuer comes with its project"));
        };
        if let snapshot::TenantBinding::Tenant(tenant) = &mut binding.tenant {
            *tenant = self.stored(*tenant);
        }
        let project_id: ProjectId = self.stored(declared.project_id);
        let jwks_url = self.jwks_urls.iter().find(|(id, _)| *id == declared.id).map(|(_, url)| url.clone());
        let wanted = ExternalIssuer {
            id: declared.id,
            project_id,
            issuer: declared.issuer.clone(),
            audiences: declared.audiences.clone(),
            algorithms: declared.algorithms.clone(),
            binding,
            jwks: declared.jwks.clone(),
            jwks_url,
            version: Version(1),
        };
        issuers::usable(self.app, &wanted)?;
        let found = self
            .tx
            .issuers(project_id)
            .await?
            .into_iter()
            .find(|issuer| issuer.issuer == wanted.issuer && issuer.audiences == wanted.audiences);
        match found {
            Some(found) => {
                let mut wanted = ExternalIssuer { id: found.id, version: found.version, ..wanted };
                if wanted.jwks_url.is_some() && wanted.jwks_url == found.jwks_url {
                    wanted.jwks.clone_from(&found.jwks);
                }
                if same(&found, &wanted)? {
                    self.outcome.unchanged += 1;
                } else {
                    self.tx.updated(self.tx.update_issuer(by, wanted).await?).await?;
                    self.outcome.updated += 1;
                }
            }
            None => {
                self.tx.created(self.tx.insert_issuer(by, wanted).await?).await?;
                self.outcome.created += 1;
            }
        }
        Ok(())
    }

    /// A certificate is found again by the fingerprint of its leaf.
    async fn certificate(&mut self, declared: &snapshot::Certificate) -> Result<(), AppError> {
        let read = certificates::read(self.app, declared.chain_pem.clone(), declared.key_pem.clone())?;
        let new = NewCertificate { id: declared.id, ..read };
        if let Some(found) = self.tx.certificate_by_fingerprint(&new.fingerprint).await? {
            self.is(declared.id.uuid(), found.id.uuid());
            self.outcome.unchanged += 1;
            return Ok(());
        }
        // The file's id is that of the file's name: what is in it may have changed.
        let new = NewCertificate { id: new_id(&*self.app.clock), ..new };
        self.is(declared.id.uuid(), new.id.uuid());
        self.tx.created(self.tx.insert_certificate(&self.writer.certificates, new).await?).await?;
        self.outcome.created += 1;
        Ok(())
    }

    async fn hostname(&mut self, declared: &snapshot::Hostname) -> Result<(), AppError> {
        let by = &self.writer.hostnames;
        let services: Vec<ServiceId> = declared.services.iter().map(|id| self.stored(*id)).collect();
        let certificate_id: Option<CertificateId> = declared.certificate_id.map(|id| self.stored(id));
        self.certificate_covers(certificate_id, &declared.hostname).await?;
        let client_certificates = declared.client_certificates.as_ref().map(|it| it.certificates.clone());
        if let Some(certificates) = &client_certificates {
            client_certificates::readable(certificates, self.app.now())?;
        }
        let id = match self.tx.hostname_by_name(&declared.hostname).await? {
            Some(mut found) => {
                let id = found.id;
                let project: ProjectId = self.stored(declared.project_id);
                let tenant: Option<TenantId> = declared.tenant_id.map(|id| self.stored(id));
                if found.project_id != project || found.tenant_id != tenant {
                    let detail = format!("hostname `{}` belongs to another tenant", declared.hostname);
                    return Err(AppError::Conflict { code: "hostname_taken", detail });
                }
                let certificate_id = certificate_id.or(found.certificate_id);
                // A file that says nothing of them opens nothing.
                let client_certificates = client_certificates.or(found.client_certificates.clone());
                let differs = found.certificate_id != certificate_id
                    || found.purpose != declared.purpose
                    || found.max_body != declared.max_body
                    || found.response != declared.response
                    || found.admission != declared.admission
                    || found.cors != declared.cors
                    || found.client_certificates != client_certificates
                    || found.services.iter().any(|id| !services.contains(id))
                    || services.iter().any(|id| !found.services.contains(id));
                if differs {
                    found.certificate_id = certificate_id;
                    found.purpose = declared.purpose;
                    found.services = services;
                    found.max_body = declared.max_body;
                    found.response.clone_from(&declared.response);
                    found.admission.clone_from(&declared.admission);
                    found.cors.clone_from(&declared.cors);
                    found.client_certificates = client_certificates;
                    self.tx.updated(self.tx.update_hostname(by, found).await?).await?;
                    self.outcome.updated += 1;
                } else {
                    self.outcome.unchanged += 1;
                }
                id
            }
            None => {
                let project_id: ProjectId = self.stored(declared.project_id);
                let is_primary = self.tx.primary_hostname(project_id, declared.purpose).await?.is_none();
                let new = NewHostname {
                    id: declared.id,
                    hostname: declared.hostname.clone(),
                    project_id,
                    tenant_id: declared.tenant_id.map(|id| self.stored(id)),
                    fleet: FleetName::default(),
                    purpose: declared.purpose,
                    kind: HostnameKind::Platform,
                    is_primary,
                    verify_state: VerifyState::Verified,
                    tls_mode: TlsMode::Manual,
                    certificate_id,
                    services,
                    max_body: declared.max_body,
                    response: declared.response.clone(),
                    admission: declared.admission.clone(),
                    cors: declared.cors.clone(),
                    client_certificates,
                    challenge: None,
                };
                self.tx.created(self.tx.insert_hostname(by, new).await?).await?;
                self.outcome.created += 1;
                declared.id
            }
        };
        self.routes(RouteOwner::Hostname(id), &declared.routes).await
    }

    async fn certificate_covers(&self, id: Option<CertificateId>, hostname: &HostName) -> Result<(), AppError> {
        let Some(id) = id else { return Ok(()) };
        let certificate = self.tx.certificate(id).await?.ok_or(AppError::NotFound("certificate"))?;
        certificates::must_cover(&certificate.names, hostname)
    }
}

fn mode(assertion: &Assertion) -> AssertionMode {
    match assertion {
        Assertion::Hmac { .. } => AssertionMode::Hmac,
        Assertion::Eddsa { .. } => AssertionMode::Eddsa,
        Assertion::Off => AssertionMode::Off,
    }
}

fn spec(upstream: &snapshot::Upstream) -> UpstreamSpec {
    UpstreamSpec {
        peers: upstream.peers.clone(),
        tls: upstream.tls.clone(),
        http2: upstream.http2,
        headers: upstream.headers.clone(),
        host: upstream.host.clone(),
        forward_credentials: upstream.forward_credentials,
        connect_timeout: upstream.connect_timeout,
        read_timeout: upstream.read_timeout,
        write_timeout: upstream.write_timeout,
    }
}

/// Whether two values are written alike.
fn same<T: Serialize>(a: &T, b: &T) -> Result<bool, AppError> {
    let written = |value: &T| {
        serde_json::to_value(value).map_err(|error| AppError::internal("a setting cannot be written as JSON", error))
    };
    Ok(written(a)? == written(b)?)
}
