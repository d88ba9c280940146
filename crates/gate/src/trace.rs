//! What a decision found on its way, for the access log and for who asks why. Ids are copied, the rest is shared: a warm
//! decision allocates nothing here.

use std::{net::IpAddr, sync::Arc, time::Duration};

use domain::{BootInstant, Clock, OrgUnitId, ProjectId, RouteId, TenantId, decision::Stage};

use crate::{
    Quota,
    cors::CompiledCors,
    identity::Principal,
    link::Found,
    snapshot::{response::CompiledResponse, route::CompiledRoute},
    verify::Known,
};

/// How long each stage took that was reached. Asked for a sample of requests only: reading the clock ten times costs
/// as much as a stage.
#[derive(Clone, Copy, Debug)]
pub struct Laps {
    last: BootInstant,
    took: [Option<Duration>; Stage::judging().len()],
}

impl Laps {
    /// Starts at `now`.
    pub const fn from(now: BootInstant) -> Self {
        Self { last: now, took: [None; Stage::judging().len()] }
    }

    /// The stages that were reached, with their durations.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        Stage::judging().iter().zip(self.took).filter_map(|(stage, took)| Some((*stage, took?)))
    }
}

/// Filled in as far as the decision came.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Who asks, seen through the proxies of ours; none before the request could be read.
    pub client: Option<IpAddr>,
    /// The hostname, once it was found.
    pub host: Option<Arc<str>>,
    /// What the hostname's responses say beside what upstreams say.
    pub response: Option<Arc<CompiledResponse>>,
    /// Its project.
    pub project: Option<ProjectId>,
    /// The tenant the request runs as, or the hostname's.
    pub tenant: Option<TenantId>,
    /// The organisational unit the request is about, where it is about one of the tenant's.
    pub unit: Option<OrgUnitId>,
    /// Whether the verified token was found in the cache.
    pub token_cached: Option<bool>,
    /// Which pages of other origins may call the hostname, once it was found.
    pub cors: Option<Arc<CompiledCors>>,
    /// The limit that the request came closest to, or that refused it.
    pub quota: Option<Quota>,
    /// Durations of the stages, where they are asked for.
    pub laps: Option<Laps>,
    /// The last stage that was passed.
    pub(crate) passed: Option<Stage>,
    /// The route, once it was found.
    pub(crate) route: Option<Arc<CompiledRoute>>,
    /// The credential, once it was verified.
    pub(crate) known: Option<Arc<Known>>,
    /// Role bindings that were not kept with the credential.
    pub(crate) bindings: Option<Found>,
    /// Who acts, once bound to the tenant.
    pub(crate) principal: Option<Arc<Principal>>,
}

impl Trace {
    /// The route, once it was found.
    pub fn route_id(&self) -> Option<RouteId> {
        self.route.as_ref().map(|route| route.id)
    }

    /// Its pattern.
    pub fn pattern(&self) -> Option<&str> {
        self.route.as_ref().map(|route| &*route.pattern)
    }

    /// The principal's subject, once its credential was verified.
    pub fn subject(&self) -> Option<&str> {
        self.known.as_ref().map(|known| known.subject())
    }

    /// How the principal is known, as upstreams are told it, once it was bound.
    pub fn auth_method(&self) -> Option<&str> {
        self.principal.as_ref().map(|principal| principal.auth_method())
    }

    /// The tenant of a principal that was bound to it.
    pub fn bound_to(&self) -> Option<TenantId> {
        self.tenant.filter(|_| self.principal.is_some())
    }

    /// A stage is done. Where durations are asked for, notes how long it took.
    pub(crate) fn lap(&mut self, stage: Stage, clock: &dyn Clock) {
        self.passed = Some(stage);
        if let Some(laps) = &mut self.laps {
            let now = clock.boot_now();
            if let Some(took) = laps.took.get_mut(stage as usize) {
                *took = Some(now.since(laps.last));
            }
            laps.last = now;
        }
    }
}
