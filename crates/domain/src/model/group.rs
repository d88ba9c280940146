//! Groups of a tenant's users. A group grants nothing of itself: what is bound to it, all its members hold.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{GroupId, ProjectId, TenantId, Timestamp, UserId};

/// Most members of a group. What is bound to a group changes for each of them at once.
pub const MAX_MEMBERS: usize = 1000;

/// A group of a tenant's users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Project of its tenant.
    pub project_id: ProjectId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its name, unique in the tenant.
    pub name: String,
    /// Free text.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A group to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Group`")]
pub struct NewGroup {
    pub id: GroupId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub name: String,
    pub description: String,
}

/// A user in a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupMember {
    /// The group.
    pub group_id: GroupId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Project of its tenant.
    pub project_id: ProjectId,
    /// The user.
    pub user_id: UserId,
    /// Since when.
    pub added_at: Timestamp,
}
