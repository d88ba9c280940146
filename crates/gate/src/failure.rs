//! Signatures and secrets that do not hold: how many of them an address, and all addresses together, may have checked at
//! one hostname. Checking costs far more than refusing, and who guesses decides how often it is done.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use domain::{Clock, snapshot::RateLimit};

use crate::{
    CanonicalRequest, Denial, GateConfig,
    admit::network_of,
    bucket::{Bucket, Buckets},
    denial::Limit,
};

/// Buckets kept of each kind. Some 100 bytes each.
const CAPACITY: usize = 100_000;

/// While a hostname has used up what all may fail there, an address that failed in the last second waits. One that did
/// not is judged as ever, so that a flood from many addresses keeps nobody out who is not part of it.
const IN_A_FLOOD: RateLimit = RateLimit { rps: 1, burst: 1 };

/// The budgets of failures.
#[derive(Debug)]
pub(crate) struct Failures {
    budget: RateLimit,
    hostname_budget: RateLimit,
    /// By address and hostname.
    own: Buckets<(u128, u64)>,
    /// By address and hostname: whether it failed in the last second.
    lately: Buckets<(u128, u64)>,
    hostnames: Buckets<u64>,
    hosts: RandomState,
}

/// What was taken for a check before it is known whether the signature holds: those that are judged at once cannot all be
/// the last one that is allowed. Spent, unless it [`held`](Self::held).
#[must_use = "what holds is given back"]
#[derive(Debug)]
pub(crate) struct Stake<'f> {
    failures: &'f Failures,
    own: Arc<Bucket>,
    lately: Option<Arc<Bucket>>,
    hostname: Option<Arc<Bucket>>,
}

impl Failures {
    pub(crate) fn new(config: &GateConfig) -> Self {
        Self {
            budget: config.signature_budget,
            hostname_budget: config.hostname_signature_budget,
            own: Buckets::new(CAPACITY),
            lately: Buckets::new(CAPACITY),
            hostnames: Buckets::new(CAPACITY),
            hosts: RandomState::new(),
        }
    }

    /// Takes what a signature costs that does not hold.
    ///
    /// # Errors
    /// The address has failed too often at this hostname; or many have, and this address in the last second.
    pub(crate) fn stake(&self, request: &CanonicalRequest<'_>, clock: &dyn Clock) -> Result<Stake<'_>, Denial> {
        let now = clock.boot_now();
        let hostname = self.hosts.hash_one(&*request.host);
        let signer = (network_of(request.client), hostname);
        let take = |bucket: Arc<Bucket>, rate| bucket.take(rate, now).is_ok().then_some(bucket);
        let refused = || Denial::RateLimited(Limit::Signatures);

        let own = take(self.own.of(signer), self.budget).ok_or_else(refused)?;
        let lately = take(self.lately.of(signer), IN_A_FLOOD);
        let hostname = take(self.hostnames.of(hostname), self.hostname_budget);
        if lately.is_none() && hostname.is_none() {
            // Nothing is checked, so nothing fails.
            own.give_back(self.budget);
            return Err(refused());
        }
        Ok(Stake { failures: self, own, lately, hostname })
    }
}

impl Stake<'_> {
    /// Gives back what was taken: the signature held, or nobody could judge it.
    pub(crate) fn held(self) {
        let Self { failures, own, lately, hostname } = self;
        own.give_back(failures.budget);
        if let Some(bucket) = lately {
            bucket.give_back(IN_A_FLOOD);
        }
        if let Some(bucket) = hostname {
            bucket.give_back(failures.hostname_budget);
        }
    }
}
