//! Second factors: one-time codes of an authenticator (RFC 6238), and sign-ins that wait for one.

use serde::{Deserialize, Serialize};

use super::AuthMethod;
use crate::{AmrSet, IdentityProviderId, ProjectId, Secret, TenantId, Timestamp, UserId};

/// A user's authenticator: the secret that its codes are made of, and what was used of it.
#[derive(Clone, Debug)]
pub struct Totp {
    /// Whose.
    pub user_id: UserId,
    /// Their project.
    pub project_id: ProjectId,
    /// What codes are made of.
    pub secret: Secret<Vec<u8>>,
    /// What recovery codes are hashed with.
    pub pepper: Secret<Vec<u8>>,
    /// The last time step whose code was used; earlier ones are good for nothing any more.
    pub last_step: i64,
    /// Since when a sign-in asks for it; none while it is being set up.
    pub confirmed_at: Option<Timestamp>,
}

/// What a sign-in waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChallengePurpose {
    /// A code of the authenticator that is there.
    Verify,
    /// That an authenticator is set up: the tenant demands a second factor, and there is none.
    Enrol,
}

/// A sign-in whose first factor was shown and that waits for the second.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoginChallenge {
    /// SHA-256 of its id, which its client alone knows.
    pub hash: [u8; 32],
    /// Project of the user.
    pub project_id: ProjectId,
    /// Tenant of the session to be.
    pub tenant_id: TenantId,
    /// Who signs in.
    pub user_id: UserId,
    /// In the platform's context.
    pub system: bool,
    /// By which method.
    pub method: AuthMethod,
    /// How the session was opened that approved it, of one that was ([`AuthMethod::Qr`]).
    pub approved_by: Option<AuthMethod>,
    /// What was shown.
    pub amr: AmrSet,
    /// Through which provider, where it was.
    pub provider_id: Option<IdentityProviderId>,
    /// What it waits for.
    pub purpose: ChallengePurpose,
    /// The user's generation when the first factor was shown: a new password, and whatever else ends sessions, ends it.
    pub user_generation: u64,
    /// The tenant's.
    pub tenant_generation: u64,
    /// How often a second factor was shown.
    pub attempts: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it waits.
    pub expires_at: Timestamp,
}
