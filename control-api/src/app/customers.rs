//! Customers: who pays, whether they were identified, whether they pay.

use authz::{Authorized, action::ManageCustomers};
use domain::{
    CustomerId,
    model::{Artifact, Customer, CustomerChange, CustomerState, NewArtifact, NewCustomer, Version},
};
use store::{
    Audited, Commit, Page,
    list::{ArtifactList, CustomerHistory, CustomerList, Selection, Slice},
    read::*,
};

use super::text;
use crate::{App, caller::Principal, error::AppError};

/// A page of customers.
pub async fn list_customers(
    app: &App,
    principal: &Principal,
    asked: &Selection<CustomerList>,
) -> Result<Slice<Customer>, AppError> {
    principal.may::<ManageCustomers>("list")?;
    Ok(app.store.list((), asked).await?)
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
                let mut customer = tx.customer(id).await?.ok_or(AppError::NotFound("customer"))?;
                customer.version = version.unwrap_or(customer.version);
                edit(&mut customer);
                Ok(tx.updated(tx.update_customer(&by, customer).await?).await?)
            }
        })
        .await
}

/// Why somebody pushes a state, and what they know it by.
#[derive(Clone, Debug, Default)]
pub struct StateNote {
    /// In their words.
    pub reason: Option<String>,
    /// A case, an invoice.
    pub reference: Option<String>,
}

/// Lengths of a reason, in characters.
const REASON: std::ops::RangeInclusive<usize> = 1..=1024;
/// Lengths of a reference, in characters.
const REFERENCE: std::ops::RangeInclusive<usize> = 1..=512;
/// Lengths of an artifact's kind, in bytes.
const ARTIFACT_KIND: std::ops::RangeInclusive<usize> = 1..=64;

/// Brings a customer to a KYC or payment state, as staff or the service says that checks it.
pub async fn set_customer_state(
    app: &App,
    by: &Authorized<ManageCustomers>,
    id: CustomerId,
    state: CustomerState,
    note: &StateNote,
) -> Result<(Customer, Commit), AppError> {
    note.reason.iter().try_for_each(|it| text::check("/reason", it, REASON))?;
    note.reference.iter().try_for_each(|it| text::check("/reference", it, REFERENCE))?;
    let said = (note.reason.as_deref(), note.reference.as_deref());
    app.store.write(by, app.now(), |tx| async move { Ok(tx.set_customer_state(by, id, state, said).await?) }).await
}

/// A page of a customer's KYC and payment states, oldest first.
pub async fn list_customer_changes(
    app: &App,
    principal: &Principal,
    id: CustomerId,
    asked: &Selection<CustomerHistory>,
) -> Result<Slice<CustomerChange>, AppError> {
    read_customer(app, principal, id).await?;
    Ok(app.store.list(id, asked).await?)
}

/// A customer's evidence.
pub async fn list_artifacts(
    app: &App,
    principal: &Principal,
    id: CustomerId,
    asked: &Selection<ArtifactList>,
) -> Result<Slice<Artifact>, AppError> {
    read_customer(app, principal, id).await?;
    Ok(app.store.list(id, asked).await?)
}

/// Keeps evidence of who a customer is.
pub async fn put_artifact(app: &App, principal: &Principal, new: NewArtifact) -> Result<(Artifact, Commit), AppError> {
    let by = principal.may::<ManageCustomers>("kyc")?;
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    if !ARTIFACT_KIND.contains(&new.kind.len()) || !new.kind.bytes().all(word) {
        return Err(AppError::field("/kind", "invalid", "1 to 64 of a-z, 0-9, `_` and `-`"));
    }
    text::check("/reference", &new.reference, REFERENCE)?;
    let (by, new) = (&by, &new);
    app.store
        .write(by, app.now(), |tx| async move {
            match tx.put_artifact(by, new.clone()).await? {
                Ok(put) => Ok(tx.done("put", put).await?),
                Err(kept) => Ok(Audited::unchanged(kept)),
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

/// Takes over what an earlier release kept of customers in any form, as far as it has the form of this one; says of how many.
///
/// # Errors
/// Of the database. What was taken over until then stays so.
pub async fn take_over_unchecked(app: &App) -> Result<usize, AppError> {
    let by = Authorized::<ManageCustomers>::system("upgrade");
    let by = &by;
    let (mut page, mut taken) = (Page::WIDEST, 0);
    loop {
        let found = app.store.unchecked_customers(page).await?;
        let Some(last) = found.last() else { return Ok(taken) };
        page.after = Some(last.uuid());
        for id in found {
            let written = app.store.write(by, app.now(), |tx| async move {
                let Some(mut customer) = tx.customer(id).await? else { return Ok(Audited::unchanged(false)) };
                if !customer.take_over_unchecked() {
                    return Ok(Audited::unchanged(false));
                }
                Ok::<_, AppError>(tx.updated(tx.update_customer(by, customer).await?).await?.map(|_| true))
            });
            taken += usize::from(written.await?.0);
        }
    }
}
