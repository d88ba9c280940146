//! Roles and who has them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Version;
use crate::{
    GroupId, OrgUnitId, Permission, ProjectId, RoleBindingId, RoleId, TenantId, Timestamp, UserId, snapshot::RoleScope,
};

/// A named set of permissions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// The tenant whose own role it is; none for a built-in.
    pub tenant_id: Option<TenantId>,
    /// Where it counts.
    pub scope: RoleScope,
    /// Its name, unique in the tenant and scope.
    pub name: String,
    /// Free text.
    pub description: String,
    /// What it grants.
    pub permissions: Vec<Permission>,
    /// Holders administer the tenant.
    pub admin: bool,
    /// Holders administer the platform.
    pub super_admin: bool,
    /// Made at the start; kept as the release has it.
    pub builtin: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A role to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Role`")]
pub struct NewRole {
    pub id: RoleId,
    pub tenant_id: Option<TenantId>,
    pub scope: RoleScope,
    pub name: String,
    pub description: String,
    pub permissions: Vec<Permission>,
    pub admin: bool,
    pub super_admin: bool,
}

/// Who holds a role.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "id")]
pub enum RoleSubject {
    /// A user.
    User(UserId),
    /// A group.
    Group(GroupId),
    /// An API key.
    ApiKey(Uuid),
}

/// A role given to a subject, in a tenant or one of its units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleBinding {
    /// Its id.
    pub id: RoleBindingId,
    /// Which role.
    pub role_id: RoleId,
    /// To whom.
    pub subject: RoleSubject,
    /// Project of the tenant.
    pub project_id: ProjectId,
    /// In which tenant.
    pub tenant_id: TenantId,
    /// Only in this unit.
    pub ou_id: Option<OrgUnitId>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A role binding to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `RoleBinding`")]
pub struct NewRoleBinding {
    pub id: RoleBindingId,
    pub role_id: RoleId,
    pub subject: RoleSubject,
    pub project_id: ProjectId,
    pub tenant_id: TenantId,
    pub ou_id: Option<OrgUnitId>,
}

/// The built-in roles, by id. Every tenant has them; they are ensured at every start.
pub mod builtin {
    use super::{NewRole, Permission, RoleId, RoleScope, Uuid};

    macro_rules! roles {
        ($($(#[$doc:meta])* $const:ident = $number:literal, $name:literal, $scope:ident, admin: $admin:literal,
            super_admin: $super:literal, [$($permission:literal),*];)*) => {
            $($(#[$doc])* pub const $const: RoleId = RoleId::new(Uuid::from_u128($number));)*

            /// All of them, as this release has them.
            pub fn all() -> Vec<NewRole> {
                vec![$(NewRole {
                    id: $const,
                    tenant_id: None,
                    scope: RoleScope::$scope,
                    name: $name.into(),
                    description: String::new(),
                    permissions: grants(&[$($permission),*]),
                    admin: $admin,
                    super_admin: $super,
                }),*]
            }
        };
    }

    roles! {
        /// Administers the platform.
        PLATFORM_ADMIN = 0x101, "platform_admin", Platform, admin: false, super_admin: true, ["*:*:*"];
        /// Owns the tenant.
        OWNER = 0x102, "owner", Tenant, admin: true, super_admin: false, ["tenant:*"];
        /// Administers the tenant.
        ADMIN = 0x103, "admin", Tenant, admin: true, super_admin: false, ["tenant:*"];
        /// Administers the tenant's users and sign-in.
        IT_ADMIN = 0x104, "it_admin", Tenant, admin: false, super_admin: false,
            ["tenant:user:*", "tenant:role-binding:*", "tenant:org-unit:*", "tenant:session:*", "tenant:org-unit-member:*",
             "tenant:group:*", "tenant:invitation:*"];
        /// Works in the tenant.
        MEMBER = 0x105, "member", Tenant, admin: false, super_admin: false, [];
        /// Visits the tenant.
        GUEST = 0x106, "guest", Tenant, admin: false, super_admin: false, [];
        /// Reads everything of the tenant's administration, changes nothing.
        AUDITOR = 0x107, "auditor", Tenant, admin: false, super_admin: false,
            ["tenant:user:list", "tenant:user:get", "tenant:role:list", "tenant:role:get", "tenant:role-binding:list",
             "tenant:menu:list", "tenant:menu:get", "tenant:org-unit:list", "tenant:org-unit:get", "tenant:audit:list", "tenant:audit:export",
             "tenant:audit:verify", "tenant:webhook:list", "tenant:webhook:get", "tenant:decision:get",
             "tenant:session:list", "tenant:entitlement:list", "tenant:product:list", "tenant:org-unit-member:list",
             "tenant:group:list", "tenant:group:get", "tenant:invitation:list"];
        /// Administers one unit: may do everything on its routes, see `UnitRole`.
        OU_ADMIN = 0x108, "ou_admin", Ou, admin: false, super_admin: false, [];
        /// Reads one unit: may read everything on its routes, see `UnitRole`.
        OU_AUDITOR = 0x109, "ou_auditor", Ou, admin: false, super_admin: false, [];
        /// Works in one unit: explicit permissions only.
        OU_DEFAULT = 0x10a, "ou_default", Ou, admin: false, super_admin: false, [];
    }

    /// The texts are constants of this file; a test reads each of them.
    fn grants(texts: &[&str]) -> Vec<Permission> {
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    #[test]
    fn every_built_in_grant_is_a_permission() {
        let admin = all().into_iter().find(|r| r.id == OWNER).unwrap();
        assert_eq!(admin.permissions.len(), 1);
        let auditor = all().into_iter().find(|r| r.id == AUDITOR).unwrap();
        assert_eq!(auditor.permissions.len(), 22);
        let it_admin = all().into_iter().find(|r| r.id == IT_ADMIN).unwrap();
        assert_eq!(it_admin.permissions.len(), 7);
        let platform = all().into_iter().find(|r| r.id == PLATFORM_ADMIN).unwrap();
        assert_eq!(platform.permissions.len(), 1);
    }
}
