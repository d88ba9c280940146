//! What tenants ask for.

use authz::{Authorized, Scope, action::ManageProductRequests};
use domain::{
    ProductRequestId, TenantId,
    model::{NewProductRequest, ProductRequest, ProductRequestStatus, Version},
};

use super::{needed, page::Page, swap, within};
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

/// Reads of product requests.
pub trait ProductRequests: Reader {
    /// The request of this id.
    fn product_request(
        &self,
        id: ProductRequestId,
    ) -> impl Future<Output = Result<Option<ProductRequest>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE product_requests.id = $1"), values![id], read).await }
    }

    /// The requests of one tenant, or of all.
    fn product_requests(
        &self,
        tenant: Option<TenantId>,
        page: Page,
    ) -> impl Future<Output = Result<Vec<ProductRequest>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            match tenant {
                Some(tenant) => {
                    let sql = format!(
                        "{SELECT} WHERE product_requests.tenant_id = $1 AND product_requests.id > $2
                         ORDER BY product_requests.id LIMIT $3"
                    );
                    view.all(&sql, values![tenant, page.start(), page.limit()], read).await
                }
                None => {
                    let sql = format!("{SELECT} WHERE product_requests.id > $1 ORDER BY product_requests.id LIMIT $2");
                    view.all(&sql, values![page.start(), page.limit()], read).await
                }
            }
        }
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
