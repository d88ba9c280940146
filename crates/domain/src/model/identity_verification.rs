//! Whether somebody showed a tenant who they are, such as with a passport. Whoever looks at the passport is not this product: what is
//! kept is the state, and how it came about.
//!
//! ```text
//! pending ─▶ in_review ─▶ approved ─▶ rejected, expired
//!    │           └──────▶ rejected, expired
//!    └─▶ approved, rejected, expired
//! ```

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{IdentityVerificationId, ProjectId, TenantId, Timestamp, UserId, audit::Actor};

/// Longest reason, in characters.
pub const MAX_REASON: usize = 500;

/// Longest id of an event of whoever verifies, in bytes.
pub const MAX_EVENT_ID: usize = 128;

/// Verifications of one member that are kept, at most: the oldest that are over go.
pub const MOST: u32 = 20;

/// Verifications that a member begins within 24 h, at most.
pub const A_DAY: u64 = 3;

/// What became of a verification.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdentityState {
    /// Nobody looked at it.
    Pending,
    /// Somebody looks at it.
    InReview,
    /// They are who they say, until it ends.
    Approved,
    /// They are not, or it was taken back.
    Rejected,
    /// It waited, or counted, for too long.
    Expired,
}

impl IdentityState {
    /// Whether it can still be approved.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::InReview)
    }

    /// Whether `next` follows on it.
    pub const fn leads_to(self, next: Self) -> bool {
        match self {
            Self::Pending => !matches!(next, Self::Pending),
            Self::InReview => matches!(next, Self::Approved | Self::Rejected | Self::Expired),
            Self::Approved => matches!(next, Self::Rejected | Self::Expired),
            Self::Rejected | Self::Expired => false,
        }
    }

    /// What the audit trail calls that it came to this.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Pending => "created",
            Self::InReview => "in_review",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
        }
    }
}

/// A verification of a member's identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityVerification {
    /// Its id.
    pub id: IdentityVerificationId,
    /// Its project.
    pub project_id: ProjectId,
    /// The tenant that it counts in.
    pub tenant_id: TenantId,
    /// Whose.
    pub user_id: UserId,
    /// What became of it.
    pub state: IdentityState,
    /// Why.
    pub reason: String,
    /// Until when it waits, or counts.
    pub ends_at: Timestamp,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it came to its state.
    pub changed_at: Timestamp,
    /// Its version.
    pub version: Version,
}

impl IdentityVerification {
    /// What it is worth now: what has ended is over, also before anybody has noted that.
    pub fn state_at(&self, now: Timestamp) -> IdentityState {
        let ends = self.state.is_open() || self.state == IdentityState::Approved;
        if ends && self.ends_at <= now { IdentityState::Expired } else { self.state }
    }
}

/// A step of a verification.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityStep {
    /// From which state; none at the beginning.
    pub from: Option<IdentityState>,
    /// To which.
    pub to: IdentityState,
    /// Why.
    pub reason: String,
    /// Who took it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// A verification to be begun.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "as in `IdentityVerification`")]
pub struct NewIdentityVerification {
    pub id: IdentityVerificationId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub user_id: UserId,
    pub ends_at: Timestamp,
}

/// A step to be taken.
#[derive(Clone, Debug)]
pub struct NextIdentityStep {
    /// To which state.
    pub to: IdentityState,
    /// Why.
    pub reason: String,
    /// Until when it waits, or counts, then; none for as long as before.
    pub ends_at: Option<Timestamp>,
    /// The event that says so, where one does.
    pub event_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::{IdentityState::*, *};

    #[test]
    fn what_is_over_leads_nowhere_and_nothing_leads_back() {
        let all = [Pending, InReview, Approved, Rejected, Expired];
        let steps: Vec<(IdentityState, IdentityState)> = all
            .into_iter()
            .flat_map(|from| all.into_iter().filter(move |to| from.leads_to(*to)).map(move |to| (from, to)))
            .collect();
        let known = [
            (Pending, InReview),
            (Pending, Approved),
            (Pending, Rejected),
            (Pending, Expired),
            (InReview, Approved),
            (InReview, Rejected),
            (InReview, Expired),
            (Approved, Rejected),
            (Approved, Expired),
        ];
        assert_eq!(steps, known);
    }
}
