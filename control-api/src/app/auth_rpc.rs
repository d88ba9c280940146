//! What services ask about tokens and rights, for gRPC and REST alike (`docs/auth-rpc.md`).
//!
//! A token is judged as `caller` judges one that is sent to this API: by `authn`, then by what SQL says now. Whoever asks
//! says where the token has to be good, a tenant or a hostname, and a token of any other place is refused.

use std::collections::{HashMap, hash_map::Entry};

use authn::{AccessClaims, TokenError};
use authz::PermissionSet;
use domain::{
    HostName, OrgUnitId, Permission, RoleId, Secret, Seq, TenantId, Timestamp, UserId,
    audit::{Actor, ActorKind, Origin},
    model::{Role, UnitRole},
    snapshot::TenantStatus,
};
use futures::try_join;
use store::read::*;

use super::{
    login::roles_by_id,
    sessions::{self, Through},
    site::{self, Realm},
    tokens::TokenPair,
};
use crate::{
    App,
    caller::{Principal, Rights, Site, Standing},
    config::ServiceMethod,
    context::RequestContext,
    error::AppError,
    service_caller::ServiceCaller,
};

/// Most checks in one question.
pub const MAX_CHECKS: usize = 100;

/// Where a token has to be good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// In a tenant.
    Tenant(TenantId),
    /// At a hostname.
    Hostname(HostName),
}

impl Place {
    /// From a question that names one of the two.
    ///
    /// # Errors
    /// [`AppError::Invalid`] when it names none or both.
    pub fn named(tenant: Option<TenantId>, hostname: Option<HostName>) -> Result<Self, AppError> {
        match (tenant, hostname) {
            (Some(tenant), None) => Ok(Self::Tenant(tenant)),
            (None, Some(hostname)) => Ok(Self::Hostname(hostname)),
            (None, None) | (Some(_), Some(_)) => {
                Err(AppError::field("/tenant_id", "choice", "exactly one of `tenant_id` and `hostname` is given"))
            }
        }
    }

    pub(super) async fn realm(&self, app: &App) -> Result<Realm, AppError> {
        match self {
            Self::Tenant(id) => {
                let at = app.store.view().await?;
                let tenant = at.tenant(*id).await?.ok_or(AppError::NotFound("tenant"))?;
                let project = at.project(tenant.project_id).await?.ok_or(AppError::NotFound("project"))?;
                Ok(Realm { project, tenant: Some(tenant.id) })
            }
            Self::Hostname(name) => site::realm_of_name(&app.store, name).await?.ok_or(AppError::NotFound("hostname")),
        }
    }
}

/// A token that holds at the place that was named.
#[derive(Debug)]
pub struct Verified {
    /// What it says.
    pub claims: AccessClaims,
    /// Who acts, with the rights of now.
    pub principal: Principal,
    /// The tenant's state: never suspended or deleted.
    pub tenant_status: TenantStatus,
}

/// What a user may do in a tenant.
#[derive(Debug)]
pub struct UserRights {
    /// How far the log went in the state this was read from.
    pub as_of: Seq,
    /// Whether the user is an active member. If not, everything else is empty.
    pub active: bool,
    /// Roles in the whole tenant.
    pub roles: Vec<Role>,
    /// Roles in one organisational unit.
    pub units: Vec<(OrgUnitId, Vec<Role>)>,
    /// Administers the tenant.
    pub is_admin: bool,
    /// Administers the platform.
    pub is_super_admin: bool,
}

/// A question for a permission.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "as in the `.proto` file")]
pub struct Check {
    pub tenant: TenantId,
    pub user: UserId,
    pub permission: Permission,
    pub unit: Option<OrgUnitId>,
}

/// The answer to a [`Check`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Checked {
    /// Whether it is held.
    pub allowed: bool,
    /// How far the log went in the state this was read from.
    pub as_of: Seq,
}

/// Whether an access token holds now at a place, for an audience if one is named.
///
/// # Errors
/// What the edge would say to it, by the same codes.
pub async fn verify_token(
    app: &App,
    by: &ServiceCaller,
    context: &RequestContext,
    (token, place, audience): (&Secret<String>, &Place, Option<&str>),
) -> Result<Verified, AppError> {
    by.may(ServiceMethod::VerifyToken)?;
    let standing = standing(app, token, place).await?;
    if audience.is_some_and(|asked| asked != standing.claims.aud) {
        return Err(TokenError::Audience.into());
    }
    standing.served(true)?;
    let (claims, tenant_status) = (standing.claims.clone(), standing.tenant.status);
    if !app.store.is_known_enough(standing.tenant.id, claims.sub, app.now()).await? {
        return Err(AppError::PrincipalInactive);
    }
    let principal = standing.principal(context.origin())?;
    Ok(Verified { claims, principal, tenant_status })
}

/// A token that holds, and holds there.
async fn standing(app: &App, token: &Secret<String>, place: &Place) -> Result<Standing, AppError> {
    let realm = place.realm(app).await?;
    let standing = Standing::of(app, token.expose()).await?;
    if realm.project.id != standing.project.id {
        return Err(TokenError::IssuerUnknown.into());
    }
    if realm.tenant.is_some_and(|tenant| tenant != standing.tenant.id) {
        return Err(AppError::TenantMismatch);
    }
    Ok(standing)
}

/// What a user may do in a tenant.
///
/// # Errors
/// [`AppError::NotFound`] without such a tenant. A user who is not in it holds nothing, and that is an answer.
pub async fn user_permissions(
    app: &App,
    by: &ServiceCaller,
    tenant: TenantId,
    user: UserId,
) -> Result<UserRights, AppError> {
    by.may(ServiceMethod::GetUserPermissions)?;
    let held = Held::read(app, tenant, user).await?;
    Ok(UserRights {
        as_of: held.rights.as_of,
        active: held.rights.active,
        is_admin: held.rights.roles.iter().any(|role| role.admin),
        is_super_admin: held.rights.roles.iter().any(|role| role.super_admin),
        roles: held.rights.roles,
        units: held.units,
    })
}

/// Whether users hold permissions. What is asked of one user in one tenant is answered from one state.
///
/// # Errors
/// [`AppError::NotFound`] without such a tenant; [`AppError::Invalid`] for none or more than [`MAX_CHECKS`].
pub async fn check_permissions(app: &App, by: &ServiceCaller, checks: &[Check]) -> Result<Vec<Checked>, AppError> {
    by.may(ServiceMethod::CheckPermission)?;
    if !(1..=MAX_CHECKS).contains(&checks.len()) {
        return Err(AppError::field("/checks", "range", format!("1 to {MAX_CHECKS} are allowed")));
    }
    let mut known: HashMap<(TenantId, UserId), Held> = HashMap::new();
    let mut answers = Vec::with_capacity(checks.len());
    for check in checks {
        let key = (check.tenant, check.user);
        let held = match known.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Held::read(app, check.tenant, check.user).await?),
        };
        let allowed = held.rights.active && held.allows(&check.permission, check.unit);
        answers.push(Checked { allowed, as_of: held.rights.as_of });
    }
    Ok(answers)
}

/// Exchanges a refresh token of a session at a place, as the session's own door would.
///
/// # Errors
/// As [`sessions::refresh`]; [`AppError::RefreshInvalid`] for a session of another place.
pub async fn refresh_token(
    app: &App,
    by: &ServiceCaller,
    context: &RequestContext,
    (token, place): (&Secret<String>, &Place),
) -> Result<TokenPair, AppError> {
    by.may(ServiceMethod::RefreshToken)?;
    let realm = place.realm(app).await?;
    sessions::refresh(app, context, Through::Service(&realm), token).await
}

/// Ends a token and its session. One that is refused already, or whose session has ended, is as it should be.
///
/// # Errors
/// [`AppError::Token`] for a text that never was a token of ours, or is one no more; [`AppError::TenantMismatch`].
pub async fn invalidate_token(
    app: &App,
    by: &ServiceCaller,
    context: &RequestContext,
    (token, place): (&Secret<String>, &Place),
) -> Result<(), AppError> {
    by.may(ServiceMethod::InvalidateToken)?;
    let standing = match standing(app, token, place).await {
        Ok(standing) => standing,
        Err(AppError::TokenRevoked) => return Ok(()),
        Err(error) => return Err(error),
    };
    let claims = &standing.claims;
    let token = (claims.jti, Timestamp::from_secs(claims.exp));
    sessions::end(app, standing.site(), token, claims.sid, &by.actor(), &context.origin()).await
}

/// What a user holds in a tenant, the roles in units looked up.
struct Held {
    rights: Rights,
    units: Vec<(OrgUnitId, Vec<Role>)>,
}

impl Held {
    async fn read(app: &App, tenant: TenantId, user: UserId) -> Result<Self, AppError> {
        let at = app.store.view().await?;
        let tenant = at.tenant(tenant).await?.ok_or(AppError::NotFound("tenant"))?;
        let site = Site { project: tenant.project_id, tenant: tenant.id };
        let ((), project, bindings, is_known_enough) = try_join!(
            at.narrow(site.scope()),
            at.project(site.project),
            at.bindings(site.tenant, user),
            at.is_known_enough(site.tenant, user, app.now()),
        )?;
        let project = project.ok_or(AppError::NotFound("project"))?;
        // Without a token, the tenant says in which context its users act: those of the root project are staff.
        let mut rights = Rights::by(&at, bindings, site, project.is_root()).await?;
        if !rights.active || !is_known_enough {
            rights.active = false;
            rights.roles.clear();
            rights.unit_roles.clear();
        }
        let mut ids: Vec<RoleId> = rights.unit_roles.iter().map(|(_, role)| *role).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = if ids.is_empty() { Vec::new() } else { roles_by_id(&at, &ids).await? };
        let mut units: Vec<(OrgUnitId, Vec<Role>)> = Vec::new();
        for (unit, role) in &rights.unit_roles {
            let role = known.iter().find(|known| known.id == *role).cloned();
            match units.iter_mut().find(|(known, _)| known == unit) {
                Some((_, roles)) => roles.extend(role),
                None => units.push((*unit, role.into_iter().collect())),
            }
        }
        Ok(Self { rights, units })
    }

    fn allows(&self, permission: &Permission, unit: Option<OrgUnitId>) -> bool {
        let nobody = Actor { kind: ActorKind::Anonymous, id: None, name: String::new() };
        let in_unit = |asked: OrgUnitId| {
            let roles = || self.units.iter().filter(|(unit, _)| *unit == asked).flat_map(|(_, roles)| roles);
            let is = |wanted: UnitRole| roles().any(|role| role.id == wanted.id());
            let reads = permission.as_str().ends_with(":list") || permission.as_str().ends_with(":get");
            // What is the platform's or the whole tenant's is nobody's in a unit.
            let of_units = match permission.module() {
                "platform" | "*" => false,
                "tenant" => permission.as_str().starts_with("tenant:org-unit"),
                _ => true,
            };
            (of_units && is(UnitRole::OuAdmin))
                || (of_units && reads && is(UnitRole::OuAuditor))
                || PermissionSet::new(roles().flat_map(|role| &role.permissions)).covers(permission)
        };
        self.rights.caller(nobody, Origin::default()).may(permission) || unit.is_some_and(in_unit)
    }
}

/// What roles grant together, sorted, each once.
pub fn granted(roles: &[Role]) -> Vec<Permission> {
    let mut permissions: Vec<Permission> = roles.iter().flat_map(|role| role.permissions.iter().cloned()).collect();
    permissions.sort();
    permissions.dedup();
    permissions
}
