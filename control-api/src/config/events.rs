//! Settings of what is told afterwards: the audit trail, and webhooks.

use std::{path::PathBuf, time::Duration};

use domain::{HumanDuration, Network};
use link::file::Checks;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Environment;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// The audit trail.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// How long events are kept, 30 d to 3650 d; older ones are removed and the chains still hold. Default none: for ever.
    pub keep: Option<HumanDuration>,
    /// How often it is looked for events that are older, 1 m to 7 d. Default 24 h.
    pub sweep: HumanDuration,
    /// How often the heads of all chains are written to the log, so that whoever keeps logs can tell later whether a chain was
    /// taken away or put back; 1 m to 24 h. Default 1 h.
    pub heads: HumanDuration,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { keep: None, sweep: HumanDuration::from_secs(DAY), heads: HumanDuration::from_secs(HOUR) }
    }
}

impl AuditConfig {
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        if self.keep.is_some_and(|keep| !within(keep, 30 * DAY, 3650 * DAY)) {
            checks.refuse("/audit/keep", "is not between 30d and 3650d");
        }
        if !within(self.sweep, 60, 7 * DAY) {
            checks.refuse("/audit/sweep", "is not between 1m and 7d");
        }
        if !within(self.heads, 60, DAY) {
            checks.refuse("/audit/heads", "is not between 1m and 24h");
        }
    }
}

/// Webhooks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WebhooksConfig {
    /// How long a receiver may take for one delivery, 1 s to 30 s. Default 10 s.
    pub timeout: HumanDuration,
    /// How long a delivery is tried, 1 h to 30 d. A webhook that has taken nothing for as long is disabled. Default 3 d.
    pub give_up_after: HumanDuration,
    /// Deliveries at once of this process, to one webhook at most 4 of them; 1 to 256. Default 32.
    #[schemars(range(min = 1, max = 256))]
    pub at_once: usize,
    /// How long it is known what became of a delivery, 1 d to 400 d. Default 30 d.
    pub keep: HumanDuration,
    /// Networks that may be sent to over https though they are not public. Default none.
    pub allow: Vec<Network>,
    /// PEM of authorities trusted for receivers' certificates, beside the system's. Default none.
    pub ca: Option<PathBuf>,
    /// Allow receivers on this machine, over plain HTTP too. Default false; not allowed in `prod`.
    pub on_loopback: bool,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            timeout: HumanDuration::from_secs(10),
            give_up_after: HumanDuration::from_secs(3 * DAY),
            at_once: 32,
            keep: HumanDuration::from_secs(30 * DAY),
            allow: Vec::new(),
            ca: None,
            on_loopback: false,
        }
    }
}

impl WebhooksConfig {
    pub(super) fn check(&self, environment: Environment, checks: &mut Checks<'_>) {
        if !within(self.timeout, 1, 30) {
            checks.refuse("/webhooks/timeout", "is not between 1s and 30s");
        }
        if !within(self.give_up_after, HOUR, 30 * DAY) {
            checks.refuse("/webhooks/give_up_after", "is not between 1h and 30d");
        }
        if !within(self.keep, DAY, 400 * DAY) {
            checks.refuse("/webhooks/keep", "is not between 1d and 400d");
        }
        if environment == Environment::Prod && self.on_loopback {
            checks.refuse("/webhooks/on_loopback", "is not allowed in `prod`");
        }
    }
}

fn within(given: HumanDuration, from: u64, to: u64) -> bool {
    (Duration::from_secs(from)..=Duration::from_secs(to)).contains(&given.get())
}
