//! Tenants: made in a project of their own or in the shared one, and taken through their life cycle.

use authz::{
    Authorized,
    action::{ManageCustomers, ManageProjects, ManageSigningKeys, ManageTenants},
};
use domain::{
    Admission, CustomerId, ProjectId, Slug, TenantId, Timestamp,
    model::{
        ClaimState, Customer, NewProject, NewSigningKey, NewTenant, ProjectKind, Tenancy, Tenant, TenantTransition,
        Version,
    },
    snapshot::{KycStatus, RateLimit, TenantStatus},
};
use store::{Commit, Page, read::*};

use super::{projects, signing_keys};
use crate::{App, bootstrap, caller::Principal, context::new_id, error::AppError};

/// A tenant as it is asked for.
#[derive(Clone, Debug)]
pub struct TenantDraft {
    /// Its id, where the caller chooses it.
    pub id: Option<TenantId>,
    /// Unique short name.
    pub slug: Slug,
    /// Display name.
    pub name: String,
    /// Who pays.
    pub customer_id: CustomerId,
    /// An existing project; none for the customer's way.
    pub project_id: Option<ProjectId>,
    /// Issuer of the project that is made for it.
    pub issuer: Option<String>,
    /// Trial or active.
    pub status: TenantStatus,
    /// Plan.
    pub plan: Option<String>,
    /// When the trial ends.
    pub trial_ends_at: Option<Timestamp>,
    /// Requests a second.
    pub rate_limit: Option<RateLimit>,
    /// Requests a second of each of its principals.
    pub principal_rate_limit: Option<RateLimit>,
    /// Who is let in, and how much at once.
    pub admission: Admission,
}

/// A page of tenants.
pub async fn list_tenants(app: &App, principal: &Principal, page: Page) -> Result<Vec<Tenant>, AppError> {
    principal.may::<ManageTenants>("list")?;
    Ok(app.store.tenants(page).await?)
}

/// A page of a customer's tenants.
pub async fn list_customer_tenants(
    app: &App,
    principal: &Principal,
    customer: CustomerId,
    page: Page,
) -> Result<Vec<Tenant>, AppError> {
    principal.may::<ManageCustomers>("get")?;
    principal.may::<ManageTenants>("list")?;
    app.store.customer(customer).await?.ok_or(AppError::NotFound("customer"))?;
    Ok(app.store.tenants_of_customer(customer, page).await?)
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

/// Makes a tenant; for a customer with projects of its own, its project with a signing key in the same step.
pub async fn create_tenant(app: &App, principal: &Principal, draft: TenantDraft) -> Result<(Tenant, Commit), AppError> {
    let by = principal.may::<ManageTenants>("create")?;
    let customer = app.store.customer(draft.customer_id).await?;
    let customer = customer.ok_or_else(|| AppError::field("/customer_id", "unknown", "there is no such customer"))?;
    may_grow(&customer)?;
    let home = home(app, principal, &draft, &customer).await?;
    let new = NewTenant {
        id: draft.id.unwrap_or_else(|| new_id(&*app.clock)),
        project_id: home.project_id(),
        customer_id: customer.id,
        slug: draft.slug,
        name: draft.name,
        status: draft.status,
        claim_state: ClaimState::Claimed,
        plan: draft.plan,
        trial_ends_at: draft.trial_ends_at,
        rate_limit: draft.rate_limit,
        principal_rate_limit: draft.principal_rate_limit,
        admission: draft.admission,
    };
    let home = &home;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move {
                if let Home::New(it) = home {
                    projects::insert(&tx, &it.by_project, &it.by_key, it.project.clone(), it.key.clone()).await?;
                }
                Ok(tx.created(tx.insert_tenant(&by, new).await?).await?)
            }
        })
        .await
}

/// Where a new tenant lives.
enum Home {
    /// In a project that is there.
    There(ProjectId),
    /// In one that is made with it.
    New(Box<NewHome>),
}

/// A project to be made, and the proofs for it.
struct NewHome {
    project: NewProject,
    key: NewSigningKey,
    by_project: Authorized<ManageProjects>,
    by_key: Authorized<ManageSigningKeys>,
}

impl Home {
    fn project_id(&self) -> ProjectId {
        match self {
            Self::There(id) => *id,
            Self::New(home) => home.project.id,
        }
    }
}

async fn home(app: &App, principal: &Principal, draft: &TenantDraft, customer: &Customer) -> Result<Home, AppError> {
    if let Some(id) = draft.project_id {
        let found = app.store.project(id).await?;
        found.ok_or_else(|| AppError::field("/project_id", "unknown", "there is no such project"))?;
        return Ok(Home::There(id));
    }
    if customer.tenancy == Tenancy::Shared {
        let cloud = app.store.project_by_slug(bootstrap::CLOUD).await?;
        return Ok(Home::There(cloud.ok_or(AppError::NotFound("project"))?.id));
    }
    let issuer = draft.issuer.clone().filter(|issuer| issuer.starts_with("https://"));
    let issuer = issuer.ok_or_else(|| {
        AppError::field("/issuer", "required", "a project is made for the tenant, and its issuer is an https URL")
    })?;
    let id = new_id(&*app.clock);
    let project = NewProject {
        id,
        slug: draft.slug.clone(),
        name: draft.name.clone(),
        kind: ProjectKind::Dedicated,
        audiences: vec![issuer.clone()],
        issuer,
        config: serde_json::json!({}),
    };
    let key = signing_keys::fresh_key(app, id)?;
    Ok(Home::New(Box::new(NewHome {
        project,
        key,
        by_project: principal.may("create")?,
        by_key: principal.may("create")?,
    })))
}

/// Customers that were not identified get no new tenants.
fn may_grow(customer: &Customer) -> Result<(), AppError> {
    match customer.kyc {
        KycStatus::Completed | KycStatus::DueRekyc => Ok(()),
        KycStatus::None | KycStatus::Pending | KycStatus::Partial => Err(AppError::Conflict {
            code: "kyc_required",
            detail: "the customer must be identified before it gets a tenant".into(),
        }),
    }
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
