//! Routes: what is served, to whom. Ties are refused when they are written.

use authz::{RouteTableBuilder, action::ManageRoutes};
use domain::{
    HostName, RouteId,
    model::{NewRoute, Route, RouteOwner, VerifyState, Version},
    snapshot,
};
use store::{
    Commit,
    list::{RouteList, Selection, Slice},
    read::*,
};

use crate::{App, caller::Principal, error::AppError};

/// A page of all routes.
pub async fn list_routes(
    app: &App,
    principal: &Principal,
    asked: &Selection<RouteList>,
) -> Result<Slice<Route>, AppError> {
    principal.may::<ManageRoutes>("list")?;
    Ok(app.store.list((), asked).await?)
}

/// One route.
pub async fn read_route(app: &App, principal: &Principal, id: RouteId) -> Result<Route, AppError> {
    principal.may::<ManageRoutes>("get")?;
    app.store.route(id).await?.ok_or(AppError::NotFound("route"))
}

/// Makes a route.
pub async fn create_route(app: &App, principal: &Principal, new: NewRoute) -> Result<(Route, Commit), AppError> {
    let by = principal.may::<ManageRoutes>("create")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new) = (by.clone(), new.clone());
            async move { Ok(tx.created(tx.insert_route(&by, new).await?).await?) }
        })
        .await
}

/// Replaces what a route says; its owner stays.
pub async fn replace_route(
    app: &App,
    principal: &Principal,
    version: Option<Version>,
    rule: snapshot::Route,
    enabled: bool,
) -> Result<(Route, Commit), AppError> {
    let by = principal.may::<ManageRoutes>("update")?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, rule) = (by.clone(), rule.clone());
            async move {
                let mut route = tx.route(rule.id).await?.ok_or(AppError::NotFound("route"))?;
                route.version = version.unwrap_or(route.version);
                route.rule = rule;
                route.enabled = enabled;
                Ok(tx.updated(tx.update_route(&by, route).await?).await?)
            }
        })
        .await
}

/// Deletes a route.
pub async fn delete_route(app: &App, principal: &Principal, id: RouteId) -> Result<Commit, AppError> {
    let by = principal.may::<ManageRoutes>("delete")?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move { Ok::<_, AppError>(tx.deleted(tx.delete_route(&by, id).await?).await?) }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// The rank of a hostname's own routes: they win over services' of the same shape and method.
const OWN: u8 = 1;
/// The rank of services' routes.
const SHARED: u8 = 0;

/// Which route a request at a hostname would take; none where the edge answers `route_not_found`.
///
/// # Errors
/// [`AppError::NotFound`] for a hostname that is not served.
pub async fn test_route(
    app: &App,
    principal: &Principal,
    host: &HostName,
    method: &str,
    path: &str,
) -> Result<Option<Route>, AppError> {
    principal.may::<ManageRoutes>("test")?;
    let found = app.store.hostname_by_name(host).await?;
    let hostname = found.filter(|it| it.verify_state == VerifyState::Verified).ok_or(AppError::NotFound("hostname"))?;
    let mut table = RouteTableBuilder::default();
    let owners = std::iter::once((RouteOwner::Hostname(hostname.id), OWN))
        .chain(hostname.services.iter().map(|id| (RouteOwner::Service(*id), SHARED)));
    for (owner, rank) in owners {
        for route in app.store.routes(owner).await?.into_iter().filter(|route| route.enabled) {
            let (pattern, methods) = (route.rule.path.clone(), route.rule.methods.clone());
            table.insert(&pattern, &methods, rank, route).map_err(store::StoreError::from)?;
        }
    }
    Ok(table.build().find(method, path).cloned())
}
