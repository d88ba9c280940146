//! A route, compiled.

use std::sync::Arc;

use domain::{
    ByteSize, Credentials, HumanDuration, Requirement, RouteId,
    org_unit::is_field,
    snapshot::{Access, OnUnproven, RateLimit, Route},
};
use http::HeaderName;

use super::upstream::CompiledUpstream;

/// A route with its upstream.
#[derive(Debug)]
pub struct CompiledRoute {
    /// Its id.
    pub id: RouteId,
    /// Its pattern's text.
    pub pattern: Arc<str>,
    /// The service it belongs to; none for a hostname's own.
    pub service: Option<Arc<str>>,
    /// Its methods; none for all.
    pub methods: Box<[Box<str>]>,
    /// Who may pass.
    pub access: Access,
    /// Which kinds of credentials it takes.
    pub credentials: Credentials,
    /// What it demands of its callers' sign-in.
    pub require: Option<Requirement>,
    /// Where it goes.
    pub upstream: Arc<CompiledUpstream>,
    /// Product the tenant must be entitled to.
    pub product: Option<Box<str>>,
    /// Where its requests name the organisational unit that they are about; none for routes that are about none.
    pub unit: Option<UnitPlace>,
    /// Without proof of freshness.
    pub on_unproven: OnUnproven,
    /// Kept by a frozen tenant.
    pub session: bool,
    /// The tenant's administrators pass without the permission.
    pub tenant_api: bool,
    /// Requests a second through it, for each tenant.
    pub rate_limit: Option<RateLimit>,
    /// Largest request body.
    pub max_body: Option<ByteSize>,
    /// Longest time that a response or WebSocket goes on.
    pub max_stream: Option<HumanDuration>,
}

/// Where a request names an organisational unit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UnitPlace {
    /// In this segment of the path, from 0.
    Segment(usize),
    /// In this header field.
    Field(HeaderName),
    /// Nowhere that it could: no unit is found there.
    Nowhere,
}

impl UnitPlace {
    fn of(route: &Route) -> Option<Self> {
        match (&route.ou_parameter, &route.ou_header) {
            (None, None) => None,
            (Some(name), None) => Some(route.path.parameter(name).map_or(Self::Nowhere, Self::Segment)),
            (None, Some(name)) if is_field(name) => {
                Some(HeaderName::from_bytes(name.as_bytes()).map_or(Self::Nowhere, Self::Field))
            }
            (_, Some(_)) => Some(Self::Nowhere),
        }
    }
}

impl CompiledRoute {
    pub(crate) fn new(route: &Route, service: Option<&Arc<str>>, upstream: Arc<CompiledUpstream>) -> Self {
        let platform = matches!(route.access, Access::Platform(_));
        Self {
            id: route.id,
            pattern: route.path.as_str().into(),
            service: service.cloned(),
            methods: route.methods.iter().map(|method| method.as_str().into()).collect(),
            access: route.access.clone(),
            credentials: route.credentials,
            require: route.require,
            upstream,
            product: route.product.as_deref().map(Into::into),
            unit: UnitPlace::of(route),
            // Platform routes always refuse (`design.md` §4).
            on_unproven: if platform { OnUnproven::Refuse } else { route.on_unproven.unwrap_or_default() },
            session: route.session,
            tenant_api: route.tenant_api,
            rate_limit: route.rate_limit,
            max_body: route.max_body,
            max_stream: route.max_stream,
        }
    }
}
