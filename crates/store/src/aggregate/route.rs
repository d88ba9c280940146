//! Routes, of services and of single hostnames.

use authz::{Action, Authorized, Scope, action::ManageRoutes};
use domain::{
    Permission, ProjectId, RouteId, TenantId,
    model::{NewRoute, Route, RouteOwner, Version},
    org_unit::check_route,
};

use super::{
    hostname::Hostnames,
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one,
    page::Page,
    scope_of, swap, tie, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::{
        audience::{self, Told},
        publish::{self, Effect},
    },
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT id, service_id, hostname_id, rule, enabled, created_at, updated_at, version FROM routes";

fn read(row: &Row) -> Result<Route, StoreError> {
    let owner = match (row.at("service_id")?, row.at("hostname_id")?) {
        (Some(service), None) => RouteOwner::Service(service),
        (None, Some(hostname)) => RouteOwner::Hostname(hostname),
        _ => return Err(StoreError::corrupt("service_id", "a route has one owner")),
    };
    Ok(Route {
        owner,
        rule: row.json("rule")?,
        enabled: row.at("enabled")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of routes.
#[derive(Debug)]
pub enum RouteList {}

impl Listing for RouteList {
    type Item = Route;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::new("service_id", "Of this service.", Takes::Id, "service_id = ?"),
        Filter::new("hostname_id", "Of this hostname.", Takes::Id, "hostname_id = ?"),
        Filter::new("enabled", "Whether they are in force.", Takes::Flag, "enabled = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE TRUE")
    }
    fn item(row: &Cells<'_>) -> Result<Route, StoreError> {
        read(row.0)
    }
}

/// Reads of routes.
pub trait Routes: Reader {
    /// The route of this id.
    fn route(&self, id: RouteId) -> impl Future<Output = Result<Option<Route>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// All routes of a service or hostname, enabled or not, oldest first.
    fn routes(&self, owner: RouteOwner) -> impl Future<Output = Result<Vec<Route>, StoreError>> + Send {
        async move {
            let (column, id) = match owner {
                RouteOwner::Service(id) => ("service_id", id.uuid()),
                RouteOwner::Hostname(id) => ("hostname_id", id.uuid()),
            };
            let sql = format!("{SELECT} WHERE {column} = $1 ORDER BY created_at, id");
            self.view().await?.all(&sql, values![id], read).await
        }
    }

    /// A tenant's own routes: those of its hostnames.
    fn routes_of_tenant(
        &self,
        tenant: TenantId,
        page: Page,
    ) -> impl Future<Output = Result<Vec<Route>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
            self.view().await?.all(&sql, values![tenant, page.start(), page.limit()], read).await
        }
    }

    /// What routes ask for, each once: of a tenant's principals, and with `true` of staff; of one tenant's routes and those of
    /// services, or of all. However many routes there are, the database reads them and says what is different.
    fn route_permissions(
        &self,
        tenant: Option<TenantId>,
    ) -> impl Future<Output = Result<Vec<(Permission, bool)>, StoreError>> + Send {
        async move {
            let sql = "SELECT DISTINCT COALESCE(of_tenants, of_staff) AS permission, of_tenants IS NULL AS is_staffs FROM (
                           SELECT rule -> 'access' ->> 'permission' AS of_tenants, rule -> 'access' ->> 'platform' AS of_staff
                           FROM routes WHERE service_id IS NOT NULL OR tenant_id = $1 OR $1 IS NULL
                       ) AS asked WHERE of_tenants IS NOT NULL OR of_staff IS NOT NULL";
            let read = |row: &Row| Ok((row.parsed("permission")?, row.at("is_staffs")?));
            self.view().await?.all(sql, values![tenant], read).await
        }
    }
}
impl<R: Reader> Routes for R {}

impl Tx {
    /// Makes a route.
    ///
    /// # Errors
    /// [`StoreError::Tie`] with another route of its service, of a service offered beside it, or of its hostname;
    /// [`StoreError::Rule`] (`route_ou_parameter`, `route_require`) when it says of its unit, or demands of a sign-in, what
    /// cannot be;
    /// [`StoreError::Reference`] without its owner or upstream.
    pub async fn insert_route(
        &self,
        by: &Authorized<ManageRoutes>,
        new: NewRoute,
    ) -> Result<Unaudited<Route>, StoreError> {
        let (project, tenant) = self.home(by, new.owner).await?;
        check(&new.rule)?;
        let told = audience::of_owner(&self.work.view, new.owner).await?;
        let now = self.work.now;
        let route = Route {
            owner: new.owner,
            rule: new.rule,
            enabled: new.enabled,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let (service, hostname) = match route.owner {
            RouteOwner::Service(id) => (Some(id), None),
            RouteOwner::Hostname(id) => (None, Some(id)),
        };
        self.work
            .view
            .execute(
                "INSERT INTO routes (id, service_id, hostname_id, project_id, tenant_id, upstream_id, rule, enabled,
                     created_at, updated_at, version)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, 1)",
                vec![
                    route.rule.id.into(),
                    service.into(),
                    hostname.into(),
                    project.into(),
                    tenant.into(),
                    route.rule.upstream_id.into(),
                    Value::json(&route.rule)?,
                    route.enabled.into(),
                    now.into(),
                ],
            )
            .await?;
        self.settle(by, route.owner, &told).await?;
        Ok(self.unaudited(route))
    }

    /// Changes a route; its owner stays.
    ///
    /// # Errors
    /// As [`Tx::insert_route`]; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_route(
        &self,
        by: &Authorized<ManageRoutes>,
        mut changed: Route,
    ) -> Result<Unaudited<Route>, StoreError> {
        let before = needed(self.route(changed.rule.id).await?, "route")?;
        self.home(by, before.owner).await?;
        check(&changed.rule)?;
        changed.owner = before.owner;
        let told = audience::of_owner(&self.work.view, before.owner).await?;
        let values = vec![
            changed.rule.upstream_id.into(),
            Value::json(&changed.rule)?,
            changed.enabled.into(),
            self.work.now.into(),
        ];
        let assignments = "upstream_id = $3, rule = $4, enabled = $5, updated_at = $6";
        let key = (changed.rule.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "route", "routes", key, assignments, values).await?;
        changed.updated_at = self.work.now;
        self.settle(by, changed.owner, &told).await?;
        Ok(self.unaudited(changed))
    }

    /// Deletes a route.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn delete_route(
        &self,
        by: &Authorized<ManageRoutes>,
        id: RouteId,
    ) -> Result<Unaudited<Route>, StoreError> {
        let route = needed(self.route(id).await?, "route")?;
        self.home(by, route.owner).await?;
        let told = audience::of_owner(&self.work.view, route.owner).await?;
        one(&self.work.view, "route", "DELETE FROM routes WHERE id = $1", values![id]).await?;
        self.settle(by, route.owner, &told).await?;
        Ok(self.unaudited(route))
    }

    /// Whose a route of this owner is, if the caller may change it: services are the platform's.
    async fn home<A: Action>(
        &self,
        by: &Authorized<A>,
        owner: RouteOwner,
    ) -> Result<(Option<ProjectId>, Option<TenantId>), StoreError> {
        match owner {
            RouteOwner::Service(_) => within(by, Scope::Platform).map(|()| (None, None)),
            RouteOwner::Hostname(id) => {
                let hostname = needed(self.hostname(id).await?, "hostname")?;
                let (project, tenant) = (Some(hostname.project_id), hostname.tenant_id);
                within(by, scope_of(project, tenant)).map(|()| (project, tenant))
            }
        }
    }

    /// After routes changed: no ties, and the edge is told. A narrower route may close what a broader one left open,
    /// so every change of routes counts as narrowing.
    async fn settle<A: Action>(&self, by: &Authorized<A>, owner: RouteOwner, told: &Told) -> Result<(), StoreError> {
        tie::check(&self.work.view, owner).await?;
        let after = audience::of_owner(&self.work.view, owner).await?;
        audience::shift(&self.work, by.scope(), told, &after).await?;
        publish::owner(&self.work, owner, Effect::Narrows).await
    }
}

fn check(rule: &domain::snapshot::Route) -> Result<(), StoreError> {
    if let Some(Err((member, message))) = rule.require.map(|require| require.check(&rule.access)) {
        return Err(StoreError::rule("route_require", format!("`{member}`: {message}")));
    }
    let checked = check_route(&rule.path, &rule.access, rule.ou_parameter.as_deref(), rule.ou_header.as_deref());
    checked.map_err(|(member, message)| StoreError::rule("route_ou_parameter", format!("`{member}`: {message}")))
}
