//! Who is what in an organisational unit: the built-in roles of units, given to users. Each user has at most one in a unit
//! by what is written here; of several that were given otherwise, the strongest counts.

use authz::{Authorized, Scope, action::ManageUnitMembers};
use domain::{
    Fact, OrgUnitId, RoleBindingId, RoleId, TenantId, UserId,
    model::{OrgUnit, UnitMember, UnitRole},
};

use super::{
    list::{Filter, Listing, Owner, Sortable, Takes, sealed},
    membership::Memberships,
    needed,
    org_unit::OrgUnits,
    within,
};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

/// `$1` and `$2` are the tenant and the unit, `$3` to `$5` the roles from the strongest on: their ids sort that way.
const SELECT: &str = "SELECT users.id, users.username, users.email, users.first_name, users.last_name,
        users.username_fold, users.email_fold, users.name_fold,
        role_bindings.tenant_id, role_bindings.project_id, role_bindings.ou_id,
        MIN(CAST(role_bindings.role_id AS TEXT)) AS role_id, MIN(role_bindings.created_at) AS since
    FROM role_bindings JOIN users ON users.id = role_bindings.subject_id
    WHERE role_bindings.tenant_id = $1 AND role_bindings.ou_id = $2 AND role_bindings.subject_kind = 'user'
        AND role_bindings.role_id IN ($3, $4, $5)";

const GROUP: &str = "GROUP BY users.id, users.username, users.email, users.first_name, users.last_name,
        users.username_fold, users.email_fold, users.name_fold,
        role_bindings.tenant_id, role_bindings.project_id, role_bindings.ou_id";

fn read(row: &Row) -> Result<UnitMember, StoreError> {
    let role: RoleId = row.at("role_id")?;
    Ok(UnitMember {
        user_id: row.at("id")?,
        ou_id: row.at("ou_id")?,
        tenant_id: row.at("tenant_id")?,
        project_id: row.at("project_id")?,
        username: row.at("username")?,
        email: row.at("email")?,
        first_name: row.at("first_name")?,
        last_name: row.at("last_name")?,
        role: UnitRole::of(role).ok_or_else(|| StoreError::corrupt("role_id", role))?,
        since: row.at("since")?,
    })
}

fn place(tenant: TenantId, unit: OrgUnitId) -> Vec<Value> {
    let mut all = values![tenant, unit];
    all.extend(UnitRole::ALL.map(|role| Value::from(role.id())));
    all
}

impl sealed::Owner for (TenantId, OrgUnitId) {
    fn values(self) -> sealed::Values {
        sealed::Values(place(self.0, self.1))
    }
}
impl Owner for (TenantId, OrgUnitId) {}

/// The list of who is what in a unit.
#[derive(Debug)]
pub enum UnitMemberList {}

impl Listing for UnitMemberList {
    type Item = UnitMember;
    type Of = (TenantId, OrgUnitId);
    const FILTERS: &'static [Filter] = &[
        Filter::search(
            "Whose email, user name, first or last name holds this, in any case.",
            "(email_fold LIKE ? ESCAPE '!' OR username_fold LIKE ? ESCAPE '!' OR name_fold LIKE ? ESCAPE '!'
                 OR name_fold = '' AND LOWER(first_name || ' ' || last_name) LIKE ? ESCAPE '!')",
        ),
        Filter::new(
            "role",
            "Who is this in it.",
            Takes::Word(&["ou_admin", "ou_auditor", "ou_default"]),
            "role_id IN (SELECT CAST(roles.id AS TEXT) FROM roles WHERE roles.builtin AND roles.name = ?)",
        ),
        Filter::since("since >= ?"),
        Filter::until("since < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::new("name", "name_fold"), Sortable::time("created_at", "since")];
    fn sql() -> String {
        format!("SELECT * FROM ({SELECT} {GROUP}) AS members WHERE TRUE")
    }
    fn item(row: &sealed::Cells<'_>) -> Result<UnitMember, StoreError> {
        read(row.0)
    }
}

/// Reads of who is in a unit.
pub trait UnitMembers: Reader {
    /// What a user is in a unit.
    fn unit_member(
        &self,
        (tenant, unit): (TenantId, OrgUnitId),
        user: UserId,
    ) -> impl Future<Output = Result<Option<UnitMember>, StoreError>> + Send {
        async move {
            let mut all = place(tenant, unit);
            all.extend(values![user]);
            self.view().await?.first(&format!("{SELECT} AND users.id = $6 {GROUP}"), all, read).await
        }
    }
}
impl<R: Reader> UnitMembers for R {}

impl Tx {
    /// Makes a member of the tenant this in a unit, and nothing else in it. `id` is the new binding's, where there is one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without such a unit, or a member of the tenant.
    pub async fn put_unit_member(
        &self,
        by: &Authorized<ManageUnitMembers>,
        (tenant, unit, user): (TenantId, OrgUnitId, UserId),
        (id, role): (RoleBindingId, UnitRole),
    ) -> Result<Unaudited<UnitMember>, StoreError> {
        let unit = self.unit_within(by, (tenant, unit)).await?;
        needed(self.membership(tenant, user).await?, "user")?;
        let known = self.unit_member((tenant, unit.id), user).await?;
        // Removed first: of two that are put at once, one then collides with the other and begins anew.
        self.take(&unit, user, Some(role)).await?;
        if known.is_none_or(|known| known.role != role) {
            let sql =
                "INSERT INTO role_bindings (id, role_id, subject_kind, subject_id, project_id, tenant_id, ou_id, created_at)
                       VALUES ($1, $2, 'user', $3, $4, $5, $6, $7)";
            let now = self.work.now;
            self.work.view.execute(sql, values![id, role.id(), user, unit.project_id, tenant, unit.id, now]).await?;
        }
        self.work.insert_fact(&Fact::BindingsChanged { tenant, user }).await?;
        let member = needed(self.unit_member((tenant, unit.id), user).await?, "org-unit-member")?;
        Ok(self.unaudited(member))
    }

    /// Takes a user out of a unit, whatever role of units they hold there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_unit_member(
        &self,
        by: &Authorized<ManageUnitMembers>,
        (tenant, unit, user): (TenantId, OrgUnitId, UserId),
    ) -> Result<Unaudited<UnitMember>, StoreError> {
        let unit = self.unit_within(by, (tenant, unit)).await?;
        let member = needed(self.unit_member((tenant, unit.id), user).await?, "org-unit-member")?;
        self.take(&unit, user, None).await?;
        self.work.insert_fact(&Fact::BindingsChanged { tenant, user }).await?;
        Ok(self.unaudited(member))
    }

    async fn unit_within(
        &self,
        by: &Authorized<ManageUnitMembers>,
        (tenant, unit): (TenantId, OrgUnitId),
    ) -> Result<OrgUnit, StoreError> {
        let unit = needed(self.org_unit(tenant, unit).await?, "org-unit")?;
        within(by, Scope::Tenant(unit.project_id, tenant))?;
        Ok(unit)
    }

    /// Takes back what a user is in a unit, but for `keep`. What is left are roles of the tenant's own.
    async fn take(&self, unit: &OrgUnit, user: UserId, keep: Option<UnitRole>) -> Result<(), StoreError> {
        for role in UnitRole::ALL.into_iter().filter(|role| Some(*role) != keep) {
            let sql = "DELETE FROM role_bindings
                       WHERE tenant_id = $1 AND ou_id = $2 AND subject_kind = 'user' AND subject_id = $3 AND role_id = $4";
            self.work.view.execute(sql, values![unit.tenant_id, unit.id, user, role.id()]).await?;
        }
        Ok(())
    }
}
