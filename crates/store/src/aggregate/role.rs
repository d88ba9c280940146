//! Roles.

use authz::{Authorized, PermissionSet, Scope, action::ManageRoles};
use domain::{
    ProjectId, RoleId, TenantId,
    model::{NewRole, Role, Version},
    snapshot::RoleScope,
};

use super::{
    decision::among,
    list::{Filter, Listing, Sortable, Takes, folded, sealed::Cells},
    needed, one,
    page::Page,
    swap,
    tenant::Tenants,
    within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM roles";

fn read(row: &Row) -> Result<Role, StoreError> {
    Ok(Role {
        id: row.at("id")?,
        tenant_id: row.at("tenant_id")?,
        scope: row.word("scope")?,
        name: row.at("name")?,
        description: row.at("description")?,
        permissions: row.json("permissions")?,
        admin: row.at("admin")?,
        super_admin: row.at("super_admin")?,
        builtin: row.at("builtin")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of the roles a tenant has: its own and the built-in ones.
#[derive(Debug)]
pub enum RoleList {}

impl Listing for RoleList {
    type Item = Role;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::search(
            "Whose name holds this, in any case.",
            "(name_fold LIKE ? ESCAPE '!' OR name_fold = '' AND LOWER(name) LIKE ? ESCAPE '!')",
        ),
        Filter::new("scope", "Of this scope.", Takes::Word(&["platform", "tenant", "ou"]), "scope = ?"),
        Filter::new("builtin", "Built in, or the tenant's own.", Takes::Flag, "builtin = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("name", "name_fold"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE (tenant_id = $1 OR tenant_id IS NULL)")
    }
    fn item(row: &Cells<'_>) -> Result<Role, StoreError> {
        read(row.0)
    }
}

/// Reads of roles.
pub trait Roles: Reader {
    /// The roles of these ids, in no order; those that are not there are left out.
    fn roles_by_ids(&self, ids: &[RoleId]) -> impl Future<Output = Result<Vec<Role>, StoreError>> + Send {
        async move {
            let asked = ids.iter().copied().map(Value::from).collect();
            among(&self.view().await?, &format!("{SELECT} WHERE id IN"), asked, read).await
        }
    }

    /// The role of this id.
    fn role(&self, id: RoleId) -> impl Future<Output = Result<Option<Role>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// The roles a tenant has: its own and the built-in ones.
    fn roles_of_tenant(
        &self,
        tenant: TenantId,
        page: Page,
    ) -> impl Future<Output = Result<Vec<Role>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE (tenant_id = $1 OR tenant_id IS NULL) AND id > $2 ORDER BY id LIMIT $3");
            self.view().await?.all(&sql, values![tenant, page.start(), page.limit()], read).await
        }
    }

    /// The built-in roles.
    fn builtin_roles(&self) -> impl Future<Output = Result<Vec<Role>, StoreError>> + Send {
        async move {
            self.view().await?.all(&format!("{SELECT} WHERE tenant_id IS NULL ORDER BY id"), Vec::new(), read).await
        }
    }
}
impl<R: Reader> Roles for R {}

impl Tx {
    /// Makes a tenant's own role.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `roles(name)`; [`StoreError::OutOfScope`] for a role of no tenant;
    /// [`StoreError::Rule`] (`role_scope`) for one of the platform.
    pub async fn insert_role(&self, by: &Authorized<ManageRoles>, new: NewRole) -> Result<Unaudited<Role>, StoreError> {
        let tenant = new.tenant_id.ok_or(StoreError::OutOfScope)?;
        if new.scope == RoleScope::Platform || new.super_admin {
            return Err(StoreError::rule("role_scope", "a tenant has no roles of the platform"));
        }
        let project = needed(self.tenant(tenant).await?, "tenant")?.project_id;
        within(by, Scope::Tenant(project, tenant))?;
        self.add_role(Some(project), new, false).await
    }

    /// Makes or mends a built-in role; none when it is as it should be.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for a role of a tenant, or within one.
    pub async fn ensure_builtin_role(
        &self,
        by: &Authorized<ManageRoles>,
        wanted: NewRole,
    ) -> Result<Option<Unaudited<Role>>, StoreError> {
        within(by, Scope::Platform)?;
        if wanted.tenant_id.is_some() {
            return Err(StoreError::OutOfScope);
        }
        let Some(role) = self.role(wanted.id).await? else {
            return self.add_role(None, wanted, true).await.map(Some);
        };
        let mended = Role {
            scope: wanted.scope,
            name: wanted.name,
            description: wanted.description,
            permissions: wanted.permissions,
            admin: wanted.admin,
            super_admin: wanted.super_admin,
            ..role.clone()
        };
        if mended == role { Ok(None) } else { self.save_role(&role, mended).await.map(Some) }
    }

    /// Changes a tenant's own role: name, description, permissions, whether its holders administer the tenant.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for a built-in role; [`StoreError::VersionMismatch`], [`StoreError::NotFound`],
    /// [`StoreError::Conflict`].
    pub async fn update_role(
        &self,
        by: &Authorized<ManageRoles>,
        changed: Role,
    ) -> Result<Unaudited<Role>, StoreError> {
        let before = self.own_role(by, changed.id).await?;
        let changed = Role {
            tenant_id: before.tenant_id,
            scope: before.scope,
            super_admin: before.super_admin,
            builtin: before.builtin,
            ..changed
        };
        self.save_role(&before, changed).await
    }

    /// Deletes a tenant's own role.
    ///
    /// # Errors
    /// [`StoreError::Reference`] while somebody has it; [`StoreError::OutOfScope`], [`StoreError::NotFound`].
    pub async fn delete_role(&self, by: &Authorized<ManageRoles>, id: RoleId) -> Result<Unaudited<Role>, StoreError> {
        let role = self.own_role(by, id).await?;
        one(&self.work.view, "role", "DELETE FROM roles WHERE id = $1", values![id]).await?;
        publish::role(&self.work, id, Effect::Narrows).await?;
        Ok(self.unaudited(role))
    }

    async fn own_role(&self, by: &Authorized<ManageRoles>, id: RoleId) -> Result<Role, StoreError> {
        let role = needed(self.role(id).await?, "role")?;
        let tenant = role.tenant_id.ok_or(StoreError::OutOfScope)?;
        let project = needed(self.tenant(tenant).await?, "role")?.project_id;
        within(by, Scope::Tenant(project, tenant))?;
        Ok(role)
    }

    async fn add_role(
        &self,
        project: Option<ProjectId>,
        new: NewRole,
        builtin: bool,
    ) -> Result<Unaudited<Role>, StoreError> {
        let now = self.work.now;
        let role = Role {
            id: new.id,
            tenant_id: new.tenant_id,
            scope: new.scope,
            name: new.name,
            description: new.description,
            permissions: new.permissions,
            admin: new.admin,
            super_admin: new.super_admin,
            builtin,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let mut all = values![role.id, project, role.tenant_id, role.builtin, now];
        all.extend(columns(&role)?);
        self.work
            .view
            .execute(
                "INSERT INTO roles (id, project_id, tenant_id, builtin, created_at, updated_at, scope, name,
                     description, permissions, admin, super_admin, name_fold, version)
                 VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $9, $10, $11, $12, 1)",
                all,
            )
            .await?;
        publish::role(&self.work, role.id, Effect::Widens).await?;
        Ok(self.unaudited(role))
    }

    async fn save_role(&self, before: &Role, mut changed: Role) -> Result<Unaudited<Role>, StoreError> {
        let mut all = columns(&changed)?;
        all.push(self.work.now.into());
        let assignments = "scope = $3, name = $4, description = $5, permissions = $6, admin = $7, super_admin = $8,
             name_fold = $9, updated_at = $10";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "role", "roles", key, assignments, all).await?;
        changed.updated_at = self.work.now;
        let effect = if narrows(before, &changed) { Effect::Narrows } else { Effect::Widens };
        publish::role(&self.work, changed.id, effect).await?;
        Ok(self.unaudited(changed))
    }
}

/// Whether a role lost something: a grant, or what its holders are.
fn narrows(before: &Role, after: &Role) -> bool {
    let held = PermissionSet::new(&after.permissions);
    (before.admin && !after.admin)
        || (before.super_admin && !after.super_admin)
        || before.scope != after.scope
        || before.name != after.name
        || !before.permissions.iter().all(|permission| held.covers(permission))
}

/// From `scope` to `name_fold`, in the order of the statements above.
fn columns(it: &Role) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        Value::word(&it.scope),
        (&it.name).into(),
        (&it.description).into(),
        Value::json(&it.permissions)?,
        it.admin.into(),
        it.super_admin.into(),
        folded(&it.name),
    ])
}
