//! One hostname with everything a request to it is judged by.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use authn::Issuer;
use authz::{PermissionSet, RouteTable};
use domain::{
    Admission, ByteSize, CertificateId, OrgUnitId, Permission, ProjectId, RoleId, Secret, TenantId, Timestamp,
    model::UnitRole,
    snapshot::{self, KycStatus, PaymentStatus, Purpose, RateLimit, RoleScope, TenantStatus},
};
use http::HeaderValue;

use super::{chunked::Chunked, client::Clients, response::CompiledResponse, route::CompiledRoute};
use crate::{cors::CompiledCors, load::Load, quota::CompiledQuota};

/// The routes of a hostname.
pub type Routes = RouteTable<Arc<CompiledRoute>>;

/// A hostname that can be served.
#[derive(Debug)]
pub struct Site {
    /// The name.
    pub host: Arc<str>,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether `ctx: sys` tokens work here.
    pub platform: bool,
    /// Its project.
    pub project: Arc<ProjectInfo>,
    /// Its tenant; none where the token names one.
    pub tenant: Option<Arc<TenantInfo>>,
    /// Whose tokens are believed here.
    pub issuers: Arc<[Arc<Issuer>]>,
    /// Roles that every tenant has.
    pub roles: Arc<Roles>,
    /// Its routes.
    pub routes: Arc<Routes>,
    /// Its certificate.
    pub certificate: Option<Arc<CertificateData>>,
    /// Whose client certificates it believes; none where it asks for none.
    pub clients: Option<Arc<Clients>>,
    /// Largest request body where the route says nothing; none for the gateway's.
    pub max_body: Option<ByteSize>,
    /// What its responses say beside what its upstreams say; none for nothing.
    pub response: Option<Arc<CompiledResponse>>,
    /// Who is let in, and how much at once.
    pub admission: Admission,
    /// Which pages of other origins may call it; none where none may.
    pub cors: Option<Arc<CompiledCors>>,
    /// What is served of it now.
    pub load: Arc<Load>,
}

/// An identity shard.
#[derive(Debug)]
pub struct ProjectInfo {
    /// Its id.
    pub id: ProjectId,
    /// The platform's own.
    pub root: bool,
    /// Serves nothing.
    pub suspended: bool,
    /// Its tenants, for hostnames without one of their own.
    pub tenants: Arc<Tenants>,
}

/// The tenants of a project by id and slug.
pub type Tenants = ArcSwap<TenantMap>;

/// See [`Tenants`].
#[derive(Clone, Debug, Default)]
pub struct TenantMap {
    by_id: Chunked<TenantId, Arc<TenantInfo>>,
    /// Who holds a name. That is one, but while a change of two rows has come by half.
    by_slug: Chunked<Box<str>, Arc<[TenantId]>>,
}

impl TenantMap {
    /// A tenant by id.
    pub fn by_id(&self, id: TenantId) -> Option<&Arc<TenantInfo>> {
        self.by_id.get(&id)
    }

    /// A tenant by its id's text or its slug, as external issuers name it. A slug that two hold names nobody.
    pub fn by_name(&self, name: &str) -> Option<&Arc<TenantInfo>> {
        match name.parse() {
            Ok(id) => self.by_id.get(&id),
            Err(_) => match self.by_slug.get(name).map(Arc::as_ref) {
                Some([id]) => self.by_id.get(id),
                Some(_) | None => None,
            },
        }
    }

    /// Whether there is nobody.
    pub(super) const fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// With a tenant, or with what it is now.
    pub(super) fn insert(&mut self, info: Arc<TenantInfo>) {
        // It may have had another name before.
        self.remove(info.id);
        let holders = self.by_slug.get(&*info.slug).into_iter().flat_map(|ids| ids.iter().copied());
        let holders = holders.chain([info.id]).collect();
        self.by_slug.insert(info.slug.clone(), holders);
        self.by_id.insert(info.id, info);
    }

    /// Without a tenant.
    pub(super) fn remove(&mut self, id: TenantId) {
        let Some(slug) = self.by_id.get(&id).map(|before| before.slug.clone()) else { return };
        let holders = self.by_slug.get(&*slug).into_iter().flat_map(|ids| ids.iter().copied());
        let others: Arc<[TenantId]> = holders.filter(|holder| *holder != id).collect();
        if others.is_empty() {
            self.by_slug.remove(&*slug);
        } else {
            self.by_slug.insert(slug, others);
        }
        self.by_id.remove(&id);
    }
}

/// A tenant, with its part of the identity headers made beforehand.
#[derive(Debug)]
pub struct TenantInfo {
    /// Its id.
    pub id: TenantId,
    /// Its name.
    pub slug: Box<str>,
    /// Life cycle.
    pub status: TenantStatus,
    /// KYC.
    pub kyc: KycStatus,
    /// Payment.
    pub payment: PaymentStatus,
    /// Its own limit.
    pub rate_limit: Option<RateLimit>,
    /// Of each of its principals.
    pub principal_rate_limit: Option<RateLimit>,
    /// Who is let in, and how much at once.
    pub admission: Admission,
    /// What is served of it now.
    pub load: Arc<Load>,
    /// Tokens below are refused.
    pub generation: u64,
    /// Tokens of external issuers that were issued until then are refused.
    pub cutoff: Option<Timestamp>,
    /// Its organisational units, sorted.
    pub org_units: Box<[OrgUnitId]>,
    /// Products and when each ends, sorted by name.
    pub products: Vec<(Box<str>, Option<Timestamp>)>,
    /// How much of them it may use, and uses.
    pub quotas: Vec<CompiledQuota>,
    /// Its own roles.
    pub roles: Roles,
    pub(crate) made_from: (snapshot::Tenant, Vec<snapshot::Role>),
    pub(crate) header_id: HeaderValue,
    pub(crate) header_slug: HeaderValue,
    pub(crate) header_plan: Option<HeaderValue>,
}

impl TenantInfo {
    /// Whether it is entitled to a product at `now`.
    pub fn is_entitled(&self, product: &str, now: Timestamp) -> bool {
        self.products.iter().any(|(name, ends)| **name == *product && ends.is_none_or(|at| now < at))
    }

    /// Whether this is one of its units.
    pub fn has_unit(&self, unit: OrgUnitId) -> bool {
        self.org_units.binary_search(&unit).is_ok()
    }

    /// The names of the products it is entitled to at `now`, sorted and comma-joined; none for none.
    pub fn products_header(&self, now: Timestamp) -> Option<HeaderValue> {
        let names: Vec<&str> =
            self.products.iter().filter(|(_, ends)| ends.is_none_or(|at| now < at)).map(|(name, _)| &**name).collect();
        if names.is_empty() { None } else { HeaderValue::from_str(&names.join(",")).ok() }
    }
}

/// Roles by id and by scope and name.
#[derive(Debug, Default)]
pub struct Roles {
    pub(crate) by_id: HashMap<RoleId, Arc<CompiledRole>>,
}

impl Roles {
    /// A role by id.
    pub fn by_id(&self, id: RoleId) -> Option<&Arc<CompiledRole>> {
        self.by_id.get(&id)
    }
    /// A tenant-wide role by name, as external issuers name it.
    pub fn by_name(&self, name: &str) -> Option<&Arc<CompiledRole>> {
        self.by_id.values().find(|role| role.scope == RoleScope::Tenant && *role.name == *name)
    }
}

/// A role with its permissions compiled.
#[derive(Debug)]
pub struct CompiledRole {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: Arc<str>,
    /// Where it counts.
    pub scope: RoleScope,
    /// What it grants.
    pub permissions: PermissionSet,
    /// Holders administer their tenant.
    pub admin: bool,
    /// Holders administer the platform.
    pub super_admin: bool,
}

impl CompiledRole {
    /// Whether who holds it in a unit may do this there: as the role says, or as the unit's administrator; and its auditor,
    /// where the request only `reads`.
    pub(crate) fn grants_in_unit(&self, permission: &Permission, reads: bool) -> bool {
        match UnitRole::of(self.id) {
            Some(UnitRole::OuAdmin) => true,
            Some(UnitRole::OuAuditor) => reads || self.permissions.covers(permission),
            Some(UnitRole::OuDefault) | None => self.permissions.covers(permission),
        }
    }
}

/// A certificate as it was uploaded; the gateway parses it.
#[derive(Debug)]
pub struct CertificateData {
    /// Its id.
    pub id: CertificateId,
    /// Changes whenever the contents do.
    pub revision: u64,
    /// PEM, leaf first.
    pub chain_pem: String,
    /// PEM.
    pub key_pem: Secret<String>,
}
