//! Ties: two routes that match the same requests equally well are refused when they are written.

use authz::route_table::{Rank, RouteTableBuilder};
use domain::{HostnameId, ServiceId, model::RouteOwner};

use super::route::Routes;
use crate::{StoreError, View, value::values};

/// Routes of services.
const SHARED: Rank = 0;
/// A hostname's own routes win over them.
const OWN: Rank = 1;

/// Checks what a hostname serves: its own routes, and those of all its services together.
pub(crate) async fn check_hostname(view: &View, id: HostnameId) -> Result<(), StoreError> {
    let mut table = RouteTableBuilder::default();
    let sql = "SELECT service_id FROM hostname_services WHERE hostname_id = $1 ORDER BY place";
    let services = view.all(sql, values![id], |row| row.at::<ServiceId>("service_id")).await?;
    for service in services {
        add(view, &mut table, RouteOwner::Service(service), SHARED).await?;
    }
    add(view, &mut table, RouteOwner::Hostname(id), OWN).await
}

/// Checks a service's routes among themselves, and on every hostname that offers it.
pub(crate) async fn check_service(view: &View, id: ServiceId) -> Result<(), StoreError> {
    add(view, &mut RouteTableBuilder::default(), RouteOwner::Service(id), SHARED).await?;
    // One hostname of each set of services that includes this one would do; sets are few, hostnames may be many.
    let sql = "SELECT MIN(CAST(hostname_id AS TEXT)) AS hostname_id FROM (
                   SELECT hostname_id, STRING_AGG(CAST(service_id AS TEXT), ',' ORDER BY service_id) AS services
                   FROM hostname_services
                   WHERE hostname_id IN (SELECT hostname_id FROM hostname_services WHERE service_id = $1)
                   GROUP BY hostname_id) AS offers
               GROUP BY services";
    let hostnames = view.all(sql, values![id], |row| row.at::<HostnameId>("hostname_id")).await?;
    for hostname in hostnames {
        check_hostname(view, hostname).await?;
    }
    Ok(())
}

/// The route of an owner, as far as it has one.
pub(crate) async fn check(view: &View, owner: RouteOwner) -> Result<(), StoreError> {
    match owner {
        RouteOwner::Service(id) => check_service(view, id).await,
        RouteOwner::Hostname(id) => check_hostname(view, id).await,
    }
}

async fn add(view: &View, table: &mut RouteTableBuilder<()>, owner: RouteOwner, rank: Rank) -> Result<(), StoreError> {
    for route in view.routes(owner).await? {
        if route.enabled {
            table.insert(&route.rule.path, &route.rule.methods, rank, ())?;
        }
    }
    Ok(())
}
