//! Stage 10: may this principal do this?

use std::sync::{Arc, atomic::AtomicU64};

use authn::claims::ContextKind;
use domain::{Clock, OrgUnitId, Permission, snapshot::Access};

use crate::{
    CanonicalRequest, Denial, Gate, Permit, Stop, bind::BoundPrincipal, identity::Principal, permit::Lasting,
    route::Matched, snapshot::route::CompiledRoute,
};

/// The permit of a bound principal on its route, judged by the snapshot after `judged_at` changes or more. The only place
/// that makes one.
///
/// # Errors
/// No route, the wrong context, or a permission that is not held.
pub(crate) fn permit(
    gate: &Gate,
    judged_at: u64,
    bound: BoundPrincipal,
    matched: &Matched,
    request: &CanonicalRequest<'_>,
    clock: &dyn Clock,
) -> Result<Permit, Stop> {
    let route = judge(&bound, matched, &request.path)?;
    let host = Arc::clone(&bound.site().host);
    let (tenant, identity, token) = match bound {
        BoundPrincipal::Anonymous { tenant, .. } => (tenant, None, None),
        BoundPrincipal::Principal { tenant, principal, facts, .. } => (tenant, Some(principal), Some(facts)),
    };
    let expires_at = token.as_ref().map(|token| token.expires_at);
    let left = |at: domain::Timestamp| at.since(clock.unix_now());
    Ok(Permit {
        request_id: request.request_id,
        method: request.method,
        client: request.client,
        host,
        path: match &request.path {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(path) => Some(path.as_str().into()),
        },
        route: Arc::clone(route),
        identity,
        tenant,
        lasting: Lasting { ends_at: expires_at },
        max_body: route.max_body,
        safe: request.is_safe(),
        judged_at: AtomicU64::new(judged_at),
        refresh_advised: expires_at.is_some_and(|at| left(at) <= gate.config.refresh_threshold),
        token,
    })
}

/// Whether a bound principal may pass its route on this path; the route.
///
/// # Errors
/// As of [`permit`].
pub(crate) fn judge<'m>(
    bound: &BoundPrincipal,
    matched: &'m Matched,
    path: &str,
) -> Result<&'m Arc<CompiledRoute>, Denial> {
    let Matched::Route(route) = matched else { return Err(Denial::RouteNotFound) };
    match bound {
        BoundPrincipal::Anonymous { .. } if matches!(route.access, Access::Public | Access::Optional) => {}
        BoundPrincipal::Anonymous { .. } => return Err(Denial::CredentialMissing),
        BoundPrincipal::Principal { principal, .. } => may(principal, route, path)?,
    }
    Ok(route)
}

/// `requirements.md` §4.2: a permission is held by a role, by a role in the unit the path names, or by the bypass: of
/// the tenant's administrator on the tenant's own APIs (module `tenant`), of the platform's on platform routes.
fn may(principal: &Principal, route: &CompiledRoute, path: &str) -> Result<(), Denial> {
    let (permission, bypass) = match &route.access {
        Access::Public | Access::Optional | Access::Authenticated => return Ok(()),
        Access::Permission(permission) => {
            let own_api = route.tenant_api && permission.module() == "tenant";
            (permission, principal.context == ContextKind::Tenant && principal.is_admin && own_api)
        }
        Access::Platform(permission) => {
            if principal.context != ContextKind::System {
                return Err(Denial::ContextMismatch);
            }
            (permission, principal.is_super_admin)
        }
    };
    if bypass || principal.holds(permission) || holds_in_unit(principal, route, path, permission) {
        return Ok(());
    }
    Err(Denial::PermissionDenied { permission: permission.as_str().into() })
}

fn holds_in_unit(principal: &Principal, route: &CompiledRoute, path: &str, permission: &Permission) -> bool {
    let unit = route.ou_segment.and_then(|at| path.split('/').nth(at + 1));
    unit.and_then(|text| text.parse::<OrgUnitId>().ok()).is_some_and(|unit| principal.holds_in(unit, permission))
}
