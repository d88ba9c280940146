//! Groups and their members. Whatever changes who holds a role by a group leaves a fact for each of them.

use authz::{Authorized, Scope, action::ManageGroups};
use domain::{
    Fact, GroupId, TenantId, UserId,
    model::{Group, GroupMember, NewGroup, RoleSubject, Version, group::MAX_MEMBERS},
};

use super::{
    binding,
    list::{Filter, Listing, Sortable, Takes, folded, sealed::Cells},
    membership::Memberships,
    needed, one, swap, user, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM user_groups";

fn read(row: &Row) -> Result<Group, StoreError> {
    Ok(Group {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        name: row.at("name")?,
        description: row.at("description")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

fn read_member(row: &Row) -> Result<GroupMember, StoreError> {
    Ok(GroupMember {
        group_id: row.at("group_id")?,
        tenant_id: row.at("tenant_id")?,
        project_id: row.at("project_id")?,
        user_id: row.at("user_id")?,
        added_at: row.at("added_at")?,
    })
}

/// The list of a tenant's groups.
#[derive(Debug)]
pub enum GroupList {}

impl Listing for GroupList {
    type Item = Group;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::search(
            "Whose name holds this, in any case.",
            "(name_fold LIKE ? ESCAPE '!' OR name_fold = '' AND LOWER(name) LIKE ? ESCAPE '!')",
        ),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("name", "name_fold"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<Group, StoreError> {
        read(row.0)
    }
}

/// The list of who is in a group.
#[derive(Debug)]
pub enum GroupMemberList {}

impl Listing for GroupMemberList {
    type Item = GroupMember;
    type Of = (TenantId, GroupId);
    const FILTERS: &'static [Filter] = &[
        user::CALLED,
        Filter::new("user_id", "This user.", Takes::Id, "group_members.user_id = ?"),
        Filter::since("group_members.added_at >= ?"),
        Filter::until("group_members.added_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("name", "users.name_fold"), Sortable::time("created_at", "group_members.added_at")];
    const ID: &'static str = "group_members.user_id";
    fn sql() -> String {
        "SELECT group_members.*, users.name_fold FROM group_members JOIN users ON users.id = group_members.user_id
         WHERE group_members.tenant_id = $1 AND group_members.group_id = $2"
            .into()
    }
    fn item(row: &Cells<'_>) -> Result<GroupMember, StoreError> {
        read_member(row.0)
    }
}

/// Reads of groups.
pub trait Groups: Reader {
    /// A tenant's group.
    fn group(&self, tenant: TenantId, id: GroupId) -> impl Future<Output = Result<Option<Group>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND id = $2");
            self.view().await?.first(&sql, values![tenant, id], read).await
        }
    }

    /// A user's membership in a group.
    fn group_member(
        &self,
        (tenant, group): (TenantId, GroupId),
        user: UserId,
    ) -> impl Future<Output = Result<Option<GroupMember>, StoreError>> + Send {
        async move {
            let sql = "SELECT * FROM group_members WHERE tenant_id = $1 AND group_id = $2 AND user_id = $3";
            self.view().await?.first(sql, values![tenant, group, user], read_member).await
        }
    }

    /// Whether an emergency administrator is in a group.
    fn has_break_glass(
        &self,
        (tenant, group): (TenantId, GroupId),
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let sql = "SELECT break_glass.user_id FROM break_glass
                       JOIN group_members ON group_members.user_id = break_glass.user_id
                       WHERE group_members.tenant_id = $1 AND group_members.group_id = $2 LIMIT 1";
            Ok(!self.view().await?.query(sql, values![tenant, group]).await?.is_empty())
        }
    }
}
impl<R: Reader> Groups for R {}

impl Tx {
    /// Makes a group.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `user_groups(name)`; [`StoreError::Reference`] without its tenant.
    pub async fn insert_group(
        &self,
        by: &Authorized<ManageGroups>,
        new: NewGroup,
    ) -> Result<Unaudited<Group>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let now = self.work.now;
        let group = Group {
            id: new.id,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            name: new.name,
            description: new.description,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let sql = "INSERT INTO user_groups (id, project_id, tenant_id, name, description, name_fold, created_at,
                 updated_at, version)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 1)";
        let mut values = values![group.id, group.project_id, group.tenant_id, &group.name, &group.description];
        values.extend([folded(&group.name), now.into()]);
        self.work.view.execute(sql, values).await?;
        Ok(self.unaudited(group))
    }

    /// Changes a group's name and description.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `user_groups(name)`; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_group(
        &self,
        by: &Authorized<ManageGroups>,
        changed: Group,
    ) -> Result<Unaudited<Group>, StoreError> {
        let before = self.group_within(by, (changed.tenant_id, changed.id)).await?;
        let kept = Group {
            name: changed.name,
            description: changed.description,
            version: changed.version,
            updated_at: self.work.now,
            ..before
        };
        let values = vec![(&kept.name).into(), (&kept.description).into(), folded(&kept.name), kept.updated_at.into()];
        let assignments = "name = $3, description = $4, name_fold = $5, updated_at = $6";
        let key = (kept.id.uuid(), kept.version);
        let version = swap(&self.work.view, "group", "user_groups", key, assignments, values).await?;
        Ok(self.unaudited(Group { version, ..kept }))
    }

    /// Deletes a group with what is bound to it: its members hold that no more.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_group(
        &self,
        by: &Authorized<ManageGroups>,
        tenant: TenantId,
        id: GroupId,
    ) -> Result<Unaudited<Group>, StoreError> {
        let group = self.group_within(by, (tenant, id)).await?;
        binding::subject_changed(&self.work, tenant, RoleSubject::Group(id)).await?;
        let view = &self.work.view;
        let sql = "DELETE FROM role_bindings WHERE tenant_id = $1 AND subject_kind = 'group' AND subject_id = $2";
        view.execute(sql, values![tenant, id]).await?;
        one(view, "group", "DELETE FROM user_groups WHERE id = $1", values![id]).await?;
        Ok(self.unaudited(group))
    }

    /// Puts a member of the tenant into a group.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `group_members(user_id)`; [`StoreError::NotFound`] without such a group, or a member of
    /// the tenant; [`StoreError::Rule`] (`group_full`) for one more than [`MAX_MEMBERS`].
    pub async fn insert_group_member(
        &self,
        by: &Authorized<ManageGroups>,
        (tenant, group): (TenantId, GroupId),
        user: UserId,
    ) -> Result<Unaudited<GroupMember>, StoreError> {
        let group = self.group_within(by, (tenant, group)).await?;
        needed(self.membership(tenant, user).await?, "user")?;
        let view = &self.work.view;
        let sql = "SELECT COUNT(*) AS members FROM group_members WHERE group_id = $1";
        let members = view.first(sql, values![group.id], |row| row.at::<u64>("members")).await?.unwrap_or_default();
        if usize::try_from(members).is_ok_and(|members| members >= MAX_MEMBERS) {
            return Err(StoreError::rule("group_full", format!("the group has {MAX_MEMBERS} members already")));
        }
        let member = GroupMember {
            group_id: group.id,
            tenant_id: tenant,
            project_id: group.project_id,
            user_id: user,
            added_at: self.work.now,
        };
        let sql = "INSERT INTO group_members (group_id, user_id, project_id, tenant_id, added_at)
                   VALUES ($1, $2, $3, $4, $5)";
        view.execute(sql, values![group.id, user, group.project_id, tenant, member.added_at]).await?;
        self.work.insert_fact(&Fact::BindingsChanged { tenant, user }).await?;
        Ok(self.unaudited(member))
    }

    /// Takes a user out of a group.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_group_member(
        &self,
        by: &Authorized<ManageGroups>,
        (tenant, group): (TenantId, GroupId),
        user: UserId,
    ) -> Result<Unaudited<GroupMember>, StoreError> {
        self.group_within(by, (tenant, group)).await?;
        let member = needed(self.group_member((tenant, group), user).await?, "group-member")?;
        let sql = "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2";
        one(&self.work.view, "group-member", sql, values![group, user]).await?;
        self.work.insert_fact(&Fact::BindingsChanged { tenant, user }).await?;
        Ok(self.unaudited(member))
    }

    async fn group_within(
        &self,
        by: &Authorized<ManageGroups>,
        (tenant, id): (TenantId, GroupId),
    ) -> Result<Group, StoreError> {
        let group = needed(self.group(tenant, id).await?, "group")?;
        within(by, Scope::Tenant(group.project_id, tenant))?;
        Ok(group)
    }
}
