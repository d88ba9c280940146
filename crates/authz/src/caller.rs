//! Who asks for a change, and the proof that they may make it.
//!
//! ```text
//! Caller --authorize::<A>(permission, scope)--> Authorized<A> --taken by--> the store's writes
//! ```

use std::{fmt, marker::PhantomData};

use domain::{
    Permission, ProjectId, TenantId,
    audit::{Actor, ActorKind, Origin},
};

use crate::PermissionSet;

/// What a change is about. One type per aggregate; see [`action`].
pub trait Action: Send + Sync + 'static {
    /// The resource as it stands in permission codes, such as `route`.
    const RESOURCE: &'static str;
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $resource:literal;)*) => {
        /// The actions there are. Uninhabited: they exist for the type checker only.
        pub mod action {
            $($(#[$doc])* #[derive(Debug)] pub enum $name {}
            impl super::Action for $name { const RESOURCE: &'static str = $resource; })*
        }
    };
}

actions! {
    /// API keys.
    ManageApiKeys = "api-key";
    /// Audit events appended from outside.
    AppendAudit = "audit";
    /// Emergency administrators.
    ManageBreakGlass = "break-glass";
    /// As whom the holders of client certificates act.
    ManageCertificateBindings = "certificate-binding";
    /// Certificates.
    ManageCertificates = "certificate";
    /// Customers, their KYC and payment state.
    ManageCustomers = "customer";
    /// Domains of email addresses.
    ManageEmailDomains = "email-domain";
    /// Gateways: enrolment and removal.
    ManageGateways = "gateway";
    /// What people ask for who cannot sign in.
    ManageHelpRequests = "help-request";
    /// Verifications of people's identities.
    ManageIdentityVerifications = "identity-verification";
    /// Hostnames.
    ManageHostnames = "hostname";
    /// What tenants are entitled to.
    ManageEntitlements = "entitlement";
    /// External issuers.
    ManageIssuers = "issuer";
    /// How people sign in to a tenant.
    ManageLoginPolicies = "login-policy";
    /// Machine clients.
    ManageMachineClients = "machine-client";
    /// Menus.
    ManageMenus = "menu";
    /// One's own account; see [`Caller::oneself`](crate::Caller::oneself).
    ManageOwnAccount = "own-account";
    /// Groups and their members.
    ManageGroups = "group";
    /// Identity providers.
    ManageIdentityProviders = "identity-provider";
    /// Invitations to join a tenant.
    ManageInvitations = "invitation";
    /// Organisational units.
    ManageOrgUnits = "org-unit";
    /// Who is what in organisational units.
    ManageUnitMembers = "org-unit-member";
    /// What was asked of organisational units at the edge.
    ReadAccessLog = "access-log";
    /// Copies of what principals may do, at the gateways.
    ManagePermissionCache = "permission-cache";
    /// What tenants ask for.
    ManageProductRequests = "product-request";
    /// Products: the catalog.
    ManageProducts = "product";
    /// Projects.
    ManageProjects = "project";
    /// What names projects.
    ManageProjectCredentials = "project-credential";
    /// Role bindings.
    ManageRoleBindings = "role-binding";
    /// Roles.
    ManageRoles = "role";
    /// Services and their routes.
    ManageRoutes = "route";
    /// Sessions: ending them.
    ManageSessions = "session";
    /// Signing keys.
    ManageSigningKeys = "signing-key";
    /// Tenants: their life cycle.
    ManageTenants = "tenant";
    /// Upstreams.
    ManageUpstreams = "upstream";
    /// Users and their memberships.
    ManageUsers = "user";
    /// Where tenants are told what happens.
    ManageWebhooks = "webhook";
    /// Decisions of gateways, as they are explained.
    ReadDecisions = "decision";
}

/// How far a change reaches; row level security is set to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The whole platform.
    Platform,
    /// One project.
    Project(ProjectId),
    /// One tenant of one project.
    Tenant(ProjectId, TenantId),
}

impl Scope {
    /// Whether everything in `inner` lies in `self`.
    pub fn contains(self, inner: Self) -> bool {
        match (self, inner) {
            (Self::Platform, _) => true,
            (Self::Project(a), Self::Project(b) | Self::Tenant(b, _)) => a == b,
            (Self::Tenant(p, a), Self::Tenant(q, b)) => p == q && a == b,
            (Self::Project(_) | Self::Tenant(..), _) => false,
        }
    }

    /// The project, unless it is the whole platform.
    pub fn project(self) -> Option<ProjectId> {
        match self {
            Self::Platform => None,
            Self::Project(project) | Self::Tenant(project, _) => Some(project),
        }
    }

    /// The tenant, where it is one.
    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Platform | Self::Project(_) => None,
            Self::Tenant(_, tenant) => Some(tenant),
        }
    }
}

/// In which context the caller's token was issued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Context {
    /// A tenant's principal (`ctx: tenant`).
    Tenant(ProjectId, TenantId),
    /// The platform's staff (`ctx: sys`), or a service key.
    System,
}

impl Context {
    /// How far a principal of this context can reach at all.
    pub const fn reach(self) -> Scope {
        match self {
            Self::System => Scope::Platform,
            Self::Tenant(project, tenant) => Scope::Tenant(project, tenant),
        }
    }
}

/// A principal of the control API, with everything its rights are judged by.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who, for the audit trail.
    pub actor: Actor,
    /// From where, for the audit trail.
    pub origin: Origin,
    /// In which context.
    pub context: Context,
    /// What its roles grant, read for this request.
    pub permissions: PermissionSet,
    /// Administers its tenant: holds every permission of module `tenant` in it.
    pub is_admin: bool,
    /// Administers the platform: holds every permission in system context.
    pub is_super_admin: bool,
}

impl Caller {
    /// Proof that the caller may do `permission` within `scope`.
    ///
    /// # Errors
    /// [`Forbidden`] when the scope lies outside the caller's context, the permission is of another resource than the
    /// action, or no role and no bypass (`requirements.md` §4.2) grants it.
    pub fn authorize<A: Action>(&self, permission: &Permission, scope: Scope) -> Result<Authorized<A>, Forbidden> {
        let refuse = || Err(Forbidden { permission: permission.clone() });
        if !self.context.reach().contains(scope) || permission.as_str().split(':').nth(1) != Some(A::RESOURCE) {
            return refuse();
        }
        if !self.may(permission) {
            return refuse();
        }
        Ok(Authorized { actor: self.actor.clone(), origin: self.origin.clone(), scope, action: PhantomData })
    }

    /// Proof that the caller may change its own account, and nobody else's: it needs no permission.
    pub fn oneself(&self) -> Authorized<action::ManageOwnAccount> {
        let (actor, origin) = (self.actor.clone(), self.origin.clone());
        Authorized { actor, origin, scope: self.context.reach(), action: PhantomData }
    }

    /// The same in every tenant of its project: the account is the project's.
    pub fn own_account(&self) -> Authorized<action::ManageOwnAccount> {
        let scope = match self.context {
            Context::Tenant(project, _) => Scope::Project(project),
            Context::System => Scope::Platform,
        };
        Authorized { actor: self.actor.clone(), origin: self.origin.clone(), scope, action: PhantomData }
    }

    /// Proof that the caller may manage its own API keys, and nobody else's: it needs no permission. Whose they are, who
    /// asks for this has looked at.
    pub fn own_api_keys(&self) -> Authorized<action::ManageApiKeys> {
        let (actor, origin) = (self.actor.clone(), self.origin.clone());
        Authorized { actor, origin, scope: self.context.reach(), action: PhantomData }
    }

    /// Proof that the caller may change who is in an organisational unit that it administers, and in no other: it needs no
    /// permission. That it does, who asks for this has looked at.
    pub fn own_unit(&self) -> Authorized<action::ManageUnitMembers> {
        let (actor, origin) = (self.actor.clone(), self.origin.clone());
        Authorized { actor, origin, scope: self.context.reach(), action: PhantomData }
    }

    /// Whether the caller holds `permission` in its own context: by a role, or by the bypass of an administrator.
    pub fn may(&self, permission: &Permission) -> bool {
        let bypass = match self.context {
            Context::Tenant(..) => self.is_admin && permission.module() == "tenant",
            Context::System => self.is_super_admin,
        };
        bypass || self.permissions.covers(permission)
    }
}

/// The caller lacks a permission, or asks outside its reach.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("permission `{permission}` is not held there")]
pub struct Forbidden {
    /// What was asked for.
    pub permission: Permission,
}

/// Proof that somebody may do `A` within a scope. Only this module makes one.
pub struct Authorized<A> {
    actor: Actor,
    origin: Origin,
    scope: Scope,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Authorized<A> {
    /// For what the system does of itself: the start, a sweep, a rotation. `job` is the name in the audit trail.
    pub fn system(job: &'static str) -> Self {
        Self {
            actor: Actor { kind: ActorKind::System, id: None, name: job.into() },
            origin: Origin::default(),
            scope: Scope::Platform,
            action: PhantomData,
        }
    }

    /// The same, carried out by the platform: what somebody may do to one thing of a tenant can touch what no tenant sees,
    /// such as which fleets are told of a shared service, or who else claims a name. Whose the thing is, who asks for this
    /// has looked at.
    #[must_use]
    pub fn carried_out_by_the_platform(self) -> Self {
        Self { scope: Scope::Platform, ..self }
    }

    /// Who.
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }
    /// From where.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }
    /// How far.
    pub const fn scope(&self) -> Scope {
        self.scope
    }
}

impl<A> Clone for Authorized<A> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), origin: self.origin.clone(), scope: self.scope, action: PhantomData }
    }
}
impl<A: Action> fmt::Debug for Authorized<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorized")
            .field("resource", &A::RESOURCE)
            .field("actor", &self.actor)
            .field("scope", &self.scope)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use domain::Id;
    use uuid::Uuid;

    use super::*;

    const PROJECT: ProjectId = Id::new(Uuid::from_u128(1));
    const ACME: TenantId = Id::new(Uuid::from_u128(2));
    const GLOBEX: TenantId = Id::new(Uuid::from_u128(3));

    fn caller(context: Context, is_admin: bool, is_super_admin: bool, grants: &[&str]) -> Caller {
        let grants: Vec<Permission> = grants.iter().map(|g| g.parse().unwrap()).collect();
        Caller {
            actor: Actor { kind: ActorKind::User, id: None, name: "somebody".into() },
            origin: Origin::default(),
            context,
            permissions: PermissionSet::new(&grants),
            is_admin,
            is_super_admin,
        }
    }

    fn users(caller: &Caller, permission: &str, scope: Scope) -> bool {
        caller.authorize::<action::ManageUsers>(&permission.parse().unwrap(), scope).is_ok()
    }

    #[test]
    fn nobody_reaches_beyond_their_context() {
        let admin = caller(Context::Tenant(PROJECT, ACME), true, false, &["*:*:*"]);
        assert!(users(&admin, "tenant:user:create", Scope::Tenant(PROJECT, ACME)));
        assert!(!users(&admin, "tenant:user:create", Scope::Tenant(PROJECT, GLOBEX)));
        assert!(!users(&admin, "tenant:user:create", Scope::Project(PROJECT)));
        assert!(!users(&admin, "platform:user:create", Scope::Platform));
    }

    #[test]
    fn an_administrator_bypasses_in_module_tenant_only() {
        let admin = caller(Context::Tenant(PROJECT, ACME), true, false, &[]);
        assert!(users(&admin, "tenant:user:delete", Scope::Tenant(PROJECT, ACME)));
        assert!(!users(&admin, "orders:user:delete", Scope::Tenant(PROJECT, ACME)));
        let member = caller(Context::Tenant(PROJECT, ACME), false, true, &["tenant:user:list"]);
        assert!(users(&member, "tenant:user:list", Scope::Tenant(PROJECT, ACME)));
        assert!(!users(&member, "tenant:user:delete", Scope::Tenant(PROJECT, ACME)));
    }

    #[test]
    fn a_permission_of_one_resource_does_not_authorize_another() {
        let staff = caller(Context::System, false, true, &[]);
        assert!(!users(&staff, "platform:route:create", Scope::Platform));
        assert!(users(&staff, "platform:user:create", Scope::Tenant(PROJECT, ACME)));
    }
}
