//! Stage 10: may this principal do this?

use std::sync::{Arc, atomic::AtomicU64};

use authn::claims::ContextKind;
use domain::{Clock, OrgUnitId, Permission, Timestamp, snapshot::Access};

use crate::{
    CanonicalRequest, Denial, Gate, Permit, Stop, bind::BoundPrincipal, identity::Principal, permit::Lasting,
    route::Matched, snapshot::route::CompiledRoute,
};

/// The permit of a bound principal on its route, judged by the snapshot after `judged_at` changes or more, over a
/// connection whose certificate is good until `demanded`, where one is. The only place that makes one.
///
/// # Errors
/// No route, the wrong context, or a permission that is not held.
pub(crate) fn permit(
    gate: &Gate,
    judged_at: u64,
    bound: BoundPrincipal,
    matched: &Matched,
    (request, demanded): (&CanonicalRequest<'_>, Option<Timestamp>),
    clock: &dyn Clock,
) -> Result<Permit, Stop> {
    let route = judge(&bound, matched, &request.path)?;
    let (host, max_body) = (Arc::clone(&bound.site().host), bound.site().max_body);
    let (tenant, identity, shown) = match bound {
        BoundPrincipal::Anonymous { tenant, .. } => (tenant, None, None),
        BoundPrincipal::Principal { tenant, principal, facts, .. } => (tenant, Some(principal), Some(facts)),
    };
    let expires_at = shown.as_ref().and_then(|shown| shown.known.expires_at());
    // Only a token can be had anew.
    let refreshed = expires_at.filter(|_| shown.as_ref().is_some_and(|shown| shown.known.token().is_some()));
    let left = |at: Timestamp| at.since(clock.unix_now());
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
        lasting: Lasting { ends_at: expires_at.into_iter().chain(demanded).min() },
        max_body: route.max_body.or(max_body),
        body_digest: shown.as_ref().and_then(|shown| shown.signed.as_ref()).map(|signed| signed.body),
        safe: request.is_safe(),
        judged_at: AtomicU64::new(judged_at),
        refresh_advised: refreshed.is_some_and(|at| left(at) <= gate.config.refresh_threshold),
        shown,
        certificate: request.certificate.cloned(),
        slots: (None, None),
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

/// `requirements.md` §4.2: a permission is held by a role, by a role in the unit the path names, or by the bypass.
fn may(principal: &Principal, route: &CompiledRoute, path: &str) -> Result<(), Denial> {
    let Some(permission) = asked(route) else { return Ok(()) };
    if matches!(route.access, Access::Platform(_)) && principal.context != ContextKind::System {
        return Err(Denial::ContextMismatch);
    }
    if bypasses(principal, route) || principal.holds(permission) || holds_in_unit(principal, route, path, permission) {
        return Ok(());
    }
    Err(Denial::PermissionDenied { permission: permission.as_str().into() })
}

/// The permission that a route asks for.
pub(crate) fn asked(route: &CompiledRoute) -> Option<&Permission> {
    match &route.access {
        Access::Public | Access::Optional | Access::Authenticated => None,
        Access::Permission(permission) | Access::Platform(permission) => Some(permission),
    }
}

/// Whether an administrator passes whatever its roles: the tenant's on the tenant's own APIs (module `tenant`), the
/// platform's on platform routes.
pub(crate) fn bypasses(principal: &Principal, route: &CompiledRoute) -> bool {
    match &route.access {
        Access::Public | Access::Optional | Access::Authenticated => false,
        Access::Permission(permission) => {
            let own_api = route.tenant_api && permission.module() == "tenant";
            principal.context == ContextKind::Tenant && principal.is_admin && own_api
        }
        Access::Platform(_) => principal.is_super_admin,
    }
}

/// The organisational unit that a path names.
pub(crate) fn unit(route: &CompiledRoute, path: &str) -> Option<OrgUnitId> {
    route.ou_segment.and_then(|at| path.split('/').nth(at + 1)).and_then(|text| text.parse().ok())
}

fn holds_in_unit(principal: &Principal, route: &CompiledRoute, path: &str, permission: &Permission) -> bool {
    unit(route, path).is_some_and(|unit| principal.holds_in(unit, permission))
}
