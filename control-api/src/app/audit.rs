//! The audit trail: as its readers see it, and what others report to it.

use authz::{Authorized, action::AppendAudit};
use domain::{
    AuditEventId, ProjectId, TenantId, UserId,
    audit::{AuditEntry, AuditEvent, Crud, Origin, Report, ReportedActor, Target, is_action, is_own_action},
};
use serde_json::json;
use store::{
    AuditErasure, AuditQuery, ChainReport, Reported,
    list::{AuditErasureList, Selection, Slice},
    read::*,
};

use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
    key_caller::Reporter,
    service_caller::ServiceCaller,
};

/// An event as somebody reports it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `domain::audit`")]
pub struct Draft {
    pub action: String,
    pub crud: Crud,
    pub target: Target,
    pub actor: ReportedActor,
    pub origin: Origin,
    pub is_failure: bool,
    pub fields: serde_json::Value,
    pub report: Report,
    pub external_id: Option<String>,
}

impl Draft {
    fn reported(self, project: ProjectId, tenant: TenantId, reporter: String) -> Result<Reported, AppError> {
        if !is_action(&self.action) {
            return Err(AppError::field("/action", "invalid", "parts of a-z, 0-9, `-` and `_`, joined by dots"));
        }
        if is_own_action(&self.action) {
            return Err(AppError::field("/action", "reserved", "is the name of an event of ours"));
        }
        let entry = AuditEntry {
            action: self.action,
            crud: self.crud,
            target: self.target,
            project_id: Some(project),
            tenant_id: Some(tenant),
            is_failure: self.is_failure,
            fields: self.fields,
        };
        let (actor, origin, report, external_id) = (self.actor, self.origin, self.report, self.external_id);
        Ok(Reported { entry, actor, origin, report, reporter, external_id })
    }
}

/// Appends an event that a tenant's program or user, or staff, reports. Answers whether it is new.
pub async fn append_audit(
    app: &App,
    reporter: &Reporter,
    named: Option<TenantId>,
    draft: Draft,
) -> Result<(AuditEvent, bool), AppError> {
    let (by, site, name) = reporter.at(app, named).await?;
    append(app, &by, draft.reported(site.project, site.tenant, name)?).await
}

/// Appends an event that a service with a key of ours reports. Answers whether it is new.
pub async fn report_audit(
    app: &App,
    caller: &ServiceCaller,
    tenant: TenantId,
    draft: Draft,
) -> Result<(AuditEvent, bool), AppError> {
    caller.may_append_to(tenant)?;
    let tenant = app.store.tenant(tenant).await?.ok_or(AppError::NotFound("tenant"))?;
    let reported = draft.reported(tenant.project_id, tenant.id, format!("service:{}", caller.name()))?;
    append(app, &Authorized::system("audit"), reported).await
}

async fn append(app: &App, by: &Authorized<AppendAudit>, reported: Reported) -> Result<(AuditEvent, bool), AppError> {
    let (reported, id) = (&reported, new_id(&*app.clock));
    let appended =
        app.store.write(by, app.now(), |tx| async move { Ok::<_, AppError>(tx.append_audit(by, id, reported).await?) });
    let (event, _) = appended.await?;
    let fresh = event.id == id;
    Ok((event, fresh))
}

/// Events. A tenant's principals see their tenant's; staff sees all, or one tenant's.
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

/// One event. What is another tenant's does not exist.
pub async fn read_audit_event(app: &App, principal: &Principal, id: AuditEventId) -> Result<AuditEvent, AppError> {
    let found = if principal.is_system() {
        principal.may::<AppendAudit>("list")?;
        app.store.audit_event(id).await?
    } else {
        let site = principal.own_site()?;
        principal.may_in::<AppendAudit>(site, "list")?;
        let found = app.store.within(site.scope()).audit_event(id).await?;
        found.filter(|event| event.entry.tenant_id == Some(site.tenant))
    };
    found.ok_or(AppError::NotFound("audit-event"))
}

/// Whose chain the caller may do this to: its own tenant's; for staff one tenant's, also one that is gone, or the platform's.
pub fn chain_of(principal: &Principal, named: Option<TenantId>, verb: &str) -> Result<Option<TenantId>, AppError> {
    if principal.is_system() {
        principal.may::<AppendAudit>(verb)?;
        return Ok(named);
    }
    let site: Site = principal.own_site()?;
    if named.is_some_and(|tenant| tenant != site.tenant) {
        return Err(AppError::NotFound("tenant"));
    }
    principal.may_in::<AppendAudit>(site, verb)?;
    Ok(Some(site.tenant))
}

/// Checks a chain from beginning to end.
pub async fn verify_audit(app: &App, principal: &Principal, named: Option<TenantId>) -> Result<ChainReport, AppError> {
    let tenant = chain_of(principal, named, "verify")?;
    let _alone = app.checks.take("audit").await;
    let report = app.store.verify_audit(tenant).await?;
    if let Some(broken) = report.broken {
        tracing::error!(audit.chain = report.chain, audit.seq = broken.seq, "the audit trail was tampered with");
    }
    Ok(report)
}

/// Has what is known of a user that is gone taken out of the trail.
pub async fn request_erasure(app: &App, principal: &Principal, user: UserId) -> Result<AuditErasure, AppError> {
    let by = principal.may::<AppendAudit>("erase")?;
    let (by, id) = (&by, new_id(&*app.clock));
    let requested = app.store.write(by, app.now(), |tx| async move {
        let erasure = tx.request_audit_erasure(by, id, user).await?;
        let entry = AuditEntry {
            action: "audit.erasure_requested".into(),
            crud: Crud::C,
            target: Target { kind: "user".into(), id: user.to_string(), name: String::new() },
            project_id: None,
            tenant_id: None,
            is_failure: false,
            fields: json!({ "erasure_id": erasure.peek().id }),
        };
        Ok::<_, AppError>(tx.audit(entry, erasure).await?)
    });
    requested.await.map(|(erasure, _)| erasure)
}

/// The erasures that were asked for.
pub async fn list_erasures(
    app: &App,
    principal: &Principal,
    asked: &Selection<AuditErasureList>,
) -> Result<Slice<AuditErasure>, AppError> {
    principal.may::<AppendAudit>("list")?;
    Ok(app.store.list((), asked).await?)
}
