//! Settings of names: DNS, proofs, hostnames and domains of email addresses.

use std::net::{IpAddr, SocketAddr};

use domain::{HostName, HumanDuration, model::ProofRules};
use link::file::Checks;
use schemars::JsonSchema;
use serde::Deserialize;

const DAY: u64 = 86_400;

/// How DNS is asked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsConfig {
    /// Resolvers, as `IP:PORT`, at most 8; they are believed. Default none: those of `/etc/resolv.conf`.
    #[schemars(with = "Vec<String>", length(max = 8))]
    pub resolvers: Vec<SocketAddr>,
    /// How long one resolver is waited for, 100 ms to 30 s. Default 3 s.
    pub timeout: HumanDuration,
    /// How often each is asked before nobody knows, 1 to 10. Default 2.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { resolvers: Vec::new(), timeout: HumanDuration::from_secs(3), attempts: 2 }
    }
}

/// How long proofs by DNS last, of hostnames and of email domains.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProofsConfig {
    /// What was proven is looked for again this often, 1 s to 30 d; sooner while it is missing. Default 6 h.
    pub recheck: HumanDuration,
    /// How long what was proven is served while its proof is missing, 0 s to 90 d. Default 3 d. That DNS cannot be asked does
    /// not count.
    pub grace: HumanDuration,
    /// How long after that nobody else gets the name, 0 s to 365 d. Default 7 d.
    pub takeover_after: HumanDuration,
    /// Names of each kind that a tenant may claim at once without having proven them, 1 to 500. Default 20. Staff is not
    /// bound by it.
    #[schemars(range(min = 1, max = 500))]
    pub unproven: u32,
    /// Names of each kind that a tenant may have in all before it claims no more, 1 to 500. Default 100. Staff is not bound by
    /// it.
    #[schemars(range(min = 1, max = 500))]
    pub names: u32,
}

impl Default for ProofsConfig {
    fn default() -> Self {
        Self {
            recheck: HumanDuration::from_secs(6 * 3600),
            grace: HumanDuration::from_secs(3 * DAY),
            takeover_after: HumanDuration::from_secs(7 * DAY),
            unproven: 20,
            names: 100,
        }
    }
}

/// Rules for hostnames.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HostnamesConfig {
    /// Domains of the platform: names in them are the platform's to give and need no proof, and nobody claims one. Default
    /// none: what staff makes as the platform's is the platform's.
    pub platform_domains: Vec<HostName>,
    /// Names that a custom hostname may be an alias (CNAME) of, at most 16. Default none; without these and `addresses` it is
    /// not looked at where a hostname leads.
    #[schemars(length(max = 16))]
    pub targets: Vec<HostName>,
    /// Addresses that a custom hostname may have beside those of `targets`; all of its own must be among them. Default none.
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpAddr>,
    /// For how long nobody else gets a hostname that was given up, 0 s to 365 d. Default 30 d: what browsers, links and DNS
    /// still know of it should not lead to the next tenant.
    pub quarantine: HumanDuration,
}

impl Default for HostnamesConfig {
    fn default() -> Self {
        Self {
            platform_domains: Vec::new(),
            targets: Vec::new(),
            addresses: Vec::new(),
            quarantine: HumanDuration::from_secs(30 * DAY),
        }
    }
}

impl HostnamesConfig {
    /// Whether a name is the platform's own.
    pub fn is_platform(&self, name: &HostName) -> bool {
        self.platform_domains.iter().any(|domain| is_within(name, domain))
    }
}

/// Rules for domains of email addresses.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmailDomainsConfig {
    /// Domains whose addresses anybody can have, beside those the program knows: no tenant gets one. Default none.
    pub public_providers: Vec<HostName>,
}

/// Whether a name is a domain or in it.
pub(crate) fn is_within(name: &HostName, domain: &HostName) -> bool {
    let above = name.as_str().strip_suffix(domain.as_str());
    above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What the settings of proofs and hostnames say together.
pub(crate) fn rules(proofs: &ProofsConfig, hostnames: &HostnamesConfig) -> ProofRules {
    ProofRules {
        grace: proofs.grace.get(),
        takeover_after: proofs.takeover_after.get(),
        quarantine: hostnames.quarantine.get(),
    }
}

impl DnsConfig {
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        if !(100..=30_000).contains(&self.timeout.get().as_millis()) {
            checks.refuse("/dns/timeout", "is not between 100ms and 30s");
        }
    }
}

impl ProofsConfig {
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        let most = |given: HumanDuration, days: u64| given.get().as_secs() <= days * DAY;
        if self.recheck.get().as_secs() < 1 || !most(self.recheck, 30) {
            checks.refuse("/proofs/recheck", "is not between 1s and 30d");
        }
        if !most(self.grace, 90) {
            checks.refuse("/proofs/grace", "is longer than 90d");
        }
        if !most(self.takeover_after, 365) {
            checks.refuse("/proofs/takeover_after", "is longer than 365d");
        }
    }
}

impl HostnamesConfig {
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        if self.quarantine.get().as_secs() > 365 * DAY {
            checks.refuse("/hostnames/quarantine", "is longer than 365d");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L2: a name that only ends alike is in no domain.
    #[test]
    fn l2_a_domain_is_compared_label_by_label() {
        let name = |text: &str| text.parse::<HostName>().unwrap();
        let platform = name("example.com");
        for (text, within) in [
            ("example.com", true),
            ("acme.example.com", true),
            ("a.b.example.com", true),
            ("evilexample.com", false),
            ("example.com.evil.test", false),
            ("com", false),
        ] {
            assert_eq!(is_within(&name(text), &platform), within, "{text}");
        }
    }
}
