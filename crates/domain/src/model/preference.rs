//! What a user prefers in a tenant.

use super::Version;
use crate::{ProjectId, TenantId, Timestamp, UserId};

/// Most bytes of a user's preferences in a tenant, as JSON.
pub const MAX_BYTES: usize = 16 * 1024;

/// What a user prefers in a tenant; of who never said anything, nothing in version 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Preferences {
    /// The user.
    pub user_id: UserId,
    /// The tenant.
    pub tenant_id: TenantId,
    /// Project of both.
    pub project_id: ProjectId,
    /// Names and values that mean something to the user's programs.
    pub values: serde_json::Map<String, serde_json::Value>,
    /// When they were last changed; none for never.
    pub updated_at: Option<Timestamp>,
    /// Their version.
    pub version: Version,
}
