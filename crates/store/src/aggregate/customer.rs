//! Customers.

use authz::{Authorized, Scope, action::ManageCustomers};
use domain::{
    CustomerId,
    model::{Customer, NewCustomer, Version},
    snapshot::{KycStatus, PaymentStatus},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, folded, sealed::Cells},
    needed, one,
    page::Page,
    swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::publish::{self, Effect},
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM customers";

fn read(row: &Row) -> Result<Customer, StoreError> {
    Ok(Customer {
        id: row.at("id")?,
        code: row.at("code")?,
        name: row.at("name")?,
        description: row.at("description")?,
        kind: row.word("kind")?,
        tenancy: row.word("tenancy")?,
        address: row.json_opt("address")?,
        contact: row.json_opt("contact")?,
        tax_ids: row.json("tax_ids")?,
        unchecked: row.at("unchecked")?,
        kyc: row.word("kyc")?,
        kyc_kind: row.word("kyc_kind")?,
        payment: row.word("payment")?,
        is_root: row.at("is_root")?,
        break_glass_user_id: row.at("break_glass_user_id")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of customers.
#[derive(Debug)]
pub enum CustomerList {}

impl Listing for CustomerList {
    type Item = Customer;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::search(
            "Whose code or name holds this, in any case.",
            "(LOWER(code) LIKE ? ESCAPE '!' OR name_fold LIKE ? ESCAPE '!'
                 OR name_fold = '' AND LOWER(name) LIKE ? ESCAPE '!')",
        ),
        Filter::new("kind", "Of this kind.", Takes::Word(&["company", "person"]), "kind = ?"),
        Filter::new("tenancy", "Of this tenancy.", Takes::Word(&["dedicated", "shared"]), "tenancy = ?"),
        Filter::new(
            "kyc",
            "In this KYC state.",
            Takes::Word(&["none", "pending", "partial", "completed", "due_rekyc"]),
            "kyc = ?",
        ),
        Filter::new("payment", "In this payment state.", Takes::Word(&["ok", "overdue", "blocked"]), "payment = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[
        Sortable::new("name", "name_fold"),
        Sortable::new("code", "code"),
        Sortable::time("created_at", "created_at"),
    ];
    fn sql() -> String {
        format!("{SELECT} WHERE TRUE")
    }
    fn item(row: &Cells<'_>) -> Result<Customer, StoreError> {
        read(row.0)
    }
}

/// Reads of customers.
pub trait Customers: Reader {
    /// The customer of this id.
    fn customer(&self, id: CustomerId) -> impl Future<Output = Result<Option<Customer>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// The customer of this code.
    fn customer_by_code(&self, code: &str) -> impl Future<Output = Result<Option<Customer>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE code = $1"), values![code], read).await }
    }

    /// Customers of whom something is kept aside that an earlier release took in any form.
    fn unchecked_customers(&self, page: Page) -> impl Future<Output = Result<Vec<CustomerId>, StoreError>> + Send {
        async move {
            let sql = "SELECT id FROM customers WHERE unchecked IS NOT NULL AND id > $1 ORDER BY id LIMIT $2";
            self.view().await?.all(sql, values![page.start(), page.limit()], |row| row.at("id")).await
        }
    }
}
impl<R: Reader> Customers for R {}

impl Tx {
    /// Makes a customer.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `customers(code)`.
    pub async fn insert_customer(
        &self,
        by: &Authorized<ManageCustomers>,
        new: NewCustomer,
    ) -> Result<Unaudited<Customer>, StoreError> {
        within(by, Scope::Platform)?;
        let now = self.work.now;
        let customer = Customer {
            id: new.id,
            code: new.code,
            name: new.name,
            description: new.description,
            kind: new.kind,
            tenancy: new.tenancy,
            address: new.address,
            contact: new.contact,
            tax_ids: new.tax_ids,
            unchecked: None,
            kyc: new.kyc,
            kyc_kind: new.kyc_kind,
            payment: new.payment,
            is_root: new.is_root,
            break_glass_user_id: None,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let mut all = values![customer.id];
        all.extend(columns(&customer)?);
        all.extend(values![customer.is_root, now]);
        self.work
            .view
            .execute(
                "INSERT INTO customers (id, code, name, description, kind, tenancy, address, contact, tax_ids, kyc,
                     kyc_kind, payment, break_glass_user_id, name_fold, is_root, created_at, updated_at, version)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, 1)",
                all,
            )
            .await?;
        Ok(self.unaudited(customer))
    }

    /// Changes a customer; its KYC and payment state are [`Tx::set_customer_state`]'s.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`], [`StoreError::Conflict`].
    pub async fn update_customer(
        &self,
        by: &Authorized<ManageCustomers>,
        changed: Customer,
    ) -> Result<Unaudited<Customer>, StoreError> {
        let before = needed(self.customer(changed.id).await?, "customer")?;
        let kept = Customer { kyc: before.kyc, payment: before.payment, ..changed };
        self.save_customer(by, &before, kept).await
    }

    /// Saves the whole row. Its tenants at the edge follow its KYC and payment state.
    pub(super) async fn save_customer(
        &self,
        by: &Authorized<ManageCustomers>,
        before: &Customer,
        mut changed: Customer,
    ) -> Result<Unaudited<Customer>, StoreError> {
        within(by, Scope::Platform)?;
        let mut all = columns(&changed)?;
        all.extend([Value::json_opt(changed.unchecked.as_ref())?, self.work.now.into()]);
        let assignments = "code = $3, name = $4, description = $5, kind = $6, tenancy = $7, address = $8,
             contact = $9, tax_ids = $10, kyc = $11, kyc_kind = $12, payment = $13, break_glass_user_id = $14,
             name_fold = $15, unchecked = $16, updated_at = $17";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "customer", "customers", key, assignments, all).await?;
        changed.updated_at = self.work.now;
        if (before.kyc, before.payment) != (changed.kyc, changed.payment) {
            let effect = if serves(&changed) { Effect::Widens } else { Effect::Narrows };
            publish::tenants_of(&self.work, changed.id, effect).await?;
        }
        Ok(self.unaudited(changed))
    }

    /// Deletes a customer that has no tenants.
    ///
    /// # Errors
    /// [`StoreError::Reference`] while it has tenants; [`StoreError::Rule`] for the root customer.
    pub async fn delete_customer(
        &self,
        by: &Authorized<ManageCustomers>,
        id: CustomerId,
    ) -> Result<Unaudited<Customer>, StoreError> {
        within(by, Scope::Platform)?;
        let customer = needed(self.customer(id).await?, "customer")?;
        if customer.is_root {
            return Err(StoreError::rule("customer_is_root", "the root customer cannot be deleted"));
        }
        one(&self.work.view, "customer", "DELETE FROM customers WHERE id = $1", values![id]).await?;
        Ok(self.unaudited(customer))
    }
}

/// Whether product routes are served to the customer's tenants.
fn serves(customer: &Customer) -> bool {
    matches!(customer.kyc, KycStatus::Completed | KycStatus::DueRekyc) && customer.payment != PaymentStatus::Blocked
}

/// From `code` to `name_fold`, in the order of the statements above.
fn columns(it: &Customer) -> Result<Vec<Value>, StoreError> {
    Ok(vec![
        (&it.code).into(),
        (&it.name).into(),
        (&it.description).into(),
        Value::word(&it.kind),
        Value::word(&it.tenancy),
        Value::json_opt(it.address.as_ref())?,
        Value::json_opt(it.contact.as_ref())?,
        Value::json(&it.tax_ids)?,
        Value::word(&it.kyc),
        Value::word(&it.kyc_kind),
        Value::word(&it.payment),
        it.break_glass_user_id.into(),
        folded(&it.name),
    ])
}
