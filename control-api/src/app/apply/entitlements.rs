//! What a declared tenant is entitled to.
//!
//! A product that the catalog does not have is made, to be sold by name only. What a file does not say of an entitlement
//! stays: one that is not named is not taken back, and a quota that is not named is as it was. One that was taken back stays so:
//! whoever did that knew more than the file.

use domain::{
    ProductId, ProductQuota,
    model::{EntitlementSource, NewEntitlement, NewProduct, ProductKey},
    snapshot,
};
use store::read::*;

use super::Run;
use crate::{caller::Site, context::new_id, error::AppError};

impl Run<'_> {
    /// Entitles a tenant to what the file says, until when and to how much.
    pub(super) async fn entitlements(&mut self, site: Site, declared: &snapshot::Tenant) -> Result<(), AppError> {
        if declared.products.is_empty() {
            return Ok(());
        }
        let (by, _) = self.writer.seller()?;
        let now = self.app.now();
        for (key, ends_at) in &declared.products {
            let product_id = self.product(key).await?;
            let found = self.tx.entitlement_to(site.tenant, product_id).await?;
            let quota = declared.quotas.get(key).copied();
            let over = ends_at.is_some_and(|end| end <= now);
            let as_it_should_be = match &found {
                None => over,
                Some(found) => {
                    let said = quota.is_none_or(|quota| found.quota == Some(quota));
                    found.revoked_at.is_some() || (found.ends_at == *ends_at && said)
                }
            };
            if as_it_should_be {
                self.outcome.unchanged += 1;
                continue;
            }
            let new = NewEntitlement {
                id: new_id(&*self.app.clock),
                project_id: site.project,
                tenant_id: site.tenant,
                product_id,
                source: EntitlementSource::Sale,
                ends_at: *ends_at,
                quota: quota.or(found.as_ref().and_then(|found| found.quota)),
            };
            let put = self.tx.put_entitlement(&by, new).await?;
            if found.is_some() {
                self.tx.updated(put).await?;
                self.outcome.updated += 1;
            } else {
                self.tx.created(put).await?;
                self.outcome.created += 1;
            }
        }
        Ok(())
    }

    async fn product(&mut self, key: &str) -> Result<ProductId, AppError> {
        if let Some(known) = self.products.get(key) {
            return Ok(*known);
        }
        let parsed = key.parse::<ProductKey>();
        let parsed = parsed.map_err(|error| AppError::field("/entities", "products", error.to_string()))?;
        let id = match self.tx.product_by_key(&parsed).await? {
            Some(found) => found.id,
            None => {
                let new = NewProduct {
                    id: new_id(&*self.app.clock),
                    key: parsed,
                    name: key.to_owned(),
                    description: String::new(),
                    requestable: false,
                    trial_days: None,
                    quota: ProductQuota::default(),
                };
                let id = new.id;
                let (_, by) = self.writer.seller()?;
                self.tx.created(self.tx.insert_product(&by, new).await?).await?;
                self.outcome.created += 1;
                id
            }
        };
        self.products.insert(key.to_owned(), id);
        Ok(id)
    }
}
