//! `/v1/tenants`: platform staff only.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    Admission, CustomerId, HostName, ProjectId, Secret, Slug, TenantId, Timestamp,
    model::{Branding, ClaimState, Provisioning, StepOutcome, Tenant, TenantTransition},
    snapshot::{RateLimit, TenantStatus},
};
use http::{HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::TenantList;

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{At, Body, IfMatch, ListQuery, Listed, WaitQuery, given},
    schema::wire,
};
use crate::{
    App, app,
    app::{
        new_tenant::{AdminDraft, TenantDraft},
        tenants::TenantEdit,
    },
    caller::Principal,
    envelope::{self, Settle, Waiting},
    error::AppError,
    problem,
};

/// A tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Tenant")]
#[expect(missing_docs, reason = "as in `domain::model::Tenant`")]
pub struct TenantView {
    pub id: TenantId,
    pub project_id: ProjectId,
    pub customer_id: CustomerId,
    pub slug: Slug,
    pub name: String,
    pub status: TenantStatus,
    pub claim_state: ClaimState,
    pub plan: Option<String>,
    pub trial_ends_at: Option<Timestamp>,
    pub rate_limit: Option<RateLimit>,
    pub principal_rate_limit: Option<RateLimit>,
    pub admission: Admission,
    pub branding: Branding,
    pub deleted_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Tenant> for TenantView {
    fn from(it: Tenant) -> Self {
        Self {
            id: it.id,
            project_id: it.project_id,
            customer_id: it.customer_id,
            slug: it.slug,
            name: it.name,
            status: it.status,
            claim_state: it.claim_state,
            plan: it.plan,
            trial_ends_at: it.trial_ends_at,
            rate_limit: it.rate_limit,
            principal_rate_limit: it.principal_rate_limit,
            admission: it.admission,
            branding: it.branding,
            deleted_at: it.deleted_at,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A tenant to be made. A customer of tenancy `dedicated` gets for it, in the same step, a project, a hostname where
/// `tenants.platform_domain` is set, and an administrator where `admin_email` is given; one of tenancy `shared` a place in
/// the shared project, to which people are invited.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTenant {
    /// Its id; made when absent.
    id: Option<TenantId>,
    /// Unique short name.
    slug: Slug,
    /// Display name.
    name: String,
    /// Who pays.
    customer_id: CustomerId,
    /// An existing project to live in.
    project_id: Option<ProjectId>,
    /// `iss` of the project that is made for it, an `https` URL. Default `https://` and the hostname that is made with it.
    issuer: Option<String>,
    /// `trial` or `active`. Default `trial`.
    status: Option<TenantStatus>,
    /// `latent` for one that is made for somebody who has not come yet: it has nobody, and belongs to the first who comes by
    /// an email domain that is proven for it. Default `claimed`.
    #[serde(default)]
    claim_state: ClaimState,
    /// Plan.
    plan: Option<String>,
    /// When the trial ends. Default `tenants.trial` from now.
    trial_ends_at: Option<Timestamp>,
    /// Requests a second; none for the default.
    rate_limit: Option<RateLimit>,
    /// Requests a second of each of its principals; none for the default.
    principal_rate_limit: Option<RateLimit>,
    /// Who is let in, and how much at once.
    #[serde(default)]
    admission: Admission,
    /// What its pages and mails look like.
    #[serde(default)]
    branding: Branding,
    /// Email of its first administrator, who is made with it as user `admin`, owns it, and signs in once with the password
    /// of the answer, to change it. Not for a shared customer's tenant.
    admin_email: Option<String>,
    /// What they are called.
    admin_name: Option<String>,
}

/// A tenant that was made, and what of it is said this once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MadeTenant {
    /// The tenant.
    #[serde(flatten)]
    tenant: TenantView,
    /// The hostname that was made with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<HostName>,
    /// Its first administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<OneTimeCredential>,
    /// Who has not heard of it yet, and until when.
    #[serde(flatten)]
    waiting: Option<Waiting>,
}

/// A credential that is shown once, for one sign-in: the password is to be changed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OneTimeCredential {
    /// User name.
    username: String,
    /// Password.
    #[serde(serialize_with = "domain::secret::exposed")]
    password: Secret<String>,
}

/// What became of a tenant in the directory of its people.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Provisioning")]
pub struct ProvisioningView {
    /// The steps, in order; none where nobody asked for them, as for what a declarative file made.
    steps: Vec<StepOutcome>,
    /// How often it was begun.
    attempts: u32,
    /// When it is tried next; none once every step was taken.
    next_at: Option<Timestamp>,
}

impl From<Option<Provisioning>> for ProvisioningView {
    fn from(it: Option<Provisioning>) -> Self {
        match it {
            Some(it) => Self { steps: it.steps, attempts: it.attempts, next_at: it.next_at },
            None => Self { steps: Vec::new(), attempts: 0, next_at: None },
        }
    }
}

/// What changes of a tenant; what is absent stays, and what is `null` is cleared (RFC 7396).
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateTenant {
    /// Display name.
    name: Option<String>,
    /// Plan; `null` for none.
    #[serde(deserialize_with = "given")]
    plan: Option<Option<String>>,
    /// When the trial ends; `null` for no end.
    #[serde(deserialize_with = "given")]
    trial_ends_at: Option<Option<Timestamp>>,
    /// Requests a second; `null` for the default.
    #[serde(deserialize_with = "given")]
    rate_limit: Option<Option<RateLimit>>,
    /// Requests a second of each of its principals; `null` for the default.
    #[serde(deserialize_with = "given")]
    principal_rate_limit: Option<Option<RateLimit>>,
    /// Who is let in, and how much at once; all of it. `null` for everybody and the defaults.
    #[serde(deserialize_with = "given")]
    admission: Option<Option<Admission>>,
    /// What its pages and mails look like; all of it. `null` for the platform's look.
    #[serde(deserialize_with = "given")]
    branding: Option<Option<Branding>>,
}

wire!(TenantView, CreateTenant, MadeTenant, UpdateTenant, ProvisioningView);

fn checked(admission: Admission) -> Result<Admission, AppError> {
    match admission.check() {
        Ok(()) => Ok(admission),
        Err(error) => Err(AppError::field(format!("/admission/{}", error.field), "range", error.reason)),
    }
}

pub(super) fn checked_rate(pointer: &str, limit: Option<RateLimit>) -> Result<Option<RateLimit>, AppError> {
    let fits = |number: u32| (1..=1_000_000).contains(&number);
    match limit {
        Some(limit) if !fits(limit.rps) || !fits(limit.burst) => {
            Err(AppError::field(pointer, "range", "1 to 1,000,000 are allowed"))
        }
        limit => Ok(limit),
    }
}

/// Lists tenants.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", params(ListQuery<TenantList>),
    responses((status = 200, body = List<TenantView>)), security(("bearer" = [])))]
pub async fn list_tenants(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<TenantList>,
) -> Result<axum::Json<List<TenantView>>, AppError> {
    let found = app::tenants::list_tenants(&app, &principal, &asked).await?;
    Ok(axum::Json(List::of(found, Into::into)))
}

/// Makes a tenant. A one-time password is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/tenants", tag = "tenants", params(WaitQuery), request_body = CreateTenant,
    responses((status = 201, body = MadeTenant)), security(("bearer" = [])))]
pub async fn create_tenant(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateTenant>,
) -> Result<Response, AppError> {
    let status = body.status.unwrap_or(TenantStatus::Trial);
    if !matches!(status, TenantStatus::Trial | TenantStatus::Active) {
        return Err(AppError::field("/status", "choice", "a tenant starts as `trial` or `active`"));
    }
    if body.admin_name.is_some() && body.admin_email.is_none() {
        return Err(AppError::field("/admin_email", "required", "an administrator has an email"));
    }
    let draft = TenantDraft {
        id: body.id,
        slug: body.slug,
        name: body.name,
        customer_id: body.customer_id,
        project_id: body.project_id,
        issuer: body.issuer,
        status,
        claim_state: body.claim_state,
        plan: body.plan,
        trial_ends_at: body.trial_ends_at,
        rate_limit: checked_rate("/rate_limit", body.rate_limit)?,
        principal_rate_limit: checked_rate("/principal_rate_limit", body.principal_rate_limit)?,
        admission: checked(body.admission)?,
        branding: body.branding,
        admin: body.admin_email.map(|email| AdminDraft { email, name: body.admin_name }),
    };
    let (made, commit) = app::new_tenant::create_tenant(&app, &principal, draft).await?;
    let location = format!("/v1/tenants/{}", made.tenant.id);
    let version = Some(made.tenant.version);
    let mut body = MadeTenant {
        tenant: made.tenant.into(),
        hostname: made.hostname,
        admin: made.admin.map(|(username, password)| OneTimeCredential { username, password }),
        waiting: None,
    };
    if body.admin.is_none() {
        return Ok(Created { location, version, body, commit }.into_response());
    }
    // Waited for here and not by the envelope, whose 202 would drop the password.
    let settle = Settle { commit: Some(commit), revokes: false };
    // Nor does an answer that says nothing of the gateways lose it: the tenant is there.
    let heard = envelope::heard(&app, settle, app.config.log.revoke_wait.get()).await;
    body.waiting = heard.unwrap_or_else(|error| {
        tracing::error!(error = problem::chain(&error), "it is not known who has heard of a new tenant");
        None
    });
    let mut answer = Created { location, version, body, commit }.into_response();
    answer.extensions_mut().remove::<Settle>();
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// Reads a tenant.
#[utoipa::path(get, path = "/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, body = TenantView)), security(("bearer" = [])))]
pub async fn read_tenant(
    principal: Principal,
    State(app): State<App>,
    At(id): At<TenantId>,
) -> Result<One<TenantView>, AppError> {
    let found = app::tenants::read_tenant(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Reads a tenant by its slug.
#[utoipa::path(get, path = "/v1/tenants/by-slug/{slug}", tag = "tenants", params(("slug" = String, Path)),
    responses((status = 200, body = TenantView)), security(("bearer" = [])))]
pub async fn read_tenant_by_slug(
    principal: Principal,
    State(app): State<App>,
    At(slug): At<String>,
) -> Result<One<TenantView>, AppError> {
    let found = app::tenants::read_tenant_by_slug(&app, &principal, &slug).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Changes a tenant.
#[utoipa::path(patch, path = "/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = UpdateTenant, responses((status = 200, body = TenantView)), security(("bearer" = [])))]
pub async fn update_tenant(
    principal: Principal,
    State(app): State<App>,
    At(id): At<TenantId>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateTenant>,
) -> Result<Changed<TenantView>, AppError> {
    let rate = |pointer, given: Option<Option<RateLimit>>| given.map(|it| checked_rate(pointer, it)).transpose();
    let edit = TenantEdit {
        name: body.name,
        plan: body.plan,
        trial_ends_at: body.trial_ends_at,
        rate_limit: rate("/rate_limit", body.rate_limit)?,
        principal_rate_limit: rate("/principal_rate_limit", body.principal_rate_limit)?,
        admission: body.admission.map(Option::unwrap_or_default).map(checked).transpose()?,
        branding: body.branding.map(Option::unwrap_or_default),
    };
    let (changed, commit) = app::tenants::update_tenant(&app, &principal, id, version, edit).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Puts a tenant on hold until it is purged.
#[utoipa::path(delete, path = "/v1/tenants/{id}", tag = "tenants", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_tenant(
    principal: Principal,
    State(app): State<App>,
    At(id): At<TenantId>,
) -> Result<Gone, AppError> {
    app::tenants::delete_tenant(&app, &principal, id).await.map(Gone::by)
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident, $path:literal, $verb:literal, $step:ident, revokes: $revokes:literal;)*) => {$(
        $(#[$doc])*
        #[utoipa::path(post, path = $path, tag = "tenants", params(("id" = String, Path), WaitQuery),
            responses((status = 200, body = TenantView)), security(("bearer" = [])))]
        pub async fn $name(
            principal: Principal,
            State(app): State<App>,
            At(id): At<TenantId>,
        ) -> Result<Changed<TenantView>, AppError> {
            let stepped = app::tenants::step_tenant(&app, &principal, id, TenantTransition::$step, $verb);
            let (changed, commit) = stepped.await?;
            Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: $revokes })
        }
    )*};
}

steps! {
    /// Activates a tenant on trial.
    activate_tenant, "/v1/tenants/{id}/activate", "activate", Activate, revokes: false;
    /// Cancels an active tenant: it is frozen.
    cancel_tenant, "/v1/tenants/{id}/cancel", "cancel", Cancel, revokes: true;
    /// Makes a frozen tenant active again.
    unfreeze_tenant, "/v1/tenants/{id}/unfreeze", "unfreeze", Unfreeze, revokes: false;
    /// Suspends a tenant: nothing of it is served.
    suspend_tenant, "/v1/tenants/{id}/suspend", "suspend", Suspend, revokes: true;
    /// Puts a suspended tenant back where it was.
    resume_tenant, "/v1/tenants/{id}/resume", "resume", Resume, revokes: false;
}

/// Refuses every token and session of the tenant that was issued before.
#[utoipa::path(post, path = "/v1/tenants/{id}/revoke-tokens", tag = "tenants",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = TenantView)),
    security(("bearer" = [])))]
pub async fn revoke_tenant_tokens(
    principal: Principal,
    State(app): State<App>,
    At(id): At<TenantId>,
) -> Result<Changed<TenantView>, AppError> {
    let (changed, commit) = app::tenants::revoke_tenant_tokens(&app, &principal, id).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: true })
}

/// Reads what became of a tenant in the directory of its people, step by step.
#[utoipa::path(get, path = "/v1/tenants/{id}/provisioning", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, body = ProvisioningView)), security(("bearer" = [])))]
pub async fn read_provisioning(
    principal: Principal,
    State(app): State<App>,
    At(id): At<TenantId>,
) -> Result<axum::Json<ProvisioningView>, AppError> {
    let found = app::tenants::read_provisioning(&app, &principal, id).await?;
    Ok(axum::Json(found.into()))
}

/// Has the steps that are left taken at once.
#[utoipa::path(post, path = "/v1/tenants/{id}/provisioning/retry", tag = "tenants", params(("id" = String, Path)),
    responses((status = 200, body = ProvisioningView)), security(("bearer" = [])))]
pub async fn retry_provisioning(
    principal: Principal,
    State(app): State<App>,
    At(id): At<TenantId>,
) -> Result<Changed<ProvisioningView>, AppError> {
    let (begun, commit) = app::tenants::retry_provisioning(&app, &principal, id).await?;
    Ok(Changed { version: None, body: Some(begun).into(), commit, revokes: false })
}
