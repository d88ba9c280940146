//! Stage 9: limits of who is known by now: the tenant, and the tenant on one route.

use domain::Clock;

use crate::{Denial, admit::Limits, bind::BoundPrincipal, denial::Limit, route::Matched};

impl Limits {
    /// Spends one request of the tenant's, and of the route's where it has a limit.
    pub(crate) fn spend(&self, bound: &BoundPrincipal, matched: &Matched, clock: &dyn Clock) -> Result<(), Denial> {
        let Some(tenant) = bound.tenant() else { return Ok(()) };
        let now = clock.boot_now();
        let id = tenant.id.as_u128();
        let anonymous = matches!(bound, BoundPrincipal::Anonymous { .. });
        if !self.tenants.of((id, anonymous)).take(tenant.rate_limit.unwrap_or(self.tenant_limit), now) {
            return Err(Denial::RateLimited(Limit::Tenant));
        }
        if let Some(route) = matched.route()
            && let Some(limit) = route.rate_limit
            && !self.routes.of((id, route.id.as_u128())).take(limit, now)
        {
            return Err(Denial::RateLimited(Limit::Route));
        }
        Ok(())
    }
}
