//! Client certificates: whose a hostname believes, and as which users their holders act.

use authn::Authorities;
use authz::action::{ManageCertificateBindings, ManageHostnames};
use domain::{
    CertificateBindingId, CertificateName, ClientCertificates, HostnameId, Timestamp, UserId,
    model::{BoundCertificate, Hostname, NewBoundCertificate, Version},
};
use store::{
    Commit,
    list::{CertificateBindingList, Selection, Slice},
    read::*,
};

use super::{break_glass, role_bindings::outranks};
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// Whether authorities and revocation lists can be read, and no list is out of date already.
///
/// # Errors
/// [`AppError::Invalid`] names the block and what is wrong with it.
pub fn readable(certificates: &ClientCertificates, now: Timestamp) -> Result<(), AppError> {
    let authorities = Authorities::compile(certificates)
        .map_err(|error| AppError::field(error.pointer(), "invalid", error.to_string()))?;
    match authorities.lists_end() {
        Some(end) if end <= now => Err(AppError::field("/crl", "expired", format!("a list went out of date at {end}"))),
        Some(_) | None => Ok(()),
    }
}

/// Whose certificates a hostname believes.
pub async fn read_client_certificates(
    app: &App,
    principal: &Principal,
    id: HostnameId,
) -> Result<(ClientCertificates, Version), AppError> {
    principal.may::<ManageHostnames>("get")?;
    let hostname = app.store.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
    let certificates = hostname.client_certificates.ok_or(AppError::NotFound("client-certificates"))?;
    Ok((certificates, hostname.version))
}

/// Sets whose certificates a hostname believes; none and it asks for none.
pub async fn set_client_certificates(
    app: &App,
    principal: &Principal,
    id: HostnameId,
    version: Option<Version>,
    certificates: Option<ClientCertificates>,
) -> Result<(Hostname, Commit), AppError> {
    let by = principal.may::<ManageHostnames>("update")?;
    if let Some(certificates) = &certificates {
        readable(certificates, app.now())?;
    }
    app.store
        .write(&by, app.now(), |tx| {
            let (by, certificates) = (by.clone(), certificates.clone());
            async move {
                let mut hostname = tx.hostname(id).await?.ok_or(AppError::NotFound("hostname"))?;
                if certificates.is_none() && hostname.client_certificates.is_none() {
                    return Err(AppError::NotFound("client-certificates"));
                }
                hostname.version = version.unwrap_or(hostname.version);
                hostname.client_certificates = certificates;
                let change = tx.update_hostname(&by, hostname).await?;
                Ok(tx.done("client_certificates_replaced", change).await?)
            }
        })
        .await
}

/// A page of a tenant's bindings.
pub async fn list_certificate_bindings(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<CertificateBindingList>,
) -> Result<Slice<BoundCertificate>, AppError> {
    principal.may_in::<ManageCertificateBindings>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// One binding of a tenant.
pub async fn read_certificate_binding(
    app: &App,
    principal: &Principal,
    site: Site,
    id: CertificateBindingId,
) -> Result<BoundCertificate, AppError> {
    principal.may_in::<ManageCertificateBindings>(site, "get")?;
    bound(app, site, id).await
}

/// Binds the certificates of a name to a user. Who may not give what the user holds may not give its place.
pub async fn create_certificate_binding(
    app: &App,
    principal: &Principal,
    site: Site,
    (hostname_id, name, user_id): (HostnameId, CertificateName, UserId),
) -> Result<(BoundCertificate, Commit), AppError> {
    let by = principal.may_in::<ManageCertificateBindings>(site, "create")?;
    outranks(&app.store.within(site.scope()), principal, site, user_id).await?;
    let id = new_id(&*app.clock);
    let new = NewBoundCertificate { id, project_id: site.project, tenant_id: site.tenant, hostname_id, name, user_id };
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move {
                break_glass::without_credentials(&tx, user_id).await?;
                Ok(tx.created(tx.insert_certificate_binding(&by, new).await?).await?)
            }
        })
        .await
}

/// Unbinds a name.
pub async fn delete_certificate_binding(
    app: &App,
    principal: &Principal,
    site: Site,
    id: CertificateBindingId,
) -> Result<Commit, AppError> {
    let by = principal.may_in::<ManageCertificateBindings>(site, "delete")?;
    let found = bound(app, site, id).await?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            break_glass::spare(&tx, principal, found.user_id).await?;
            Ok::<_, AppError>(tx.deleted(tx.delete_certificate_binding(&by, id).await?).await?)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

async fn bound(app: &App, site: Site, id: CertificateBindingId) -> Result<BoundCertificate, AppError> {
    let found = app.store.within(site.scope()).certificate_binding(id).await?;
    found.filter(|it| it.tenant_id == site.tenant).ok_or(AppError::NotFound("certificate-binding"))
}
