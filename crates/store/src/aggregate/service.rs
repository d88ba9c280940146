//! Services.

use authz::{Authorized, Scope, action::ManageRoutes};
use domain::{
    ServiceId,
    model::{NewService, Service, Version},
};

use super::{
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
    needed, one,
    page::Page,
    swap, within,
};
use crate::{
    StoreError, Tx, Unaudited,
    log::{
        audience,
        publish::{self, Effect},
    },
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM services";

fn read(row: &Row) -> Result<Service, StoreError> {
    Ok(Service {
        id: row.at("id")?,
        name: row.at("name")?,
        upstream_id: row.at("upstream_id")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

/// The list of services.
#[derive(Debug)]
pub enum ServiceList {}

impl Listing for ServiceList {
    type Item = Service;
    type Of = ();
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose name holds this, in any case.", "LOWER(name) LIKE ? ESCAPE '!'"),
        Filter::new("upstream_id", "That lead to this upstream.", Takes::Id, "upstream_id = ?"),
        Filter::since("created_at >= ?"),
        Filter::until("created_at < ?"),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::new("name", "name"), Sortable::time("created_at", "created_at")];
    fn sql() -> String {
        format!("{SELECT} WHERE TRUE")
    }
    fn item(row: &Cells<'_>) -> Result<Service, StoreError> {
        read(row.0)
    }
}

/// Reads of services.
pub trait Services: Reader {
    /// The service of this id.
    fn service(&self, id: ServiceId) -> impl Future<Output = Result<Option<Service>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// The service of this name.
    fn service_by_name(&self, name: &str) -> impl Future<Output = Result<Option<Service>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE name = $1"), values![name], read).await }
    }

    /// Services.
    fn services(&self, page: Page) -> impl Future<Output = Result<Vec<Service>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE id > $1 ORDER BY id LIMIT $2");
            self.view().await?.all(&sql, values![page.start(), page.limit()], read).await
        }
    }
}
impl<R: Reader> Services for R {}

impl Tx {
    /// Makes a service without routes.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `services(name)`; [`StoreError::Reference`] without its upstream.
    pub async fn insert_service(
        &self,
        by: &Authorized<ManageRoutes>,
        new: NewService,
    ) -> Result<Unaudited<Service>, StoreError> {
        within(by, Scope::Platform)?;
        let now = self.work.now;
        let service = Service {
            id: new.id,
            name: new.name,
            upstream_id: new.upstream_id,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        self.work
            .view
            .execute(
                "INSERT INTO services (id, name, upstream_id, created_at, updated_at, version)
                 VALUES ($1, $2, $3, $4, $4, 1)",
                values![service.id, &service.name, service.upstream_id, now],
            )
            .await?;
        publish::service(&self.work, service.id, Effect::Widens).await?;
        Ok(self.unaudited(service))
    }

    /// Changes a service's name or upstream.
    ///
    /// # Errors
    /// As [`Tx::insert_service`]; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_service(
        &self,
        by: &Authorized<ManageRoutes>,
        mut changed: Service,
    ) -> Result<Unaudited<Service>, StoreError> {
        within(by, Scope::Platform)?;
        let told = audience::of_service(&self.work.view, changed.id).await?;
        let assignments = "name = $3, upstream_id = $4, updated_at = $5";
        let values = values![&changed.name, changed.upstream_id, self.work.now];
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "service", "services", key, assignments, values).await?;
        changed.updated_at = self.work.now;
        let after = audience::of_service(&self.work.view, changed.id).await?;
        audience::shift(&self.work, by.scope(), &told, &after).await?;
        publish::service(&self.work, changed.id, Effect::Widens).await?;
        Ok(self.unaudited(changed))
    }

    /// Deletes a service and its routes.
    ///
    /// # Errors
    /// [`StoreError::Reference`] while a hostname offers it; [`StoreError::NotFound`].
    pub async fn delete_service(
        &self,
        by: &Authorized<ManageRoutes>,
        id: ServiceId,
    ) -> Result<Unaudited<Service>, StoreError> {
        within(by, Scope::Platform)?;
        let service = needed(self.service(id).await?, "service")?;
        one(&self.work.view, "service", "DELETE FROM services WHERE id = $1", values![id]).await?;
        publish::service(&self.work, id, Effect::Narrows).await?;
        Ok(self.unaudited(service))
    }
}
