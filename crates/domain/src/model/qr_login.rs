//! Sign-ins that one device asks for by a QR code and another, on which their user is signed in, approves.
//!
//! ```text
//! pending ─▶ approved ─▶ consumed: the asking device has its session
//!    └─────▶ rejected                       (each ends with its time)
//! ```

use serde::{Deserialize, Serialize};

use crate::{ProjectId, QrLoginId, SessionId, TenantId, Timestamp, UserId};

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QrState {
    /// Nobody said anything yet.
    Pending,
    /// Somebody is to be signed in by it.
    Approved,
    /// Nobody is.
    Rejected,
    /// Somebody was.
    Consumed,
}

/// Who approved it, and by what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QrApproval {
    /// Who.
    pub user_id: UserId,
    /// In which tenant of theirs.
    pub tenant_id: TenantId,
    /// In which session.
    pub sid: SessionId,
    /// Generations of user and tenant then.
    pub generations: (u64, u64),
}

/// A sign-in that a device asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct QrLogin {
    /// Its id, which the QR code tells.
    pub id: QrLoginId,
    /// In which project.
    pub project_id: ProjectId,
    /// In which tenant, where the hostname that was asked says it.
    pub tenant_id: Option<TenantId>,
    /// SHA-256 of what the asking device alone knows.
    pub poll_hash: [u8; 32],
    /// What the asking device shows and its user types on the other: that both are in front of one person.
    pub code: String,
    /// How far it is.
    pub state: QrState,
    /// Address of the asking device.
    pub ip: Option<std::net::IpAddr>,
    /// Its `User-Agent`.
    pub user_agent: Option<String>,
    /// Who approved it.
    pub approval: Option<QrApproval>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
}
