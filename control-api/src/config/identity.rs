//! Settings of how people prove who they are: passwords, what is sent to them, and how often they may ask.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use domain::{
    HumanDuration, Slug,
    model::{GuessPolicy, MailPace, PasswordPolicy},
};
use link::file::Checks;
use schemars::JsonSchema;
use serde::Deserialize;

const DAY: u64 = 86_400;

/// Passwords, as the platform asks for them. Tenants may ask for more.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PasswordsConfig {
    /// What a password is: `min_length` 8 to 64 (default 8), `max_length` up to 512 (128), `lower`, `upper`, `digits`, `special` 0
    /// to 8 (1 each), `history` 0 to 10 (0), `min_age_days` (0), `max_age_days` (none).
    pub policy: PasswordPolicy,
    /// A file of passwords that are refused, one a line, beside the best-known ones; case and what follows the last letter do not
    /// count. Default none.
    pub refused: Option<PathBuf>,
}

impl PasswordsConfig {
    pub(super) fn rebased(&mut self, base: &Path) {
        self.refused.iter_mut().for_each(|path| *path = base.join(&*path));
    }

    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        let policy = &self.policy;
        if !(8..=64).contains(&policy.min_length) {
            checks.refuse("/passwords/policy/min_length", "is not between 8 and 64");
        }
        if policy.max_length > 512 {
            checks.refuse("/passwords/policy/max_length", "is more than 512");
        }
        for (field, wrong, why) in policy.mistakes() {
            if wrong {
                checks.refuse(&format!("/passwords/policy/{field}"), why);
            }
        }
    }
}

/// What is sent to people, and what they may ask for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityConfig {
    /// Whether people may ask for accounts where their project lets them. Default true.
    pub signup: bool,
    /// Whether a forgotten password can be replaced by who reads the proven address. Default true.
    pub password_reset: bool,
    /// A link that proves an address, or makes an account, is good for this long, 1 m to 7 d. Default 24 h.
    pub verification: HumanDuration,
    /// A link to choose a new password is good for this long, 1 m to 1 d. Default 15 m.
    pub reset: HumanDuration,
    /// A code or link to sign in with is good for this long, 1 m to 1 h. Default 5 m.
    pub code: HumanDuration,
    /// So many wrong codes in a row lock codes of an address, 1 to 20. Default 5.
    #[schemars(range(min = 1, max = 20))]
    pub code_attempts: u32,
    /// For this long, 1 m to 1 d. Default 15 m.
    pub code_lock: HumanDuration,
    /// The same is not sent to an address again before, 0 s to 1 h. Default 60 s.
    pub send_cooldown: HumanDuration,
    /// Nor more often than this within 24 h, 1 to 1000. Default 20.
    #[schemars(range(min = 1, max = 1000))]
    pub sends_a_day: u32,
    /// An address that has no account where something is sent to it from (a sign-up, a first code, an invitation) is written to so often
    /// within 24 h, by all projects together, 1 to 10,000. Default 60.
    #[schemars(range(min = 1, max = 10_000))]
    pub strangers_a_day: u32,
    /// An account whose holder asked for it is deleted after this long, 0 s to 365 d; signing in cancels that. Default 30 d.
    pub deletion_grace: HumanDuration,
    /// The project of sign-ins on `admin` that name none, by hostname, key or tenant: its slug. Default none: they are refused.
    pub default_project: Option<Slug>,
    /// What has expired is removed, and what is due deleted, this often, 1 s to 1 h. Default 5 m.
    pub sweep_every: HumanDuration,
    /// At most so many rows of each table at once, 1 to 10,000. Default 500.
    #[schemars(range(min = 1, max = 10_000))]
    pub sweep_rows: u32,
    /// What has expired is kept for this long yet, 0 s to 1 d. Default 60 s.
    pub sweep_grace: HumanDuration,
    /// How often may be asked for what costs a mail or a guess.
    pub rates: RatesConfig,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            signup: true,
            password_reset: true,
            verification: HumanDuration::from_secs(DAY),
            reset: HumanDuration::from_secs(900),
            code: HumanDuration::from_secs(300),
            code_attempts: 5,
            code_lock: HumanDuration::from_secs(900),
            send_cooldown: HumanDuration::from_secs(60),
            sends_a_day: 20,
            strangers_a_day: 60,
            deletion_grace: HumanDuration::from_secs(30 * DAY),
            default_project: None,
            sweep_every: HumanDuration::from_secs(300),
            sweep_rows: 500,
            sweep_grace: HumanDuration::from_secs(60),
            rates: RatesConfig::default(),
        }
    }
}

/// How often one client address (of IPv6, one /64) may ask within a minute, and how often it may be asked for one account, whoever asks.
/// Each control API counts for itself, and all of them together where `redis.cache` is set. 0 to 1,000,000; 0 for as often as one likes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RatesConfig {
    /// To sign in with a password, through the edge. Default 30.
    #[schemars(range(max = 1_000_000))]
    pub login: u32,
    /// To make an account. Default 10.
    #[schemars(range(max = 1_000_000))]
    pub signup: u32,
    /// For a new password, or to set it by a link. Default 5.
    #[schemars(range(max = 1_000_000))]
    pub reset: u32,
    /// To prove or change an address. Default 20.
    #[schemars(range(max = 1_000_000))]
    pub verify: u32,
    /// For a code or link to sign in with, or to sign in with one. Default 5.
    #[schemars(range(max = 1_000_000))]
    pub passwordless: u32,
    /// For a code to a telephone, or to show one. Default 5.
    #[schemars(range(max = 1_000_000))]
    pub phone: u32,
    /// To be the first administrator. Default 5.
    #[schemars(range(max = 1_000_000))]
    pub bootstrap: u32,
    /// With wrong credentials of a program: a machine client's, a project's key, the admin secret. Default 30.
    #[schemars(range(max = 1_000_000))]
    pub machine: u32,
    /// With what says that somebody was verified and is not signed by who verifies. Default 30.
    #[schemars(range(max = 1_000_000))]
    pub identity_event: u32,
    /// To sign in with a passkey, which takes two. Default 60.
    #[schemars(range(max = 1_000_000))]
    pub passkey: u32,
    /// What came of a sign-in that another device approves. Default 300, ten devices behind one address.
    #[schemars(range(max = 1_000_000))]
    pub poll: u32,
    /// To sign in through an identity provider, each step of it. Default 30, as S2 has for signing in.
    #[schemars(range(max = 1_000_000))]
    pub oauth: u32,
}

impl Default for RatesConfig {
    fn default() -> Self {
        Self {
            login: 30,
            signup: 10,
            reset: 5,
            verify: 20,
            passwordless: 5,
            phone: 5,
            bootstrap: 5,
            machine: 30,
            identity_event: 30,
            passkey: 60,
            poll: 300,
            oauth: 30,
        }
    }
}

impl IdentityConfig {
    /// How codes are guessed at.
    pub(crate) fn guesses(&self) -> GuessPolicy {
        GuessPolicy { after: self.code_attempts, lock_for: self.code_lock.get() }
    }

    /// How often an address is written to.
    pub(crate) fn pace(&self) -> MailPace {
        MailPace { cooldown: self.send_cooldown.get(), a_day: self.sends_a_day }
    }

    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        if self.default_project.as_ref().is_some_and(|slug| slug.as_str() == crate::bootstrap::ROOT) {
            checks.refuse("/identity/default_project", "is the platform's own, where its staff signs in");
        }
        let mut within = |name: &str, given: HumanDuration, from: u64, to: u64, text: &str| {
            if !(Duration::from_secs(from)..=Duration::from_secs(to)).contains(&given.get()) {
                checks.refuse(&format!("/identity/{name}"), text);
            }
        };
        within("verification", self.verification, 60, 7 * DAY, "is not between 1m and 7d");
        within("reset", self.reset, 60, DAY, "is not between 1m and 1d");
        within("code", self.code, 60, 3600, "is not between 1m and 1h");
        within("code_lock", self.code_lock, 60, DAY, "is not between 1m and 1d");
        within("send_cooldown", self.send_cooldown, 0, 3600, "is longer than 1h");
        within("deletion_grace", self.deletion_grace, 0, 365 * DAY, "is longer than 365d");
        within("sweep_every", self.sweep_every, 1, 3600, "is not between 1s and 1h");
        within("sweep_grace", self.sweep_grace, 0, DAY, "is longer than 1d");
    }
}
