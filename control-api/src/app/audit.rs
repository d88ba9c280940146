//! The audit trail, as its readers see it.

use authz::action::AppendAudit;
use domain::{TenantId, audit::AuditEvent};
use store::{AuditQuery, read::*};

use crate::{App, caller::Principal, error::AppError};

/// Events, newest first. A tenant's principals see their tenant's; staff sees all, or one tenant's.
pub async fn list_audit(
    app: &App,
    principal: &Principal,
    tenant: Option<TenantId>,
    mut query: AuditQuery,
) -> Result<Vec<AuditEvent>, AppError> {
    if principal.is_system() && tenant.is_none() {
        principal.may::<AppendAudit>("list")?;
        return Ok(app.store.audit_events(&query).await?);
    }
    let site = principal.site(app, tenant).await?;
    principal.may_in::<AppendAudit>(site, "list")?;
    query.tenant = Some(site.tenant);
    Ok(app.store.within(site.scope()).audit_events(&query).await?)
}
