//! `/v1/customers`: platform staff only.

use axum::extract::State;
use domain::{
    Address, Contact, CustomerId, TaxIds, Timestamp,
    model::{Customer, CustomerKind, KycKind, NewCustomer, Tenancy},
    snapshot::{KycStatus, PaymentStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::{CustomerList, CustomerTenantList};

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{At, Body, IfMatch, ListQuery, Listed, WaitQuery, given},
    schema::wire,
    tenants::TenantView,
};
use crate::{App, app, app::text, caller::Principal, context::new_id, error::AppError};

/// A customer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Customer")]
#[expect(missing_docs, reason = "as in `domain::model::Customer`")]
pub struct CustomerView {
    pub id: CustomerId,
    pub code: String,
    pub name: String,
    pub description: String,
    pub kind: CustomerKind,
    pub tenancy: Tenancy,
    pub address: Option<Address>,
    pub contact: Option<Contact>,
    pub tax_ids: TaxIds,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<std::collections::BTreeMap<String, String>>")]
    pub unchecked: Option<serde_json::Value>,
    pub kyc: KycStatus,
    pub kyc_kind: KycKind,
    pub payment: PaymentStatus,
    pub is_root: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Customer> for CustomerView {
    fn from(it: Customer) -> Self {
        Self {
            id: it.id,
            code: it.code,
            name: it.name,
            description: it.description,
            kind: it.kind,
            tenancy: it.tenancy,
            address: it.address,
            contact: it.contact,
            tax_ids: it.tax_ids,
            unchecked: it.unchecked,
            kyc: it.kyc,
            kyc_kind: it.kyc_kind,
            payment: it.payment,
            is_root: it.is_root,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A customer to be made. Its identity check starts at `none`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCustomer {
    /// Unique short name, 1 to 63 bytes.
    code: String,
    /// Display name.
    name: String,
    /// Free text.
    #[serde(default)]
    description: String,
    /// Company or person.
    #[serde(default)]
    kind: CustomerKind,
    /// Whether its tenants get a project of their own.
    #[serde(default)]
    tenancy: Tenancy,
    /// Postal address.
    address: Option<Address>,
    /// Whom to ask.
    contact: Option<Contact>,
    /// Tax ids by kind: `pan`, `tan`, `gstin`, `abn`, `ein`, `vat` of their forms, others of 1 to 64 characters.
    #[serde(default)]
    tax_ids: TaxIds,
    /// Which check of identity applies.
    #[serde(default)]
    kyc_kind: KycKind,
}

/// What changes of a customer; what is absent stays, and what is `null` is cleared (RFC 7396).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateCustomer {
    /// Display name.
    name: Option<String>,
    /// Free text.
    description: Option<String>,
    /// Postal address; all of it. `null` for none.
    #[serde(deserialize_with = "given")]
    address: Option<Option<Address>>,
    /// Whom to ask; all of it. `null` for nobody.
    #[serde(deserialize_with = "given")]
    contact: Option<Option<Contact>>,
    /// Tax ids by kind; all of them.
    tax_ids: Option<TaxIds>,
    /// `null` drops what an earlier release kept of address, contact and tax ids in any form.
    #[serde(deserialize_with = "given")]
    #[schemars(with = "()")]
    unchecked: Option<Option<Nothing>>,
}

/// What nobody can set.
#[derive(Clone, Copy, Debug, Deserialize)]
pub enum Nothing {}

wire!(CustomerView, CreateCustomer, UpdateCustomer);

/// Refuses a name or description that is none.
fn described(name: &str, description: &str) -> Result<(), AppError> {
    text::check("/name", name, 1..=*text::NAME.end())?;
    text::check("/description", description, 0..=4096)
}

/// Lists customers.
#[utoipa::path(get, path = "/v1/customers", tag = "customers", params(ListQuery<CustomerList>),
    responses((status = 200, body = List<CustomerView>)), security(("bearer" = [])))]
pub async fn list_customers(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<CustomerList>,
) -> Result<axum::Json<List<CustomerView>>, AppError> {
    let found = app::customers::list_customers(&app, &principal, &asked).await?;
    Ok(axum::Json(List::of(found, Into::into)))
}

/// Makes a customer.
#[utoipa::path(post, path = "/v1/customers", tag = "customers", params(WaitQuery), request_body = CreateCustomer,
    responses((status = 201, body = CustomerView)), security(("bearer" = [])))]
pub async fn create_customer(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateCustomer>,
) -> Result<Created<CustomerView>, AppError> {
    if !(1..=63).contains(&body.code.len()) || body.code.chars().any(char::is_control) {
        return Err(AppError::field("/code", "length", "1 to 63 bytes are allowed"));
    }
    described(&body.name, &body.description)?;
    let new = NewCustomer {
        id: new_id(&*app.clock),
        code: body.code,
        name: body.name,
        description: body.description,
        kind: body.kind,
        tenancy: body.tenancy,
        address: body.address,
        contact: body.contact,
        tax_ids: body.tax_ids,
        kyc: KycStatus::None,
        kyc_kind: body.kyc_kind,
        payment: PaymentStatus::Ok,
        is_root: false,
    };
    let (made, commit) = app::customers::create_customer(&app, &principal, new).await?;
    let location = format!("/v1/customers/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a customer.
#[utoipa::path(get, path = "/v1/customers/{id}", tag = "customers", params(("id" = String, Path)),
    responses((status = 200, body = CustomerView)), security(("bearer" = [])))]
pub async fn read_customer(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
) -> Result<One<CustomerView>, AppError> {
    let found = app::customers::read_customer(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Changes a customer.
#[utoipa::path(patch, path = "/v1/customers/{id}", tag = "customers", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = UpdateCustomer, responses((status = 200, body = CustomerView)), security(("bearer" = [])))]
pub async fn update_customer(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateCustomer>,
) -> Result<Changed<CustomerView>, AppError> {
    described(body.name.as_deref().unwrap_or("-"), body.description.as_deref().unwrap_or_default())?;
    let edit = |customer: &mut Customer| {
        let body = body.clone();
        customer.name = body.name.unwrap_or_else(|| customer.name.clone());
        customer.description = body.description.unwrap_or_else(|| customer.description.clone());
        customer.address = body.address.unwrap_or_else(|| customer.address.clone());
        customer.contact = body.contact.unwrap_or_else(|| customer.contact.clone());
        customer.tax_ids = body.tax_ids.unwrap_or_else(|| customer.tax_ids.clone());
        if body.unchecked.is_some() {
            customer.unchecked = None;
        }
    };
    let (changed, commit) = app::customers::update_customer(&app, &principal, id, version, edit).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Deletes a customer that has no tenants.
#[utoipa::path(delete, path = "/v1/customers/{id}", tag = "customers", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_customer(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
) -> Result<Gone, AppError> {
    app::customers::delete_customer(&app, &principal, id).await.map(Gone::by)
}

/// Lists a customer's tenants.
#[utoipa::path(get, path = "/v1/customers/{id}/tenants", tag = "customers", params(("id" = String, Path), ListQuery<CustomerTenantList>),
    responses((status = 200, body = List<TenantView>)), security(("bearer" = [])))]
pub async fn list_customer_tenants(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CustomerId>,
    Listed(asked): Listed<CustomerTenantList>,
) -> Result<axum::Json<List<TenantView>>, AppError> {
    let found = app::tenants::list_customer_tenants(&app, &principal, id, &asked).await?;
    Ok(axum::Json(List::of(found, Into::into)))
}
