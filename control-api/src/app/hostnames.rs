//! Hostnames: what the edge serves, with which certificate and services.

use authz::action::{ManageCertificates, ManageHostnames};
use domain::{
    Admission, ByteSize, Cors, FleetName, HostName, HostnameId, ProjectId, Secret, ServiceId, TenantId,
    model::{Hostname, HostnameKind, NewHostname, TlsMode, VerifyState, Version},
    response::ResponsePolicy,
    snapshot::Purpose,
};
use store::{Commit, Page, read::*};

use super::certificates;
use crate::{App, bootstrap, caller::Principal, context::new_id, error::AppError};

/// A page of hostnames.
pub async fn list_hostnames(app: &App, principal: &Principal, page: Page) -> Result<Vec<Hostname>, AppError> {
    principal.may::<ManageHostnames>("list")?;
    Ok(app.store.hostnames(page).await?)
}

/// One hostname.
pub async fn read_hostname(app: &App, principal: &Principal, id: HostnameId) -> Result<Hostname, AppError> {
    principal.may::<ManageHostnames>("get")?;
    app.store.hostname(id).await?.ok_or(AppError::NotFound("hostname"))
}

/// A hostname under the platform's own domains, which needs no proof, with the identity routes: the primary one of a
/// project.
pub async fn of_platform(
    app: &App,
    project_id: ProjectId,
    tenant_id: Option<TenantId>,
    name: &HostName,
) -> Result<NewHostname, AppError> {
    let services = app.store.service_by_name(bootstrap::IDENTITY).await?.map(|service| service.id);
    Ok(NewHostname {
        id: new_id(&*app.clock),
        hostname: name.clone(),
        project_id,
        tenant_id,
        fleet: FleetName::default(),
        purpose: Purpose::App,
        kind: HostnameKind::Platform,
        is_primary: true,
        verify_state: VerifyState::Verified,
        tls_mode: TlsMode::Manual,
        certificate_id: None,
        services: services.into_iter().collect(),
        max_body: None,
        response: ResponsePolicy::default(),
        admission: Admission::default(),
        cors: Cors::default(),
        client_certificates: None,
    })
}

/// Makes a hostname.
pub async fn create_hostname(
    app: &App,
    principal: &Principal,
    new: NewHostname,
) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("create")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_hostname(&by, new).await?).await?) }
        })
        .await
}

/// What of a hostname changes; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Services it offers; all of them.
    pub services: Option<Vec<ServiceId>>,
    /// The fleet whose gateways serve it.
    pub fleet: Option<FleetName>,
    /// Largest request body where the route says nothing.
    pub max_body: Option<ByteSize>,
    /// What its responses say beside what its upstreams say; all of it.
    pub response: Option<ResponsePolicy>,
    /// Who is let in, and how much at once.
    pub admission: Option<Admission>,
    /// Which pages of other origins may call it.
    pub cors: Option<Cors>,
}

/// Sets which services a hostname offers, which fleet serves it, whom it lets in, and how it answers.
pub async fn update_hostname(
    app: &App,
    principal: &Principal,
    id: HostnameId,
    version: Option<Version>,
    edit: Edit,
) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, edit) = (by.clone(), edit.clone());
            async move {
                let mut hostname = tx.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
                hostname.version = version.unwrap_or(hostname.version);
                hostname.services = edit.services.unwrap_or(hostname.services);
                hostname.fleet = edit.fleet.unwrap_or(hostname.fleet);
                hostname.max_body = edit.max_body.or(hostname.max_body);
                hostname.response = edit.response.unwrap_or(hostname.response);
                hostname.admission = edit.admission.unwrap_or(hostname.admission);
                hostname.cors = edit.cors.unwrap_or(hostname.cors);
                Ok(tx.updated(tx.update_hostname(&by, hostname).await?).await?)
            }
        })
        .await
}

/// Says that control of a hostname was proven. Staff's word is the proof for now.
pub async fn verify_hostname(app: &App, principal: &Principal, id: HostnameId) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("verify")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                let mut hostname = tx.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
                hostname.verify_state = VerifyState::Verified;
                Ok(tx.done("verified", tx.update_hostname(&by, hostname).await?).await?)
            }
        })
        .await
}

/// Makes a hostname the primary one of its project and purpose.
pub async fn make_primary(app: &App, principal: &Principal, id: HostnameId) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move { Ok(tx.done("made_primary", tx.make_hostname_primary(&by, id).await?).await?) }
        })
        .await
}

/// Replaces a hostname's certificate.
pub async fn upload_certificate(
    app: &App,
    principal: &Principal,
    id: HostnameId,
    chain_pem: String,
    key_pem: Secret<String>,
) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("update")?;
    let certificates_by = principal.may::<ManageCertificates>("create")?;
    let hostname = app.store.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
    let new = certificates::read_upload(app, hostname.project_id, &hostname.hostname, chain_pem, key_pem)?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, certificates_by, new) = (by.clone(), certificates_by.clone(), new.clone());
            async move {
                let certificate = tx.created(tx.insert_certificate(&certificates_by, new).await?).await?;
                let mut hostname = tx.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
                hostname.certificate_id = Some(certificate.peek().id);
                let change = tx.update_hostname(&by, hostname).await?;
                Ok(certificate.and(tx.done("certificate_replaced", change).await?).map(|(_, hostname)| hostname))
            }
        })
        .await
}

/// Removes a hostname with its own routes.
pub async fn delete_hostname(app: &App, principal: &Principal, id: HostnameId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageHostnames>("delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move { Ok::<_, AppError>(tx.deleted(tx.delete_hostname(&by, id).await?).await?) }
    });
    deleted.await.map(|(_, commit)| commit)
}
