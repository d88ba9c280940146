//! Organisational units. The edge is told of those that live, with their tenant.

use authz::{Authorized, Scope, action::ManageOrgUnits};
use domain::{
    OrgUnitId, TenantId, Timestamp, UserId,
    model::{NewOrgUnit, OrgUnit, Version},
    org_unit::MAX_ORG_UNITS,
};

use super::{
    binding,
    list::{Filter, Listing, Sortable, folded, sealed::Cells},
    needed, one, swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM org_units";

fn read(row: &Row) -> Result<OrgUnit, StoreError> {
    let created_at = row.at("created_at")?;
    Ok(OrgUnit {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        name: row.at("name")?,
        description: row.at("description")?,
        created_by: row.at("created_by")?,
        deleted_at: row.at("deleted_at")?,
        purge_after: row.at("purge_after")?,
        created_at,
        updated_at: row.at::<Option<Timestamp>>("updated_at")?.unwrap_or(created_at),
        version: Version(row.at("version")?),
    })
}

const FILTERS: &[Filter] = &[
    Filter::search(
        "Whose name holds this, in any case.",
        "(name_fold LIKE ? ESCAPE '!' OR name_fold = '' AND LOWER(name) LIKE ? ESCAPE '!')",
    ),
    Filter::since("created_at >= ?"),
    Filter::until("created_at < ?"),
];
const SORTS: &[Sortable] = &[Sortable::new("name", "name_fold"), Sortable::time("created_at", "created_at")];

/// The list of a tenant's units that live.
#[derive(Debug)]
pub enum OrgUnitList {}

impl Listing for OrgUnitList {
    type Item = OrgUnit;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = FILTERS;
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1 AND deleted_at IS NULL")
    }
    fn item(row: &Cells<'_>) -> Result<OrgUnit, StoreError> {
        read(row.0)
    }
}

/// The list of those that were deleted and can still be restored.
#[derive(Debug)]
pub enum DeletedOrgUnitList {}

impl Listing for DeletedOrgUnitList {
    type Item = OrgUnit;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = FILTERS;
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!("{SELECT} WHERE tenant_id = $1 AND deleted_at IS NOT NULL")
    }
    fn item(row: &Cells<'_>) -> Result<OrgUnit, StoreError> {
        read(row.0)
    }
}

/// The list of those in which a user of the tenant holds a role, of their own or by a group.
#[derive(Debug)]
pub enum UserUnitList {}

impl Listing for UserUnitList {
    type Item = OrgUnit;
    type Of = (TenantId, UserId);
    const FILTERS: &'static [Filter] = FILTERS;
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!(
            "{SELECT} WHERE tenant_id = $1 AND deleted_at IS NULL AND id IN (
                 SELECT ou_id FROM role_bindings
                 WHERE tenant_id = $1 AND subject_kind = 'user' AND subject_id = $2 AND ou_id IS NOT NULL
                 UNION
                 SELECT held.ou_id FROM group_members
                 JOIN role_bindings AS held ON held.tenant_id = group_members.tenant_id
                     AND held.subject_kind = 'group' AND held.subject_id = group_members.group_id
                 WHERE group_members.tenant_id = $1 AND group_members.user_id = $2 AND held.ou_id IS NOT NULL)"
        )
    }
    fn item(row: &Cells<'_>) -> Result<OrgUnit, StoreError> {
        read(row.0)
    }
}

/// Reads of organisational units.
pub trait OrgUnits: Reader {
    /// A tenant's unit that lives.
    fn org_unit(
        &self,
        tenant: TenantId,
        id: OrgUnitId,
    ) -> impl Future<Output = Result<Option<OrgUnit>, StoreError>> + Send {
        async move { Ok(self.any_org_unit(tenant, id).await?.filter(|unit| unit.deleted_at.is_none())) }
    }

    /// A tenant's unit, deleted or not.
    fn any_org_unit(
        &self,
        tenant: TenantId,
        id: OrgUnitId,
    ) -> impl Future<Output = Result<Option<OrgUnit>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND id = $2");
            self.view().await?.first(&sql, values![tenant, id], read).await
        }
    }

    /// The ids of a tenant's units that live.
    fn org_unit_ids(&self, tenant: TenantId) -> impl Future<Output = Result<Vec<OrgUnitId>, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM org_units WHERE tenant_id = $1 AND deleted_at IS NULL ORDER BY id";
            self.view().await?.all(sql, values![tenant], |row| row.at("id")).await
        }
    }

    /// Units of all tenants that are due to be removed for good, the longest due first.
    fn org_units_to_purge(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<OrgUnit>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE purge_after <= $1 ORDER BY purge_after, id LIMIT $2");
            self.view().await?.all(&sql, values![now, limit], read).await
        }
    }
}
impl<R: Reader> OrgUnits for R {}

impl Tx {
    /// Makes a unit.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `org_units(name)`; [`StoreError::Rule`] (`org_unit_limit`) for one more than
    /// [`MAX_ORG_UNITS`]; [`StoreError::Reference`] without its tenant.
    pub async fn insert_org_unit(
        &self,
        by: &Authorized<ManageOrgUnits>,
        new: NewOrgUnit,
    ) -> Result<Unaudited<OrgUnit>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        self.room_for_a_unit(new.tenant_id).await?;
        let now = self.work.now;
        let unit = OrgUnit {
            id: new.id,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            name: new.name,
            description: new.description,
            created_by: new.created_by,
            deleted_at: None,
            purge_after: None,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let OrgUnit { id, project_id, tenant_id, created_by, .. } = unit;
        self.work
            .view
            .execute(
                "INSERT INTO org_units (id, project_id, tenant_id, name, description, created_by, created_at, updated_at,
                     name_fold, version)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8, 1)",
                values![id, project_id, tenant_id, &unit.name, &unit.description, created_by, now, folded(&unit.name)],
            )
            .await?;
        publish::tenant(&self.work, tenant_id, Effect::Widens).await?;
        Ok(self.unaudited(unit))
    }

    /// Changes name and description of a unit that lives.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `org_units(name)`; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_org_unit(
        &self,
        by: &Authorized<ManageOrgUnits>,
        changed: OrgUnit,
    ) -> Result<Unaudited<OrgUnit>, StoreError> {
        let before = needed(self.org_unit(changed.tenant_id, changed.id).await?, "org-unit")?;
        within(by, Scope::Tenant(before.project_id, before.tenant_id))?;
        let kept = OrgUnit {
            name: changed.name,
            description: changed.description,
            version: changed.version,
            updated_at: self.work.now,
            ..before
        };
        let values = values![&kept.name, &kept.description, kept.updated_at, folded(&kept.name)];
        let assignments = "name = $3, description = $4, updated_at = $5, name_fold = $6";
        let key = (kept.id.uuid(), kept.version);
        let version = swap(&self.work.view, "org-unit", "org_units", key, assignments, values).await?;
        Ok(self.unaudited(OrgUnit { version, ..kept }))
    }

    /// Deletes a unit until `purge_after`. Roles in it grant nothing from then on, and the edge does not know it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_org_unit(
        &self,
        by: &Authorized<ManageOrgUnits>,
        (tenant, id): (TenantId, OrgUnitId),
        purge_after: Timestamp,
    ) -> Result<Unaudited<OrgUnit>, StoreError> {
        let unit = needed(self.org_unit(tenant, id).await?, "org-unit")?;
        within(by, Scope::Tenant(unit.project_id, tenant))?;
        let now = self.work.now;
        let gone = OrgUnit { deleted_at: Some(now), purge_after: Some(purge_after), updated_at: now, ..unit };
        self.turn(gone, Effect::Narrows).await
    }

    /// Takes a unit back that was deleted and is not purged yet, with the roles that are held in it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `org_units(name)` when another has its name now; [`StoreError::Rule`]
    /// (`org_unit_limit`); [`StoreError::NotFound`] for one that lives, or is due to be removed.
    pub async fn restore_org_unit(
        &self,
        by: &Authorized<ManageOrgUnits>,
        (tenant, id): (TenantId, OrgUnitId),
    ) -> Result<Unaudited<OrgUnit>, StoreError> {
        let now = self.work.now;
        let held = |unit: &OrgUnit| unit.deleted_at.is_some() && unit.purge_after.is_none_or(|at| at > now);
        let unit = needed(self.any_org_unit(tenant, id).await?.filter(held), "org-unit")?;
        within(by, Scope::Tenant(unit.project_id, tenant))?;
        self.room_for_a_unit(tenant).await?;
        let back = OrgUnit { deleted_at: None, purge_after: None, updated_at: now, ..unit };
        self.turn(back, Effect::Widens).await
    }

    /// Removes a unit for good, with the roles that were held in it. What was noted of its use request by request should be
    /// gone by then ([`Store::clear_access_log`](crate::Store::clear_access_log)): there may be much of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for one that is not due: of many that try at once, one does it.
    pub async fn purge_org_unit(
        &self,
        by: &Authorized<ManageOrgUnits>,
        (tenant, id): (TenantId, OrgUnitId),
    ) -> Result<Unaudited<OrgUnit>, StoreError> {
        let due = |unit: &OrgUnit| unit.purge_after.is_some_and(|at| at <= self.work.now);
        let unit = needed(self.any_org_unit(tenant, id).await?.filter(due), "org-unit")?;
        within(by, Scope::Tenant(unit.project_id, tenant))?;
        let view = &self.work.view;
        view.execute("DELETE FROM role_bindings WHERE tenant_id = $1 AND ou_id = $2", values![tenant, id]).await?;
        let sql = "UPDATE memberships SET default_ou_id = NULL WHERE tenant_id = $1 AND default_ou_id = $2";
        view.execute(sql, values![tenant, id]).await?;
        one(view, "org-unit", "DELETE FROM org_units WHERE id = $1", values![id]).await?;
        Ok(self.unaudited(unit))
    }

    async fn room_for_a_unit(&self, tenant: TenantId) -> Result<(), StoreError> {
        let sql = "SELECT COUNT(*) AS units FROM org_units WHERE tenant_id = $1";
        let all = self.work.view.first(sql, values![tenant], |row| row.at::<u64>("units")).await?.unwrap_or_default();
        // Those on hold are rows, too.
        let crowded = usize::try_from(all).is_ok_and(|all| all >= 2 * MAX_ORG_UNITS);
        if crowded || self.org_unit_ids(tenant).await?.len() >= MAX_ORG_UNITS {
            let detail = format!("the tenant has {MAX_ORG_UNITS} organisational units already");
            return Err(StoreError::rule("org_unit_limit", detail));
        }
        Ok(())
    }

    /// Saves whether a unit lives, and tells everybody whom that concerns.
    async fn turn(&self, turned: OrgUnit, effect: Effect) -> Result<Unaudited<OrgUnit>, StoreError> {
        let values = values![turned.deleted_at, turned.purge_after, turned.updated_at];
        let assignments = "deleted_at = $3, purge_after = $4, updated_at = $5";
        let key = (turned.id.uuid(), turned.version);
        let version = swap(&self.work.view, "org-unit", "org_units", key, assignments, values).await?;
        binding::unit_changed(&self.work, turned.tenant_id, turned.id).await?;
        publish::tenant(&self.work, turned.tenant_id, effect).await?;
        Ok(self.unaudited(OrgUnit { version, ..turned }))
    }
}
