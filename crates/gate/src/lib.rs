//! The heart of Portcullis: one request in, a [`Permit`] or a reason out.
//!
//! [`Gate::decide`] reads top to bottom; each line is a stage and each stage a module of its name. A stage takes the
//! type that the one before it made, so that a skipped check does not compile:
//!
//! ```text
//! Credential ─▶ Verified ─▶ Active ─▶ BoundPrincipal ─▶ Permit
//! ```
//!
//! Nothing here links Pingora, opens a socket or reads a clock.

pub mod admit;
pub(crate) mod api_key;
mod assertion;
pub mod authorize;
pub mod bind;
pub mod bucket;
pub mod canonical;
pub mod certificate;
pub mod client;
pub mod cors;
pub mod credential;
pub mod denial;
pub mod explain;
mod failure;
pub mod forward;
pub mod identity;
pub mod lasting;
pub mod limit;
pub mod link;
pub mod load;
pub mod permit;
pub mod quota;
pub mod revoke;
pub(crate) mod route;
pub mod share;
pub mod snapshot;
pub mod tenant;
pub mod token_cache;
pub mod trace;
pub mod verify;

use std::sync::Arc;

use authn::Mirror;
use domain::{Clock, decision::Stage};

pub use canonical::{CanonicalRequest, Listener, RawHead, Version};
pub use certificate::ShownCertificate;
pub use denial::{Answer, Denial, Stop};
pub use explain::About;
pub use limit::Quota;
pub use link::{BindingsError, Link, LookUp};
pub use permit::Permit;
pub use snapshot::{ApplyReport, Snapshot};
pub use trace::{Laps, Trace};

/// What the gate is told at the start and cannot learn from the snapshot.
#[derive(Clone, Debug)]
pub struct GateConfig {
    /// Limit for each client address, before authentication. Default 500 a second, burst 1,000.
    pub address_limit: domain::snapshot::RateLimit,
    /// Limit for each tenant that has none of its own. Default 200 a second, burst 200.
    pub tenant_limit: domain::snapshot::RateLimit,
    /// Limit for each principal in its tenant, where the tenant has none for its principals. Default none.
    pub principal_limit: Option<domain::snapshot::RateLimit>,
    /// Of what a tenant's strangers may use together, how many hundredths one address may. Default 50.
    pub stranger_percent: u32,
    /// How many gateways share quotas while nobody counts them. Default 1.
    pub gateways: u32,
    /// Requests, WebSockets and connections of each tenant at once, where it says nothing else. Default 10,000, 5,000
    /// and 1,000,000.
    pub tenant_load: load::LoadLimits,
    /// Failed signatures allowed for each client address and hostname. Default 20 a second, burst 100.
    pub signature_budget: domain::snapshot::RateLimit,
    /// Failed signatures of all addresses together for each hostname; beyond it an address that failed in the last second
    /// waits. Default 100 a second, burst 500.
    pub hostname_signature_budget: domain::snapshot::RateLimit,
    /// A token this close to its end is answered with `x-token-refresh: advised`. Default 5 minutes.
    pub refresh_threshold: std::time::Duration,
    /// Verified tokens kept. Default 100,000.
    pub token_cache_entries: usize,
    /// The port clients see in redirects to HTTPS; none for 443.
    pub public_https_port: Option<u16>,
    /// Proxies of ours, whose `X-Forwarded-For` is believed. Default none.
    pub trusted_proxies: Vec<domain::Network>,
}

impl Default for GateConfig {
    fn default() -> Self {
        use domain::snapshot::RateLimit;
        Self {
            address_limit: RateLimit { rps: 500, burst: 1_000 },
            tenant_limit: RateLimit { rps: 200, burst: 200 },
            principal_limit: None,
            stranger_percent: 50,
            gateways: 1,
            tenant_load: load::LoadLimits { requests: 10_000, websockets: 5_000, connections: 1_000_000 },
            signature_budget: RateLimit { rps: 20, burst: 100 },
            hostname_signature_budget: RateLimit { rps: 100, burst: 500 },
            refresh_threshold: std::time::Duration::from_secs(300),
            token_cache_entries: 100_000,
            public_https_port: None,
            trusted_proxies: Vec::new(),
        }
    }
}

/// Judges requests. Shared by all workers.
pub struct Gate {
    config: GateConfig,
    snapshot: Snapshot,
    mirror: Arc<Mirror>,
    link: Arc<dyn Link>,
    tokens: token_cache::TokenCache,
    limits: admit::Limits,
}

impl Gate {
    /// A gate that knows nothing yet: until [`Gate::snapshot`] is filled every request is refused.
    pub fn new(config: GateConfig, mirror: Arc<Mirror>, link: Arc<dyn Link>) -> Self {
        let tokens = token_cache::TokenCache::new(config.token_cache_entries);
        let limits = admit::Limits::new(&config);
        Self { snapshot: Snapshot::default(), mirror, link, tokens, limits, config }
    }

    /// Judges one request. The lines below are the order in which a request is judged.
    ///
    /// `trace` is told what was found on the way, for the access log and for explaining; it decides nothing.
    ///
    /// # Errors
    /// [`Stop`]: an [`Answer`] that the gate gives itself, or a [`Denial`].
    pub async fn decide(&self, head: &RawHead<'_>, clock: &dyn Clock, trace: &mut Trace) -> Result<Permit, Stop> {
        // Before anything is read of the snapshot: a change in between is then seen by who judges the permit again.
        let judged_at = self.snapshot.changes();
        let request = canonical::read(head)?;
        let request = client::behind(&self.config.trusted_proxies, request, trace)?;
        trace.lap(Stage::Canonical, clock);
        let site = tenant::of(&self.snapshot, &request.host, trace)?;
        trace.lap(Stage::Tenant, clock);
        self.limits.admit(&request, clock, trace)?;
        admit::addresses(&site, request.client)?;
        if request.listener == Listener::Plain {
            return Err(Stop::Answer(Answer::to_https(&request, self.config.public_https_port)));
        }
        let demanded = certificate::demanded(&site, request.certificate, clock)?;
        trace.lap(Stage::Admit, clock);
        cors::preflight(&site, &request)?;
        let route = route::find(&site, request.method, &request.path, request.is_safe(), trace)?;
        trace.lap(Stage::Route, clock);
        let credential = credential::pick(&route, &request)?;
        trace.lap(Stage::Credential, clock);
        let verified = verify::verify(self, credential, &site, &request, clock, trace).await?;
        trace.lap(Stage::Verify, clock);
        let active = revoke::admit(self, verified, &route, &site, &request, clock, trace).await?;
        trace.lap(Stage::Revoke, clock);
        let bound = bind::to_site(active, &site, &route, (request.client, request.is_safe()), clock, trace)?;
        trace.lap(Stage::Bind, clock);
        let spent = self.limits.spend(&bound, &route, request.client, clock, trace)?;
        trace.lap(Stage::Limit, clock);
        let permit = authorize::permit(self, judged_at, bound, &route, (&request, demanded), clock, trace)?;
        let permit = load::enter(permit, &site, &request, self.config.tenant_load)?;
        if let Some(signed) = permit.shown.as_ref().and_then(|shown| shown.signed.as_ref()) {
            Box::pin(api_key::use_up(self, signed)).await?;
        }
        spent.keep();
        trace.lap(Stage::Authorize, clock);
        Ok(permit)
    }

    /// Judges a permit once more, at the moment its request is sent on or while it lasts, by what is in force now: see
    /// [`lasting`]. `path` is the canonical path it was given for. Ready at once while nothing has changed. Cancel-safe.
    ///
    /// # Errors
    /// The [`Denial`] that the same request would now meet.
    pub async fn still_holds(&self, permit: &Permit, path: &str, clock: &dyn Clock) -> Result<(), Denial> {
        lasting::still_holds(self, permit, path, clock).await
    }

    /// What the gate knows; the feed fills it.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The copy of the log.
    pub const fn mirror(&self) -> &Arc<Mirror> {
        &self.mirror
    }

    /// What this gateway and the others of its fleet tell each other about limits.
    pub const fn share(&self) -> &share::Share {
        &self.limits.share
    }

    /// How many verified tokens are kept, and how often one was found and missed since the start.
    pub fn token_cache(&self) -> token_cache::CacheCounts {
        self.tokens.counts()
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("config", &self.config).finish_non_exhaustive()
    }
}
