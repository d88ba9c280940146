//! Who calls: from a bearer token to a [`Principal`], before the body is read.
//!
//! The token is verified by `authn`, against the keys of the project it names; then everything that may have changed
//! since it was minted is read from SQL, all from one state: its session, the generations, the principal's state, its roles.
//! Nothing of that is cached, and nothing the token says of rights counts.

use std::sync::Arc;

use authn::{AccessClaims, ContextKind, Issuer, verify::Presented};
use authz::{Action, Authorized, Caller, Context, PermissionSet, Scope};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use domain::{
    OrgUnitId, Permission, ProjectId, RoleId, Seq, SessionId, TenantId, Timestamp, TokenId, UserId,
    audit::{Actor, ActorKind, Origin},
    fact::Bindings,
    model::{AuthMethod, KeyPurpose, Project, ProjectStatus, Role, Tenant, UnitRole},
    snapshot::{self, RoleScope, TenantStatus},
};
use futures::try_join;
use http::{HeaderMap, Method, header, request::Parts};
use serde::Deserialize;
use store::{View, read::*};

use crate::{App, admin_secret, app::signing_keys, context::RequestContext, error::AppError};

/// Paths a frozen tenant's principals may change something at: they open, extend and end sessions.
const SESSION_PATHS: [&str; 11] = [
    "/api/v1/auth/login",
    "/api/v1/auth/logout",
    "/api/v1/auth/refresh",
    "/api/v1/tenant/auth/login",
    "/api/v1/tenant/auth/logout",
    "/api/v1/tenant/auth/refresh",
    "/api/v1/tenant/auth/switch",
    "/v1/auth/step-up",
    "/v1/auth/password/change",
    "/v1/me/sessions",
    "/v1/me/sign-out-everywhere",
];

/// Paths at which people change how they are known and reached. A program has a secret, and nothing beside it that would outlive
/// its rotation.
const PEOPLES_PATHS: [&str; 4] = ["/v1/auth", "/v1/me", "/api/v1/tenant/auth/switch", "/api/v1/tenant/auth/favorite"];

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Principal {
    /// With its rights.
    pub caller: Caller,
    /// Who.
    pub user: UserId,
    /// Sign-in name.
    pub username: Option<String>,
    /// Its project.
    pub project: ProjectId,
    /// The tenant it acts in; for staff, the platform's own.
    pub tenant: TenantId,
    /// Its session.
    pub session: SessionId,
    /// Its token.
    pub token: TokenId,
    /// When that expires.
    pub token_exp: Timestamp,
    /// Its roles that count in this context.
    pub roles: Vec<Role>,
    /// Roles in one organisational unit.
    pub unit_roles: Vec<(OrgUnitId, RoleId)>,
    /// Whether it is a program, by a machine client's secret.
    pub is_program: bool,
}

/// A tenant with its project: where something is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Site {
    /// The project.
    pub project: ProjectId,
    /// The tenant.
    pub tenant: TenantId,
}

impl Site {
    /// As the scope of a change.
    pub const fn scope(self) -> Scope {
        Scope::Tenant(self.project, self.tenant)
    }
}

impl Principal {
    /// Whether it is the platform's staff.
    pub fn is_system(&self) -> bool {
        self.caller.context == Context::System
    }

    /// The tenant of a tenant's principal.
    ///
    /// # Errors
    /// [`AppError::ContextMismatch`] for staff, whose paths name the tenant.
    pub fn own_site(&self) -> Result<Site, AppError> {
        if self.is_system() {
            return Err(AppError::ContextMismatch);
        }
        Ok(Site { project: self.project, tenant: self.tenant })
    }

    /// Where a tenant operation takes place: a tenant's principal acts in its own tenant; staff names one.
    ///
    /// # Errors
    /// Another tenant than one's own does not exist; staff that names none is told to.
    pub async fn site(&self, app: &App, named: Option<TenantId>) -> Result<Site, AppError> {
        match (self.is_system(), named) {
            (false, None) => Ok(Site { project: self.project, tenant: self.tenant }),
            (false, Some(tenant)) if tenant == self.tenant => Ok(Site { project: self.project, tenant }),
            (false, Some(_)) => Err(AppError::NotFound("tenant")),
            (true, None) => Err(AppError::parameter("tenant_id", "required", "staff names the tenant")),
            (true, Some(tenant)) => {
                let tenant = app.store.tenant(tenant).await?.ok_or(AppError::NotFound("tenant"))?;
                admin_secret::spare_root(app, self, tenant.project_id).await?;
                Ok(Site { project: tenant.project_id, tenant: tenant.id })
            }
        }
    }

    /// Whether it administers this organisational unit of its tenant.
    pub fn administers_unit(&self, unit: OrgUnitId) -> bool {
        self.is_in_unit(unit, &[UnitRole::OuAdmin])
    }

    /// Whether it may see what there is in this organisational unit of its tenant.
    pub fn reads_unit(&self, unit: OrgUnitId) -> bool {
        self.is_in_unit(unit, &[UnitRole::OuAdmin, UnitRole::OuAuditor])
    }

    /// Whether it holds any role in this organisational unit of its tenant.
    pub fn works_in(&self, unit: OrgUnitId) -> bool {
        !self.is_system() && self.unit_roles.iter().any(|(at, _)| *at == unit)
    }

    /// Staff is in no units: it names tenants, and holds everywhere what it holds.
    fn is_in_unit(&self, unit: OrgUnitId, as_one_of: &[UnitRole]) -> bool {
        let holds = |role| as_one_of.iter().any(|it| it.id() == role);
        !self.is_system() && self.unit_roles.iter().any(|(at, role)| *at == unit && holds(*role))
    }

    /// Proof that it may do `verb` to resources of `A` in a tenant.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub fn may_in<A: Action>(&self, site: Site, verb: &str) -> Result<Authorized<A>, AppError> {
        self.authorize(verb, site.scope())
    }

    /// Proof that it may do `verb` to resources of `A` anywhere.
    ///
    /// # Errors
    /// [`AppError::Forbidden`].
    pub fn may<A: Action>(&self, verb: &str) -> Result<Authorized<A>, AppError> {
        self.authorize(verb, Scope::Platform)
    }

    fn authorize<A: Action>(&self, verb: &str, scope: Scope) -> Result<Authorized<A>, AppError> {
        let module = if self.is_system() { "platform" } else { "tenant" };
        let code = format!("{module}:{}:{verb}", A::RESOURCE);
        let permission: Permission =
            code.parse().map_err(|error| AppError::internal("an operation names no permission", error))?;
        Ok(self.caller.authorize(&permission, scope)?)
    }
}

impl FromRequestParts<App> for Principal {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, AppError> {
        if let Some(known) = parts.extensions.get::<Self>() {
            return Ok(known.clone());
        }
        let context = RequestContext::from_request_parts(parts, app).await?;
        let principal = match admin_secret::principal(app, &context, &parts.headers, parts.uri.path()).await? {
            Some(automation) => automation,
            None => authenticate(app, &context, &parts.headers, &parts.method, parts.uri.path()).await?,
        };
        parts.extensions.insert(principal.clone());
        Ok(principal)
    }
}

/// Whoever shows a token shows a good one.
impl OptionalFromRequestParts<App> for Principal {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, AppError> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        <Self as FromRequestParts<App>>::from_request_parts(parts, app).await.map(Some)
    }
}

/// A token that holds: believed, its session open, nothing revoked since; with what its user may do, all of one state.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) claims: AccessClaims,
    pub(crate) project: Project,
    pub(crate) tenant: Tenant,
    /// How its session was opened.
    pub(crate) method: AuthMethod,
    /// What its user may do.
    rights: Rights,
}

impl Standing {
    /// Of a bearer text.
    ///
    /// # Errors
    /// [`AppError::Token`], [`AppError::TokenRevoked`].
    pub(crate) async fn of(app: &App, token: &str) -> Result<Self, AppError> {
        let at = app.store.view().await?;
        let (claims, project) = verified(app, &at, token).await?;
        let system = claims.ctx == ContextKind::System;
        // A system token is one of the root project; no other project's key may say `sys`.
        if system && !project.is_root() {
            return Err(AppError::TokenRevoked);
        }
        let tenant_id = claims.tid.ok_or(AppError::TokenRevoked)?;
        // A single token is refused by a fact alone; its session may be another's to use.
        let ((), tenant, session, is_refused, bindings) = try_join!(
            at.narrow(Scope::Tenant(project.id, tenant_id)),
            at.tenant(tenant_id),
            at.session(claims.sid),
            at.is_token_refused(claims.jti, app.now()),
            at.bindings(tenant_id, claims.sub),
        )?;
        let tenant = tenant.filter(|tenant| tenant.project_id == project.id).ok_or(AppError::TokenRevoked)?;
        let session = session.filter(|session| session.is_open(app.now())).ok_or(AppError::TokenRevoked)?;
        if session.user_id != claims.sub
            || session.tenant_id != tenant.id
            || session.system != system
            || claims.ug < session.user_generation
            || claims.tg < tenant.generation
        {
            return Err(AppError::TokenRevoked);
        }
        if is_refused {
            return Err(AppError::TokenRevoked);
        }
        let site = Site { project: project.id, tenant: tenant.id };
        let rights = Rights::by(&at, bindings, site, system).await?;
        Ok(Self { claims, project, tenant, method: session.method, rights })
    }

    /// Where it acts.
    pub(crate) fn site(&self) -> Site {
        Site { project: self.project.id, tenant: self.tenant.id }
    }

    /// Whether the tenant's state lets the request pass.
    pub(crate) fn served(&self, harmless: bool) -> Result<(), AppError> {
        served(&self.project, &self.tenant, harmless)
    }

    /// Whoever acts, with the rights it has now.
    ///
    /// # Errors
    /// [`AppError::PrincipalInactive`].
    pub(crate) fn principal(self, origin: Origin) -> Result<Principal, AppError> {
        let Self { claims, project, tenant, method, rights } = self;
        if !rights.active {
            return Err(AppError::PrincipalInactive);
        }
        let username = claims.username.clone();
        let actor = Actor {
            kind: ActorKind::User,
            id: Some(claims.sub.uuid()),
            name: username.clone().unwrap_or_else(|| claims.sub.to_string()),
        };
        Ok(Principal {
            caller: rights.caller(actor, origin),
            user: claims.sub,
            username,
            project: project.id,
            tenant: tenant.id,
            session: claims.sid,
            token: claims.jti,
            token_exp: Timestamp::from_secs(claims.exp),
            roles: rights.roles,
            unit_roles: rights.unit_roles,
            is_program: method == AuthMethod::ClientCredentials,
        })
    }
}

/// What a user may do in a tenant, as SQL says it now.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    /// How far the log went in the state this was read from.
    pub(crate) as_of: Seq,
    /// Whether the user is an active member.
    pub(crate) active: bool,
    /// The context in which they count.
    pub(crate) context: Context,
    /// Roles that count in that context.
    pub(crate) roles: Vec<Role>,
    /// Roles in one organisational unit.
    pub(crate) unit_roles: Vec<(OrgUnitId, RoleId)>,
}

impl Rights {
    /// In the platform's context (`system`), or as a tenant's principal.
    pub(crate) async fn of(at: &View, site: Site, user: UserId, system: bool) -> Result<Self, AppError> {
        Self::by(at, at.bindings(site.tenant, user).await?, site, system).await
    }

    /// The same, by what was read already.
    pub(crate) async fn by(at: &View, bindings: Bindings, site: Site, system: bool) -> Result<Self, AppError> {
        let (context, counts) = if system {
            (Context::System, RoleScope::Platform)
        } else {
            (Context::Tenant(site.project, site.tenant), RoleScope::Tenant)
        };
        let mut roles = crate::app::login::roles_by_id(at, &bindings.roles).await?;
        roles.retain(|role| role.scope == counts);
        Ok(Self { as_of: bindings.as_of, active: bindings.active, context, roles, unit_roles: bindings.unit_roles })
    }

    /// Somebody who has these rights.
    pub(crate) fn caller(&self, actor: Actor, origin: Origin) -> Caller {
        let system = self.context == Context::System;
        Caller {
            actor,
            origin,
            context: self.context,
            permissions: PermissionSet::new(self.roles.iter().flat_map(|role| &role.permissions)),
            is_admin: self.roles.iter().any(|role| role.admin),
            is_super_admin: system && self.roles.iter().any(|role| role.super_admin),
        }
    }
}

async fn authenticate(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    method: &Method,
    path: &str,
) -> Result<Principal, AppError> {
    let standing = Standing::of(app, bearer(headers)?).await?;
    bound_to(app, context, &standing.claims, &standing.project).await?;
    let open = is_below(path, &SESSION_PATHS);
    standing.served(open || method.is_safe())?;
    let is_program = standing.method == AuthMethod::ClientCredentials;
    if is_program && is_below(path, &PEOPLES_PATHS) && !method.is_safe() {
        let detail = "a program has its secret and no other way to sign in";
        return Err(AppError::Restricted { code: "not_for_programs", detail });
    }
    standing.principal(context.origin())
}

/// Whether a path is one of these, or below one.
pub(crate) fn is_below(path: &str, known: &[&str]) -> bool {
    let rest = |known: &&str| path.strip_prefix(*known);
    known.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The one bearer token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, AppError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(AppError::CredentialMissing) };
    let text = value.to_str().map_err(|_| AppError::CredentialMissing)?;
    let (scheme, token) = text.split_once(' ').ok_or(AppError::CredentialMissing)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(AppError::CredentialMissing);
    }
    Ok(token)
}

/// The claims of an access token of ours, and the project whose it is.
async fn verified(app: &App, at: &View, token: &str) -> Result<(AccessClaims, Project), AppError> {
    let presented = Presented::read(token)?;
    // Which project's keys to try is asked of the token; that they are its issuer's is checked.
    let named = presented.claims().get("pid").and_then(serde_json::Value::as_str).and_then(|text| text.parse().ok());
    let own = own_issuer(app, at, named.ok_or(authn::TokenError::IssuerUnknown)?).await?;
    let (issuer, project) = own.ok_or(authn::TokenError::IssuerUnknown)?;
    presented.check(&issuer, app.clock.unix_now())?.verify()?;
    let claims = AccessClaims::deserialize(presented.claims())
        .map_err(|_| authn::TokenError::Claim { name: "of an access token".into() })?;
    if claims.pid == project.id { Ok((claims, project)) } else { Err(AppError::TokenRevoked) }
}

/// A project's own issuer with its keys as they are now.
async fn own_issuer(app: &App, at: &View, project: ProjectId) -> Result<Option<(Arc<Issuer>, Project)>, AppError> {
    let keys = signing_keys::key_set(at, project, KeyPurpose::Tokens);
    let (project, (jwks, algorithms)) = try_join!(async { Ok(at.project(project).await?) }, keys)?;
    let Some(project) = project else { return Ok(None) };
    if algorithms.is_empty() {
        return Ok(None);
    }
    let issuer = snapshot::Issuer {
        id: project.own_issuer_id(),
        issuer: project.issuer.clone(),
        project_id: project.id,
        origin: snapshot::Origin::Own,
        audiences: project.audiences.clone(),
        algorithms,
        jwks,
    };
    let compiled = app.own_issuers.of(project.id, issuer, Issuer::compile);
    let compiled = compiled.map_err(|error| AppError::internal("a project's own keys cannot be used", error))?;
    Ok(Some((compiled, project)))
}

/// On `public`, the token must be for the tenant the edge decided for, and for whom it decided.
async fn bound_to(
    app: &App,
    context: &RequestContext,
    claims: &AccessClaims,
    project: &Project,
) -> Result<(), AppError> {
    let Some(asserted) = &context.asserted else { return Ok(()) };
    let realm = crate::app::site::realm_of_host(&app.store, context).await?;
    if realm.is_none_or(|realm| realm.project.id != project.id) {
        return Err(authn::TokenError::IssuerUnknown.into());
    }
    if asserted.tenant.is_some_and(|tenant| Some(tenant) != claims.tid) {
        return Err(AppError::TenantMismatch);
    }
    if asserted.subject.as_ref().is_some_and(|subject| *subject != claims.sub.to_string()) {
        tracing::warn!(project.id = %project.id, "the edge asserts another subject than the token names");
        return Err(AppError::TenantMismatch);
    }
    Ok(())
}

/// Whether the tenant's state lets the request pass.
///
/// # Errors
/// [`AppError::TenantSuspended`], [`AppError::TenantFrozen`].
pub(crate) fn served(project: &Project, tenant: &Tenant, harmless: bool) -> Result<(), AppError> {
    match tenant.status {
        _ if project.status == ProjectStatus::Suspended => Err(AppError::TenantSuspended),
        TenantStatus::Suspended | TenantStatus::Deleted => Err(AppError::TenantSuspended),
        TenantStatus::Frozen if !harmless => Err(AppError::TenantFrozen),
        TenantStatus::Frozen | TenantStatus::Trial | TenantStatus::Active => Ok(()),
    }
}
