//! Settings of tenants.

use std::{collections::BTreeSet, time::Duration};

use domain::{HostName, HumanDuration, Slug};
use link::file::Checks;
use schemars::JsonSchema;
use serde::Deserialize;

/// Tenants, and what becomes of them by themselves.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantsConfig {
    /// The domain under which a new tenant of a dedicated customer gets its hostname, `{slug}.{platform_domain}`, in the
    /// step that makes it. Default none: hostnames are made one by one.
    pub platform_domain: Option<HostName>,
    /// Slugs that no tenant gets, beside those that every installation keeps for itself.
    pub reserved_slugs: BTreeSet<Slug>,
    /// A trial whose end nobody says ends after this long, 1 h to 365 d. Default 14 d.
    pub trial: HumanDuration,
    /// A deleted tenant is on hold for this long and is then purged, 1 s to 365 d. Default 30 d, S2's grace.
    pub hold: HumanDuration,
    /// So long before it is purged a tenant is told (`tenant.purge_announced`), 1 s to 30 d. Default 1 d; at most `hold`.
    pub purge_notice: HumanDuration,
    /// Tenants that are purged within any hour, 1 to 100000: what a wrong clock or a mistake can take in that time. Default
    /// 100.
    #[schemars(range(min = 1, max = 100_000))]
    pub purges_per_hour: u32,
    /// How often it is looked whose trial or hold is over, 100 ms to 1 h. Default 1 s: so long the edge may serve a trial
    /// that is over.
    pub check_every: HumanDuration,
    /// A step of provisioning that failed is tried again after this long, twice that, and so on; 100 ms to
    /// `provisioning_retry_most`. Default 5 s, S0's.
    pub provisioning_retry: HumanDuration,
    /// The longest such pause, at most 1 d. Default 1 h.
    pub provisioning_retry_most: HumanDuration,
}

impl Default for TenantsConfig {
    fn default() -> Self {
        Self {
            platform_domain: None,
            reserved_slugs: BTreeSet::new(),
            trial: HumanDuration::from_secs(14 * 86_400),
            hold: HumanDuration::from_secs(30 * 86_400),
            purge_notice: HumanDuration::from_secs(86_400),
            purges_per_hour: 100,
            check_every: HumanDuration::from_secs(1),
            provisioning_retry: HumanDuration::from_secs(5),
            provisioning_retry_most: HumanDuration::from_secs(3600),
        }
    }
}

impl TenantsConfig {
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        let (secs, year) = (Duration::from_secs, Duration::from_secs(365 * 86_400));
        if !(secs(3600)..=year).contains(&self.trial.get()) {
            checks.refuse("/tenants/trial", "is not within 1h and 365d");
        }
        if !(secs(1)..=year).contains(&self.hold.get()) {
            checks.refuse("/tenants/hold", "is not within 1s and 365d");
        }
        if !(secs(1)..=secs(30 * 86_400)).contains(&self.purge_notice.get()) {
            checks.refuse("/tenants/purge_notice", "is not within 1s and 30d");
        }
        if !(Duration::from_millis(100)..=secs(3600)).contains(&self.check_every.get()) {
            checks.refuse("/tenants/check_every", "is not within 100ms and 1h");
        }
        let (retry, most) = (self.provisioning_retry.get(), self.provisioning_retry_most.get());
        if retry < Duration::from_millis(100) {
            checks.refuse("/tenants/provisioning_retry", "is shorter than 100ms");
        }
        if !(retry..=secs(86_400)).contains(&most) {
            checks.refuse("/tenants/provisioning_retry_most", "is not within `provisioning_retry` and 1d");
        }
    }
}
