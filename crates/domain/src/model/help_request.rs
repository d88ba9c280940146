//! What people ask administrators for who cannot sign in.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{HelpRequestId, ProjectId, TenantId, Timestamp, UserId};

/// Longest message, and longest note, in characters.
pub const MAX_TEXT: usize = 2000;

/// Requests of a tenant that wait, at most: beyond that those of strangers give way, the oldest first.
pub const MAX_PENDING: u64 = 1000;

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HelpStatus {
    /// Nobody has answered it.
    Pending,
    /// An administrator helped.
    Resolved,
    /// An administrator did not.
    Rejected,
}

/// A request for help.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HelpRequest {
    /// Its id.
    pub id: HelpRequestId,
    /// Its project.
    pub project_id: ProjectId,
    /// Whose administrators are asked.
    pub tenant_id: TenantId,
    /// Where the one who asks can be reached. Nothing shows that it is theirs.
    pub email: String,
    /// In their words.
    pub message: String,
    /// Whether the address was a member's when it was asked.
    pub known: bool,
    /// What became of it.
    pub status: HelpStatus,
    /// What the administrator says of it.
    pub note: String,
    /// Who answered it.
    pub settled_by: Option<UserId>,
    /// When.
    pub settled_at: Option<Timestamp>,
    /// When it was asked.
    pub created_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A request to be kept.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `HelpRequest`")]
pub struct NewHelpRequest {
    pub id: HelpRequestId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub email: String,
    pub message: String,
    pub known: bool,
}
