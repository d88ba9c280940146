//! Organisational units.

use authz::{Authorized, Scope, action::ManageOrgUnits};
use domain::{
    Fact, OrgUnitId, TenantId, UserId,
    model::{NewOrgUnit, OrgUnit, Version},
};

use super::{needed, one, page::Page, within};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM org_units";

fn read(row: &Row) -> Result<OrgUnit, StoreError> {
    Ok(OrgUnit {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        name: row.at("name")?,
        description: row.at("description")?,
        deleted_at: row.at("deleted_at")?,
        created_at: row.at("created_at")?,
        version: Version(row.at("version")?),
    })
}

/// Reads of organisational units; deleted ones are not there.
pub trait OrgUnits: Reader {
    /// A tenant's unit.
    fn org_unit(
        &self,
        tenant: TenantId,
        id: OrgUnitId,
    ) -> impl Future<Output = Result<Option<OrgUnit>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL");
            self.view().await?.first(&sql, values![tenant, id], read).await
        }
    }

    /// A tenant's units.
    fn org_units(&self, tenant: TenantId, page: Page) -> impl Future<Output = Result<Vec<OrgUnit>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND deleted_at IS NULL AND id > $2 ORDER BY id LIMIT $3");
            self.view().await?.all(&sql, values![tenant, page.start(), page.limit()], read).await
        }
    }
}
impl<R: Reader> OrgUnits for R {}

impl Tx {
    /// Makes a unit.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `org_units(name)`; [`StoreError::Reference`] without its tenant.
    pub async fn insert_org_unit(
        &self,
        by: &Authorized<ManageOrgUnits>,
        new: NewOrgUnit,
    ) -> Result<Unaudited<OrgUnit>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let unit = OrgUnit {
            id: new.id,
            project_id: new.project_id,
            tenant_id: new.tenant_id,
            name: new.name,
            description: new.description,
            deleted_at: None,
            created_at: self.work.now,
            version: Version(1),
        };
        self.work
            .view
            .execute(
                "INSERT INTO org_units (id, project_id, tenant_id, name, description, created_at, version)
                 VALUES ($1, $2, $3, $4, $5, $6, 1)",
                values![unit.id, unit.project_id, unit.tenant_id, &unit.name, &unit.description, unit.created_at],
            )
            .await?;
        Ok(self.unaudited(unit))
    }

    /// Deletes a unit. Roles in it grant nothing from then on.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_org_unit(
        &self,
        by: &Authorized<ManageOrgUnits>,
        tenant: TenantId,
        id: OrgUnitId,
    ) -> Result<Unaudited<OrgUnit>, StoreError> {
        let unit = needed(self.org_unit(tenant, id).await?, "org-unit")?;
        within(by, Scope::Tenant(unit.project_id, tenant))?;
        let view = &self.work.view;
        let sql = "UPDATE org_units SET deleted_at = $2, version = version + 1 WHERE id = $1";
        one(view, "org-unit", sql, values![id, self.work.now]).await?;
        let sql = "SELECT DISTINCT subject_id FROM role_bindings WHERE ou_id = $1 AND subject_kind = 'user'";
        for user in view.all(sql, values![id], |row| row.at::<UserId>("subject_id")).await? {
            self.work.insert_fact(&Fact::BindingsChanged { tenant, user }).await?;
        }
        Ok(self.unaudited(OrgUnit { deleted_at: Some(self.work.now), ..unit }))
    }
}
