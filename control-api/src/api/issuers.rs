//! `/v1/issuers`: external issuers, platform staff only.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use domain::{
    IssuerId, ProjectId, TenantId,
    model::{ExternalIssuer, Version},
    snapshot::{Algorithm, ExternalBinding, TenantBinding},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::IssuerList;

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, WaitQuery},
    schema::wire,
    signing_keys::ProjectQuery,
};
use crate::{App, app, caller::Principal, context::new_id, error::AppError, issuer_keys::fetch::DISCOVERY};

/// An external issuer. Exactly one of `tenant` and `tenant_claim` says which tenant its subjects act in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its id; made when it is absent.
    id: Option<IssuerId>,
    /// The project whose tenants its tokens may name.
    project_id: ProjectId,
    /// The `iss` claim, byte for byte.
    issuer: String,
    /// Accepted `aud` values.
    audiences: Vec<String>,
    /// Accepted algorithms.
    algorithms: Vec<Algorithm>,
    /// The key set (RFC 7517 §5). With a URL: what was fetched last, and not read.
    jwks: Option<serde_json::Value>,
    /// Where the key set is fetched from, over https; a URL that ends with `/.well-known/openid-configuration` is of a
    /// document that names the place. With neither key set nor URL it is that document of the issuer.
    jwks_url: Option<String>,
    /// Always this tenant.
    tenant: Option<TenantId>,
    /// The tenant whose id or slug this claim holds.
    tenant_claim: Option<String>,
    /// Claim of the subject. Default `sub`.
    subject_claim: Option<String>,
    /// Claim of the role names.
    roles_claim: Option<String>,
    /// Claims that must be there with these values.
    #[serde(default)]
    required_claims: BTreeMap<String, serde_json::Value>,
}

wire!(Issuer);

impl From<ExternalIssuer> for Issuer {
    fn from(it: ExternalIssuer) -> Self {
        let (tenant, tenant_claim) = match it.binding.tenant {
            TenantBinding::Tenant(id) => (Some(id), None),
            TenantBinding::Claim(name) => (None, Some(name)),
        };
        Self {
            id: Some(it.id),
            project_id: it.project_id,
            issuer: it.issuer,
            audiences: it.audiences,
            algorithms: it.algorithms,
            jwks: Some(it.jwks),
            jwks_url: it.jwks_url,
            tenant,
            tenant_claim,
            subject_claim: Some(it.binding.subject_claim),
            roles_claim: it.binding.roles_claim,
            required_claims: it.binding.required_claims,
        }
    }
}

impl Issuer {
    fn model(self, id: IssuerId, version: Version) -> Result<ExternalIssuer, AppError> {
        let tenant = match (self.tenant, self.tenant_claim) {
            (Some(id), None) => TenantBinding::Tenant(id),
            (None, Some(claim)) => TenantBinding::Claim(claim),
            (Some(_), Some(_)) | (None, None) => {
                return Err(AppError::field(
                    "/tenant",
                    "choice",
                    "exactly one of `tenant` and `tenant_claim` is given",
                ));
            }
        };
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(AppError::field("/audiences", "required", "a token for anybody would be accepted"));
        }
        if self.algorithms.is_empty() {
            return Err(AppError::field("/algorithms", "required", "at least one is needed"));
        }
        let (jwks, jwks_url) = match (self.jwks, self.jwks_url) {
            (_, Some(url)) => (store::no_keys(), Some(url)),
            (Some(jwks), None) => (jwks, None),
            (None, None) => (store::no_keys(), Some(format!("{}{DISCOVERY}", self.issuer.trim_end_matches('/')))),
        };
        Ok(ExternalIssuer {
            id,
            project_id: self.project_id,
            issuer: self.issuer,
            audiences: self.audiences,
            algorithms: self.algorithms,
            binding: ExternalBinding {
                tenant,
                subject_claim: self.subject_claim.unwrap_or_else(|| "sub".into()),
                roles_claim: self.roles_claim,
                required_claims: self.required_claims,
            },
            jwks,
            jwks_url,
            version,
        })
    }
}

/// Lists a project's external issuers.
#[utoipa::path(get, path = "/v1/issuers", tag = "keys", params(ProjectQuery, ListQuery<IssuerList>),
    responses((status = 200, body = List<Issuer>)), security(("bearer" = [])))]
pub async fn list_issuers(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<ProjectQuery>,
    Listed(asked): Listed<IssuerList>,
) -> Result<Json<List<Issuer>>, AppError> {
    let found = app::issuers::list_issuers(&app, &principal, query.project_id, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Binds an external issuer.
#[utoipa::path(post, path = "/v1/issuers", tag = "keys", params(WaitQuery), request_body = Issuer,
    responses((status = 201, body = Issuer)), security(("bearer" = [])))]
pub async fn create_issuer(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<Issuer>,
) -> Result<Created<Issuer>, AppError> {
    let id = body.id.unwrap_or_else(|| new_id(&*app.clock));
    let (made, commit) = app::issuers::create_issuer(&app, &principal, body.model(id, Version(1))?).await?;
    let location = format!("/v1/issuers/{id}");
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads an external issuer.
#[utoipa::path(get, path = "/v1/issuers/{id}", tag = "keys", params(("id" = String, Path)),
    responses((status = 200, body = Issuer)), security(("bearer" = [])))]
pub async fn read_issuer(
    principal: Principal,
    State(app): State<App>,
    At(id): At<IssuerId>,
) -> Result<One<Issuer>, AppError> {
    let found = app::issuers::read_issuer(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Replaces an external issuer.
#[utoipa::path(put, path = "/v1/issuers/{id}", tag = "keys", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = Issuer, responses((status = 200, body = Issuer)), security(("bearer" = [])))]
pub async fn replace_issuer(
    principal: Principal,
    State(app): State<App>,
    At(id): At<IssuerId>,
    IfMatch(version): IfMatch,
    Body(body): Body<Issuer>,
) -> Result<Changed<Issuer>, AppError> {
    let new = body.model(id, version.unwrap_or(Version(0)))?;
    let (changed, commit) = app::issuers::replace_issuer(&app, &principal, version, new).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: true })
}

/// Ends the trust in an external issuer: its tokens are refused.
#[utoipa::path(delete, path = "/v1/issuers/{id}", tag = "keys", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_issuer(
    principal: Principal,
    State(app): State<App>,
    At(id): At<IssuerId>,
) -> Result<Gone, AppError> {
    app::issuers::delete_issuer(&app, &principal, id).await.map(Gone::by)
}
