//! Role bindings, and what a principal may do by them.

use authz::{
    Authorized, Scope,
    action::{ManagePermissionCache, ManageRoleBindings},
};
use domain::{
    Fact, GroupId, OrgUnitId, Position, RoleBindingId, RoleId, TenantId, Timestamp, UserId,
    fact::Bindings,
    model::{MembershipStatus, NewRoleBinding, RoleBinding, RoleSubject, UserStatus},
    snapshot::RoleScope,
};
use uuid::Uuid;

use super::{
    break_glass,
    group::Groups,
    identity_verification::IdentityVerifications,
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    membership::Memberships,
    needed, one,
    org_unit::OrgUnits,
    page::Page,
    project::Projects,
    role::Roles,
    within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::{
        facts,
        readers::{self, READS_TENANT_BINDINGS},
    },
    tx::{Reader, Work},
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM role_bindings";

fn read(row: &Row) -> Result<RoleBinding, StoreError> {
    let id: Uuid = row.at("subject_id")?;
    let subject = match row.at::<String>("subject_kind")?.as_str() {
        "user" => RoleSubject::User(id.into()),
        "group" => RoleSubject::Group(id.into()),
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
        RoleSubject::Group(id) => ("group", id.uuid()),
        RoleSubject::ApiKey(id) => ("api_key", id),
    }
}

/// The list of the bindings in a tenant.
#[derive(Debug)]
pub enum RoleBindingList {}

impl Listing for RoleBindingList {
    type Item = RoleBinding;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::new("role_id", "Of this role.", Takes::Id, "role_id = ?"),
        Filter::new("user_id", "To this user.", Takes::Id, "subject_kind = 'user' AND subject_id = ?"),
        Filter::new("group_id", "To this group.", Takes::Id, "subject_kind = 'group' AND subject_id = ?"),
        Filter::new("ou_id", "In this organisational unit.", Takes::Id, "ou_id = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<RoleBinding, StoreError> {
        read(row.0)
    }
}

/// Which administrators count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Administrators {
    /// All of them.
    Any,
    /// Those who can sign in here now: with a password that need not be changed first.
    WithPassword,
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

    /// What is bound to a group, in the whole tenant and in its units.
    fn role_bindings_of_group(
        &self,
        tenant: TenantId,
        group: GroupId,
    ) -> impl Future<Output = Result<Vec<RoleBinding>, StoreError>> + Send {
        async move {
            let sql =
                format!("{SELECT} WHERE tenant_id = $1 AND subject_kind = 'group' AND subject_id = $2 ORDER BY id");
            self.view().await?.all(&sql, values![tenant, group], read).await
        }
    }

    /// Whether a tenant has somebody active who holds a role of administrators in all of it (in the platform's own: of those
    /// of its staff), of their own or by a group: the emergency administrator apart.
    fn is_administered(
        &self,
        tenant: TenantId,
        who: Administrators,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let administers = "JOIN roles ON roles.id = role_bindings.role_id
                 JOIN memberships ON memberships.tenant_id = role_bindings.tenant_id AND memberships.user_id = {holder}
                 JOIN users ON users.id = memberships.user_id
                 WHERE role_bindings.tenant_id = $1 AND role_bindings.ou_id IS NULL
                     AND (roles.admin AND roles.scope = 'tenant' OR roles.super_admin)
                     AND memberships.status = 'active' AND users.status = 'active' AND NOT users.is_break_glass
                     AND NOT EXISTS (SELECT 1 FROM machine_clients WHERE machine_clients.user_id = users.id)";
            let administers = match who {
                Administrators::Any => administers.to_owned(),
                Administrators::WithPassword => {
                    format!("{administers} AND users.password_hash IS NOT NULL AND NOT users.must_change_password")
                }
            };
            let of_user = administers.replace("{holder}", "role_bindings.subject_id");
            let of_member = administers.replace("{holder}", "group_members.user_id");
            let sql = format!(
                "SELECT memberships.id FROM role_bindings {of_user} AND role_bindings.subject_kind = 'user'
                 UNION ALL
                 SELECT memberships.id FROM role_bindings
                 JOIN group_members ON group_members.group_id = role_bindings.subject_id {of_member}
                     AND role_bindings.subject_kind = 'group'
                 LIMIT 1"
            );
            let found = self.view().await?.first(&sql, values![tenant], |row| row.at::<Uuid>("id")).await?;
            Ok(found.is_some())
        }
    }

    /// Whether an emergency administrator holds a role, of their own or by a group.
    fn is_held_by_break_glass(&self, role: RoleId) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move {
            let sql = "SELECT role_bindings.id FROM break_glass
                       JOIN role_bindings ON role_bindings.tenant_id = break_glass.tenant_id
                       WHERE role_bindings.role_id = $1 AND (
                           subject_kind = 'user' AND subject_id = break_glass.user_id
                           OR subject_kind = 'group' AND EXISTS (
                               SELECT 1 FROM group_members WHERE group_members.group_id = subject_id
                                   AND group_members.user_id = break_glass.user_id))
                       LIMIT 1";
            Ok(!self.view().await?.query(sql, values![role]).await?.is_empty())
        }
    }

    /// What a user may do in a tenant, of their own and by groups, with the log's head of the state it was read from. Roles in
    /// units that were deleted are not part of it.
    fn bindings(&self, tenant: TenantId, user: UserId) -> impl Future<Output = Result<Bindings, StoreError>> + Send {
        async move {
            // One statement, so that what is read is of the state whose head it carries where each statement sees another.
            let sql = "SELECT log_head.history, log_head.seq, log_head.tag, memberships.status AS membership,
                           users.status AS known, held.role_id, held.ou_id
                       FROM log_head
                       LEFT JOIN memberships ON memberships.tenant_id = $1 AND memberships.user_id = $2
                       LEFT JOIN users ON users.id = $2
                       LEFT JOIN (
                           SELECT role_bindings.role_id, role_bindings.ou_id FROM role_bindings
                           LEFT JOIN org_units ON org_units.id = role_bindings.ou_id
                           WHERE role_bindings.tenant_id = $1 AND subject_kind = 'user' AND subject_id = $2
                               AND (role_bindings.ou_id IS NULL OR org_units.deleted_at IS NULL)
                           UNION
                           SELECT role_bindings.role_id, role_bindings.ou_id FROM group_members
                           JOIN role_bindings ON role_bindings.tenant_id = group_members.tenant_id
                               AND subject_kind = 'group' AND subject_id = group_members.group_id
                           LEFT JOIN org_units ON org_units.id = role_bindings.ou_id
                           WHERE group_members.tenant_id = $1 AND group_members.user_id = $2
                               AND (role_bindings.ou_id IS NULL OR org_units.deleted_at IS NULL)
                       ) AS held ON TRUE
                       WHERE log_head.id = 1
                       ORDER BY held.role_id, held.ou_id";
            let rows = self.view().await?.query(sql, values![tenant, user]).await?;
            let first = rows.first().ok_or_else(|| StoreError::corrupt("log_head", "no row"))?;
            let Position { history, seq: as_of, .. } = facts::position(first)?;
            let active = first.word_opt("membership")? == Some(MembershipStatus::Active)
                && first.word_opt("known")? == Some(UserStatus::Active);
            let mut bindings = Bindings { history, as_of, active, roles: Vec::new(), unit_roles: Vec::new() };
            for row in &rows {
                match (row.at("role_id")?, row.at("ou_id")?) {
                    (Some(role), Some(unit)) => bindings.unit_roles.push((unit, role)),
                    (Some(role), None) => bindings.roles.push(role),
                    (None, _) => {}
                }
            }
            Ok(bindings)
        }
    }

    /// The same, as the edge is to know it: of who did not show a tenant who they are that demands it, nothing counts there.
    fn bindings_at_edge(
        &self,
        tenant: TenantId,
        user: UserId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Bindings, StoreError>> + Send {
        async move {
            // In this order, so that what changes in between is behind the head that they carry.
            let view = self.view().await?;
            let bindings = view.bindings(tenant, user).await?;
            let active = bindings.active && view.is_known_enough(tenant, user, now).await?;
            Ok(Bindings { active, ..bindings })
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
    /// platform outside the root project or for a group, or a user who is no member; [`StoreError::NotFound`] without such
    /// a role, unit or group.
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
        match new.subject {
            RoleSubject::User(user) if self.membership(new.tenant_id, user).await?.is_none() => {
                return refused("the user is no member of the tenant");
            }
            RoleSubject::Group(_) if role.scope == RoleScope::Platform => {
                return refused("roles of the platform are given to people");
            }
            RoleSubject::Group(group) => _ = needed(self.group(new.tenant_id, group).await?, "group")?,
            RoleSubject::User(_) | RoleSubject::ApiKey(_) => {}
        }
        if let Some(unit) = new.ou_id {
            needed(self.org_unit(new.tenant_id, unit).await?, "org-unit")?;
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
        subject_changed(&self.work, binding.tenant_id, binding.subject).await?;
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
        subject_changed(&self.work, binding.tenant_id, binding.subject).await?;
        Ok(self.unaudited(binding))
    }
}

/// Users each of whom is named; of more, their tenant is.
const NAMED: usize = 200;

/// Most facts left by one statement.
const FACTS: usize = 500;

/// Says that what somebody may do changed, or everybody in a group. Whoever comes into the group meanwhile collides with
/// this transaction: both are serializable.
pub(crate) async fn subject_changed(work: &Work, tenant: TenantId, subject: RoleSubject) -> Result<(), StoreError> {
    match subject {
        RoleSubject::User(user) => work.insert_fact(&Fact::BindingsChanged { tenant, user }).await,
        RoleSubject::Group(group) => {
            let sql = "SELECT user_id FROM group_members WHERE tenant_id = $1 AND group_id = $2";
            changed(work, tenant, (sql, values![tenant, group])).await
        }
        // Nothing caches these: an API key acts by what its owner holds.
        RoleSubject::ApiKey(_) => Ok(()),
    }
}

/// Says that what everybody may do in a tenant changed.
pub(crate) async fn tenant_changed(work: &Work, tenant: TenantId) -> Result<(), StoreError> {
    changed(work, tenant, ("SELECT user_id FROM memberships WHERE tenant_id = $1", values![tenant])).await
}

/// Says that what everybody may do changed who holds a role in a unit.
pub(crate) async fn unit_changed(work: &Work, tenant: TenantId, unit: OrgUnitId) -> Result<(), StoreError> {
    let sql = "SELECT subject_id AS user_id FROM role_bindings
               WHERE tenant_id = $1 AND ou_id = $2 AND subject_kind = 'user'
               UNION
               SELECT group_members.user_id FROM role_bindings
               JOIN group_members ON group_members.group_id = role_bindings.subject_id
               WHERE role_bindings.tenant_id = $1 AND role_bindings.ou_id = $2 AND subject_kind = 'group'";
    changed(work, tenant, (sql, values![tenant, unit])).await
}

/// Says that what these users may do changed: of each, or, of more than a few, of their tenant. Gateways that do not know
/// that fact are told of each, however many.
async fn changed(work: &Work, tenant: TenantId, (users, values): (&str, Vec<Value>)) -> Result<(), StoreError> {
    let some = format!("{users} ORDER BY user_id LIMIT {}", NAMED + 1);
    let mut found: Vec<UserId> = work.view.all(&some, values.clone(), |row| row.at("user_id")).await?;
    if found.len() > NAMED {
        if readers::all_read(work, READS_TENANT_BINDINGS).await? {
            return work.insert_fact(&Fact::TenantBindingsChanged { tenant }).await;
        }
        found = work.view.all(users, values, |row| row.at("user_id")).await?;
    }
    let facts: Vec<Fact> = found.into_iter().map(|user| Fact::BindingsChanged { tenant, user }).collect();
    for some in facts.chunks(FACTS) {
        work.insert_facts(some).await?;
    }
    Ok(())
}
