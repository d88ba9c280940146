//! Settings of texts to phones.

use std::path::PathBuf;

use domain::{HumanDuration, Network, PhoneNumber};
use link::file::{Checks, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Environment;
use crate::outbound;

/// Most calling codes.
const MAX_COUNTRIES: usize = 250;

/// Texts to phones. Without a service, they lie in the development mailbox in `dev`, and are refused elsewhere.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SmsConfig {
    /// The service that carries texts. Default none.
    pub webhook: Option<SmsWebhook>,
    /// Calling codes of the countries that are written to, such as `"+49"`, and beginnings of numbers that are not, such as
    /// `"-+1876"`. Default none: nothing is sent to any number.
    pub countries: Vec<String>,
    /// A code is good for this long, 1 m to 1 h. Default 5 m.
    pub code: HumanDuration,
    /// A number is not written to again before, 10 s to 1 h. Default 60 s.
    pub cooldown: HumanDuration,
    /// A number signs in for so long after it was proven, 1 d to 730 d: numbers are given to somebody else. Default 365 d.
    pub proven_for: HumanDuration,
    /// So many codes to sign in with are sent to a number within 24 h, over all projects, and as many to prove it; 1 to 100.
    /// Default 10.
    #[schemars(range(min = 1, max = 100))]
    pub number_a_day: u32,
    /// So many codes to prove numbers are sent for one user within 24 h, 1 to 100. Default 5.
    #[schemars(range(min = 1, max = 100))]
    pub user_a_day: u32,
    /// So many texts are sent within an hour to numbers that begin with the same six digits, over all projects, 1 to 1,000,000.
    /// Default 50.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub prefix_an_hour: u32,
    /// A project sends so many texts within 24 h, 0 to 1,000,000. Default 500.
    #[schemars(range(max = 1_000_000))]
    pub project_a_day: u32,
    /// All projects together send so many texts within 24 h, 0 to 10,000,000. Default 2000.
    #[schemars(range(max = 10_000_000))]
    pub all_a_day: u32,
}

/// A service that carries texts: it is sent signed requests, as webhooks are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmsWebhook {
    /// Where to; `https`.
    pub url: String,
    /// What requests are signed with, by reference; at least 32 bytes.
    pub key: SecretRef,
    /// How long the service may take for one text, 1 s to 30 s. Default 10 s.
    #[serde(default = "patience")]
    pub timeout: HumanDuration,
    /// Networks where it may be though they are not public. Default none.
    #[serde(default)]
    pub allow: Vec<Network>,
    /// PEM of authorities trusted for its certificate, beside the system's. Default none.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Allow it on this machine, over plain HTTP too. Default false; not allowed in `prod`.
    #[serde(default)]
    pub on_loopback: bool,
}

/// As webhooks have it.
const fn patience() -> HumanDuration {
    HumanDuration::from_secs(10)
}

impl Default for SmsConfig {
    fn default() -> Self {
        Self {
            webhook: None,
            countries: Vec::new(),
            code: HumanDuration::from_secs(300),
            cooldown: HumanDuration::from_secs(60),
            proven_for: HumanDuration::from_secs(365 * 86_400),
            number_a_day: 10,
            user_a_day: 5,
            prefix_an_hour: 50,
            project_a_day: 500,
            all_a_day: 2000,
        }
    }
}

impl SmsConfig {
    /// Whether a number may be written to: it is of a country that is named, and of no part that is left out.
    pub(crate) fn reaches(&self, number: &PhoneNumber) -> bool {
        let begins = |code: &str| number.is_of(code);
        let left_out = self.countries.iter().filter_map(|code| code.strip_prefix('-')).any(begins);
        !left_out && self.countries.iter().any(|code| begins(code))
    }

    pub(super) fn check(&self, environment: Environment, checks: &mut Checks<'_>) {
        let within = |given: HumanDuration, from: u64, to: u64| (from..=to).contains(&given.get().as_secs());
        if !within(self.code, 60, 3600) {
            checks.refuse("/sms/code", "is not between 1m and 1h");
        }
        if !within(self.cooldown, 10, 3600) {
            checks.refuse("/sms/cooldown", "is not between 10s and 1h");
        }
        if !within(self.proven_for, 86_400, 730 * 86_400) {
            checks.refuse("/sms/proven_for", "is not between 1d and 730d");
        }
        for (place, given, least, most) in [
            ("/sms/number_a_day", self.number_a_day, 1, 100),
            ("/sms/user_a_day", self.user_a_day, 1, 100),
            ("/sms/prefix_an_hour", self.prefix_an_hour, 1, 1_000_000),
            ("/sms/project_a_day", self.project_a_day, 0, 1_000_000),
            ("/sms/all_a_day", self.all_a_day, 0, 10_000_000),
        ] {
            if !(least..=most).contains(&given) {
                checks.refuse(place, format!("is not between {least} and {most}"));
            }
        }
        let is_code = |code: &String| {
            let digits = code.strip_prefix('-').unwrap_or(code).strip_prefix('+').unwrap_or_default();
            (1..=7).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0')
        };
        if self.countries.len() > MAX_COUNTRIES || !self.countries.iter().all(is_code) {
            checks.refuse("/sms/countries", "are not calling codes such as `+49` or `-+1876`, 250 at most");
        }
        let Some(webhook) = &self.webhook else { return };
        if outbound::url(&webhook.url, webhook.on_loopback).is_err() {
            checks.refuse("/sms/webhook/url", "is no https URL without credentials and fragment");
        }
        if !within(webhook.timeout, 1, 30) {
            checks.refuse("/sms/webhook/timeout", "is not between 1s and 30s");
        }
        if environment == Environment::Prod && webhook.on_loopback {
            checks.refuse("/sms/webhook/on_loopback", "is not allowed in `prod`");
        }
    }
}

#[test]
fn a_number_is_written_to_in_countries_that_are_named_but_not_where_they_leave_something_out() {
    let config = SmsConfig { countries: vec!["+1".into(), "-+1876".into(), "+49".into()], ..SmsConfig::default() };
    let reaches = |text: &str| config.reaches(&text.parse().unwrap());
    assert!(reaches("+14155550100") && reaches("+49301234567"));
    assert!(!reaches("+18765550100") && !reaches("+442079460000"));
    assert!(!SmsConfig::default().reaches(&"+14155550100".parse().unwrap()));
}
