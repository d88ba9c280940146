//! Services: named sets of routes, shared by the hostnames that offer them.

use authz::action::ManageRoutes;
use domain::{
    ServiceId, UpstreamId,
    model::{NewService, Service, Version},
};
use store::{
    Commit,
    list::{Selection, ServiceList, Slice},
    read::*,
};

use crate::{App, caller::Principal, error::AppError};

/// A page of services.
pub async fn list_services(
    app: &App,
    principal: &Principal,
    asked: &Selection<ServiceList>,
) -> Result<Slice<Service>, AppError> {
    principal.may::<ManageRoutes>("list")?;
    Ok(app.store.list((), asked).await?)
}

/// One service.
pub async fn read_service(app: &App, principal: &Principal, id: ServiceId) -> Result<Service, AppError> {
    principal.may::<ManageRoutes>("get")?;
    app.store.service(id).await?.ok_or(AppError::NotFound("service"))
}

/// Makes a service without routes.
pub async fn create_service(app: &App, principal: &Principal, new: NewService) -> Result<(Service, Commit), AppError> {
    let by = principal.may::<ManageRoutes>("create")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_service(&by, new).await?).await?) }
        })
        .await
}

/// Changes a service's name or upstream.
pub async fn update_service(
    app: &App,
    principal: &Principal,
    id: ServiceId,
    version: Option<Version>,
    name: Option<String>,
    upstream: Option<UpstreamId>,
) -> Result<(Service, Commit), AppError> {
    let by = principal.may::<ManageRoutes>("update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, name) = (by.clone(), name.clone());
            async move {
                let mut service = tx.service(id).await?.ok_or(AppError::NotFound("service"))?;
                service.version = version.unwrap_or(service.version);
                service.name = name.unwrap_or(service.name);
                service.upstream_id = upstream.unwrap_or(service.upstream_id);
                Ok(tx.updated(tx.update_service(&by, service).await?).await?)
            }
        })
        .await
}

/// Deletes a service that no hostname offers, with its routes.
pub async fn delete_service(app: &App, principal: &Principal, id: ServiceId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageRoutes>("delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move { Ok::<_, AppError>(tx.deleted(tx.delete_service(&by, id).await?).await?) }
    });
    deleted.await.map(|(_, commit)| commit)
}
