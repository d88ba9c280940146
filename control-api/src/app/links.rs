//! Links in letters: to a page of the hostname where the reader signs in.

use domain::{
    HostName, ProjectId, Secret, TenantId,
    model::{Project, VerifyState},
};
use store::{Page, read::*};

use crate::{App, error::AppError};

/// `https://HOST/PATH#token=…` on a verified hostname of the tenant's, the primary one before others; without a tenant or one, on
/// the project's own. The page at it sends the token by POST: a scanner that opens links uses nothing up, and what stands
/// behind `#` is in no request, log or `Referer`.
///
/// Where a tenant's own names lead is the tenant's to say. So a letter about an account goes there only if the account is in no
/// other tenant's, too.
///
/// # Errors
/// [`AppError::Internal`] for a project whose issuer is no URL.
pub(super) async fn link(
    app: &App,
    project: &Project,
    tenant: Option<TenantId>,
    path: &str,
    token: &Secret<String>,
) -> Result<Secret<String>, AppError> {
    let home: http::Uri =
        project.issuer.parse().map_err(|error| AppError::internal("a project's issuer is no URL", error))?;
    let own = match tenant {
        Some(tenant) => own_name(app, project.id, tenant).await?,
        None => None,
    };
    let host = own.or_else(|| home.host().map(str::to_owned)).unwrap_or_default();
    let port = home.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok(Secret::new(format!("https://{host}{port}{path}#token={}", token.expose())))
}

/// `https://HOST` and `path` at the hostname that was asked; without one, at the project's own.
///
/// # Errors
/// [`AppError::Internal`] for a project whose issuer is no URL.
pub(super) fn page(project: &Project, asked: Option<&HostName>, path: &str) -> Result<String, AppError> {
    let home: http::Uri =
        project.issuer.parse().map_err(|error| AppError::internal("a project's issuer is no URL", error))?;
    let port = home.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = asked.map_or_else(|| home.host().unwrap_or_default(), HostName::as_str);
    Ok(format!("https://{host}{port}{path}"))
}

/// The port that browsers see at a project's hostnames: its issuer's.
pub(super) fn public_port(project: &Project) -> u16 {
    project.issuer.parse().ok().and_then(|home: http::Uri| home.port_u16()).unwrap_or(443)
}

async fn own_name(app: &App, project: ProjectId, tenant: TenantId) -> Result<Option<String>, AppError> {
    let store = app.store.within(authz::Scope::Tenant(project, tenant));
    let known = store.hostnames_of_tenant(tenant, Page::WIDEST).await?;
    let mut served = known.into_iter().filter(|it| it.verify_state == VerifyState::Verified);
    Ok(served.next().map(|first| served.find(|it| it.is_primary).unwrap_or(first).hostname.to_string()))
}
