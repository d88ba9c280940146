//! Decisions of gateways, as those see them whom they concern.

use authz::action::ReadDecisions;
use domain::{RequestId, TenantId};
use store::{KeptDecision, read::*};

use crate::{App, caller::Principal, error::AppError};

/// Why a request was decided as it was. A tenant's principals see their own tenant's decisions; staff sees all, or one
/// tenant's. What is another's does not exist.
pub async fn read_decision(
    app: &App,
    principal: &Principal,
    tenant: Option<TenantId>,
    request: RequestId,
) -> Result<KeptDecision, AppError> {
    let found = if principal.is_system() && tenant.is_none() {
        principal.may::<ReadDecisions>("get")?;
        app.store.decision(request).await?
    } else {
        let site = principal.site(app, tenant).await?;
        principal.may_in::<ReadDecisions>(site, "get")?;
        app.store.within(site.scope()).decision_of_tenant(site.tenant, request).await?
    };
    found.ok_or(AppError::NotFound("decision"))
}
