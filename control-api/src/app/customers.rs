//! Customers: who pays, whether they were identified, whether they pay.

use authz::{Authorized, action::ManageCustomers};
use domain::{
    CustomerId,
    audit::AuditEntry,
    model::{Customer, NewCustomer, Version},
    snapshot::{KycStatus, PaymentStatus},
};
use serde_json::json;
use store::{Commit, Page, Tx, Unaudited, read::*};

use crate::{App, caller::Principal, error::AppError};

/// A page of customers.
pub async fn list_customers(app: &App, principal: &Principal, page: Page) -> Result<Vec<Customer>, AppError> {
    principal.may::<ManageCustomers>("list")?;
    Ok(app.store.customers(page).await?)
}

/// One customer.
pub async fn read_customer(app: &App, principal: &Principal, id: CustomerId) -> Result<Customer, AppError> {
    principal.may::<ManageCustomers>("get")?;
    app.store.customer(id).await?.ok_or(AppError::NotFound("customer"))
}

/// Makes a customer.
pub async fn create_customer(
    app: &App,
    principal: &Principal,
    new: NewCustomer,
) -> Result<(Customer, Commit), AppError> {
    let by = principal.may::<ManageCustomers>("create")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_customer(&by, new).await?).await?) }
        })
        .await
}

/// Changes a customer; `edit` gets it as it is.
pub async fn update_customer(
    app: &App,
    principal: &Principal,
    id: CustomerId,
    version: Option<Version>,
    edit: impl Fn(&mut Customer) + Send + Sync,
) -> Result<(Customer, Commit), AppError> {
    let by = principal.may::<ManageCustomers>("update")?;
    let edit = &edit;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                let change = save(&tx, &by, id, version, edit).await?;
                Ok(tx.updated(change).await?)
            }
        })
        .await
}

/// Sets what is known of who a customer is.
pub async fn set_kyc(
    app: &App,
    principal: &Principal,
    id: CustomerId,
    kyc: KycStatus,
) -> Result<(Customer, Commit), AppError> {
    let by = principal.may::<ManageCustomers>("kyc")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                let change = save(&tx, &by, id, None, &|customer: &mut Customer| customer.kyc = kyc).await?;
                let entry = AuditEntry::done(change.peek(), "kyc_set").with_fields(json!({ "kyc": kyc }));
                Ok(tx.audit(entry, change).await?)
            }
        })
        .await
}

/// Sets whether a customer pays.
pub async fn set_payment(
    app: &App,
    principal: &Principal,
    id: CustomerId,
    payment: PaymentStatus,
) -> Result<(Customer, Commit), AppError> {
    let by = principal.may::<ManageCustomers>("payment")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                let change = save(&tx, &by, id, None, &|customer: &mut Customer| customer.payment = payment).await?;
                let entry = AuditEntry::done(change.peek(), "payment_set").with_fields(json!({ "payment": payment }));
                Ok(tx.audit(entry, change).await?)
            }
        })
        .await
}

/// Deletes a customer that has no tenants.
pub async fn delete_customer(app: &App, principal: &Principal, id: CustomerId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageCustomers>("delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move { Ok::<_, AppError>(tx.deleted(tx.delete_customer(&by, id).await?).await?) }
    });
    deleted.await.map(|(_, commit)| commit)
}

async fn save(
    tx: &Tx,
    by: &Authorized<ManageCustomers>,
    id: CustomerId,
    version: Option<Version>,
    edit: &(impl Fn(&mut Customer) + Sync),
) -> Result<Unaudited<Customer>, AppError> {
    let mut customer = tx.customer(id).await?.ok_or(AppError::NotFound("customer"))?;
    customer.version = version.unwrap_or(customer.version);
    edit(&mut customer);
    Ok(tx.update_customer(by, customer).await?)
}
