//! Proofs by DNS: what is asked, and what follows from the answers.
//!
//! ```text
//! _portcullis-challenge.shop.example.com  TXT    "portcullis-verify=…"    ← only who owns the name can write this
//! shop.example.com                        CNAME  edge.example.net         ← and it has to lead to us, where that is set
//! ```
//!
//! There are three answers: proven, absent, unknown. Whatever keeps us from an answer (no resolver, no reply, SERVFAIL, a
//! reply that cannot be read) is *unknown*, never absent: a broken name server takes nobody's hostname away.

pub mod resolver;

use std::{collections::HashSet, fmt, net::IpAddr};

use async_trait::async_trait;
use domain::{
    HostName,
    model::{Challenge, Finding, ProofFailure, proof::challenge_record},
};

use crate::config::HostnamesConfig;

/// Aliases (CNAME) that are followed from one name.
pub const MAX_ALIASES: usize = 8;

/// Records of one answer that are looked at.
pub const MAX_RECORDS: usize = 100;

/// DNS as far as proofs need it. Names are without their last dot; a name that does not exist has no records.
#[async_trait]
pub trait Dns: fmt::Debug + Send + Sync {
    /// The TXT records of a name, the strings of each put together (RFC 7208 §3.3).
    ///
    /// # Errors
    /// [`DnsError`].
    async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError>;

    /// The name that a name is an alias of, in lower case.
    ///
    /// # Errors
    /// [`DnsError`].
    async fn alias(&self, name: &str) -> Result<Option<String>, DnsError>;

    /// The addresses of a name.
    ///
    /// # Errors
    /// [`DnsError`].
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError>;
}

/// There is no answer: nothing is known.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("DNS did not answer for `{name}`: {reason}")]
pub struct DnsError {
    /// What was asked for.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// Where custom hostnames have to lead.
#[derive(Clone, Debug, Default)]
pub struct Targets<'c> {
    names: &'c [HostName],
    addresses: &'c [IpAddr],
}

impl<'c> Targets<'c> {
    /// Anywhere.
    pub const ANY: Targets<'static> = Targets { names: &[], addresses: &[] };

    /// As configured.
    pub fn of(config: &'c HostnamesConfig) -> Self {
        Self { names: &config.targets, addresses: &config.addresses }
    }

    fn is_any(&self) -> bool {
        self.names.is_empty() && self.addresses.is_empty()
    }

    fn names(&self, name: &str) -> bool {
        self.names.iter().any(|target| target.as_str() == name)
    }
}

/// Looks for a proof.
pub async fn look(dns: &dyn Dns, name: &HostName, challenge: &Challenge, targets: &Targets<'_>) -> Finding {
    match found(dns, name, challenge, targets).await {
        Ok(None) => Finding::Proven,
        Ok(Some(failure)) => Finding::Absent(failure),
        Err(error) => {
            tracing::warn!(dns.name = error.name, error = error.reason, "a proof could not be looked for");
            Finding::Unknown
        }
    }
}

/// Why it is no proof; none when it is.
async fn found(
    dns: &dyn Dns,
    name: &HostName,
    challenge: &Challenge,
    targets: &Targets<'_>,
) -> Result<Option<ProofFailure>, DnsError> {
    let texts = dns.texts(&challenge_record(name)).await?;
    if texts.is_empty() {
        return Ok(Some(ProofFailure::RecordMissing));
    }
    if !texts.iter().any(|text| text == challenge.as_str()) {
        return Ok(Some(ProofFailure::RecordDiffers));
    }
    if targets.is_any() { Ok(None) } else { leads_elsewhere(dns, name, targets).await }
}

/// Why a name does not lead to a target; none when it does.
async fn leads_elsewhere(
    dns: &dyn Dns,
    name: &HostName,
    targets: &Targets<'_>,
) -> Result<Option<ProofFailure>, DnsError> {
    let mut at = name.as_str().to_owned();
    let mut seen = HashSet::from([at.clone()]);
    while let Some(next) = dns.alias(&at).await? {
        if targets.names(&next) {
            return Ok(None);
        }
        if seen.len() > MAX_ALIASES || !seen.insert(next.clone()) {
            return Ok(Some(ProofFailure::AliasLoop));
        }
        at = next;
    }
    let own = dns.addresses(&at).await?;
    if own.is_empty() {
        return Ok(Some(ProofFailure::NotResolved));
    }
    let mut allowed: HashSet<IpAddr> = targets.addresses.iter().copied().collect();
    // A name at the top of its zone cannot be an alias: its owner copies our addresses.
    for target in targets.names {
        if own.iter().all(|address| allowed.contains(address)) {
            break;
        }
        allowed.extend(dns.addresses(target.as_str()).await?);
    }
    let ours = own.iter().all(|address| allowed.contains(address));
    Ok(if ours { None } else { Some(ProofFailure::PointsElsewhere) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A zone in memory. A name in `silent` is never answered for.
    #[derive(Debug, Default)]
    struct Zone {
        texts: HashMap<String, Vec<String>>,
        aliases: HashMap<String, String>,
        addresses: HashMap<String, Vec<IpAddr>>,
        silent: HashSet<String>,
    }

    impl Zone {
        fn heard(&self, name: &str) -> Result<(), DnsError> {
            match self.silent.contains(name) {
                true => Err(DnsError { name: name.into(), reason: "silence".into() }),
                false => Ok(()),
            }
        }
    }

    #[async_trait]
    impl Dns for Zone {
        async fn texts(&self, name: &str) -> Result<Vec<String>, DnsError> {
            self.heard(name).map(|()| self.texts.get(name).cloned().unwrap_or_default())
        }
        async fn alias(&self, name: &str) -> Result<Option<String>, DnsError> {
            self.heard(name).map(|()| self.aliases.get(name).cloned())
        }
        async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
            self.heard(name).map(|()| self.addresses.get(name).cloned().unwrap_or_default())
        }
    }

    fn config() -> HostnamesConfig {
        HostnamesConfig {
            targets: vec!["edge.example.net".parse().unwrap()],
            addresses: vec!["192.0.2.1".parse().unwrap()],
            ..HostnamesConfig::default()
        }
    }

    fn proven() -> (Zone, HostName, Challenge) {
        let (name, challenge) = ("shop.example.com".parse().unwrap(), Challenge::new([7; 32]));
        let mut zone = Zone::default();
        zone.texts.insert(challenge_record(&name), vec!["v=spf1 -all".into(), challenge.as_str().into()]);
        (zone, name, challenge)
    }

    #[tokio::test]
    async fn only_the_claimants_own_text_is_a_proof() {
        let (mut zone, name, challenge) = proven();
        let other = Challenge::new([8; 32]);
        assert_eq!(look(&zone, &name, &challenge, &Targets::ANY).await, Finding::Proven);
        let differs = Finding::Absent(ProofFailure::RecordDiffers);
        assert_eq!(look(&zone, &name, &other, &Targets::ANY).await, differs);
        zone.texts.insert(challenge_record(&name), vec![format!("x{}", challenge.as_str())]);
        assert_eq!(look(&zone, &name, &challenge, &Targets::ANY).await, differs);
        zone.texts.clear();
        let missing = Finding::Absent(ProofFailure::RecordMissing);
        assert_eq!(look(&zone, &name, &challenge, &Targets::ANY).await, missing);
    }

    #[tokio::test]
    async fn a_name_leads_to_us_by_alias_or_by_all_of_its_addresses() {
        let (mut zone, name, challenge) = proven();
        let (config, us, them) = (config(), "192.0.2.1".parse().unwrap(), "198.51.100.9".parse().unwrap());
        let targets = Targets::of(&config);
        let absent = Finding::Absent;
        assert_eq!(look(&zone, &name, &challenge, &targets).await, absent(ProofFailure::NotResolved));
        zone.addresses.insert(name.to_string(), vec![us]);
        assert_eq!(look(&zone, &name, &challenge, &targets).await, Finding::Proven);
        zone.addresses.insert(name.to_string(), vec![us, them]);
        assert_eq!(look(&zone, &name, &challenge, &targets).await, absent(ProofFailure::PointsElsewhere));
        // The target's own addresses are ours, too.
        zone.addresses.insert("edge.example.net".into(), vec![them]);
        assert_eq!(look(&zone, &name, &challenge, &targets).await, Finding::Proven);
        zone.addresses.clear();
        zone.aliases.insert(name.to_string(), "cdn.example.org".into());
        zone.aliases.insert("cdn.example.org".into(), "edge.example.net".into());
        assert_eq!(look(&zone, &name, &challenge, &targets).await, Finding::Proven);
        zone.aliases.insert("cdn.example.org".into(), "notedge.example.net".into());
        assert_eq!(look(&zone, &name, &challenge, &targets).await, absent(ProofFailure::NotResolved));
    }

    #[tokio::test]
    async fn aliases_in_a_circle_or_without_an_end_are_no_way_to_us() {
        let (mut zone, name, challenge) = proven();
        let config = config();
        zone.aliases.insert(name.to_string(), "a.example".into());
        zone.aliases.insert("a.example".into(), name.to_string());
        let looped = Finding::Absent(ProofFailure::AliasLoop);
        assert_eq!(look(&zone, &name, &challenge, &Targets::of(&config)).await, looped);
        zone.aliases.insert(name.to_string(), "0.example".into());
        zone.aliases.extend((0..100).map(|at| (format!("{at}.example"), format!("{}.example", at + 1))));
        assert_eq!(look(&zone, &name, &challenge, &Targets::of(&config)).await, looped);
    }

    #[tokio::test]
    async fn what_is_not_answered_is_unknown_and_never_absent() {
        let config = config();
        for silent in ["_portcullis-challenge.shop.example.com", "shop.example.com"] {
            let (mut zone, name, challenge) = proven();
            zone.silent.insert(silent.into());
            assert_eq!(look(&zone, &name, &challenge, &Targets::of(&config)).await, Finding::Unknown, "{silent}");
        }
    }
}
