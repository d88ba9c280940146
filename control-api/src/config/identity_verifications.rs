//! Settings of verifications of people's identities.

use domain::HumanDuration;
use link::file::{Checks, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;

const DAY: u64 = 86_400;

/// Verifications of people's identities.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityVerificationsConfig {
    /// What events of whoever verifies are signed with, by reference, each at least 24 bytes, or `whsec_` and base64; two while one is
    /// rotated, 4 at most. Default none: no event is taken.
    #[schemars(length(max = 4))]
    pub keys: Vec<SecretRef>,
    /// A verification waits for so long in each state, 1 h to 365 d. Default 30 d.
    pub open_for: HumanDuration,
    /// An approved one counts for so long, 1 d to 3650 d. Default 365 d.
    pub approved_for: HumanDuration,
}

impl Default for IdentityVerificationsConfig {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            open_for: HumanDuration::from_secs(30 * DAY),
            approved_for: HumanDuration::from_secs(365 * DAY),
        }
    }
}

impl IdentityVerificationsConfig {
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        let within = |given: HumanDuration, from: u64, to: u64| (from..=to).contains(&given.get().as_secs());
        if self.keys.len() > 4 {
            checks.refuse("/identity_verifications/keys", "are more than 4");
        }
        if !within(self.open_for, 3600, 365 * DAY) {
            checks.refuse("/identity_verifications/open_for", "is not between 1h and 365d");
        }
        if !within(self.approved_for, DAY, 3650 * DAY) {
            checks.refuse("/identity_verifications/approved_for", "is not between 1d and 3650d");
        }
    }
}
