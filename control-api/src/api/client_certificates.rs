//! `/v1/hostnames/{id}/client-certificates` for platform staff, and `/v1/certificate-bindings` for administrators of tenants.

use axum::{Json, extract::State};
use domain::{
    CertificateBindingId, CertificateMode, CertificateName, ClientCertificates, HostnameId, NameKind, TenantId,
    Timestamp, UserId, model::BoundCertificate,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::CertificateBindingList;

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// Whose client certificates a hostname believes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ClientCertificates")]
#[serde(deny_unknown_fields)]
pub struct ClientCertificatesView {
    /// Whether a client must show one.
    mode: CertificateMode,
    /// PEM of the authorities whose certificates are believed, and of no others; at least one.
    ca: String,
    /// Revocation lists, each PEM or DER in base64, at most 32. Where there is one, each certificate of a chain must be
    /// covered by a list that is not out of date.
    #[serde(default)]
    crl: Vec<String>,
}

impl From<ClientCertificates> for ClientCertificatesView {
    fn from(it: ClientCertificates) -> Self {
        Self { mode: it.mode, ca: it.ca, crl: it.crl }
    }
}

/// As whom the holder of a client certificate acts.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CertificateBinding")]
#[expect(missing_docs, reason = "as in `domain::model::BoundCertificate`")]
pub struct CertificateBindingView {
    pub id: CertificateBindingId,
    pub tenant_id: TenantId,
    pub hostname_id: HostnameId,
    pub kind: NameKind,
    pub value: String,
    pub user_id: UserId,
    pub created_at: Timestamp,
}

impl From<BoundCertificate> for CertificateBindingView {
    fn from(it: BoundCertificate) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            hostname_id: it.hostname_id,
            kind: it.name.kind(),
            value: it.name.value().into(),
            user_id: it.user_id,
            created_at: it.created_at,
        }
    }
}

/// A name of client certificates, and the user it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateCertificateBinding {
    /// The hostname of the tenant whose authorities signed the certificate.
    hostname_id: HostnameId,
    /// What of the certificate is compared.
    kind: NameKind,
    /// With what, 1 to 2048 bytes: `spiffe://acme.example/billing`, `billing.acme.example`, `ann@acme.example`,
    /// `CN=billing,O=Acme`, or the certificate's SHA-256 in hexadecimal.
    value: String,
    /// A member of the tenant.
    user_id: UserId,
}

wire!(ClientCertificatesView, CertificateBindingView, CreateCertificateBinding);

/// Reads whose client certificates a hostname believes.
#[utoipa::path(get, path = "/v1/hostnames/{id}/client-certificates", tag = "hostnames",
    params(("id" = String, Path)), responses((status = 200, body = ClientCertificatesView)),
    security(("bearer" = [])))]
pub async fn read_client_certificates(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
) -> Result<One<ClientCertificatesView>, AppError> {
    let (found, version) = app::client_certificates::read_client_certificates(&app, &principal, id).await?;
    Ok(One { version, body: found.into() })
}

/// Sets whose client certificates a hostname believes. What an open connection showed before is judged anew.
#[utoipa::path(put, path = "/v1/hostnames/{id}/client-certificates", tag = "hostnames",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = ClientCertificatesView,
    responses((status = 200, body = ClientCertificatesView)), security(("bearer" = [])))]
pub async fn put_client_certificates(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
    IfMatch(version): IfMatch,
    Body(body): Body<ClientCertificatesView>,
) -> Result<Changed<ClientCertificatesView>, AppError> {
    let ClientCertificatesView { mode, ca, crl } = body;
    let certificates = ClientCertificates { mode, ca, crl };
    let set =
        app::client_certificates::set_client_certificates(&app, &principal, id, version, Some(certificates.clone()));
    let (changed, commit) = set.await?;
    // An authority may be gone, a certificate revoked.
    Ok(Changed { version: Some(changed.version), body: certificates.into(), commit, revokes: true })
}

/// Asks no client of a hostname for a certificate any more; its bindings stay for the next time.
#[utoipa::path(delete, path = "/v1/hostnames/{id}/client-certificates", tag = "hostnames",
    params(("id" = String, Path), WaitQuery, IfMatch), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_client_certificates(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
    IfMatch(version): IfMatch,
) -> Result<Gone, AppError> {
    let set = app::client_certificates::set_client_certificates(&app, &principal, id, version, None);
    set.await.map(|(_, commit)| Gone::by(commit))
}

/// Lists as whom the holders of client certificates act in a tenant.
#[utoipa::path(get, path = "/v1/certificate-bindings", tag = "hostnames", params(TenantQuery, ListQuery<CertificateBindingList>),
    responses((status = 200, body = List<CertificateBindingView>)), security(("bearer" = [])))]
pub async fn list_certificate_bindings(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<CertificateBindingList>,
) -> Result<Json<List<CertificateBindingView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::client_certificates::list_certificate_bindings(&app, &principal, site, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Binds the client certificates of a name to a user.
#[utoipa::path(post, path = "/v1/certificate-bindings", tag = "hostnames", params(TenantQuery, WaitQuery),
    request_body = CreateCertificateBinding, responses((status = 201, body = CertificateBindingView)),
    security(("bearer" = [])))]
pub async fn create_certificate_binding(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Body(body): Body<CreateCertificateBinding>,
) -> Result<Created<CertificateBindingView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let name = CertificateName::new(body.kind, &body.value)
        .map_err(|error| AppError::field("/value", "invalid", error.to_string()))?;
    let bound = (body.hostname_id, name, body.user_id);
    let made = app::client_certificates::create_certificate_binding(&app, &principal, site, bound);
    let (made, commit) = made.await?;
    let location = format!("/v1/certificate-bindings/{}", made.id);
    Ok(Created { location, version: None, body: made.into(), commit })
}

/// Reads as whom the holder of a client certificate acts.
#[utoipa::path(get, path = "/v1/certificate-bindings/{id}", tag = "hostnames",
    params(("id" = String, Path), TenantQuery), responses((status = 200, body = CertificateBindingView)),
    security(("bearer" = [])))]
pub async fn read_certificate_binding(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CertificateBindingId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Json<CertificateBindingView>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::client_certificates::read_certificate_binding(&app, &principal, site, id).await?;
    Ok(Json(found.into()))
}

/// Unbinds a name of client certificates: who shows one is nobody from then on.
#[utoipa::path(delete, path = "/v1/certificate-bindings/{id}", tag = "hostnames",
    params(("id" = String, Path), TenantQuery, WaitQuery), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_certificate_binding(
    principal: Principal,
    State(app): State<App>,
    At(id): At<CertificateBindingId>,
    Asked(query): Asked<TenantQuery>,
) -> Result<Gone, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    app::client_certificates::delete_certificate_binding(&app, &principal, site, id).await.map(Gone::by)
}
