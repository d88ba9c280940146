//! Stage 8: the token's tenant is the hostname's, the principal is active, the tenant is entitled.

use std::{net::IpAddr, sync::Arc};

use authn::{
    Refusal,
    claims::ContextKind,
    mirror::{self, Identity},
};
use domain::Clock;

use crate::{
    Denial, Trace,
    identity::Principal,
    link::HeldBindings,
    permit::Shown,
    revoke::Active,
    route::Matched,
    snapshot::{Site, TenantInfo},
    tenant,
    verify::Known,
};

/// Who acts, in which tenant.
#[derive(Debug)]
pub(crate) enum BoundPrincipal {
    Anonymous { site: Arc<Site>, tenant: Option<Arc<TenantInfo>> },
    Principal { site: Arc<Site>, tenant: Option<Arc<TenantInfo>>, principal: Arc<Principal>, facts: Shown },
}

impl BoundPrincipal {
    pub(crate) fn tenant(&self) -> Option<&Arc<TenantInfo>> {
        match self {
            Self::Anonymous { tenant, .. } | Self::Principal { tenant, .. } => tenant.as_ref(),
        }
    }

    pub(crate) fn site(&self) -> &Arc<Site> {
        match self {
            Self::Anonymous { site, .. } | Self::Principal { site, .. } => site,
        }
    }
}

/// Binds an active credential to the site, for a request of this client that only reads where `safe`.
///
/// # Errors
/// Another tenant's token, one of the wrong context, an inactive principal, a tenant that is not served or not
/// entitled.
pub(crate) fn to_site(
    active: Active,
    site: &Arc<Site>,
    matched: &Matched,
    (client, safe): (IpAddr, bool),
    clock: &dyn Clock,
    trace: &mut Trace,
) -> Result<BoundPrincipal, Denial> {
    let bound = match active {
        Active::Anonymous => BoundPrincipal::Anonymous { site: Arc::clone(site), tenant: site.tenant.clone() },
        Active::Known { known, bindings, facts } => {
            let tenant = tenant_of(&known, site)?;
            if let Some(tenant) = &tenant {
                trace.tenant = Some(tenant.id);
                if site.tenant.is_none() {
                    tenant::serves(tenant)?;
                    if !tenant.admission.lets_in(client) {
                        return Err(Denial::AddressRefused);
                    }
                    tenant::serves_route(tenant, safe, matched)?;
                }
                issued_since(&facts.identity, tenant)?;
            }
            if bindings.as_ref().is_some_and(|bindings| !bindings.active) {
                return Err(Denial::PrincipalInactive);
            }
            let principal = principal(&known, site, tenant.as_ref(), bindings);
            trace.principal = Some(Arc::clone(&principal));
            BoundPrincipal::Principal { site: Arc::clone(site), tenant, principal, facts }
        }
    };
    if let Some(product) = matched.route().and_then(|route| route.product.as_deref())
        && !bound.tenant().is_some_and(|tenant| tenant.is_entitled(product, clock.unix_now()))
    {
        return Err(Denial::NotEntitled { product: product.into() });
    }
    Ok(bound)
}

/// Whether a token was issued after the tenant's tokens were last revoked, as the snapshot has it: for a gateway that
/// started after the fact was forgotten.
fn issued_since(token: &Identity, tenant: &TenantInfo) -> Result<(), Denial> {
    match (token.foreign_iat, tenant.cutoff) {
        (None, _) if token.tenant_generation < tenant.generation => {
            Err(Denial::TokenRevoked(Refusal::TenantGeneration))
        }
        (Some(iat), Some(cutoff)) if mirror::cut_off(iat, cutoff) => Err(Denial::TokenRevoked(Refusal::TenantCutoff)),
        (None | Some(_), _) => Ok(()),
    }
}

/// The tenant a credential acts in here; none for staff in system context.
pub(crate) fn tenant_of(known: &Known, site: &Site) -> Result<Option<Arc<TenantInfo>>, Denial> {
    if known.context() == ContextKind::System {
        // Staff are staff on the platform's own hostnames, by tokens of the root project, and nowhere else.
        return if known.is_own() && site.platform && site.project.root {
            Ok(None)
        } else {
            Err(Denial::ContextMismatch)
        };
    }
    if let Some(tenant) = &site.tenant {
        return if known.is_of(tenant) { Ok(Some(Arc::clone(tenant))) } else { Err(Denial::TenantMismatch) };
    }
    known.tenant_of(&site.project.tenants.load()).cloned().map(Some).ok_or(Denial::TenantUnknown)
}

/// The principal kept with the credential, or of another token of the same user, while all it was made from is still in
/// force; else made anew and kept.
fn principal(
    known: &Known,
    site: &Site,
    tenant: Option<&Arc<TenantInfo>>,
    bindings: Option<Arc<HeldBindings>>,
) -> Arc<Principal> {
    let in_force = |it: &Arc<Principal>| it.is_made_from(&site.roles, tenant, bindings.as_ref());
    if let Some(kept) = known.principal.load_full().filter(in_force) {
        return kept;
    }
    // A key has a principal of its own, with its scopes; a certificate's says how it is known.
    let shared = bindings.clone().filter(|_| known.token().is_some());
    let others = shared.as_ref().and_then(|bindings| bindings.principal());
    let principal = others.filter(in_force).filter(|it| it.is_of(known)).unwrap_or_else(|| {
        let made = Arc::new(Principal::new(known, &site.roles, tenant, bindings.clone()));
        if let Some(bindings) = &shared {
            bindings.share(&made);
        }
        made
    });
    known.principal.store(Some(Arc::clone(&principal)));
    principal
}
