//! Stage 9: limits of who is known by now: the tenant, the principal, and the tenant on one route.

use domain::{BootInstant, Clock, snapshot::RateLimit};

use crate::{
    Denial, Trace,
    admit::Limits,
    bind::BoundPrincipal,
    bucket::{Bucket, Level},
    denial::Limit,
    route::Matched,
    share::ShareKey,
};

/// What is left of the limit that a request came closest to: for the `RateLimit` fields of its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Which limit.
    pub limit: Limit,
    /// Its rate and burst.
    pub rate: RateLimit,
    /// How full its bucket is.
    pub level: Level,
}

impl Limits {
    /// Spends one request of the tenant's, of the principal's where those have a limit, and of the route's where it has
    /// one.
    pub(crate) fn spend(
        &self,
        bound: &BoundPrincipal,
        matched: &Matched,
        clock: &dyn Clock,
        trace: &mut Trace,
    ) -> Result<(), Denial> {
        let Some(info) = bound.tenant() else { return Ok(()) };
        let now = clock.boot_now();
        let (tenant, id) = (info.id, info.id.as_u128());
        // The narrowest first: who is refused by a limit of their own takes nothing from the others.
        if let BoundPrincipal::Principal { principal, .. } = bound
            && let Some(rate) = info.principal_rate_limit.or(self.principal_limit)
        {
            let key = Some(ShareKey::Principal { tenant, principal: principal.number });
            self.take((Limit::Principal, key), &self.principals.of((id, principal.number)), rate, now, trace)?;
        }
        if let Some(route) = matched.route()
            && let Some(rate) = route.rate_limit
        {
            let key = Some(ShareKey::Route { tenant, route: route.id });
            self.take((Limit::Route, key), &self.routes.of((id, route.id.as_u128())), rate, now, trace)?;
        }
        let anonymous = matches!(bound, BoundPrincipal::Anonymous { .. });
        let rate = info.rate_limit.unwrap_or(self.tenant_limit);
        // Strangers are counted by each gateway: one of them shall not use up a tenant's sign-in at all gateways.
        let key = (!anonymous).then_some(ShareKey::Tenant { tenant });
        self.take((Limit::Tenant, key), &self.tenants.of((id, anonymous)), rate, now, trace)?;
        Ok(())
    }

    fn take(
        &self,
        (limit, key): (Limit, Option<ShareKey>),
        bucket: &std::sync::Arc<Bucket>,
        rate: RateLimit,
        now: BootInstant,
        trace: &mut Trace,
    ) -> Result<(), Denial> {
        let taken = match key {
            Some(key) => self.share.take(key, bucket, rate, now),
            None => bucket.take(rate, now),
        };
        let (Ok(level) | Err(level)) = taken;
        if taken.is_err() || trace.quota.is_none_or(|quota| level.left < quota.level.left) {
            trace.quota = Some(Quota { limit, rate, level });
        }
        taken.map(|_| ()).map_err(|_| Denial::RateLimited(limit))
    }
}
