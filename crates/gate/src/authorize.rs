//! Stage 10: may this principal do this?

use std::sync::{Arc, atomic::AtomicU64};

use authn::claims::ContextKind;
use domain::{Clock, OrgUnitId, Permission, Requirement, Timestamp, snapshot::Access};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{
    CanonicalRequest, Denial, Gate, Permit, Stop, Trace,
    bind::BoundPrincipal,
    identity::Principal,
    permit::Lasting,
    route::Matched,
    snapshot::route::{CompiledRoute, UnitPlace},
    verify::Known,
};

/// The permit of a bound principal on its route, judged by the snapshot after `judged_at` changes or more, over a
/// connection whose certificate is good until `demanded`, where one is. The only place that makes one.
///
/// # Errors
/// No route, no such unit, the wrong context, or a permission that is not held.
pub(crate) fn permit(
    gate: &Gate,
    judged_at: u64,
    bound: BoundPrincipal,
    matched: &Matched,
    (request, demanded): (&CanonicalRequest<'_>, Option<Timestamp>),
    clock: &dyn Clock,
    trace: &mut Trace,
) -> Result<Permit, Stop> {
    let named = |route: &CompiledRoute| unit(route, &request.path, request.headers);
    let route = judge(&bound, matched, (request.method, clock), named, &mut trace.unit)?;
    let (host, max_body) = (Arc::clone(&bound.site().host), bound.site().max_body);
    let (tenant, identity, shown) = match bound {
        BoundPrincipal::Anonymous { tenant, .. } => (tenant, None, None),
        BoundPrincipal::Principal { tenant, principal, facts, .. } => (tenant, Some(principal), Some(facts)),
    };
    let expires_at = shown.as_ref().and_then(|shown| shown.known.expires_at());
    let recent_until = route.require.and_then(|require| {
        let known = &shown.as_ref()?.known;
        require.ends(known.assurance().filter(|_| require.concerns(known.kind()))?)
    });
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
        unit: trace.unit,
        lasting: Lasting { ends_at: expires_at.into_iter().chain(demanded).chain(recent_until).min() },
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

/// Whether a bound principal may pass its route; the route. On a route of units, `named` says which one the request is
/// about; `unit` is told once that is known to be there.
///
/// # Errors
/// As of [`permit`].
pub(crate) fn judge<'m>(
    bound: &BoundPrincipal,
    matched: &'m Matched,
    (method, clock): (&str, &dyn Clock),
    named: impl FnOnce(&CompiledRoute) -> Result<Option<OrgUnitId>, Denial>,
    unit: &mut Option<OrgUnitId>,
) -> Result<&'m Arc<CompiledRoute>, Denial> {
    let Matched::Route(route) = matched else { return Err(Denial::RouteNotFound) };
    let principal = match bound {
        BoundPrincipal::Anonymous { .. }
            if matches!(route.access, Access::Public | Access::Optional) && route.require.is_none() =>
        {
            None
        }
        BoundPrincipal::Anonymous { .. } => return Err(Denial::CredentialMissing),
        BoundPrincipal::Principal { principal, facts, .. } => Some((principal, &facts.known)),
    };
    if route.unit.is_some() {
        // One that was deleted is not there for anybody, whatever they hold.
        let tenant = bound.tenant();
        *unit = named(route)?.filter(|unit| tenant.is_some_and(|tenant| tenant.has_unit(*unit)));
        unit.ok_or(Denial::OrgUnitNotFound)?;
    }
    if let Some((principal, known)) = principal {
        may(principal, route, method, *unit)?;
        // Last: nobody signs in anew for what they may not do anyway.
        if let Some(require) = &route.require {
            proves(require, known, clock)?;
        }
    }
    Ok(route)
}

/// Whether a credential shows the sign-in that a route demands. One that shows none, such as a key, does not.
fn proves(require: &Requirement, known: &Known, clock: &dyn Clock) -> Result<(), Denial> {
    let met = |shown| require.is_met(shown, clock.unix_now());
    if !require.concerns(known.kind()) || known.assurance().is_some_and(met) {
        return Ok(());
    }
    Err(Denial::AuthenticationInsufficient(*require))
}

/// `requirements.md` §4.2: a permission is held by a role, by a role in the unit the request names, or by the bypass. Where
/// none is asked for, a unit is for those who are in it and for the tenant's administrators.
fn may(principal: &Principal, route: &CompiledRoute, method: &str, unit: Option<OrgUnitId>) -> Result<(), Denial> {
    let Some(permission) = asked(route) else {
        let own = |unit| route.access != Access::Authenticated || principal.is_admin || principal.is_in(unit);
        return if unit.is_none_or(own) { Ok(()) } else { Err(Denial::OrgUnitDenied) };
    };
    if matches!(route.access, Access::Platform(_)) && principal.context != ContextKind::System {
        return Err(Denial::ContextMismatch);
    }
    let in_unit = |unit| principal.holds_in(unit, permission, reads(method));
    if bypasses(principal, route) || principal.holds(permission) || unit.is_some_and(in_unit) {
        return Ok(());
    }
    Err(Denial::PermissionDenied { permission: permission.as_str().into() })
}

/// Whether a unit's auditor may do it.
pub(crate) fn reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
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

/// The organisational unit that a request names.
///
/// # Errors
/// Of a request whose field could be read in two ways.
fn unit(route: &CompiledRoute, path: &str, headers: &HeaderMap) -> Result<Option<OrgUnitId>, Denial> {
    match &route.unit {
        None | Some(UnitPlace::Nowhere) => Ok(None),
        Some(UnitPlace::Segment(at)) => Ok(in_path(path, *at)),
        Some(UnitPlace::Field(name)) => {
            // The upstream may be one that folds names.
            let spelled =
                |other: &&HeaderName| *other != name && other.as_str().replace(['_', '.'], "-") == name.as_str();
            if let Some(other) = headers.keys().find(spelled) {
                return Err(Denial::HeaderRefused(other.as_str().to_owned().into()));
            }
            // Nor may the client have it taken away on the way there (RFC 9110 §7.6.1).
            let nominated = |value: &HeaderValue| {
                value
                    .as_bytes()
                    .split(|b| *b == b',')
                    .any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
            };
            if headers.get_all(header::CONNECTION).iter().any(nominated) {
                return Err(Denial::HeaderRefused(name.as_str().to_owned().into()));
            }
            let mut values = headers.get_all(name).iter();
            let (Some(value), None) = (values.next(), values.next()) else { return Ok(None) };
            Ok(value.to_str().ok().and_then(|text| text.parse().ok()))
        }
    }
}

/// The organisational unit that the request of a permit names on the route as it is now. Its header is gone by then: what it
/// named holds while the route still reads the same field.
pub(crate) fn unit_again(route: &CompiledRoute, permit: &Permit, path: &str) -> Option<OrgUnitId> {
    match &route.unit {
        None | Some(UnitPlace::Nowhere) => None,
        Some(UnitPlace::Segment(at)) => in_path(path, *at),
        Some(field @ UnitPlace::Field(_)) => permit.unit.filter(|_| permit.route.unit.as_ref() == Some(field)),
    }
}

fn in_path(path: &str, segment: usize) -> Option<OrgUnitId> {
    path.split('/').nth(segment + 1).and_then(|text| text.parse().ok())
}
