//! `/v1/catalog`: what a tenant may ask for, and what tenants asked for, on S1's paths.

use axum::{Json, extract::State};
use domain::{
    ProductRequestId, TenantId, Timestamp, UserId,
    model::{ProductKey, ProductRequest, ProductRequestKind, ProductRequestStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::{CatalogList, ProductRequestList};

use super::{
    answer::{Changed, Created, List},
    entitlements::EntitlementView,
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    products::ProductView,
    schema::wire,
};
use crate::{
    App,
    app::{self, products::Wish, text},
    caller::Principal,
    error::AppError,
};

/// Longest contact, in characters.
const MAX_CONTACT: usize = 256;

/// Longest note, in characters.
const MAX_NOTE: usize = 2000;

/// What a tenant asked for.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ProductRequest")]
#[expect(missing_docs, reason = "as in `domain::model::ProductRequest`")]
pub struct ProductRequestView {
    pub id: ProductRequestId,
    pub tenant_id: TenantId,
    pub product: ProductKey,
    pub kind: ProductRequestKind,
    pub contact: String,
    pub note: String,
    pub status: ProductRequestStatus,
    pub requested_by: Option<UserId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<ProductRequest> for ProductRequestView {
    fn from(it: ProductRequest) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            product: it.product,
            kind: it.kind,
            contact: it.contact,
            note: it.note,
            status: it.status,
            requested_by: it.requested_by,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A product of the catalog that a tenant wants.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestProduct {
    /// The product, by its key.
    product: ProductKey,
    /// Whom to call, and how; up to 256 characters.
    #[serde(default)]
    contact: String,
    /// What else there is to say, up to 2000 characters.
    #[serde(default)]
    note: String,
}

/// What became of a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleProductRequest {
    /// `approved`, `declined`, or `open` again.
    status: ProductRequestStatus,
}

wire!(ProductRequestView, RequestProduct, SettleProductRequest);

impl TryFrom<RequestProduct> for Wish {
    type Error = AppError;
    fn try_from(body: RequestProduct) -> Result<Self, AppError> {
        text::check("/contact", &body.contact, 0..=MAX_CONTACT)?;
        text::check("/note", &body.note, 0..=MAX_NOTE)?;
        Ok(Self { product: body.product, contact: body.contact, note: body.note })
    }
}

/// Lists what a tenant may ask for.
#[utoipa::path(get, path = "/v1/catalog", tag = "catalog", params(TenantQuery, ListQuery<CatalogList>),
    responses((status = 200, body = List<ProductView>)), security(("bearer" = [])))]
pub async fn list_catalog(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<CatalogList>,
) -> Result<Json<List<ProductView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::products::list_catalog(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Asks to be called back about a product. A tenant asks once, and waits for the answer.
#[utoipa::path(post, path = "/v1/catalog/request", tag = "catalog", params(TenantQuery), request_body = RequestProduct,
    responses((status = 201, body = ProductRequestView)), security(("bearer" = [])))]
pub async fn request_product(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<RequestProduct>,
) -> Result<Created<ProductRequestView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let (made, commit) = app::products::request_product(&app, &principal, site, body.try_into()?).await?;
    let location = format!("/v1/catalog/requests/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Begins a trial, which a tenant has once for each product.
#[utoipa::path(post, path = "/v1/catalog/trial-request", tag = "catalog", params(TenantQuery, WaitQuery),
    request_body = RequestProduct, responses((status = 201, body = EntitlementView)), security(("bearer" = [])))]
pub async fn try_product(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<RequestProduct>,
) -> Result<Created<EntitlementView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let (made, commit) = app::products::try_product(&app, &principal, site, body.try_into()?).await?;
    let location = format!("/v1/entitlements/{}", made.id);
    let (version, body) = (made.version, EntitlementView::at(made, app.now()));
    Ok(Created { location, version: Some(version), body, commit })
}

/// Lists what tenants asked for: one, or all.
#[utoipa::path(get, path = "/v1/catalog/requests", tag = "catalog", params(ListQuery<ProductRequestList>),
    responses((status = 200, body = List<ProductRequestView>)), security(("bearer" = [])))]
pub async fn list_product_requests(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<ProductRequestList>,
) -> Result<Json<List<ProductRequestView>>, AppError> {
    let found = app::products::list_product_requests(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Says what became of a request. What the tenant gets, `PUT /v1/entitlements` says.
#[utoipa::path(patch, path = "/v1/catalog/requests/{id}", tag = "catalog", params(("id" = String, Path), IfMatch),
    request_body = SettleProductRequest, responses((status = 200, body = ProductRequestView)),
    security(("bearer" = [])))]
pub async fn settle_product_request(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ProductRequestId>,
    IfMatch(version): IfMatch,
    Body(body): Body<SettleProductRequest>,
) -> Result<Changed<ProductRequestView>, AppError> {
    let settled = app::products::settle_product_request(&app, &principal, id, version, body.status);
    let (changed, commit) = settled.await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}
