//! Invitations: that whoever reads an email address may join a tenant, with a role, for a while.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{InvitationId, ProjectId, RoleId, TenantId, Timestamp, UserId};

/// Most invitations of one address to a tenant within 24 h, those that were taken back included.
pub const MAX_A_DAY: u64 = 5;

/// Most invitations that wait in a tenant or were made within 24 h.
pub const MAX_PENDING: u64 = 1000;

/// What became of an invitation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvitationStatus {
    /// It waits to be accepted.
    Pending,
    /// Somebody joined by it.
    Accepted,
    /// It was taken back.
    Revoked,
    /// Nobody accepted it in time.
    Expired,
}

/// That whoever reads an email address may join a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// Project of the tenant.
    pub project_id: ProjectId,
    /// Which tenant.
    pub tenant_id: TenantId,
    /// Whose address, as given; one invitation waits for each address in a tenant.
    pub email: String,
    /// Roles that whoever joins gets.
    pub roles: Vec<RoleId>,
    /// Who invited.
    pub invited_by: UserId,
    /// Whether they did so as the platform's staff.
    pub by_staff: bool,
    /// What became of it, as last noted; see [`Invitation::status`].
    pub noted: InvitationStatus,
    /// Who joined by it.
    pub accepted_by: Option<UserId>,
    /// Until when it can be accepted.
    pub expires_at: Timestamp,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was accepted or taken back.
    pub settled_at: Option<Timestamp>,
    /// Its version.
    pub version: Version,
}

impl Invitation {
    /// What it is worth at `now`.
    pub fn status(&self, now: Timestamp) -> InvitationStatus {
        match self.noted {
            InvitationStatus::Pending if self.expires_at <= now => InvitationStatus::Expired,
            noted => noted,
        }
    }
}

/// An invitation to be made. Of its token only the hash is kept.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `Invitation`")]
pub struct NewInvitation {
    pub id: InvitationId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub email: String,
    pub roles: Vec<RoleId>,
    pub invited_by: UserId,
    pub by_staff: bool,
    pub token_hash: [u8; 32],
    pub expires_at: Timestamp,
}
