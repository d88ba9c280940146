//! What was asked of organisational units at the edge: for the tenant's administrators, and the unit's.

use authz::action::{ManageOrgUnits, ReadAccessLog};
use domain::{OrgUnitId, access::UnitUsage, quota::Span};
use store::{AccessKept, AccessQuery, KeptAccess, Page, read::*};

use crate::{
    App,
    caller::{Principal, Site},
    error::AppError,
    upkeep::every,
};

/// What was asked of a unit, newest first.
pub async fn list_access_log(
    app: &App,
    principal: &Principal,
    site: Site,
    unit: OrgUnitId,
    query: &AccessQuery,
) -> Result<Vec<KeptAccess>, AppError> {
    if !principal.administers_unit(unit) {
        principal.may_in::<ReadAccessLog>(site, "list")?;
    }
    let store = app.store.within(site.scope());
    store.org_unit(site.tenant, unit).await?.ok_or(AppError::NotFound("org-unit"))?;
    Ok(store.access_log((site.tenant, unit), query).await?)
}

/// How much each of a tenant's units asked for from a day on and before another. Units that asked for nothing are absent;
/// those that were removed for good are not.
pub async fn usage_by_unit(
    app: &App,
    principal: &Principal,
    site: Site,
    days: (Span, Span),
    page: Page,
) -> Result<Vec<(OrgUnitId, UnitUsage)>, AppError> {
    principal.may_in::<ManageOrgUnits>(site, "list")?;
    let after = OrgUnitId::new(page.after.unwrap_or_default());
    Ok(app.store.within(site.scope()).unit_usage(site.tenant, days, (after, page.limit)).await?)
}

/// Forgets what is too old, again and again. Never ends.
pub async fn keep_sweeping(app: &App) {
    let config = &app.config.access_log;
    let kept = AccessKept { each: config.each, age: config.age.get() };
    every(config.sweep.get(), "old requests of organisational units were not removed", || async move {
        app.store.sweep_access_log(app.now(), kept).await?;
        Ok(())
    })
    .await;
}
