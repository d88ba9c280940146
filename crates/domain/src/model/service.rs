//! Services and routes.

use serde::{Deserialize, Serialize};

use super::Version;
use crate::{HostnameId, ServiceId, Timestamp, UpstreamId, snapshot};

/// A named set of routes, shared by the hostnames that offer it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its unique name.
    pub name: String,
    /// Where its routes go, unless they say otherwise.
    pub upstream_id: UpstreamId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A service to be made.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "as in `Service`")]
pub struct NewService {
    pub id: ServiceId,
    pub name: String,
    pub upstream_id: UpstreamId,
}

/// What a route belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteOwner {
    /// A service.
    Service(ServiceId),
    /// One hostname: it wins there over services' routes of the same shape and method.
    Hostname(HostnameId),
}

/// One route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    /// What it belongs to.
    pub owner: RouteOwner,
    /// What it says; its id too.
    pub rule: snapshot::Route,
    /// Whether the edge is told of it.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its version.
    pub version: Version,
}

/// A route to be made.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "as in `Route`")]
pub struct NewRoute {
    pub owner: RouteOwner,
    pub rule: snapshot::Route,
    pub enabled: bool,
}
