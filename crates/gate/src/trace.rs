//! What a decision found on its way, for the access log. Ids are copied, names shared: a warm decision allocates
//! nothing here.

use std::sync::Arc;

use domain::{ProjectId, RouteId, TenantId};

/// Filled in as far as the decision came.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The hostname, once it was found.
    pub host: Option<Arc<str>>,
    /// Its project.
    pub project: Option<ProjectId>,
    /// The tenant the request runs as, or the hostname's.
    pub tenant: Option<TenantId>,
    /// The route, once it was found.
    pub route: Option<RouteId>,
    /// Its pattern.
    pub pattern: Option<Arc<str>>,
    /// The principal's subject, once its token was verified.
    pub subject: Option<Arc<str>>,
    /// Whether the verified token was found in the cache.
    pub token_cached: Option<bool>,
}
