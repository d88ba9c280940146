//! Which fleets are told of what. A gateway gets its own fleet's hostnames, their certificates with the keys, the
//! services they offer, and the upstreams these go to with the keys of their assertions; of other kinds, everything.
//!
//! Table `audiences` holds `(kind, id, fleet)` for the kinds that are kept apart. It is changed in the transaction that
//! ties or unties two of them, which also leaves the entity anew: its next revision is a row for a fleet that gained it
//! and a tombstone for one that lost it. So a gateway that resumes from any revision misses neither.

use std::collections::BTreeSet;

use authz::Scope;
use domain::{
    FleetName, HostnameId, Id, ServiceId,
    model::RouteOwner,
    snapshot::{Change, EntityKey, EntityKind},
};
use uuid::Uuid;

use super::publish::{self, Effect};
use crate::{
    StoreError, View,
    tx::Work,
    value::{Row, values},
};

/// What is told to which fleet.
pub(crate) type Told = BTreeSet<(EntityKind, Uuid, FleetName)>;

/// In SQL: whether the row of the change log named `log` is told to fleet `$1`.
pub(super) const IS_TOLD: &str = "(log.kind NOT IN ('hostname', 'certificate', 'service', 'upstream')
    OR EXISTS (SELECT 1 FROM audiences AS told
               WHERE told.kind = log.kind AND told.entity_id = log.entity_id AND told.fleet = $1))";

/// What a route's owner makes its fleets be told of.
pub(crate) async fn of_owner(view: &View, owner: RouteOwner) -> Result<Told, StoreError> {
    match owner {
        RouteOwner::Service(id) => of_service(view, id).await,
        RouteOwner::Hostname(id) => of_hostname(view, id).await,
    }
}

/// What a hostname makes its fleet be told of.
pub(crate) async fn of_hostname(view: &View, id: HostnameId) -> Result<Told, StoreError> {
    let sql = "WITH host AS (SELECT * FROM hostnames WHERE id = $1 AND verify_state = 'verified'),
            offer AS (SELECT service_id, fleet FROM hostname_services AS o JOIN host ON host.id = o.hostname_id)
        SELECT 'hostname' AS kind, id AS entity_id, fleet FROM host
        UNION SELECT 'certificate', certificate_id, fleet FROM host WHERE certificate_id IS NOT NULL
        UNION SELECT 'service', service_id, fleet FROM offer
        UNION SELECT 'upstream', upstream_id, fleet FROM offer JOIN services ON services.id = offer.service_id
        UNION SELECT 'upstream', upstream_id, fleet FROM offer JOIN routes ON routes.service_id = offer.service_id
            WHERE routes.enabled AND upstream_id IS NOT NULL
        UNION SELECT 'upstream', upstream_id, fleet FROM host JOIN routes ON routes.hostname_id = host.id
            WHERE routes.enabled AND upstream_id IS NOT NULL";
    Ok(view.all(sql, values![id], read).await?.into_iter().collect())
}

/// What a service makes the fleets that are told of it be told of: the upstreams it goes to.
pub(crate) async fn of_service(view: &View, id: ServiceId) -> Result<Told, StoreError> {
    let sql = "SELECT 'upstream' AS kind, upstream_id AS entity_id, told.fleet FROM audiences AS told
            JOIN services ON services.id = told.entity_id WHERE told.kind = 'service' AND told.entity_id = $1
        UNION SELECT 'upstream', upstream_id, told.fleet FROM audiences AS told
            JOIN routes ON routes.service_id = told.entity_id
            WHERE told.kind = 'service' AND told.entity_id = $1 AND routes.enabled AND upstream_id IS NOT NULL";
    Ok(view.all(sql, values![id], read).await?.into_iter().collect())
}

fn read(row: &Row) -> Result<(EntityKind, Uuid, FleetName), StoreError> {
    Ok((row.word("kind")?, row.at("entity_id")?, row.parsed("fleet")?))
}

/// After a change: who gained something is told of it, and who has no more use for it is told that it is gone.
///
/// # Errors
/// [`StoreError::OutOfScope`] when something may be lost and the caller does not see all hostnames that may need it.
pub(crate) async fn shift(work: &Work, scope: Scope, before: &Told, after: &Told) -> Result<(), StoreError> {
    for (kind, id, fleet) in after.difference(before) {
        gain(work, *kind, *id, fleet).await?;
    }
    for (kind, id, fleet) in before.difference(after) {
        if scope != Scope::Platform {
            return Err(StoreError::OutOfScope);
        }
        lose(work, *kind, *id, fleet).await?;
    }
    Ok(())
}

async fn gain(work: &Work, kind: EntityKind, id: Uuid, fleet: &FleetName) -> Result<(), StoreError> {
    let sql = "INSERT INTO audiences (kind, entity_id, fleet) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    if work.view.execute(sql, values![kind.as_str(), id, fleet.as_str()]).await? > 0 {
        publish_anew(work, kind, id, Effect::Widens).await?;
    }
    Ok(())
}

async fn lose(work: &Work, kind: EntityKind, id: Uuid, fleet: &FleetName) -> Result<(), StoreError> {
    let needed = match kind {
        EntityKind::Hostname => "SELECT 1 FROM hostnames WHERE id = $1 AND fleet = $2 AND verify_state = 'verified'",
        EntityKind::Certificate => {
            "SELECT 1 FROM hostnames WHERE certificate_id = $1 AND fleet = $2 AND verify_state = 'verified' LIMIT 1"
        }
        EntityKind::Service => {
            "SELECT 1 FROM hostname_services AS offer JOIN hostnames AS host ON host.id = offer.hostname_id
             WHERE offer.service_id = $1 AND host.fleet = $2 AND host.verify_state = 'verified' LIMIT 1"
        }
        EntityKind::Upstream => {
            "SELECT 1 FROM services AS service JOIN hostname_services AS offer ON offer.service_id = service.id
                 JOIN hostnames AS host ON host.id = offer.hostname_id
             WHERE host.fleet = $2 AND host.verify_state = 'verified' AND (service.upstream_id = $1
                 OR EXISTS (SELECT 1 FROM routes WHERE routes.service_id = service.id AND routes.upstream_id = $1
                            AND routes.enabled))
             UNION SELECT 1 FROM routes JOIN hostnames AS host ON host.id = routes.hostname_id
             WHERE routes.upstream_id = $1 AND routes.enabled AND host.fleet = $2 AND host.verify_state = 'verified'
             LIMIT 1"
        }
        EntityKind::Project | EntityKind::Tenant | EntityKind::Role | EntityKind::Issuer => return Ok(()),
    };
    if !work.view.query(needed, values![id, fleet.as_str()]).await?.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM audiences WHERE kind = $1 AND entity_id = $2 AND fleet = $3";
    work.view.execute(sql, values![kind.as_str(), id, fleet.as_str()]).await?;
    publish_anew(work, kind, id, Effect::Narrows).await
}

/// Leaves an entity anew. A hostname is left by the change that moved it.
async fn publish_anew(work: &Work, kind: EntityKind, id: Uuid, effect: Effect) -> Result<(), StoreError> {
    match kind {
        EntityKind::Certificate => publish::certificate(work, Id::new(id), effect).await,
        EntityKind::Service => publish::service(work, Id::new(id), effect).await,
        EntityKind::Upstream => publish::upstream(work, Id::new(id), effect).await,
        EntityKind::Hostname | EntityKind::Project | EntityKind::Tenant | EntityKind::Role | EntityKind::Issuer => {
            Ok(())
        }
    }
}

/// What a fleet that is not told of an entity gets in its place.
pub(super) fn tombstone(row: &Row) -> Result<Change, StoreError> {
    let key = EntityKey { kind: row.word("kind")?, id: row.at("entity_id")? };
    Ok(Change { revision: row.at("revision")?, key, min_reader: row.at("min_reader")?, entity: None })
}
