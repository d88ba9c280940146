//! `/v1/entitlements`: which products tenants may use, on S1's paths.

use axum::{Json, extract::State};
use domain::{
    EntitlementId, TenantId, Timestamp,
    model::{Entitlement, EntitlementSource, EntitlementStatus, ProductKey},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Changed, Gone, List},
    extract::{Asked, At, Body, PageQuery, Paging, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// That a tenant may use a product, or might.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Entitlement")]
#[expect(missing_docs, reason = "as in `domain::model::Entitlement`")]
pub struct EntitlementView {
    pub id: EntitlementId,
    pub tenant_id: TenantId,
    pub product: ProductKey,
    /// What it is worth now.
    pub status: EntitlementStatus,
    pub source: EntitlementSource,
    pub starts: Timestamp,
    pub ends: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl EntitlementView {
    pub(super) fn at(it: Entitlement, now: Timestamp) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            status: it.status(now),
            product: it.product,
            source: it.source,
            starts: it.starts_at,
            ends: it.ends_at,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// Which product a tenant may use from now on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutEntitlement {
    /// The tenant.
    tenant_id: TenantId,
    /// The product, by its key.
    product: ProductKey,
    /// How it comes about. Default `sale`.
    #[serde(default = "sale")]
    source: EntitlementSource,
    /// Until when, in the future; none: without end.
    ends: Option<Timestamp>,
}

const fn sale() -> EntitlementSource {
    EntitlementSource::Sale
}

wire!(EntitlementView, PutEntitlement);

/// Lists a tenant's entitlements, whatever became of them.
#[utoipa::path(get, path = "/v1/entitlements", tag = "entitlements", params(TenantQuery, PageQuery),
    responses((status = 200, body = List<EntitlementView>)), security(("bearer" = [])))]
pub async fn list_entitlements(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Paging(page): Paging,
) -> Result<Json<List<EntitlementView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let rows = app::products::list_entitlements(&app, &principal, site, page).await?;
    let now = app.now();
    Ok(Json(List::page(rows, page, |it| it.id.uuid(), |it| EntitlementView::at(it, now))))
}

/// Entitles a tenant to a product, or changes how and until when it is. One that was over begins anew.
#[utoipa::path(put, path = "/v1/entitlements", tag = "entitlements", params(WaitQuery), request_body = PutEntitlement,
    responses((status = 200, body = EntitlementView)), security(("bearer" = [])))]
pub async fn put_entitlement(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<PutEntitlement>,
) -> Result<Changed<EntitlementView>, AppError> {
    if !principal.is_system() {
        return Err(AppError::ContextMismatch);
    }
    let site = principal.site(&app, Some(body.tenant_id)).await?;
    let put = app::products::put_entitlement(&app, &principal, site, &body.product, body.source, body.ends);
    let (changed, commit) = put.await?;
    let (version, body) = (changed.version, EntitlementView::at(changed, app.now()));
    // It may end sooner than before.
    Ok(Changed { version: Some(version), body, commit, revokes: true })
}

/// Takes an entitlement back: no gateway serves the product to the tenant any more.
#[utoipa::path(delete, path = "/v1/entitlements/{id}", tag = "entitlements", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn revoke_entitlement(
    principal: Principal,
    State(app): State<App>,
    At(id): At<EntitlementId>,
) -> Result<Gone, AppError> {
    app::products::revoke_entitlement(&app, &principal, id).await.map(Gone::by)
}
