//! Settings of sign-ins through identity providers.

use std::{path::PathBuf, time::Duration};

use domain::HumanDuration;
use link::file::Checks;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Environment;
use crate::outbound;

/// Sign-ins through identity providers. Where Google, Microsoft, Apple and GitHub are is set here and not with each provider, so that
/// a provider of their kind is theirs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OauthConfig {
    /// A sign-in that was begun waits for the provider's answer this long, 1 m to 15 m. Default 5 m, S2's.
    pub state: HumanDuration,
    /// The code that the browser is sent on with is good for this long, 10 s to 5 m. Default 60 s, S2's.
    pub code: HumanDuration,
    /// Longest time for one answer of a provider, 1 s to 20 s. Default 8 s.
    pub timeout: HumanDuration,
    /// So many answers of one provider are waited for at once, 1 to 1000, of each process. Default 16.
    #[schemars(range(min = 1, max = 1000))]
    pub at_once: usize,
    /// So many sign-ins that were begun may wait in one project, 100 to 1,000,000; further ones are told to try later. Each takes less
    /// than 1 KiB of the database. Default 50,000.
    #[schemars(range(min = 100, max = 1_000_000))]
    pub waiting_per_project: u32,
    /// PEM of authorities trusted for providers' certificates, beside the system's. Default none.
    pub ca: Option<PathBuf>,
    /// Allow providers on this machine, over plain HTTP too. Default false; not allowed in `prod`.
    pub on_loopback: bool,
    /// Google's issuer. Default `https://accounts.google.com`.
    pub google: String,
    /// Microsoft's issuers, which go on with `/{directory}/v2.0`. Default `https://login.microsoftonline.com`.
    pub microsoft: String,
    /// Apple's issuer. Default `https://appleid.apple.com`.
    pub apple: String,
    /// GitHub.
    pub github: GithubConfig,
}

/// Where GitHub is: of an Enterprise Server, `https://HOST` and `https://HOST/api/v3`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GithubConfig {
    /// Where people sign in. Default `https://github.com`.
    pub site: String,
    /// Its API. Default `https://api.github.com`.
    pub api: String,
}

impl Default for GithubConfig {
    fn default() -> Self {
        Self { site: "https://github.com".into(), api: "https://api.github.com".into() }
    }
}

impl Default for OauthConfig {
    fn default() -> Self {
        Self {
            state: HumanDuration::from_secs(300),
            code: HumanDuration::from_secs(60),
            timeout: HumanDuration::from_secs(8),
            at_once: 16,
            waiting_per_project: 50_000,
            ca: None,
            on_loopback: false,
            google: "https://accounts.google.com".into(),
            microsoft: "https://login.microsoftonline.com".into(),
            apple: "https://appleid.apple.com".into(),
            github: GithubConfig::default(),
        }
    }
}

impl OauthConfig {
    pub(super) fn check(&self, environment: Environment, checks: &mut Checks<'_>) {
        let within = |given: HumanDuration, from: u64, to: u64| {
            (Duration::from_secs(from)..=Duration::from_secs(to)).contains(&given.get())
        };
        if !within(self.state, 60, 900) {
            checks.refuse("/oauth/state", "is not between 1m and 15m");
        }
        if !within(self.code, 10, 300) {
            checks.refuse("/oauth/code", "is not between 10s and 5m");
        }
        if !within(self.timeout, 1, 20) {
            checks.refuse("/oauth/timeout", "is not between 1s and 20s");
        }
        if !(1..=1000).contains(&self.at_once) {
            checks.refuse("/oauth/at_once", "is not between 1 and 1000");
        }
        if !(100..=1_000_000).contains(&self.waiting_per_project) {
            checks.refuse("/oauth/waiting_per_project", "is not between 100 and 1000000");
        }
        if environment == Environment::Prod && self.on_loopback {
            checks.refuse("/oauth/on_loopback", "is not allowed in `prod`");
        }
        for (name, url) in [
            ("google", &self.google),
            ("microsoft", &self.microsoft),
            ("apple", &self.apple),
            ("github/site", &self.github.site),
            ("github/api", &self.github.api),
        ] {
            if outbound::url(url, self.on_loopback).is_err() || url.ends_with('/') {
                checks.refuse(
                    &format!("/oauth/{name}"),
                    "is no https URL without credentials, fragment and slash at the end",
                );
            }
        }
    }
}
