//! `/v1/certificates`: what there is. Uploading goes by hostname.

use axum::{Json, extract::State};
use domain::{
    CertificateId, ProjectId, Timestamp,
    model::{Certificate, CertificateSource},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    answer::List,
    extract::{PageQuery, Paging},
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
#[utoipa::path(get, path = "/v1/certificates", tag = "hostnames", params(PageQuery),
    responses((status = 200, body = List<CertificateView>)), security(("bearer" = [])))]
pub async fn list_certificates(
    principal: Principal,
    State(app): State<App>,
    Paging(page): Paging,
) -> Result<Json<List<CertificateView>>, AppError> {
    let rows = app::certificates::list_certificates(&app, &principal, page).await?;
    Ok(Json(List::page(rows, page, |it| it.id.uuid(), Into::into)))
}
