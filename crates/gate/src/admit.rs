//! Stage 3: limits before authentication, so that garbage costs little.

use std::net::IpAddr;

use domain::{Clock, snapshot::RateLimit};

use crate::{
    CanonicalRequest, Denial, GateConfig, Trace, bucket::Buckets, denial::Limit, failure::Failures, limit::Quota,
    share::Share, snapshot::Site,
};

/// Buckets kept of each kind. Some 100 bytes each.
const CAPACITY: usize = 100_000;

/// The gate's limits.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) address_limit: RateLimit,
    pub(crate) tenant_limit: RateLimit,
    pub(crate) principal_limit: Option<RateLimit>,
    /// Of what a tenant's strangers have, what one address may use.
    pub(crate) stranger_percent: u32,
    /// Gateways of the fleet while nobody counts them.
    pub(crate) gateways: u32,
    addresses: Buckets<u128>,
    pub(crate) failures: Failures,
    /// Of each tenant two: strangers on its public routes do not use up what its principals have.
    pub(crate) tenants: Buckets<(u128, bool)>,
    /// Strangers of each tenant by their network.
    pub(crate) strangers: Buckets<(u128, u128)>,
    /// Of each principal in its tenant.
    pub(crate) principals: Buckets<(u128, u128)>,
    /// Of each API key.
    pub(crate) keys: Buckets<u128>,
    pub(crate) routes: Buckets<(u128, u128)>,
    /// What tenants, principals and routes use at the other gateways.
    pub(crate) share: Share,
}

impl Limits {
    pub(crate) fn new(config: &GateConfig) -> Self {
        Self {
            address_limit: config.address_limit,
            tenant_limit: config.tenant_limit,
            principal_limit: config.principal_limit,
            stranger_percent: config.stranger_percent,
            gateways: config.gateways,
            addresses: Buckets::new(CAPACITY),
            failures: Failures::new(config),
            tenants: Buckets::new(CAPACITY),
            strangers: Buckets::new(CAPACITY),
            principals: Buckets::new(CAPACITY),
            keys: Buckets::new(CAPACITY),
            routes: Buckets::new(CAPACITY),
            share: Share::default(),
        }
    }

    /// Spends one request of the client's address.
    pub(crate) fn admit(
        &self,
        request: &CanonicalRequest<'_>,
        clock: &dyn Clock,
        trace: &mut Trace,
    ) -> Result<(), Denial> {
        let taken = self.addresses.of(network_of(request.client)).take(self.address_limit, clock.boot_now());
        taken.map(|_| ()).map_err(|level| {
            trace.quota = Some(Quota::of_rate(Limit::Address, self.address_limit, level));
            Denial::RateLimited(Limit::Address)
        })
    }
}

/// Whether the hostname and its tenant let this client in.
pub(crate) fn addresses(site: &Site, client: IpAddr) -> Result<(), Denial> {
    let tenant = site.tenant.as_ref().is_none_or(|tenant| tenant.admission.lets_in(client));
    if tenant && site.admission.lets_in(client) { Ok(()) } else { Err(Denial::AddressRefused) }
}

/// What counts as one client: an IPv4 address, or an IPv6 /64, which is the least a customer is given (RFC 6177).
pub fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) | 0xffff_0000_0000,
        IpAddr::V6(v6) => u128::from(v6) & !u128::from(u64::MAX),
    }
}
