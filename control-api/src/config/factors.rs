//! Settings of second factors.

use domain::HumanDuration;
use link::file::Checks;
use schemars::JsonSchema;
use serde::Deserialize;

/// Second factors of sign-ins.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SecondFactorConfig {
    /// What authenticators call this installation, 1 to 64 characters. Default none: the project's name.
    #[schemars(length(min = 1, max = 64))]
    pub issuer: Option<String>,
    /// How many steps of 30 s a code may be early or late, 0 to 2. Default 1, S2's.
    #[schemars(range(max = 2))]
    pub window: u8,
    /// How long a sign-in waits for its second factor, 30 s to 15 m. Default 300 s, S2's.
    pub challenge: HumanDuration,
    /// How many codes may be tried for one sign-in, 1 to 20. Default 5, as S2 has for codes by mail. A user's wrong codes are
    /// counted over all sign-ins, too: see `sessions.lock_after`.
    #[schemars(range(min = 1, max = 20))]
    pub attempts: u32,
    /// Who confirms an authenticator or adds a passkey has signed in so long ago at most, or shows the password; 1 m to 1 h.
    /// Default 5 m.
    pub recent: HumanDuration,
    /// How many recovery codes there are, 4 to 20. Default 10, S2's.
    #[schemars(range(min = 4, max = 20))]
    pub recovery_codes: u8,
    /// How long a sign-in that one device asks for waits to be approved on another, 30 s to 15 m. Default 300 s, S2's.
    pub qr_login: HumanDuration,
    /// How often sign-ins that wait no more are removed, 1 s to 1 d. Default 300 s, S2's sweep.
    pub sweep: HumanDuration,
}

impl Default for SecondFactorConfig {
    fn default() -> Self {
        Self {
            issuer: None,
            window: 1,
            challenge: HumanDuration::from_secs(300),
            attempts: 5,
            recent: HumanDuration::from_secs(300),
            recovery_codes: 10,
            qr_login: HumanDuration::from_secs(300),
            sweep: HumanDuration::from_secs(300),
        }
    }
}

impl SecondFactorConfig {
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        let within = |given: HumanDuration, from: u64, to: u64| (from..=to).contains(&given.get().as_secs());
        let named = |name: &String| (1..=64).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if self.issuer.as_ref().is_some_and(|name| !named(name)) {
            checks.refuse("/second_factor/issuer", "is not 1 to 64 characters");
        }
        if self.window > 2 {
            checks.refuse("/second_factor/window", "is more than 2");
        }
        if !within(self.challenge, 30, 900) {
            checks.refuse("/second_factor/challenge", "is not within 30s and 15m");
        }
        if !(1..=20).contains(&self.attempts) {
            checks.refuse("/second_factor/attempts", "is not within 1 and 20");
        }
        if !within(self.recent, 60, 3600) {
            checks.refuse("/second_factor/recent", "is not within 1m and 1h");
        }
        if !(4..=20).contains(&self.recovery_codes) {
            checks.refuse("/second_factor/recovery_codes", "is not within 4 and 20");
        }
        if !within(self.qr_login, 30, 900) {
            checks.refuse("/second_factor/qr_login", "is not within 30s and 15m");
        }
        if !within(self.sweep, 1, 86_400) {
            checks.refuse("/second_factor/sweep", "is not within 1s and 1d");
        }
    }
}

/// Passkeys (WebAuthn).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PasskeysConfig {
    /// How long a challenge may be answered, 30 s to 15 m. Default 300 s, S2's.
    pub challenge: HumanDuration,
    /// Most passkeys of one user, 1 to 50. Default 20.
    #[schemars(range(min = 1, max = 50))]
    pub most: u8,
    /// The port that browsers see in `https://HOSTNAME:PORT`. Default none: the one of the project's issuer.
    pub https_port: Option<u16>,
}

impl Default for PasskeysConfig {
    fn default() -> Self {
        Self { challenge: HumanDuration::from_secs(300), most: 20, https_port: None }
    }
}

impl PasskeysConfig {
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        if !(30..=900).contains(&self.challenge.get().as_secs()) {
            checks.refuse("/passkeys/challenge", "is not within 30s and 15m");
        }
        if !(1..=50).contains(&self.most) {
            checks.refuse("/passkeys/most", "is not within 1 and 50");
        }
    }
}
