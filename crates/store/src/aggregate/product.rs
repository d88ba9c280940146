//! Products: the catalog.

use authz::{Authorized, Scope, action::ManageProducts};
use domain::{
    ProductId,
    model::{NewProduct, Product, ProductKey, Version},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, folded, sealed::Cells},
    needed, one, swap, within,
};
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

const SEARCH: Filter = Filter::search(
    "Whose key or name holds this, in any case.",
    "(LOWER(key) LIKE ? ESCAPE '!' OR name_fold LIKE ? ESCAPE '!'
                 OR name_fold = '' AND LOWER(name) LIKE ? ESCAPE '!')",
);
const SORTS: &[Sortable] =
    &[Sortable::new("name", "name_fold"), Sortable::new("key", "key"), Sortable::time("created_at", "created_at")];

/// The list of products.
#[derive(Debug)]
pub enum ProductList {}

impl Listing for ProductList {
    type Item = Product;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        SEARCH,
        Filter::new("requestable", "Whether tenants may ask for it.", Takes::Flag, "requestable = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!("{SELECT} WHERE TRUE")
    }
    fn item(row: &Cells<'_>) -> Result<Product, StoreError> {
        read(row.0)
    }
}

/// The list of those that tenants may ask for.
#[derive(Debug)]
pub enum CatalogList {}

impl Listing for CatalogList {
    type Item = Product;
    type Of = ();
    const FILTERS: &'static [Filter] = &[SEARCH];
    const SORTS: &'static [Sortable] = SORTS;
    fn sql() -> String {
        format!("{SELECT} WHERE requestable")
    }
    fn item(row: &Cells<'_>) -> Result<Product, StoreError> {
        read(row.0)
    }
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
                       quota, name_fold, version)
                   VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, 1)";
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
        let assignments = "name = $3, description = $4, requestable = $5, trial_days = $6, quota = $7, name_fold = $8,
             updated_at = $9";
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

/// From `name` to `name_fold`, in the order of the statements above.
fn columns(it: &Product) -> Result<Vec<Value>, StoreError> {
    let quota = Value::json_opt(Some(&it.quota).filter(|quota| !quota.is_open()))?;
    let name_fold = folded(&it.name);
    Ok(vec![(&it.name).into(), (&it.description).into(), it.requestable.into(), it.trial_days.into(), quota, name_fold])
}
