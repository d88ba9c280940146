//! Organisational units of a tenant, and who works in them.

use serde::{Deserialize, Serialize};

use super::{Version, builtin};
use crate::{OrgUnitId, ProjectId, RoleId, TenantId, Timestamp, UserId};

/// An organisational unit of a tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrgUnit {
    /// Its id.
    pub id: OrgUnitId,
    /// Project of its tenant.
    pub project_id: ProjectId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its name, unique in the tenant while it lives.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Who made it; none for what the system made.
    pub created_by: Option<UserId>,
    /// When it was deleted; its roles then grant nothing, and the edge does not know it.
    pub deleted_at: Option<Timestamp>,
    /// When it is removed for good, once it is deleted. Until then it can be restored.
    pub purge_after: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// An organisational unit to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `OrgUnit`")]
pub struct NewOrgUnit {
    pub id: OrgUnitId,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub name: String,
    pub description: String,
    pub created_by: Option<UserId>,
}

/// What somebody is in a unit: one of the built-in roles of units, of which each has at most one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnitRole {
    /// May do everything on the unit's routes, and has a say over its members.
    OuAdmin,
    /// May read everything on the unit's routes.
    OuAuditor,
    /// Works in it: what its roles grant, and no more.
    OuDefault,
}

impl UnitRole {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OuAdmin, Self::OuAuditor, Self::OuDefault];

    /// The built-in role.
    pub const fn id(self) -> RoleId {
        match self {
            Self::OuAdmin => builtin::OU_ADMIN,
            Self::OuAuditor => builtin::OU_AUDITOR,
            Self::OuDefault => builtin::OU_DEFAULT,
        }
    }

    /// Which of them a role is; none for a role of a tenant's own.
    pub fn of(id: RoleId) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.id() == id)
    }
}

/// A user who is in a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitMember {
    /// The user.
    pub user_id: UserId,
    /// The unit.
    pub ou_id: OrgUnitId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Project of its tenant.
    pub project_id: ProjectId,
    /// Name to sign in with.
    pub username: Option<String>,
    /// Email.
    pub email: Option<String>,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// What they are in it.
    pub role: UnitRole,
    /// Since when.
    pub since: Timestamp,
}
