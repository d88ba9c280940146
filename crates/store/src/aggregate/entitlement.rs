//! What tenants are entitled to. The edge is told with the tenant.

use authz::{
    Authorized, Scope,
    action::{ManageEntitlements, ManageProductRequests},
};
use domain::{
    EntitlementId, ProductId, TenantId, Timestamp,
    model::{Entitlement, EntitlementSource, NewEntitlement, Version},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT entitlements.*, products.key AS product, products.quota AS product_quota FROM entitlements
    JOIN products ON products.id = entitlements.product_id";

fn read(row: &Row) -> Result<Entitlement, StoreError> {
    Ok(Entitlement {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        product_id: row.at("product_id")?,
        product: row.parsed("product")?,
        source: row.word("source")?,
        starts_at: row.at("starts_at")?,
        ends_at: row.at("ends_at")?,
        quota: row.json_opt("quota")?,
        product_quota: row.json_opt("product_quota")?.unwrap_or_default(),
        revoked_at: row.at("revoked_at")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of a tenant's entitlements, whatever became of them.
#[derive(Debug)]
pub enum EntitlementList {}

impl Listing for EntitlementList {
    type Item = Entitlement;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        Filter::new("product", "To the product of this key.", Takes::Text, "product = ?"),
        Filter::new("source", "By a sale, or a trial.", Takes::Word(&["sale", "trial"]), "source = ?"),
        Filter::new("revoked", "Taken back, or not.", Takes::Flag, "(revoked_at IS NOT NULL) = ?"),
        Filter::new("ends_until", "That end before this instant.", Takes::Time, "ends_at < ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("product", "product"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("SELECT * FROM ({SELECT}) AS entitled WHERE tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<Entitlement, StoreError> {
        read(row.0)
    }
}

/// Reads of entitlements.
pub trait Entitlements: Reader {
    /// The entitlement of this id.
    fn entitlement(&self, id: EntitlementId) -> impl Future<Output = Result<Option<Entitlement>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE entitlements.id = $1"), values![id], read).await }
    }

    /// A tenant's entitlement to a product, whatever became of it.
    fn entitlement_to(
        &self,
        tenant: TenantId,
        product: ProductId,
    ) -> impl Future<Output = Result<Option<Entitlement>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE entitlements.tenant_id = $1 AND entitlements.product_id = $2");
            self.view().await?.first(&sql, values![tenant, product], read).await
        }
    }

    /// What a tenant may use at `now`, by the products' names.
    fn entitled(
        &self,
        tenant: TenantId,
        now: Timestamp,
    ) -> impl Future<Output = Result<Vec<Entitlement>, StoreError>> + Send {
        async move {
            let sql = format!(
                "{SELECT} WHERE entitlements.tenant_id = $1 AND entitlements.revoked_at IS NULL
                     AND (entitlements.ends_at IS NULL OR entitlements.ends_at > $2)
                 ORDER BY products.key"
            );
            self.view().await?.all(&sql, values![tenant, now], read).await
        }
    }
}
impl<R: Reader> Entitlements for R {}

impl Tx {
    /// Entitles a tenant to a product, or changes how and until when it is. One that was over begins anew.
    ///
    /// # Errors
    /// [`StoreError::Reference`] for a tenant or product that is not there.
    pub async fn put_entitlement(
        &self,
        by: &Authorized<ManageEntitlements>,
        new: NewEntitlement,
    ) -> Result<Unaudited<Entitlement>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let now = self.work.now;
        let Some(before) = self.entitlement_to(new.tenant_id, new.product_id).await? else {
            return self.insert_entitlement(new).await;
        };
        let starts_at = if before.holds(now) { before.starts_at } else { now };
        let changed = Entitlement {
            source: new.source,
            starts_at,
            ends_at: new.ends_at,
            quota: new.quota,
            revoked_at: None,
            ..before.clone()
        };
        let sooner = changed.ends_at.is_some_and(|end| before.ends_at.is_none_or(|was| end < was));
        let narrows = before.holds(now) && (sooner || changed.allowed().is_narrower_than(&before.allowed()));
        self.change_entitlement(changed, if narrows { Effect::Narrows } else { Effect::Widens }).await
    }

    /// Lets a tenant try a product: once, whatever becomes of it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `entitlements(product_id)` when it was ever entitled to it.
    pub async fn insert_trial(
        &self,
        by: &Authorized<ManageProductRequests>,
        new: NewEntitlement,
    ) -> Result<Unaudited<Entitlement>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        self.insert_entitlement(NewEntitlement { source: EntitlementSource::Trial, ..new }).await
    }

    /// Takes an entitlement back.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also for one that was taken back.
    pub async fn revoke_entitlement(
        &self,
        by: &Authorized<ManageEntitlements>,
        id: EntitlementId,
    ) -> Result<Unaudited<Entitlement>, StoreError> {
        let found = self.entitlement(id).await?.filter(|it| it.revoked_at.is_none());
        let before = needed(found, "entitlement")?;
        within(by, Scope::Tenant(before.project_id, before.tenant_id))?;
        let changed = Entitlement { revoked_at: Some(self.work.now), ..before };
        self.change_entitlement(changed, Effect::Narrows).await
    }

    async fn insert_entitlement(&self, new: NewEntitlement) -> Result<Unaudited<Entitlement>, StoreError> {
        let now = self.work.now;
        let sql = "INSERT INTO entitlements (id, project_id, tenant_id, product_id, source, starts_at, ends_at, quota,
                       created_at, updated_at, version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $6, $6, 1)";
        let source = Value::word(&new.source);
        let quota = Value::json_opt(new.quota.as_ref())?;
        let all = values![new.id, new.project_id, new.tenant_id, new.product_id, source, now, new.ends_at, quota];
        self.work.view.execute(sql, all).await?;
        publish::tenant(&self.work, new.tenant_id, Effect::Widens).await?;
        Ok(self.unaudited(needed(self.entitlement(new.id).await?, "entitlement")?))
    }

    async fn change_entitlement(
        &self,
        mut changed: Entitlement,
        effect: Effect,
    ) -> Result<Unaudited<Entitlement>, StoreError> {
        let now = self.work.now;
        let source = Value::word(&changed.source);
        let quota = Value::json_opt(changed.quota.as_ref())?;
        let all = values![source, changed.starts_at, changed.ends_at, changed.revoked_at, quota, now];
        let assignments = "source = $3, starts_at = $4, ends_at = $5, revoked_at = $6, quota = $7, updated_at = $8";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "entitlement", "entitlements", key, assignments, all).await?;
        changed.updated_at = now;
        publish::tenant(&self.work, changed.tenant_id, effect).await?;
        Ok(self.unaudited(changed))
    }
}
