//! Passkeys: keys of people's devices that sign them in (WebAuthn Level 2).

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{Amr, AmrSet, PasskeyId, ProjectId, Timestamp, UserId};

/// A passkey, good at the hostname that it was registered at and nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passkey {
    /// Its id.
    pub id: PasskeyId,
    /// Project of the user.
    pub project_id: ProjectId,
    /// Whose.
    pub user_id: UserId,
    /// The hostname it is for, the relying party's id.
    pub rp_id: String,
    /// How its authenticator names it.
    pub credential_id: Vec<u8>,
    /// Its public key and what else was said when it was registered, as the library keeps it.
    pub credential: serde_json::Value,
    /// What its user calls it.
    pub name: String,
    /// How often it signed, as its authenticator counts; 0 where it does not.
    pub sign_count: u32,
    /// Whether it may be kept in step between devices.
    pub backup_eligible: bool,
    /// Whether it is.
    pub backup_state: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last signed its user in.
    pub last_used_at: Option<Timestamp>,
    /// Its version.
    pub version: Version,
}

impl Passkey {
    /// What a sign-in with it shows: somebody who was there and whom the device knew, which is two factors.
    pub const fn amr(&self) -> AmrSet {
        let key = if self.backup_eligible { Amr::Swk } else { Amr::Hwk };
        AmrSet::of(&[key, Amr::User, Amr::Mfa])
    }
}

/// A passkey to be kept.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Passkey`")]
pub struct NewPasskey {
    pub id: PasskeyId,
    pub project_id: ProjectId,
    pub user_id: UserId,
    pub rp_id: String,
    pub credential_id: Vec<u8>,
    pub credential: serde_json::Value,
    pub name: String,
    pub sign_count: u32,
    pub backup_eligible: bool,
    pub backup_state: bool,
}
