//! What tenants ask for.

use authz::{Authorized, Scope, action::ManageProductRequests};
use domain::{
    ProductRequestId,
    model::{NewProductRequest, ProductRequest, ProductRequestStatus, Version},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT product_requests.*, products.key AS product FROM product_requests
    JOIN products ON products.id = product_requests.product_id";

fn read(row: &Row) -> Result<ProductRequest, StoreError> {
    Ok(ProductRequest {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        product_id: row.at("product_id")?,
        product: row.parsed("product")?,
        kind: row.word("kind")?,
        contact: row.at("contact")?,
        note: row.at("note")?,
        status: row.word("status")?,
        requested_by: row.at("requested_by")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of what tenants asked for.
#[derive(Debug)]
pub enum ProductRequestList {}

impl Listing for ProductRequestList {
    type Item = ProductRequest;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::new("tenant_id", "Of this tenant.", Takes::Id, "tenant_id = ?"),
        Filter::new("product", "For the product of this key.", Takes::Text, "product = ?"),
        Filter::new("kind", "A request, or a trial.", Takes::Word(&["request", "trial"]), "kind = ?"),
        Filter::new("status", "In this state.", Takes::Word(&["open", "approved", "declined"]), "status = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("product", "product"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("SELECT * FROM ({SELECT}) AS requested WHERE TRUE")
    }
    fn item(row: &Cells<'_>) -> Result<ProductRequest, StoreError> {
        read(row.0)
    }
}

/// Reads of product requests.
pub trait ProductRequests: Reader {
    /// The request of this id.
    fn product_request(
        &self,
        id: ProductRequestId,
    ) -> impl Future<Output = Result<Option<ProductRequest>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE product_requests.id = $1"), values![id], read).await }
    }
}
impl<R: Reader> ProductRequests for R {}

impl Tx {
    /// Notes what a tenant asked for.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `product_requests(product_id)` while an earlier one is open.
    pub async fn insert_product_request(
        &self,
        by: &Authorized<ManageProductRequests>,
        new: NewProductRequest,
    ) -> Result<Unaudited<ProductRequest>, StoreError> {
        within(by, Scope::Tenant(new.project_id, new.tenant_id))?;
        let sql = "INSERT INTO product_requests (id, project_id, tenant_id, product_id, kind, contact, note, status,
                       requested_by, created_at, updated_at, version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, 1)";
        let (kind, status) = (Value::word(&new.kind), Value::word(&new.status));
        let id = new.id;
        let all = values![
            id,
            new.project_id,
            new.tenant_id,
            new.product_id,
            kind,
            new.contact,
            new.note,
            status,
            new.requested_by,
            self.work.now
        ];
        self.work.view.execute(sql, all).await?;
        Ok(self.unaudited(needed(self.product_request(id).await?, "product-request")?))
    }

    /// Says what became of a request.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`]; [`StoreError::Conflict`] on `product_requests(product_id)`
    /// when it is opened again beside another.
    pub async fn update_product_request(
        &self,
        by: &Authorized<ManageProductRequests>,
        id: ProductRequestId,
        expected: Option<Version>,
        status: ProductRequestStatus,
    ) -> Result<Unaudited<ProductRequest>, StoreError> {
        let before = needed(self.product_request(id).await?, "product-request")?;
        within(by, Scope::Tenant(before.project_id, before.tenant_id))?;
        let key = (id.uuid(), expected.unwrap_or(before.version));
        let all = vec![Value::word(&status), self.work.now.into()];
        let assignments = "status = $3, updated_at = $4";
        let version = swap(&self.work.view, "product-request", "product_requests", key, assignments, all).await?;
        Ok(self.unaudited(ProductRequest { status, version, updated_at: self.work.now, ..before }))
    }
}
