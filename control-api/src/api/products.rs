//! `/v1/products`: what there is to be entitled to, for the platform's staff.

use axum::{Json, extract::State};
use domain::{
    ProductId, ProductQuota, Timestamp,
    model::{
        NewProduct, Product, ProductKey,
        product::{MAX_TRIAL_DAYS, TRIAL_DAYS},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::ProductList;

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{At, Body, IfMatch, ListQuery, Listed, given},
    schema::wire,
};
use crate::{
    App,
    app::{self, text},
    caller::Principal,
    context::new_id,
    envelope::Settle,
    error::AppError,
};

/// Longest name, in characters.
const MAX_NAME: usize = 128;

/// Longest description, in characters.
const MAX_DESCRIPTION: usize = 2000;

/// A product.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Product")]
#[expect(missing_docs, reason = "as in `domain::model::Product`")]
pub struct ProductView {
    pub id: ProductId,
    pub key: ProductKey,
    pub name: String,
    pub description: String,
    pub requestable: bool,
    pub trialable: bool,
    pub trial_days: Option<u32>,
    pub quota: ProductQuota,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Product> for ProductView {
    fn from(it: Product) -> Self {
        Self {
            id: it.id,
            key: it.key,
            name: it.name,
            description: it.description,
            requestable: it.requestable,
            trialable: it.trial_days.is_some(),
            trial_days: it.trial_days,
            quota: it.quota,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A product to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateProduct {
    /// Its name in routes and in `x-md-global-products`. Cannot be changed later.
    key: ProductKey,
    /// What people call it, 1 to 128 characters.
    name: String,
    /// What it is, up to 2000 characters.
    #[serde(default)]
    description: String,
    /// Whether tenants see it in the catalog and may ask for it. Default false.
    #[serde(default)]
    requestable: bool,
    /// Whether tenants may try it, once each. Default false.
    #[serde(default)]
    trialable: bool,
    /// How long a trial lasts, 1 to 365 days. Default 14.
    trial_days: Option<u32>,
    /// How much of it a tenant may use, where its entitlement says nothing else. Default any number.
    #[serde(default)]
    quota: ProductQuota,
}

/// What changes of a product; what is absent stays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateProduct {
    /// What people call it, 1 to 128 characters.
    name: Option<String>,
    /// What it is, up to 2000 characters.
    description: Option<String>,
    /// Whether tenants see it in the catalog and may ask for it.
    requestable: Option<bool>,
    /// Whether tenants may try it, once each.
    trialable: Option<bool>,
    /// How long a trial lasts, 1 to 365 days.
    trial_days: Option<u32>,
    /// How much of it a tenant may use, where its entitlement says nothing else; all of it. `null` for any number.
    #[serde(deserialize_with = "given")]
    quota: Option<Option<ProductQuota>>,
}

wire!(ProductView, CreateProduct, UpdateProduct);

fn sound(name: &str, description: &str, trial_days: Option<u32>) -> Result<(), AppError> {
    text::check("/name", name, 1..=MAX_NAME)?;
    text::check("/description", description, 0..=MAX_DESCRIPTION)?;
    match trial_days {
        Some(days) if !(1..=MAX_TRIAL_DAYS).contains(&days) => {
            Err(AppError::field("/trial_days", "invalid", format!("1 to {MAX_TRIAL_DAYS} days")))
        }
        _ => Ok(()),
    }
}

pub(super) fn checked_quota(pointer: &str, quota: ProductQuota) -> Result<ProductQuota, AppError> {
    match quota.check() {
        Ok(()) => Ok(quota),
        Err(error) => Err(AppError::field(format!("{pointer}/{}", error.field), "range", error.to_string())),
    }
}

/// Lists the products.
#[utoipa::path(get, path = "/v1/products", tag = "products", params(ListQuery<ProductList>),
    responses((status = 200, body = List<ProductView>)), security(("bearer" = [])))]
pub async fn list_products(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<ProductList>,
) -> Result<Json<List<ProductView>>, AppError> {
    let found = app::products::list_products(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a product.
#[utoipa::path(post, path = "/v1/products", tag = "products", request_body = CreateProduct,
    responses((status = 201, body = ProductView)), security(("bearer" = [])))]
pub async fn create_product(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateProduct>,
) -> Result<Created<ProductView>, AppError> {
    sound(&body.name, &body.description, body.trial_days)?;
    checked_quota("/quota", body.quota)?;
    if body.trial_days.is_some() && !body.trialable {
        return Err(AppError::field("/trial_days", "invalid", "only a product that is `trialable` has trials"));
    }
    let new = NewProduct {
        id: new_id(&*app.clock),
        key: body.key,
        name: body.name,
        description: body.description,
        requestable: body.requestable,
        trial_days: body.trialable.then(|| body.trial_days.unwrap_or(TRIAL_DAYS)),
        quota: body.quota,
    };
    let (made, commit) = app::products::create_product(&app, &principal, new).await?;
    let location = format!("/v1/products/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads a product.
#[utoipa::path(get, path = "/v1/products/{id}", tag = "products", params(("id" = String, Path)),
    responses((status = 200, body = ProductView)), security(("bearer" = [])))]
pub async fn read_product(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProductId>,
) -> Result<One<ProductView>, AppError> {
    let found = app::products::read_product(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Changes a product; its key stays, and so does the end of trials that were begun.
#[utoipa::path(patch, path = "/v1/products/{id}", tag = "products", params(("id" = String, Path), IfMatch),
    request_body = UpdateProduct, responses((status = 200, body = ProductView)), security(("bearer" = [])))]
pub async fn update_product(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProductId>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateProduct>,
) -> Result<Changed<ProductView>, AppError> {
    sound(body.name.as_deref().unwrap_or("-"), body.description.as_deref().unwrap_or_default(), body.trial_days)?;
    let quota = body.quota.map(Option::unwrap_or_default).map(|quota| checked_quota("/quota", quota)).transpose()?;
    let edit = |product: &mut Product| {
        product.name = body.name.clone().unwrap_or_else(|| product.name.clone());
        product.description = body.description.clone().unwrap_or_else(|| product.description.clone());
        product.requestable = body.requestable.unwrap_or(product.requestable);
        let days = body.trial_days.or(product.trial_days).unwrap_or(TRIAL_DAYS);
        product.trial_days = body.trialable.unwrap_or(product.trial_days.is_some()).then_some(days);
        product.quota = quota.unwrap_or(product.quota);
    };
    let (changed, commit) = app::products::update_product(&app, &principal, id, version, edit).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: quota.is_some() })
}

/// Deletes a product that nobody is or was entitled to and nobody asked for.
#[utoipa::path(delete, path = "/v1/products/{id}", tag = "products", params(("id" = String, Path)),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_product(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProductId>,
) -> Result<Gone, AppError> {
    let commit = app::products::delete_product(&app, &principal, id).await?;
    // The edge knows of entitlements only.
    Ok(Gone(Settle { commit: Some(commit), revokes: false }))
}
