//! Stage 9: limits of who is known by now: the API key, the principal, the tenant, and the tenant on one
//! route; then the quotas of the route's product.

use std::net::IpAddr;

use domain::{BootInstant, Clock, snapshot::RateLimit};

use crate::{
    Denial, Trace,
    admit::{Limits, network_of},
    bind::BoundPrincipal,
    bucket::{Bucket, Level},
    denial::Limit,
    quota::{Refused, Spent},
    route::Matched,
    share::ShareKey,
    snapshot::TenantInfo,
};

/// What is left of the limit that a request came closest to: for the `RateLimit` fields of its answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// Which limit.
    pub limit: Limit,
    /// Requests that fit at once.
    pub size: u64,
    /// Seconds until so many are there again.
    pub window: u32,
    /// How much of it is left.
    pub level: Level,
}

impl Quota {
    /// Of a bucket.
    pub(crate) fn of_rate(limit: Limit, rate: RateLimit, level: Level) -> Self {
        Self { limit, size: rate.burst.into(), window: rate.burst.div_ceil(rate.rps.max(1)).max(1), level }
    }
}

impl Limits {
    /// Spends one request of the tenant's, of the principal's where those have a limit, and of the route's where it has
    /// one; a stranger's, of its address. Then one of the quotas of the route's product, which is given back unless the
    /// request is let through.
    pub(crate) fn spend(
        &self,
        bound: &BoundPrincipal,
        matched: &Matched,
        client: IpAddr,
        clock: &dyn Clock,
        trace: &mut Trace,
    ) -> Result<Spent, Denial> {
        let Some(info) = bound.tenant() else { return Ok(Spent::default()) };
        let now = clock.boot_now();
        let (tenant, id) = (info.id, info.id.as_u128());
        // The narrowest first: who is refused by a limit of their own takes nothing from the others.
        if let BoundPrincipal::Principal { principal, .. } = bound
            && let Some(key) = &principal.key
            && let Some(rate) = key.rate_limit
        {
            let share = Some(ShareKey::Key { tenant, key: key.id });
            self.take((Limit::Key, share), &self.keys.of(key.id.as_u128()), rate, now, trace)?;
        }
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
        if anonymous {
            // One address shall not use up what all strangers have.
            let part = part(rate, self.stranger_percent);
            self.take((Limit::Stranger, None), &self.strangers.of((id, network_of(client))), part, now, trace)?;
        }
        // Strangers are counted by each gateway: one of them shall not use up a tenant's sign-in at all gateways.
        let key = (!anonymous).then_some(ShareKey::Tenant { tenant });
        self.take((Limit::Tenant, key), &self.tenants.of((id, anonymous)), rate, now, trace)?;
        match matched.route().and_then(|route| route.product.as_deref()) {
            // What strangers do on its public routes is not the tenant's use.
            Some(product) if !anonymous => self.spend_quota(info, product, clock, trace),
            Some(_) | None => Ok(Spent::default()),
        }
    }

    fn spend_quota(
        &self,
        info: &TenantInfo,
        product: &str,
        clock: &dyn Clock,
        trace: &mut Trace,
    ) -> Result<Spent, Denial> {
        let Some(quota) = info.quotas.iter().find(|quota| *quota.product == *product) else {
            return Ok(Spent::default());
        };
        let standing = self.share.standing(clock.boot_now(), self.gateways);
        let spent = quota.spend(&self.share, standing, clock.unix_now(), |quota| closest(trace, quota));
        spent.map_err(|Refused { quota, used_up }| {
            trace.quota = Some(quota);
            if used_up { Denial::QuotaExceeded(quota.limit) } else { Denial::RateLimited(quota.limit) }
        })
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
        match taken {
            Ok(level) => {
                closest(trace, Quota::of_rate(limit, rate, level));
                Ok(())
            }
            Err(level) => {
                trace.quota = Some(Quota::of_rate(limit, rate, level));
                Err(Denial::RateLimited(limit))
            }
        }
    }
}

fn closest(trace: &mut Trace, quota: Quota) {
    if trace.quota.is_none_or(|closest| quota.level.left < closest.level.left) {
        trace.quota = Some(quota);
    }
}

/// So many hundredths of a rate, and at least one request.
fn part(rate: RateLimit, percent: u32) -> RateLimit {
    let of = |number: u32| u32::try_from(u64::from(number) * u64::from(percent) / 100).unwrap_or(number).max(1);
    RateLimit { rps: of(rate.rps), burst: of(rate.burst) }
}
