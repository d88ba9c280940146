//! Tenants, taken through their life cycle. How one comes to be is in [`super::new_tenant`], how it ends in
//! [`super::life_cycle`].

use authz::action::{ManageCustomers, ManageTenants};
use domain::{
    Admission, CustomerId, TenantId, Timestamp,
    model::{Branding, Provisioning, Tenant, TenantTransition, Version},
    snapshot::RateLimit,
};
use store::{
    Commit,
    list::{CustomerTenantList, Selection, Slice, TenantList},
    read::*,
};

use crate::{App, caller::Principal, error::AppError};

/// A page of tenants.
pub async fn list_tenants(
    app: &App,
    principal: &Principal,
    asked: &Selection<TenantList>,
) -> Result<Slice<Tenant>, AppError> {
    principal.may::<ManageTenants>("list")?;
    Ok(app.store.list((), asked).await?)
}

/// A page of a customer's tenants.
pub async fn list_customer_tenants(
    app: &App,
    principal: &Principal,
    customer: CustomerId,
    asked: &Selection<CustomerTenantList>,
) -> Result<Slice<Tenant>, AppError> {
    principal.may::<ManageCustomers>("get")?;
    principal.may::<ManageTenants>("list")?;
    app.store.customer(customer).await?.ok_or(AppError::NotFound("customer"))?;
    Ok(app.store.list(customer, asked).await?)
}

/// One tenant.
pub async fn read_tenant(app: &App, principal: &Principal, id: TenantId) -> Result<Tenant, AppError> {
    principal.may::<ManageTenants>("get")?;
    app.store.tenant(id).await?.ok_or(AppError::NotFound("tenant"))
}

/// One tenant, by its slug.
pub async fn read_tenant_by_slug(app: &App, principal: &Principal, slug: &str) -> Result<Tenant, AppError> {
    principal.may::<ManageTenants>("get")?;
    app.store.tenant_by_slug(slug).await?.ok_or(AppError::NotFound("tenant"))
}

/// What changes of a tenant.
#[derive(Clone, Debug, Default)]
pub struct TenantEdit {
    /// Display name.
    pub name: Option<String>,
    /// Plan, or that there is none.
    pub plan: Option<Option<String>>,
    /// When the trial ends, or that it does not.
    pub trial_ends_at: Option<Option<Timestamp>>,
    /// Requests a second, or as many as others.
    pub rate_limit: Option<Option<RateLimit>>,
    /// Requests a second of each of its principals, or as many as others.
    pub principal_rate_limit: Option<Option<RateLimit>>,
    /// Who is let in, and how much at once.
    pub admission: Option<Admission>,
    /// What its pages and mails look like.
    pub branding: Option<Branding>,
}

/// Changes a tenant.
pub async fn update_tenant(
    app: &App,
    principal: &Principal,
    id: TenantId,
    version: Option<Version>,
    edit: TenantEdit,
) -> Result<(Tenant, Commit), AppError> {
    let by = principal.may::<ManageTenants>("update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, edit) = (by.clone(), edit.clone());
            async move {
                let mut tenant = tx.tenant(id).await?.ok_or(AppError::NotFound("tenant"))?;
                tenant.version = version.unwrap_or(tenant.version);
                tenant.name = edit.name.unwrap_or(tenant.name);
                tenant.plan = edit.plan.unwrap_or(tenant.plan);
                tenant.trial_ends_at = edit.trial_ends_at.unwrap_or(tenant.trial_ends_at);
                tenant.rate_limit = edit.rate_limit.unwrap_or(tenant.rate_limit);
                tenant.principal_rate_limit = edit.principal_rate_limit.unwrap_or(tenant.principal_rate_limit);
                tenant.admission = edit.admission.unwrap_or(tenant.admission);
                tenant.branding = edit.branding.unwrap_or(tenant.branding);
                Ok(tx.updated(tx.update_tenant(&by, tenant).await?).await?)
            }
        })
        .await
}

/// Takes a step of the life cycle; `verb` is the permission's.
pub async fn step_tenant(
    app: &App,
    principal: &Principal,
    id: TenantId,
    step: TenantTransition,
    verb: &str,
) -> Result<(Tenant, Commit), AppError> {
    let by = principal.may::<ManageTenants>(verb)?;
    refuse_root(app, id, step == TenantTransition::Suspend || step == TenantTransition::Cancel).await?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move { Ok(tx.done(step.verb(), tx.step_tenant(&by, id, step).await?).await?) }
        })
        .await
}

/// Puts a tenant on hold until it is purged.
pub async fn delete_tenant(app: &App, principal: &Principal, id: TenantId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageTenants>("delete")?;
    refuse_root(app, id, true).await?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move { Ok::<_, AppError>(tx.deleted(tx.delete_tenant(&by, id).await?).await?) }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// Refuses every token and session of a tenant that was issued before.
pub async fn revoke_tenant_tokens(
    app: &App,
    principal: &Principal,
    id: TenantId,
) -> Result<(Tenant, Commit), AppError> {
    let by = principal.may::<ManageTenants>("revoke-tokens")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move { Ok(tx.done("tokens_revoked", tx.revoke_tenant_tokens(&by, id).await?).await?) }
        })
        .await
}

/// What became of a tenant in the directory of its people; none where nobody asked for it.
pub async fn read_provisioning(
    app: &App,
    principal: &Principal,
    id: TenantId,
) -> Result<Option<Provisioning>, AppError> {
    read_tenant(app, principal, id).await?;
    Ok(app.store.provisioning(id).await?)
}

/// Has the steps that are left taken at once; all of them for a tenant that nobody asked it for.
pub async fn retry_provisioning(
    app: &App,
    principal: &Principal,
    id: TenantId,
) -> Result<(Provisioning, Commit), AppError> {
    let by = principal.may::<ManageTenants>("provision")?;
    let by = &by;
    app.store
        .write(by, app.now(), |tx| async move {
            let tenant =
                tx.tenant(id).await?.filter(|it| it.deleted_at.is_none()).ok_or(AppError::NotFound("tenant"))?;
            let known = tx.provisioning(id).await?;
            let again = known.unwrap_or_else(|| Provisioning::begun(tenant.project_id, id, app.now()));
            if again.next_step().is_none() {
                let detail = "every step was taken".to_owned();
                return Err(AppError::Conflict { code: "provisioning_done", detail });
            }
            Ok(tx.done("provision_retried", tx.begin_provisioning(by, again).await?).await?)
        })
        .await
}

/// The platform's own tenant cannot be taken out of service: nobody could put it back.
async fn refuse_root(app: &App, id: TenantId, narrows: bool) -> Result<(), AppError> {
    let root = app.store.root_project().await?;
    let tenant = app.store.tenant(id).await?.ok_or(AppError::NotFound("tenant"))?;
    if narrows && root.is_some_and(|root| root.id == tenant.project_id) {
        let detail = "the platform's own tenant stays in service".to_owned();
        return Err(AppError::Conflict { code: "tenant_is_root", detail });
    }
    Ok(())
}
