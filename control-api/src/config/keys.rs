//! Settings of keys: those we sign with, and those of others that we fetch.

use std::{path::PathBuf, time::Duration};

use domain::HumanDuration;
use link::file::{Checks, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Environment;

/// Keys that sign tokens and assertions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SigningConfig {
    /// A key that has signed for this long is followed by a new one of its algorithm. Keys of the keys file and of KMS
    /// are left alone. Default none: only who asks for it rotates; at least twice `publish_ahead`.
    pub rotate_every: Option<HumanDuration>,
    /// A key is published this long before it signs, so that whoever keeps our key sets has it by then. Default 24 h; at
    /// least 5 m, for which key sets may be kept. A fleet's key for assertions is published for 24 h at least.
    pub publish_ahead: HumanDuration,
    /// How often it is looked whether a key has to be made, used or taken away. Default 30 s, at most 1 h.
    pub check_every: HumanDuration,
    /// AWS KMS, for keys that it holds. Default none; needs a program built with the feature `kms-aws`.
    pub kms_aws: Option<KmsAwsConfig>,
    /// A file of private keys with the times at which they sign (`docs/key-rotation.md`), read at the start and on SIGHUP.
    /// Default none.
    pub keys_file: Option<PathBuf>,
}

impl Default for SigningConfig {
    fn default() -> Self {
        Self {
            rotate_every: None,
            publish_ahead: HumanDuration::from_secs(86_400),
            check_every: HumanDuration::from_secs(30),
            kms_aws: None,
            keys_file: None,
        }
    }
}

/// AWS KMS of one region. The credentials may `kms:Sign` and `kms:GetPublicKey`, and need nothing more.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KmsAwsConfig {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Where it is, when it is not `https://kms.{region}.amazonaws.com/`. Plain HTTP in `dev` only.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Access key id, by reference.
    pub access_key_id: SecretRef,
    /// Secret access key, by reference.
    pub secret_access_key: SecretRef,
    /// Session token, by reference, with temporary credentials.
    #[serde(default)]
    pub session_token: Option<SecretRef>,
}

/// Keys of external issuers that are fetched from a URL.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IssuersConfig {
    /// How often each key set is fetched. Default 5 m, from 30 s to 24 h. An unknown `kid` has it fetched sooner, at most
    /// once in 30 s.
    pub refresh: HumanDuration,
    /// How long the last good keys stay in force when none can be fetched; then the issuer's tokens are refused. Default
    /// 24 h, at least `refresh`.
    pub keep: HumanDuration,
    /// PEM of authorities trusted for issuers' certificates, beside the system's. Default none.
    pub ca: Option<PathBuf>,
    /// Allow issuers on this machine, over plain HTTP too. Default false; not allowed in `prod`.
    pub on_loopback: bool,
}

impl Default for IssuersConfig {
    fn default() -> Self {
        Self {
            refresh: HumanDuration::from_secs(300),
            keep: HumanDuration::from_secs(86_400),
            ca: None,
            on_loopback: false,
        }
    }
}

/// How long a key set of ours may be kept by who fetches it.
pub const KEY_SET_LIFE: Duration = Duration::from_secs(300);

impl SigningConfig {
    pub(super) fn check(&self, environment: Environment, checks: &mut Checks<'_>) {
        if self.kms_aws.is_some() && !cfg!(feature = "kms-aws") {
            checks.refuse("/signing/kms_aws", "needs a program built with the feature `kms-aws`");
        }
        let endpoint = self.kms_aws.as_ref().and_then(|kms| kms.endpoint.as_deref());
        if environment != Environment::Dev && endpoint.is_some_and(|url| !url.starts_with("https://")) {
            checks.refuse("/signing/kms_aws/endpoint", "is not https, which is allowed in `dev` only");
        }
        if self.publish_ahead.get() < KEY_SET_LIFE {
            checks.refuse("/signing/publish_ahead", "is shorter than 5m, for which key sets may be kept");
        }
        if self.rotate_every.is_some_and(|every| every.get() < self.publish_ahead.get() * 2) {
            checks.refuse("/signing/rotate_every", "is shorter than twice `signing.publish_ahead`");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&self.check_every.get()) {
            checks.refuse("/signing/check_every", "is not between 1s and 1h");
        }
    }
}

impl IssuersConfig {
    pub(super) fn check(&self, environment: Environment, checks: &mut Checks<'_>) {
        if environment == Environment::Prod && self.on_loopback {
            checks.refuse("/issuers/on_loopback", "is not allowed in `prod`");
        }
        if !(Duration::from_secs(30)..=Duration::from_secs(86_400)).contains(&self.refresh.get()) {
            checks.refuse("/issuers/refresh", "is not between 30s and 24h");
        }
        if self.keep.get() < self.refresh.get() {
            checks.refuse("/issuers/keep", "is shorter than `issuers.refresh`");
        }
    }
}
