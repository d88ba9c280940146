//! Role bindings, and what a principal may do by them.

use authz::{
    Authorized, Scope,
    action::{ManagePermissionCache, ManageRoleBindings},
};
use domain::{
    Fact, OrgUnitId, Position, RoleBindingId, RoleId, TenantId, UserId,
    fact::Bindings,
    model::{MembershipStatus, NewRoleBinding, RoleBinding, RoleSubject, UserStatus},
    snapshot::RoleScope,
};
use uuid::Uuid;

use super::{
    break_glass, membership::Memberships, needed, one, page::Page, project::Projects, role::Roles, user::Users, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::facts,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM role_bindings";

fn read(row: &Row) -> Result<RoleBinding, StoreError> {
    let id: Uuid = row.at("subject_id")?;
    let subject = match row.at::<String>("subject_kind")?.as_str() {
        "user" => RoleSubject::User(id.into()),
        "group" => RoleSubject::Group(id),
        "api_key" => RoleSubject::ApiKey(id),
        other => return Err(StoreError::corrupt("subject_kind", other)),
    };
    Ok(RoleBinding {
        id: row.at("id")?,
        role_id: row.at("role_id")?,
        subject,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        ou_id: row.at("ou_id")?,
        created_at: row.at("created_at")?,
    })
}

fn subject(of: RoleSubject) -> (&'static str, Uuid) {
    match of {
        RoleSubject::User(id) => ("user", id.uuid()),
        RoleSubject::Group(id) => ("group", id),
        RoleSubject::ApiKey(id) => ("api_key", id),
    }
}

/// Reads of role bindings.
pub trait RoleBindings: Reader {
    /// The binding of this id.
    fn role_binding(&self, id: RoleBindingId) -> impl Future<Output = Result<Option<RoleBinding>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// Bindings in a tenant.
    fn role_bindings(
        &self,
        tenant: TenantId,
        page: Page,
    ) -> impl Future<Output = Result<Vec<RoleBinding>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
            self.view().await?.all(&sql, values![tenant, page.start(), page.limit()], read).await
        }
    }

    /// What a user may do in a tenant, with the log's head of the state it was read from. Roles in units that were
    /// deleted are not part of it.
    fn bindings(&self, tenant: TenantId, user: UserId) -> impl Future<Output = Result<Bindings, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let Position { history, seq: as_of, .. } = facts::head(&view).await?;
            let membership = view.membership(tenant, user).await?;
            let known = view.user(user).await?;
            let active = membership.is_some_and(|it| it.status == MembershipStatus::Active)
                && known.is_some_and(|it| it.status == UserStatus::Active);
            let sql = "SELECT role_bindings.role_id, role_bindings.ou_id FROM role_bindings
                       LEFT JOIN org_units ON org_units.id = role_bindings.ou_id
                       WHERE role_bindings.tenant_id = $1 AND subject_kind = 'user' AND subject_id = $2
                           AND (role_bindings.ou_id IS NULL OR org_units.deleted_at IS NULL)
                       ORDER BY role_bindings.role_id, role_bindings.ou_id";
            let read = |row: &Row| Ok((row.at::<RoleId>("role_id")?, row.at::<Option<OrgUnitId>>("ou_id")?));
            let mut bindings = Bindings { history, as_of, active, roles: Vec::new(), unit_roles: Vec::new() };
            for (role, unit) in view.all(sql, values![tenant, user], read).await? {
                match unit {
                    Some(unit) => bindings.unit_roles.push((unit, role)),
                    None => bindings.roles.push(role),
                }
            }
            Ok(bindings)
        }
    }
}
impl<R: Reader> RoleBindings for R {}

impl Tx {
    /// Says that nobody's cached bindings may be used any more: each is read anew.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for who may not do so everywhere.
    pub async fn drop_cached_bindings(
        &self,
        by: &Authorized<ManagePermissionCache>,
    ) -> Result<Unaudited<()>, StoreError> {
        within(by, Scope::Platform)?;
        self.work.insert_fact(&Fact::AllBindingsChanged).await?;
        Ok(self.unaudited(()))
    }

    /// Gives a role.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `role_bindings(role_id)` when it is held already; [`StoreError::Rule`]
    /// (`role_binding_scope`) for another tenant's role, a unit role without unit or the reverse, a role of the
    /// platform outside the root project, or a user who is no member; [`StoreError::NotFound`] without such a role.
    pub async fn insert_role_binding(
        &self,
        by: &Authorized<ManageRoleBindings>,
        new: NewRoleBinding,
    ) -> Result<Unaudited<RoleBinding>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let refused = |detail: &str| Err(StoreError::rule("role_binding_scope", detail));
        let role = needed(self.role(new.role_id).await?, "role")?;
        if role.tenant_id.is_some_and(|tenant| tenant != new.tenant_id) {
            return Err(StoreError::NotFound { what: "role" });
        }
        match (role.scope, new.ou_id) {
            (RoleScope::Ou, None) => return refused("a role of units is given in one"),
            (RoleScope::Tenant | RoleScope::Platform, Some(_)) => return refused("the role is not one of units"),
            (RoleScope::Ou, Some(_)) | (RoleScope::Tenant, None) => {}
            (RoleScope::Platform, None) => {
                let project = needed(self.project(new.project_id).await?, "project")?;
                if !project.is_root() || by.scope() != Scope::Platform {
                    return refused("roles of the platform are given in the root project, by its staff");
                }
            }
        }
        if let RoleSubject::User(user) = new.subject
            && self.membership(new.tenant_id, user).await?.is_none()
        {
            return refused("the user is no member of the tenant");
        }
        let binding = RoleBinding {
            id: new.id,
            role_id: new.role_id,
            subject: new.subject,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            ou_id: new.ou_id,
            created_at: self.work.now,
        };
        let (kind, subject_id) = subject(binding.subject);
        self.work
            .view
            .execute(
                "INSERT INTO role_bindings (id, role_id, subject_kind, subject_id, project_id, tenant_id, ou_id,
                     created_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                values![
                    binding.id,
                    binding.role_id,
                    kind,
                    subject_id,
                    binding.project_id,
                    binding.tenant_id,
                    binding.ou_id,
                    binding.created_at,
                ],
            )
            .await?;
        self.tell(&binding).await?;
        Ok(self.unaudited(binding))
    }

    /// Takes a role back.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_role_binding(
        &self,
        by: &Authorized<ManageRoleBindings>,
        id: RoleBindingId,
    ) -> Result<Unaudited<RoleBinding>, StoreError> {
        let binding = needed(self.role_binding(id).await?, "role-binding")?;
        within(by, Scope::Tenant(binding.project_id, binding.tenant_id))?;
        if let RoleSubject::User(user) = binding.subject {
            break_glass::keep(&self.work.view, user).await?;
        }
        one(&self.work.view, "role-binding", "DELETE FROM role_bindings WHERE id = $1", values![id]).await?;
        self.tell(&binding).await?;
        Ok(self.unaudited(binding))
    }

    async fn tell(&self, binding: &RoleBinding) -> Result<(), StoreError> {
        match binding.subject {
            RoleSubject::User(user) => {
                self.work.insert_fact(&Fact::BindingsChanged { tenant: binding.tenant_id, user }).await
            }
            // Nothing caches these yet: groups and API keys have no principals at the edge.
            RoleSubject::Group(_) | RoleSubject::ApiKey(_) => Ok(()),
        }
    }
}
