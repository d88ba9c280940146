//! `/v1/certificates`: what there is. Uploading goes by hostname.

use axum::{Json, extract::State};
use domain::{
    CertificateId, ProjectId, Timestamp,
    model::{Certificate, CertificateSource},
};
use schemars::JsonSchema;
use serde::Serialize;
use store::list::CertificateList;

use super::{
    answer::List,
    extract::{ListQuery, Listed},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// A certificate, without its key.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Certificate")]
#[expect(missing_docs, reason = "as in `domain::model::Certificate`")]
pub struct CertificateView {
    pub id: CertificateId,
    pub project_id: Option<ProjectId>,
    pub names: Vec<String>,
    pub chain_pem: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub source: CertificateSource,
    pub fingerprint: String,
    pub created_at: Timestamp,
}

impl From<Certificate> for CertificateView {
    fn from(it: Certificate) -> Self {
        Self {
            id: it.id,
            project_id: it.project_id,
            names: it.names,
            chain_pem: it.chain_pem,
            not_before: it.not_before,
            not_after: it.not_after,
            source: it.source,
            fingerprint: it.fingerprint,
            created_at: it.created_at,
        }
    }
}

wire!(CertificateView);

/// Lists certificates.
#[utoipa::path(get, path = "/v1/certificates", tag = "hostnames", params(ListQuery<CertificateList>),
    responses((status = 200, body = List<CertificateView>)), security(("bearer" = [])))]
pub async fn list_certificates(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<CertificateList>,
) -> Result<Json<List<CertificateView>>, AppError> {
    let found = app::certificates::list_certificates(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}
