//! Stage 4: host + method + path → route.

use std::sync::Arc;

use domain::{
    Credentials,
    snapshot::{Access, OnUnproven},
};

use crate::{
    Denial, Trace,
    snapshot::{Site, route::CompiledRoute},
    tenant,
};

/// The route of a request, or that there is none.
#[derive(Clone, Debug)]
pub(crate) enum Matched {
    Route(Arc<CompiledRoute>),
    /// Behaves as an `authenticated` route that always ends in 404: strangers do not learn what is not there.
    Nothing,
}

impl Matched {
    pub(crate) fn route(&self) -> Option<&CompiledRoute> {
        match self {
            Self::Route(route) => Some(route),
            Self::Nothing => None,
        }
    }

    pub(crate) fn access(&self) -> &Access {
        match self {
            Self::Route(route) => &route.access,
            Self::Nothing => &Access::Authenticated,
        }
    }

    pub(crate) fn credentials(&self) -> Credentials {
        match self {
            Self::Route(route) => route.credentials,
            Self::Nothing => Credentials::ALL,
        }
    }

    pub(crate) fn on_unproven(&self) -> OnUnproven {
        match self {
            Self::Route(route) => route.on_unproven,
            Self::Nothing => OnUnproven::Refuse,
        }
    }
}

/// The route of a request on a site, `safe` when it only reads.
///
/// # Errors
/// The hostname's tenant does not serve this route now.
pub(crate) fn find(site: &Site, method: &str, path: &str, safe: bool, trace: &mut Trace) -> Result<Matched, Denial> {
    let matched = match site.routes.find(method, path) {
        Some(route) => {
            trace.route = Some(Arc::clone(route));
            Matched::Route(Arc::clone(route))
        }
        None => Matched::Nothing,
    };
    if let Some(of_host) = &site.tenant {
        tenant::serves_route(of_host, safe, &matched)?;
    }
    Ok(matched)
}
