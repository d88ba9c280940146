//! Stage 2: hostname → tenant and project, and whether they may be served at all.

use std::sync::Arc;

use domain::snapshot::{KycStatus, PaymentStatus, TenantStatus};

use crate::{
    Denial, Snapshot, Trace,
    route::Matched,
    snapshot::{Entry, Site, TenantInfo},
};

/// The site of a hostname.
///
/// # Errors
/// No snapshot, no such hostname, one this build cannot serve, or one whose project or tenant serves nothing now.
pub(crate) fn of(snapshot: &Snapshot, host: &str, trace: &mut Trace) -> Result<Arc<Site>, Denial> {
    if !snapshot.is_usable() {
        return Err(Denial::SnapshotUnavailable);
    }
    let site = match snapshot.entry(host) {
        Some(Entry::Site(site)) => site,
        Some(Entry::Unsupported) => return Err(Denial::SnapshotUnsupported),
        None => return Err(Denial::HostnameUnknown),
    };
    trace.host = Some(Arc::clone(&site.host));
    trace.response.clone_from(&site.response);
    trace.cors.clone_from(&site.cors);
    trace.project = Some(site.project.id);
    trace.tenant = site.tenant.as_ref().map(|tenant| tenant.id);
    if site.project.suspended {
        return Err(Denial::ProjectSuspended);
    }
    if let Some(tenant) = &site.tenant {
        serves(tenant)?;
    }
    Ok(site)
}

/// Whether the tenant serves anything at all.
pub(crate) fn serves(tenant: &TenantInfo) -> Result<(), Denial> {
    match (tenant.status, tenant.payment) {
        (TenantStatus::Suspended | TenantStatus::Deleted, _) => Err(Denial::TenantSuspended),
        (_, PaymentStatus::Blocked) => Err(Denial::PaymentRequired),
        (
            TenantStatus::Trial | TenantStatus::Active | TenantStatus::Frozen,
            PaymentStatus::Ok | PaymentStatus::Overdue,
        ) => Ok(()),
    }
}

/// Whether the tenant serves a request on this route, `safe` when it only reads: frozen tenants read and sign in and out; products need the
/// customer's KYC.
pub(crate) fn serves_route(tenant: &TenantInfo, safe: bool, matched: &Matched) -> Result<(), Denial> {
    let route = matched.route();
    if tenant.status == TenantStatus::Frozen && !safe && !route.is_some_and(|route| route.session) {
        return Err(Denial::TenantFrozen);
    }
    let verified = matches!(tenant.kyc, KycStatus::Completed | KycStatus::DueRekyc);
    if !verified && route.is_some_and(|route| route.product.is_some()) {
        return Err(Denial::KycRequired);
    }
    Ok(())
}
