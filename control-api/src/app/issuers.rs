//! External issuers: whose tokens a project believes beside its own.

use authz::action::ManageIssuers;
use domain::{
    IssuerId, ProjectId,
    model::{ExternalIssuer, Version},
};
use store::{
    Commit,
    list::{IssuerList, Selection, Slice},
    read::*,
};

use crate::{App, caller::Principal, error::AppError, outbound};

/// A project's external issuers.
pub async fn list_issuers(
    app: &App,
    principal: &Principal,
    project: ProjectId,
    asked: &Selection<IssuerList>,
) -> Result<Slice<ExternalIssuer>, AppError> {
    principal.may::<ManageIssuers>("list")?;
    app.store.project(project).await?.ok_or(AppError::NotFound("project"))?;
    Ok(app.store.list(project, asked).await?)
}

/// One external issuer.
pub async fn read_issuer(app: &App, principal: &Principal, id: IssuerId) -> Result<ExternalIssuer, AppError> {
    principal.may::<ManageIssuers>("get")?;
    app.store.issuer(id).await?.ok_or(AppError::NotFound("issuer"))
}

/// Binds an external issuer. Its key set must be one that verifies.
pub async fn create_issuer(
    app: &App,
    principal: &Principal,
    new: ExternalIssuer,
) -> Result<(ExternalIssuer, Commit), AppError> {
    let by = principal.may::<ManageIssuers>("create")?;
    usable(app, &new)?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_issuer(&by, new).await?).await?) }
        })
        .await
}

/// Replaces a binding.
pub async fn replace_issuer(
    app: &App,
    principal: &Principal,
    version: Option<Version>,
    new: ExternalIssuer,
) -> Result<(ExternalIssuer, Commit), AppError> {
    let by = principal.may::<ManageIssuers>("update")?;
    usable(app, &new)?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, mut new) = (by.clone(), new.clone());
            async move {
                let found = tx.issuer(new.id).await?.ok_or(AppError::NotFound("issuer"))?;
                new.version = version.unwrap_or(found.version);
                Ok(tx.updated(tx.update_issuer(&by, new).await?).await?)
            }
        })
        .await
}

/// Ends a binding: its tokens are refused.
pub async fn delete_issuer(app: &App, principal: &Principal, id: IssuerId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageIssuers>("delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move { Ok::<_, AppError>(tx.deleted(tx.delete_issuer(&by, id).await?).await?) }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// Whether the key set is one that verifies, or comes from a place that may be asked.
pub(super) fn usable(app: &App, issuer: &ExternalIssuer) -> Result<(), AppError> {
    if let Some(url) = &issuer.jwks_url {
        let source = outbound::url(url, app.config.issuers.on_loopback);
        return source.map(|_| ()).map_err(|error| AppError::field("/jwks_url", "invalid", error.to_string()));
    }
    let keys =
        authn::Jwks::parse(&issuer.jwks).map_err(|error| AppError::field("/jwks", "invalid", error.to_string()))?;
    if keys.is_empty() {
        return Err(AppError::field("/jwks", "required", "the key set has no key that verifies"));
    }
    Ok(())
}
