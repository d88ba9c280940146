//! Which decisions are told to the control API, how many, and how they get there.
//!
//! ```text
//! request is over ─▶ within the budget? ─▶ Gate::explain ─▶ queue ─▶ a batch each half second ─▶ ControlPlane::record
//! ```
//!
//! Refusals are told, and of permits a share. Everything on the way is bounded, because whoever is refused may ask again
//! at once: the budget is asked before an account is made; each hostname has its own part of it, and within the hostname
//! each tenant whose principals call, so that a flood does not silence the neighbours; unknown hostnames share one.
//! What does not fit is counted and forgotten. A request never waits for any of this.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use domain::{
    BootInstant, Clock, Decision, RequestId,
    decision::{MAX_BATCH, MAX_BYTES},
    snapshot::RateLimit,
};
use gate::{
    About, Denial, Gate, Trace,
    bucket::{Bucket, Buckets},
};
use link::log::ControlPlane;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{config::ExplainConfig, metrics::Metrics};

/// Accounts that wait to be told. Those of more are dropped. At most 8 KiB each.
const QUEUED: usize = 1024;

/// Hostnames and tenants with a bucket of their own. Some 100 bytes each.
const BUCKETS: usize = 10_000;

/// Accounts are gathered for this long.
const GATHER: Duration = Duration::from_millis(500);

/// Longest wait for the control API to take a batch.
const DELIVERY: Duration = Duration::from_secs(5);

/// Chooses which decisions are told.
#[derive(Debug)]
pub(crate) struct Explainer {
    denials: bool,
    /// Of 2^32 permits.
    permits: u64,
    total: RateLimit,
    hostname: RateLimit,
    all: Bucket,
    hostnames: Buckets<(u64, u128)>,
    hasher: RandomState,
    queue: mpsc::Sender<Decision>,
    metrics: Arc<Metrics>,
}

/// What became of a decision that was to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Telling {
    /// The control API has it.
    Told,
    /// Its hostname, or the gateway, tells too many.
    OverBudget,
    /// Too many wait already.
    QueueFull,
    /// The control API did not take it.
    Undelivered,
}

impl Telling {
    /// Its name in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::OverBudget => "over_budget",
            Self::QueueFull => "queue_full",
            Self::Undelivered => "undelivered",
        }
    }
}

impl Explainer {
    /// As configured; what is chosen comes out at the other end.
    pub(crate) fn new(config: &ExplainConfig, metrics: &Arc<Metrics>) -> (Self, mpsc::Receiver<Decision>) {
        let (queue, chosen) = mpsc::channel(QUEUED);
        let explainer = Self {
            denials: config.denials,
            permits: share_of_all(config.permits),
            total: config.total,
            hostname: config.hostname,
            all: Bucket::default(),
            hostnames: Buckets::new(BUCKETS),
            hasher: RandomState::new(),
            queue,
            metrics: Arc::clone(metrics),
        };
        (explainer, chosen)
    }

    /// Tells of a request that is over, if it is one to be told of and the budget allows.
    pub(crate) fn tell(
        &self,
        gate: &Gate,
        (id, about): (RequestId, &About<'_>),
        trace: &Trace,
        denial: Option<&Denial>,
        clock: &dyn Clock,
    ) {
        if !self.chooses(id, denial) {
            return;
        }
        if !self.affords(trace, clock.boot_now()) {
            return self.metrics.decisions(Telling::OverBudget, 1);
        }
        // Fails only where the queue is full, or ends with its reader.
        if self.queue.try_send(gate.explain(about, trace, denial, clock)).is_err() {
            self.metrics.decisions(Telling::QueueFull, 1);
        }
    }

    fn chooses(&self, id: RequestId, denial: Option<&Denial>) -> bool {
        match denial {
            Some(_) => self.denials,
            // The low bits of an id of ours are random (RFC 9562 §5.7).
            None => id.as_u128() & u128::from(u32::MAX) < u128::from(self.permits),
        }
    }

    /// The hostname's own bucket first: who has used that up takes nothing of what all share.
    fn affords(&self, trace: &Trace, now: BootInstant) -> bool {
        let host = trace.host.as_deref().map_or(0, |host| self.hasher.hash_one(host));
        let tenant = trace.bound_to().map_or(0, |tenant| tenant.as_u128());
        self.hostnames.of((host, tenant)).take(self.hostname, now).is_ok() && self.all.take(self.total, now).is_ok()
    }
}

/// Of 2^32.
fn share_of_all(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * 4_294_967_296.0) as u64
}

/// Tells the control API what was chosen, in batches. Runs for as long as it is polled.
pub(crate) async fn report(plane: Arc<dyn ControlPlane>, mut chosen: mpsc::Receiver<Decision>, metrics: Arc<Metrics>) {
    let mut batch = Vec::new();
    let mut failing = false;
    while chosen.recv_many(&mut batch, MAX_BATCH).await > 0 {
        if batch.len() < MAX_BATCH {
            sleep(GATHER).await;
            while batch.len() < MAX_BATCH
                && let Ok(decision) = chosen.try_recv()
            {
                batch.push(decision);
            }
        }
        batch.retain(fits);
        let count = batch.len() as u64;
        let outcome = match timeout(DELIVERY, plane.record(std::mem::take(&mut batch))).await {
            Ok(Ok(())) => Telling::Told,
            Ok(Err(error)) => {
                if !failing {
                    tracing::warn!(error = &error as &dyn std::error::Error, "decisions cannot be told");
                }
                Telling::Undelivered
            }
            Err(_) => Telling::Undelivered,
        };
        failing = matches!(outcome, Telling::Undelivered);
        metrics.decisions(outcome, count);
    }
}

/// The control API takes no longer ones. Quotation marks and backslashes double when written.
fn fits(decision: &Decision) -> bool {
    serde_json::to_vec(decision).is_ok_and(|json| json.len() <= MAX_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explainer(config: &ExplainConfig) -> (Explainer, mpsc::Receiver<Decision>) {
        Explainer::new(config, &Arc::new(Metrics::new().unwrap()))
    }

    fn id(low: u32) -> RequestId {
        RequestId::new(uuid::Uuid::from_u128(u128::from(low)))
    }

    fn at(host: &str) -> Trace {
        let mut trace = Trace::default();
        trace.host = Some(host.into());
        trace
    }

    #[test]
    fn refusals_are_told_and_of_permits_the_configured_share() {
        for (permits, low, told) in [
            (0.0, 0, false),
            (0.5, 0, true),
            (0.5, u32::MAX / 2, true),
            (0.5, u32::MAX / 2 + 1, false),
            (1.0, u32::MAX, true),
        ] {
            let (explainer, _chosen) = explainer(&ExplainConfig { permits, ..ExplainConfig::default() });
            assert_eq!(explainer.chooses(id(low), None), told, "{permits} {low}");
            assert!(explainer.chooses(id(low), Some(&Denial::RouteNotFound)));
        }
        let (silent, _chosen) = explainer(&ExplainConfig { denials: false, ..ExplainConfig::default() });
        assert!(!silent.chooses(id(0), Some(&Denial::RouteNotFound)));
    }

    #[test]
    fn a_flood_at_one_hostname_leaves_the_others_their_part() {
        let hostname = RateLimit { rps: 1, burst: 3 };
        let (explainer, _chosen) = explainer(&ExplainConfig { hostname, ..ExplainConfig::default() });
        let now = BootInstant::from_nanos(1_000_000_000);
        let flood = (0..10_000).filter(|_| explainer.affords(&at("acme.localhost"), now)).count();
        assert_eq!(flood, 3);
        let unknown = (0..10_000).filter(|_| explainer.affords(&Trace::default(), now)).count();
        assert_eq!(unknown, 3, "hostnames nobody serves share one part");
        assert!(explainer.affords(&at("globex.localhost"), now));
        assert!(explainer.affords(&at("acme.localhost"), now + Duration::from_secs(1)), "the part grows again");
    }

    #[test]
    fn all_hostnames_together_stay_within_the_total() {
        let total = RateLimit { rps: 1, burst: 20 };
        let (explainer, _chosen) = explainer(&ExplainConfig { total, ..ExplainConfig::default() });
        let now = BootInstant::from_nanos(1_000_000_000);
        let told = (0..1000).filter(|n| explainer.affords(&at(&format!("{n}.localhost")), now)).count();
        assert_eq!(told, 20);
    }
}
