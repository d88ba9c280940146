//! `/v1/hostnames`: staff makes and changes all of them; a tenant claims, proves and gives up its own.

use axum::{Json, extract::State};
use domain::{
    Admission, ByteSize, CertificateId, Cors, FleetName, HostName, HostnameId, ProjectId, Secret, ServiceId, TenantId,
    Timestamp,
    model::{Hostname, HostnameKind, NewHostname, TlsMode, VerifyState},
    response::ResponsePolicy,
    snapshot::Purpose,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{list::HostnameList, read::*};

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    proofs::ProofView,
    schema::wire,
};
use crate::{App, app, caller::Principal, context::new_id, error::AppError};

/// A hostname.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Hostname")]
#[expect(missing_docs, reason = "as in `domain::model::Hostname`")]
pub struct HostnameView {
    pub id: HostnameId,
    pub hostname: HostName,
    pub project_id: ProjectId,
    pub tenant_id: Option<TenantId>,
    pub fleet: FleetName,
    pub purpose: Purpose,
    pub kind: HostnameKind,
    pub is_primary: bool,
    pub verify_state: VerifyState,
    pub verified_at: Option<Timestamp>,
    pub tls_mode: TlsMode,
    pub certificate_id: Option<CertificateId>,
    pub services: Vec<ServiceId>,
    pub max_body: Option<ByteSize>,
    pub response: ResponsePolicy,
    pub admission: Admission,
    pub cors: Cors,
    pub proof: Option<ProofView>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Hostname> for HostnameView {
    fn from(it: Hostname) -> Self {
        let proof = it.proof.map(|proof| ProofView::of(&it.hostname, proof));
        Self {
            id: it.id,
            proof,
            hostname: it.hostname,
            project_id: it.project_id,
            tenant_id: it.tenant_id,
            fleet: it.fleet,
            purpose: it.purpose,
            kind: it.kind,
            is_primary: it.is_primary,
            verify_state: it.verify_state,
            verified_at: it.verified_at,
            tls_mode: it.tls_mode,
            certificate_id: it.certificate_id,
            services: it.services,
            max_body: it.max_body,
            response: it.response,
            admission: it.admission,
            cors: it.cors,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// A hostname to be made. Of staff, one of `tenant_id` and `project_id` is needed; a tenant's principals say the name, its
/// purpose, and nothing that is staff's to decide.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateHostname {
    /// The name.
    hostname: HostName,
    /// Its tenant; none where a token names any tenant of the project.
    tenant_id: Option<TenantId>,
    /// Its project. Default the tenant's.
    project_id: Option<ProjectId>,
    /// The fleet whose gateways serve it. Default `default`.
    #[serde(default)]
    fleet: FleetName,
    /// What it is for.
    #[serde(default)]
    purpose: Purpose,
    /// Whose domain it is under. The platform's own are verified at once, customers' need `…/verify`. Default `platform` of
    /// staff, `custom` of others.
    kind: Option<HostnameKind>,
    /// The one that links are made with.
    #[serde(default)]
    is_primary: bool,
    /// Services it offers.
    #[serde(default)]
    services: Vec<ServiceId>,
    /// Largest request body, such as `10MiB`, where the route says nothing. Default the gateway's.
    max_body: Option<ByteSize>,
    /// What its responses say beside what its upstreams say: security headers, a page for refusals.
    #[serde(default)]
    response: ResponsePolicy,
    /// Who is let in, and how much at once, beside what its tenant says.
    #[serde(default)]
    admission: Admission,
    /// Which pages of other origins may call it. Default none.
    #[serde(default)]
    cors: Cors,
}

impl CreateHostname {
    /// The first member that is staff's to decide and was said.
    fn of_staff(&self) -> Option<&'static str> {
        let said = [
            (self.tenant_id.is_some(), "/tenant_id"),
            (self.project_id.is_some(), "/project_id"),
            (self.fleet != FleetName::default(), "/fleet"),
            (self.kind.is_some_and(|kind| kind != HostnameKind::Custom), "/kind"),
            (self.is_primary, "/is_primary"),
            (!self.services.is_empty(), "/services"),
            (self.max_body.is_some(), "/max_body"),
            (self.response != ResponsePolicy::default(), "/response"),
            (self.admission != Admission::default(), "/admission"),
            (self.cors != Cors::default(), "/cors"),
        ];
        said.into_iter().find_map(|(said, pointer)| said.then_some(pointer))
    }
}

/// What of a hostname changes; what is left out stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateHostname {
    /// Services it offers; all of them.
    services: Option<Vec<ServiceId>>,
    /// The fleet whose gateways serve it.
    fleet: Option<FleetName>,
    /// Largest request body, such as `10MiB`, where the route says nothing.
    max_body: Option<ByteSize>,
    /// What its responses say beside what its upstreams say; all of it.
    response: Option<ResponsePolicy>,
    /// Who is let in, and how much at once; all of it.
    admission: Option<Admission>,
    /// Which pages of other origins may call it; all of it.
    cors: Option<Cors>,
}

/// A certificate for a hostname.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadCertificate {
    /// PEM, leaf first.
    chain_pem: String,
    /// PEM, PKCS #8, PKCS #1 or SEC 1.
    key_pem: Secret<String>,
}

wire!(HostnameView, CreateHostname, UpdateHostname, UploadCertificate);

fn checked(admission: Option<&Admission>, cors: Option<&Cors>) -> Result<(), AppError> {
    if let Some(Err(error)) = admission.map(Admission::check) {
        return Err(AppError::field(format!("/admission/{}", error.field), "range", error.reason));
    }
    match cors.map(Cors::check) {
        Some(Err(error)) => Err(AppError::field(format!("/cors/{}", error.field), "range", error.reason)),
        Some(Ok(())) | None => Ok(()),
    }
}

/// Lists hostnames.
#[utoipa::path(get, path = "/v1/hostnames", tag = "hostnames", params(ListQuery<HostnameList>),
    responses((status = 200, body = List<HostnameView>)), security(("bearer" = [])))]
pub async fn list_hostnames(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<HostnameList>,
) -> Result<Json<List<HostnameView>>, AppError> {
    let found = app::hostnames::list_hostnames(&app, &principal, query.tenant_id, asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes a hostname, or claims one: the answer then says what has to stand in DNS before it can be verified.
#[utoipa::path(post, path = "/v1/hostnames", tag = "hostnames", params(WaitQuery), request_body = CreateHostname,
    responses((status = 201, body = HostnameView)), security(("bearer" = [])))]
pub async fn create_hostname(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateHostname>,
) -> Result<Created<HostnameView>, AppError> {
    app::hostnames::may_create(&principal)?;
    checked(Some(&body.admission), Some(&body.cors))?;
    let (made, commit) = if principal.is_system() {
        let new = drafted(&app, body).await?;
        app::hostnames::create_hostname(&app, &principal, new).await?
    } else if let Some(pointer) = body.of_staff() {
        return Err(AppError::field(pointer, "managed_by_platform", "is the platform's to decide"));
    } else {
        app::hostnames::claim_hostname(&app, &principal, body.hostname, body.purpose).await?
    };
    let location = format!("/v1/hostnames/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// What staff asks for.
async fn drafted(app: &App, body: CreateHostname) -> Result<NewHostname, AppError> {
    let home = match body.tenant_id {
        Some(id) => app.store.tenant(id).await?.map(|tenant| tenant.project_id),
        None => body.project_id,
    };
    let pointer = if body.tenant_id.is_some() { "/tenant_id" } else { "/project_id" };
    let project_id = home.ok_or_else(|| AppError::field(pointer, "unknown", "names no tenant or project"))?;
    if body.project_id.is_some_and(|id| id != project_id) {
        return Err(AppError::field("/project_id", "mismatch", "is not the tenant's project"));
    }
    Ok(NewHostname {
        id: new_id(&*app.clock),
        hostname: body.hostname,
        project_id,
        tenant_id: body.tenant_id,
        fleet: body.fleet,
        purpose: body.purpose,
        kind: body.kind.unwrap_or_default(),
        is_primary: body.is_primary,
        verify_state: VerifyState::Verified,
        tls_mode: TlsMode::Manual,
        certificate_id: None,
        services: body.services,
        max_body: body.max_body,
        response: body.response,
        admission: body.admission,
        cors: body.cors,
        client_certificates: None,
        challenge: None,
    })
}

/// Reads a hostname.
#[utoipa::path(get, path = "/v1/hostnames/{id}", tag = "hostnames", params(("id" = String, Path)),
    responses((status = 200, body = HostnameView)), security(("bearer" = [])))]
pub async fn read_hostname(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
) -> Result<One<HostnameView>, AppError> {
    let found = app::hostnames::read_hostname(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Sets which services a hostname offers, which fleet serves it, whom it lets in, and how it answers.
#[utoipa::path(patch, path = "/v1/hostnames/{id}", tag = "hostnames", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = UpdateHostname, responses((status = 200, body = HostnameView)), security(("bearer" = [])))]
pub async fn update_hostname(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateHostname>,
) -> Result<Changed<HostnameView>, AppError> {
    checked(body.admission.as_ref(), body.cors.as_ref())?;
    let UpdateHostname { services, fleet, max_body, response, admission, cors } = body;
    let edit = app::hostnames::Edit { services, fleet, max_body, response, admission, cors };
    let (changed, commit) = app::hostnames::update_hostname(&app, &principal, id, version, edit).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Looks for a hostname's proof in DNS now: with it, it is served from then on. `verify_state` says whether it is there,
/// `proof.failure` why not.
#[utoipa::path(post, path = "/v1/hostnames/{id}/verify", tag = "hostnames", params(("id" = String, Path), WaitQuery),
    responses((status = 200, body = HostnameView)), security(("bearer" = [])))]
pub async fn verify_hostname(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
) -> Result<Changed<HostnameView>, AppError> {
    let (changed, commit) = app::hostnames::verify_hostname(&app, &principal, id).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Makes a hostname the primary one of its project and purpose.
#[utoipa::path(post, path = "/v1/hostnames/{id}/primary", tag = "hostnames", params(("id" = String, Path), WaitQuery),
    responses((status = 200, body = HostnameView)), security(("bearer" = [])))]
pub async fn make_primary(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
) -> Result<Changed<HostnameView>, AppError> {
    let (changed, commit) = app::hostnames::make_primary(&app, &principal, id).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Replaces a hostname's certificate.
#[utoipa::path(put, path = "/v1/hostnames/{id}/certificate", tag = "hostnames",
    params(("id" = String, Path), WaitQuery), request_body = UploadCertificate,
    responses((status = 200, body = HostnameView)), security(("bearer" = [])))]
pub async fn upload_certificate(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
    Body(body): Body<UploadCertificate>,
) -> Result<Changed<HostnameView>, AppError> {
    let uploaded = app::hostnames::upload_certificate(&app, &principal, id, body.chain_pem, body.key_pem);
    let (changed, commit) = uploaded.await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Gives a hostname up, with its own routes.
#[utoipa::path(delete, path = "/v1/hostnames/{id}", tag = "hostnames", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_hostname(
    principal: Principal,
    State(app): State<App>,
    At(id): At<HostnameId>,
) -> Result<Gone, AppError> {
    app::hostnames::delete_hostname(&app, &principal, id).await.map(Gone::by)
}
