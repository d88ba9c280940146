//! Which project and tenant a request is for, before anybody is authenticated.

use domain::{
    HostName, TenantId,
    model::{Hostname, Project, Tenant, VerifyState},
};
use http::HeaderMap;
use store::read::*;

use super::project_credentials;
use crate::{
    App,
    caller::Site,
    context::{Listener, RequestContext},
    error::AppError,
};

/// A project, and the tenant where the hostname is one tenant's.
#[derive(Clone, Debug)]
pub struct Realm {
    /// Where the user is looked up.
    pub project: Project,
    /// Where the session works, where that is given.
    pub tenant: Option<TenantId>,
}

/// The realm of a verified hostname, else of `X-Project-Key`. None when nothing names one.
pub async fn realm(app: &App, context: &RequestContext) -> Result<Option<Realm>, AppError> {
    if let Some(realm) = realm_of_host(&app.store, context).await? {
        return Ok(Some(realm));
    }
    let Some(id) = context.project else { return Ok(None) };
    let project = app.store.project(id).await?.ok_or(AppError::ProjectKeyInvalid)?;
    Ok(Some(Realm { project, tenant: None }))
}

/// The realm of requests that nothing names one for, where the configuration does; on `admin` only: at the edge the hostname
/// always says it.
pub async fn default_realm(app: &App, context: &RequestContext) -> Result<Option<Realm>, AppError> {
    let slug = app.config.identity.default_project.as_ref().filter(|_| context.listener == Listener::Admin);
    let Some(slug) = slug else { return Ok(None) };
    let project = app.store.project_by_slug(slug.as_str()).await?;
    Ok(project.filter(|project| !project.is_root()).map(|project| Realm { project, tenant: None }))
}

/// The same request with the project that its `X-Project-Key` names.
///
/// # Errors
/// [`AppError::ProjectKeyInvalid`] for a key that names none, or for two; [`AppError::ProjectMismatch`] where the hostname names
/// another.
pub(crate) async fn keyed(app: &App, context: RequestContext, headers: &HeaderMap) -> Result<RequestContext, AppError> {
    let mut keys = headers.get_all("x-project-key").iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(context),
        (Some(key), None) => key.to_str().map_err(|_| AppError::ProjectKeyInvalid)?,
        (Some(_), Some(_)) => return Err(AppError::ProjectKeyInvalid),
    };
    let project = project_credentials::project_of_key(app, &context, key).await?;
    match realm_of_host(&app.store, &context).await? {
        Some(realm) if realm.project.id != project => Err(AppError::ProjectMismatch),
        // At the edge the hostname says it, or nothing does.
        None if context.asserted.is_some() => Err(AppError::ProjectMismatch),
        _ => Ok(RequestContext { project: Some(project), ..context }),
    }
}

/// The realm of a request's hostname. An unverified hostname has none.
pub async fn realm_of_host(at: &impl Reader, context: &RequestContext) -> Result<Option<Realm>, AppError> {
    let Some(host) = &context.host else { return Ok(None) };
    realm_of_name(at, host).await
}

/// Whether what is a tenant's may be asked for at a request's hostname: at the tenant's own, or at its project's. Without a
/// hostname that says so, on `admin` alone.
pub async fn is_here(at: &impl Reader, context: &RequestContext, site: Site) -> Result<bool, AppError> {
    let found = match &context.host {
        Some(host) => verified(at, host).await?,
        None => None,
    };
    Ok(match found {
        Some(host) => host.project_id == site.project && host.tenant_id.is_none_or(|id| id == site.tenant),
        None => context.asserted.is_none(),
    })
}

/// The hostname of this name, where it was verified.
async fn verified(at: &impl Reader, host: &HostName) -> Result<Option<Hostname>, AppError> {
    let found = at.hostname_by_name(host).await?;
    Ok(found.filter(|it| it.verify_state == VerifyState::Verified))
}

/// The realm of a hostname. An unverified hostname has none.
pub async fn realm_of_name(at: &impl Reader, host: &HostName) -> Result<Option<Realm>, AppError> {
    let at = at.view().await?;
    let Some(hostname) = verified(&at, host).await? else { return Ok(None) };
    let project = at.project(hostname.project_id).await?.ok_or(AppError::NotFound("project"))?;
    Ok(Some(Realm { project, tenant: hostname.tenant_id }))
}

/// The realm that a tenant's slug names, for `admin`, where a body may say it.
pub async fn realm_of_tenant(app: &App, slug: &str) -> Result<Option<(Project, Tenant)>, AppError> {
    let Some(tenant) = app.store.tenant_by_slug(slug).await? else { return Ok(None) };
    let project = app.store.project(tenant.project_id).await?;
    Ok(project.map(|project| (project, tenant)))
}
