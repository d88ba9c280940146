//! `/v1/tenants/{id}/domains` and `/v1/domains`: domains of email addresses, of a tenant's administrators and staff.

use axum::{Json, extract::State};
use domain::{
    EmailDomainId, HostName, TenantId, Timestamp,
    model::{EmailDomain, VerifyState},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::EmailDomainList;

use super::{
    answer::{Changed, Created, Gone, List},
    extract::{At, Body, ListQuery, Listed, WaitQuery},
    proofs::ProofView,
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// How a domain is proven.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProofMethod {
    /// By a TXT record.
    DnsTxt,
}

/// A domain of email addresses.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EmailDomain")]
#[expect(missing_docs, reason = "as in `domain::model::EmailDomain`")]
pub struct EmailDomainView {
    pub id: EmailDomainId,
    pub tenant_id: TenantId,
    pub domain: HostName,
    pub method: ProofMethod,
    pub state: VerifyState,
    pub verified_at: Option<Timestamp>,
    pub proof: ProofView,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<EmailDomain> for EmailDomainView {
    fn from(it: EmailDomain) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            proof: ProofView::of(&it.domain, it.proof),
            domain: it.domain,
            method: ProofMethod::DnsTxt,
            state: it.state,
            verified_at: it.verified_at,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A domain to be claimed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEmailDomain {
    /// The domain, such as `example.com`. None of a public mail provider.
    domain: HostName,
}

wire!(EmailDomainView, CreateEmailDomain);

/// Lists the domains that a tenant claims.
#[utoipa::path(get, path = "/v1/tenants/{id}/domains", tag = "email domains",
    params(("id" = String, Path), ListQuery<EmailDomainList>), responses((status = 200, body = List<EmailDomainView>)),
    security(("bearer" = [])))]
pub async fn list_email_domains(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    Listed(asked): Listed<EmailDomainList>,
) -> Result<Json<List<EmailDomainView>>, AppError> {
    let found = app::email_domains::list_email_domains(&app, &principal, tenant, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Claims a domain. The answer says what has to stand in DNS before it can be verified.
#[utoipa::path(post, path = "/v1/tenants/{id}/domains", tag = "email domains", params(("id" = String, Path), WaitQuery),
    request_body = CreateEmailDomain, responses((status = 201, body = EmailDomainView)), security(("bearer" = [])))]
pub async fn create_email_domain(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    Body(body): Body<CreateEmailDomain>,
) -> Result<Created<EmailDomainView>, AppError> {
    let (made, commit) = app::email_domains::create_email_domain(&app, &principal, tenant, body.domain).await?;
    let location = format!("/v1/tenants/{tenant}/domains");
    Ok(Created { location, version: None, body: made.into(), commit })
}

/// Looks for a domain's proof in DNS now. `state` says whether it is there, `proof.failure` why not.
#[utoipa::path(post, path = "/v1/domains/{id}/verify", tag = "email domains", params(("id" = String, Path), WaitQuery),
    responses((status = 200, body = EmailDomainView)), security(("bearer" = [])))]
pub async fn verify_email_domain(
    principal: Principal,
    State(app): State<App>,
    At(id): At<EmailDomainId>,
) -> Result<Changed<EmailDomainView>, AppError> {
    let (changed, commit) = app::email_domains::verify_email_domain(&app, &principal, id).await?;
    Ok(Changed { version: None, body: changed.into(), commit, revokes: false })
}

/// Gives a domain up, with the memberships that came by it.
#[utoipa::path(delete, path = "/v1/domains/{id}", tag = "email domains", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_email_domain(
    principal: Principal,
    State(app): State<App>,
    At(id): At<EmailDomainId>,
) -> Result<Gone, AppError> {
    app::email_domains::delete_email_domain(&app, &principal, id).await.map(Gone::by)
}
