//! `/v1/entitlements`: which products tenants may use, on S1's paths.

use axum::{Json, extract::State};
use domain::{
    EntitlementId, OrgUnitId, Period, ProductQuota, TenantId, Timestamp,
    access::UnitUsage,
    model::{Entitlement, EntitlementSource, EntitlementStatus, ProductKey},
    quota::Span,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::EntitlementList;

use super::{
    answer::{Changed, Gone, List},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, PageQuery, Paging, TenantQuery, WaitQuery, given},
    products::checked_quota,
    schema::wire,
};
use crate::{
    App,
    app::{
        self,
        products::{Terms, Used},
    },
    caller::Principal,
    error::AppError,
};

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
    /// How much of it this tenant may use; none: as the product says.
    pub quota: Option<ProductQuota>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// Its version, as `If-Match` takes it.
    pub version: u64,
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
            quota: it.quota,
            created_at: it.created_at,
            updated_at: it.updated_at,
            version: it.version.0,
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
    /// How much of it this tenant may use, instead of what the product says; all of it. `null`: as the product says.
    /// Absent, it stays.
    #[serde(default, deserialize_with = "given")]
    quota: Option<Option<ProductQuota>>,
}

const fn sale() -> EntitlementSource {
    EntitlementSource::Sale
}

/// What a tenant used of a product, in this day or month of UTC.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub struct UsageView {
    /// The product.
    pub product: ProductKey,
    /// Whether a day or a month.
    pub period: Period,
    /// Which: `2028-02-29`, `2028-02`.
    pub span: String,
    /// Requests that were let through, as gateways have told; at most some seconds behind. Counted while there is a quota.
    pub used: u64,
    /// How many there may be; none: any number.
    pub limit: Option<u64>,
    /// When it begins at zero again.
    pub resets_at: Timestamp,
}

impl From<Used> for UsageView {
    fn from(it: Used) -> Self {
        Self {
            product: it.product,
            period: it.span.period(),
            span: it.span.to_string(),
            used: it.used,
            limit: it.most,
            resets_at: it.span.ends_at(),
        }
    }
}

/// Which product's usage.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProductQuery {
    /// The product; all that the tenant may use, when absent.
    #[param(value_type = Option<String>)]
    pub product: Option<ProductKey>,
}

/// What an organisational unit asked for in a range of days of UTC.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OrgUnitUsage")]
pub struct UnitUsageView {
    /// The unit, which may have been removed since.
    pub ou_id: OrgUnitId,
    /// Requests that were let through, as gateways have told; at most some seconds behind.
    pub requests: u64,
    /// Bytes of their bodies.
    pub bytes_received: u64,
    /// Bytes of the bodies they were answered with.
    pub bytes_sent: u64,
}

impl From<(OrgUnitId, UnitUsage)> for UnitUsageView {
    fn from((ou_id, it): (OrgUnitId, UnitUsage)) -> Self {
        Self { ou_id, requests: it.requests, bytes_received: it.bytes_received, bytes_sent: it.bytes_sent }
    }
}

/// What was used: of a product, or by an organisational unit.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AnyUsage {
    /// Of a product.
    Product(UsageView),
    /// By an organisational unit.
    Unit(UnitUsageView),
}

/// By what usage is told apart.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// By product; the default.
    Product,
    /// By organisational unit.
    OrgUnit,
}

/// Usage by organisational unit.
#[derive(Clone, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UnitUsageQuery {
    /// `product` (default) or `org_unit`.
    #[param(value_type = Option<String>)]
    group_by: Option<GroupBy>,
    /// First day of UTC, such as `2028-02-01`. By `org_unit` only; default the first of this month.
    from: Option<String>,
    /// The day after the last, at most 400 after the first. By `org_unit` only; default tomorrow.
    to: Option<String>,
}

/// Most days at once.
const MAX_DAYS: u32 = 400;

impl UnitUsageQuery {
    fn days(&self, now: Timestamp) -> Result<(Span, Span), AppError> {
        let today = Span::at(Period::Day, now);
        let first = Span::at(Period::Day, Span::at(Period::Month, now).starts_at());
        let day = |name: &str, text: &Option<String>, default: Span| match text {
            None => Ok(default),
            Some(text) => {
                let read = text.parse::<Span>().ok().filter(|span| span.period() == Period::Day);
                read.ok_or_else(|| AppError::parameter(name, "invalid", "is no day such as `2028-02-29`"))
            }
        };
        let from = day("from", &self.from, first)?;
        let to = day("to", &self.to, Span::numbered(Period::Day, today.number() + 1))?;
        if from >= to || to.number() - from.number() > MAX_DAYS {
            return Err(AppError::parameter("to", "range", format!("1 to {MAX_DAYS} days after `from`")));
        }
        Ok((from, to))
    }
}

wire!(EntitlementView, PutEntitlement, UsageView, UnitUsageView, AnyUsage);

/// Lists a tenant's entitlements, whatever became of them.
#[utoipa::path(get, path = "/v1/entitlements", tag = "entitlements", params(TenantQuery, ListQuery<EntitlementList>),
    responses((status = 200, body = List<EntitlementView>)), security(("bearer" = [])))]
pub async fn list_entitlements(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<EntitlementList>,
) -> Result<Json<List<EntitlementView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::products::list_entitlements(&app, &principal, site, &asked).await?;
    let now = app.now();
    Ok(Json(List::of(found, |it| EntitlementView::at(it, now))))
}

/// Says what a tenant used of the products it may use, in this day and month; with `group_by=org_unit`, what each of its
/// organisational units asked for in a range of days.
#[utoipa::path(get, path = "/v1/usage", tag = "entitlements", params(TenantQuery, ProductQuery, UnitUsageQuery, PageQuery),
    responses((status = 200, body = List<AnyUsage>)), security(("bearer" = [])))]
pub async fn read_usage(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Asked(of): Asked<ProductQuery>,
    Asked(units): Asked<UnitUsageQuery>,
    Paging(page): Paging,
) -> Result<Json<List<AnyUsage>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    if let Some(GroupBy::OrgUnit) = units.group_by {
        let rows = app::access_log::usage_by_unit(&app, &principal, site, units.days(app.now())?, page).await?;
        return Ok(Json(List::page(rows, page, |(unit, _)| unit.uuid(), |row| AnyUsage::Unit(row.into()))));
    }
    let used = app::products::read_usage(&app, &principal, site, of.product.as_ref()).await?;
    Ok(Json(List::whole(used.into_iter().map(|used| AnyUsage::Product(used.into())).collect())))
}

/// Entitles a tenant to a product, or changes how and until when it is. One that was over begins anew.
#[utoipa::path(put, path = "/v1/entitlements", tag = "entitlements", params(WaitQuery, IfMatch), request_body = PutEntitlement,
    responses((status = 200, body = EntitlementView)), security(("bearer" = [])))]
pub async fn put_entitlement(
    principal: Principal,
    State(app): State<App>,
    IfMatch(version): IfMatch,
    Body(body): Body<PutEntitlement>,
) -> Result<Changed<EntitlementView>, AppError> {
    if !principal.is_system() {
        return Err(AppError::ContextMismatch);
    }
    let site = principal.site(&app, Some(body.tenant_id)).await?;
    let quota = body.quota.map(|own| own.map(|quota| checked_quota("/quota", quota)).transpose()).transpose()?;
    let terms = Terms { source: body.source, ends_at: body.ends, quota };
    let (changed, commit) =
        app::products::put_entitlement(&app, &principal, site, &body.product, (version, terms)).await?;
    let (version, body) = (changed.version, EntitlementView::at(changed, app.now()));
    // It may end sooner than before, or allow less.
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
