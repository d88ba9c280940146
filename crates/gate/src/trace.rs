//! What a decision found on its way, for the access log. Ids are copied, names shared: a warm decision allocates
//! nothing here.

use std::{net::IpAddr, sync::Arc, time::Duration};

use domain::{BootInstant, Clock, ProjectId, RouteId, TenantId};

/// The stages of a decision, in their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is the module of its name")]
pub enum Stage {
    Canonical,
    Tenant,
    Admit,
    Route,
    Credential,
    Verify,
    Revoke,
    Bind,
    Limit,
    Authorize,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Canonical,
        Self::Tenant,
        Self::Admit,
        Self::Route,
        Self::Credential,
        Self::Verify,
        Self::Revoke,
        Self::Bind,
        Self::Limit,
        Self::Authorize,
    ];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canonical => "canonical",
            Self::Tenant => "tenant",
            Self::Admit => "admit",
            Self::Route => "route",
            Self::Credential => "credential",
            Self::Verify => "verify",
            Self::Revoke => "revoke",
            Self::Bind => "bind",
            Self::Limit => "limit",
            Self::Authorize => "authorize",
        }
    }
}

/// How long each stage took that was reached. Asked for a sample of requests only: reading the clock ten times costs
/// as much as a stage.
#[derive(Clone, Copy, Debug)]
pub struct Laps {
    last: BootInstant,
    took: [Option<Duration>; Stage::ALL.len()],
}

impl Laps {
    /// Starts at `now`.
    pub const fn from(now: BootInstant) -> Self {
        Self { last: now, took: [None; Stage::ALL.len()] }
    }

    /// The stages that were reached, with their durations.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        Stage::ALL.into_iter().zip(self.took).filter_map(|(stage, took)| Some((stage, took?)))
    }
}

/// Filled in as far as the decision came.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Who asks, seen through the proxies of ours; none before the request could be read.
    pub client: Option<IpAddr>,
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
    /// Durations of the stages, where they are asked for.
    pub laps: Option<Laps>,
}

impl Trace {
    /// A stage is done: where durations are asked for, notes how long it took.
    pub(crate) fn lap(&mut self, stage: Stage, clock: &dyn Clock) {
        if let Some(laps) = &mut self.laps {
            let now = clock.boot_now();
            if let Some(took) = laps.took.get_mut(stage as usize) {
                *took = Some(now.since(laps.last));
            }
            laps.last = now;
        }
    }
}
