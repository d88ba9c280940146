//! API keys, as the control plane keeps them. Their secrets are not part of this.

use std::time::Duration;

use super::Version;
use crate::{
    ApiKeyId, KeyPrefix, Network, Permission, ProjectId, Secret, TenantId, Timestamp, UserId, api_key::ApiKeyScheme,
    snapshot::RateLimit,
};

/// Longest name, in characters.
pub const MAX_NAME: usize = 128;

/// Most scopes of a key.
pub const MAX_SCOPES: usize = 64;

/// Most networks of a key.
pub const MAX_NETWORKS: usize = 64;

/// Keys of a tenant that are not revoked, at most.
pub const MAX_KEYS: u64 = 500;

/// How long the old secret goes on beside the new one, where a rotation says nothing.
pub const OVERLAP: Duration = Duration::from_secs(24 * 3600);

/// How long it may at most.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3600);

/// How much newer a use has to be than the one noted to be noted, too.
pub const USE_NOTED_EVERY: Duration = Duration::from_secs(60);

/// An API key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its project.
    pub project_id: ProjectId,
    /// The tenant it acts in.
    pub tenant_id: TenantId,
    /// Whose it is.
    pub owner_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// Its public part, unique everywhere.
    pub prefix: KeyPrefix,
    /// What it may do at most.
    pub scopes: Vec<Permission>,
    /// Where it may be used from; empty for everywhere.
    pub networks: Vec<Network>,
    /// Requests a second with it.
    pub rate_limit: Option<RateLimit>,
    /// From when on it is not accepted.
    pub expires_at: Option<Timestamp>,
    /// Since when it is out of use.
    pub disabled_at: Option<Timestamp>,
    /// Since when it is gone for good.
    pub revoked_at: Option<Timestamp>,
    /// Until when the secret before the last rotation is accepted.
    pub previous_until: Option<Timestamp>,
    /// When it was last used, a minute more or less.
    pub last_used_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub version: Version,
}

impl ApiKey {
    /// How its holder proves to have it.
    pub fn scheme(&self) -> ApiKeyScheme {
        self.prefix.scheme()
    }

    /// What it is worth at `now`.
    pub fn status(&self, now: Timestamp) -> ApiKeyStatus {
        match self {
            Self { revoked_at: Some(_), .. } => ApiKeyStatus::Revoked,
            Self { disabled_at: Some(_), .. } => ApiKeyStatus::Disabled,
            Self { expires_at: Some(at), .. } if *at <= now => ApiKeyStatus::Expired,
            Self { .. } => ApiKeyStatus::Active,
        }
    }
}

/// What a key is worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiKeyStatus {
    /// It is accepted.
    Active,
    /// It is out of use, for now.
    Disabled,
    /// It has ended.
    Expired,
    /// It is gone for good.
    Revoked,
}

/// An API key to be made.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Its project.
    pub project_id: ProjectId,
    /// The tenant it acts in.
    pub tenant_id: TenantId,
    /// Whose it is.
    pub owner_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// Its public part.
    pub prefix: KeyPrefix,
    /// What accepts it, as [`crate::api_key::Verifier::secret`].
    pub verifier: Secret<Vec<u8>>,
    /// What it may do at most.
    pub scopes: Vec<Permission>,
    /// Where it may be used from; empty for everywhere.
    pub networks: Vec<Network>,
    /// Requests a second with it.
    pub rate_limit: Option<RateLimit>,
    /// From when on it is not accepted.
    pub expires_at: Option<Timestamp>,
}
