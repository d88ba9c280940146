//! Products: the catalog.

use authz::{Authorized, Scope, action::ManageProducts};
use domain::{
    ProductId,
    model::{NewProduct, Product, ProductKey, Version},
};

use super::{needed, one, page::Page, swap, within};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM products";

fn read(row: &Row) -> Result<Product, StoreError> {
    Ok(Product {
        id: row.at("id")?,
        key: row.parsed("key")?,
        name: row.at("name")?,
        description: row.at("description")?,
        requestable: row.at("requestable")?,
        trial_days: row.at("trial_days")?,
        quota: row.json_opt("quota")?.unwrap_or_default(),
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// Reads of products.
pub trait Products: Reader {
    /// The product of this id.
    fn product(&self, id: ProductId) -> impl Future<Output = Result<Option<Product>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// The product of this name.
    fn product_by_key(&self, key: &ProductKey) -> impl Future<Output = Result<Option<Product>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE key = $1"), values![key.as_str()], read).await }
    }

    /// All of them.
    fn products(&self, page: Page) -> impl Future<Output = Result<Vec<Product>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE id > $1 ORDER BY id LIMIT $2");
            self.view().await?.all(&sql, values![page.start(), page.limit()], read).await
        }
    }

    /// Those that tenants may ask for.
    fn catalog(&self, page: Page) -> impl Future<Output = Result<Vec<Product>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE requestable = $1 AND id > $2 ORDER BY id LIMIT $3");
            self.view().await?.all(&sql, values![true, page.start(), page.limit()], read).await
        }
    }
}
impl<R: Reader> Products for R {}

impl Tx {
    /// Makes a product.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `products(key)`; [`StoreError::Check`] for a trial that is too long.
    pub async fn insert_product(
        &self,
        by: &Authorized<ManageProducts>,
        new: NewProduct,
    ) -> Result<Unaudited<Product>, StoreError> {
        within(by, Scope::Platform)?;
        let now = self.work.now;
        let product = Product {
            id: new.id,
            key: new.key,
            name: new.name,
            description: new.description,
            requestable: new.requestable,
            trial_days: new.trial_days,
            quota: new.quota,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let mut all = values![product.id, product.key.as_str(), now];
        all.extend(columns(&product)?);
        let sql = "INSERT INTO products (id, key, created_at, updated_at, name, description, requestable, trial_days,
                       quota, version)
                   VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, 1)";
        self.work.view.execute(sql, all).await?;
        Ok(self.unaudited(product))
    }

    /// Changes a product: all but its name in routes and headers. A trial under way keeps its end. Another quota is
    /// told with every tenant that is entitled to it and has none of its own.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`]; [`StoreError::Check`] for a trial that is too long.
    pub async fn update_product(
        &self,
        by: &Authorized<ManageProducts>,
        changed: Product,
    ) -> Result<Unaudited<Product>, StoreError> {
        within(by, Scope::Platform)?;
        let before = needed(self.product(changed.id).await?, "product")?;
        let mut changed = Product { key: before.key.clone(), created_at: before.created_at, ..changed };
        let mut all = columns(&changed)?;
        all.push(self.work.now.into());
        let assignments = "name = $3, description = $4, requestable = $5, trial_days = $6, quota = $7, updated_at = $8";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "product", "products", key, assignments, all).await?;
        changed.updated_at = self.work.now;
        if changed.quota != before.quota {
            let narrows = changed.quota.is_narrower_than(&before.quota);
            let effect = if narrows { Effect::Narrows } else { Effect::Widens };
            publish::entitled_to(&self.work, changed.id, effect).await?;
        }
        Ok(self.unaudited(changed))
    }

    /// Deletes a product that nobody is or was entitled to and nobody asked for.
    ///
    /// # Errors
    /// [`StoreError::Reference`] for any other; [`StoreError::NotFound`].
    pub async fn delete_product(
        &self,
        by: &Authorized<ManageProducts>,
        id: ProductId,
    ) -> Result<Unaudited<Product>, StoreError> {
        within(by, Scope::Platform)?;
        let product = needed(self.product(id).await?, "product")?;
        one(&self.work.view, "product", "DELETE FROM products WHERE id = $1", values![id]).await?;
        Ok(self.unaudited(product))
    }
}

/// From `name` to `quota`, in the order of the statements above.
fn columns(it: &Product) -> Result<Vec<Value>, StoreError> {
    let quota = Value::json_opt(Some(&it.quota).filter(|quota| !quota.is_open()))?;
    Ok(vec![(&it.name).into(), (&it.description).into(), it.requestable.into(), it.trial_days.into(), quota])
}
