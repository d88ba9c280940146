//! What is known of one request while it is served.

use std::{sync::Arc, time::Duration};

use domain::{BootInstant, Clock, RequestId};
use gate::{Answer, Permit, Stop, Trace};
use tracing::Span;
use uuid::{NoContext, Uuid};

use super::peers::Attempts;
use crate::metrics::Metrics;

/// Made when a request begins, dropped when it is over.
pub(crate) struct RequestContext {
    /// Ours, never the client's.
    pub(crate) request_id: RequestId,
    pub(crate) trace: Trace,
    /// Once the gate permitted it.
    pub(crate) permit: Option<Permit>,
    /// Once it was refused or answered.
    pub(crate) stop: Option<Stop>,
    pub(crate) attempts: Attempts,
    /// When the upstream was last turned to.
    pub(crate) upstream_since: Option<BootInstant>,
    /// Until the response header.
    pub(crate) upstream_took: Option<Duration>,
    pub(crate) decide_took: Duration,
    pub(crate) took: Duration,
    /// Disabled where nothing is traced.
    pub(crate) span: Span,
    started_at: BootInstant,
    _active: Active,
}

impl RequestContext {
    pub(crate) fn new(clock: &dyn Clock, metrics: &Arc<Metrics>) -> Self {
        Self {
            request_id: request_id(clock),
            trace: Trace::default(),
            permit: None,
            stop: None,
            attempts: Attempts::default(),
            upstream_since: None,
            upstream_took: None,
            decide_took: Duration::ZERO,
            took: Duration::ZERO,
            span: Span::none(),
            started_at: clock.boot_now(),
            _active: Active::new(metrics),
        }
    }

    pub(crate) fn decided(&mut self, clock: &dyn Clock) {
        self.decide_took = clock.boot_now().since(self.started_at);
    }

    pub(crate) fn finished(&mut self, clock: &dyn Clock) {
        self.took = clock.boot_now().since(self.started_at);
    }

    /// Why it was refused, in words for operators.
    pub(crate) fn reason(&self) -> Option<String> {
        match &self.stop {
            Some(Stop::Deny(denial)) => Some(denial.to_string()),
            Some(Stop::Answer(_)) | None => None,
        }
    }

    /// The request's code in log and metrics.
    pub(crate) fn code(&self, failed: bool) -> &'static str {
        match &self.stop {
            Some(Stop::Deny(denial)) => denial.public().1,
            Some(Stop::Answer(Answer::RedirectToHttps { .. })) => "redirect",
            None if failed => "client_gone",
            None => "permit",
        }
    }
}

/// A UUIDv7 (RFC 9562 §5.7): ids of one gateway sort by time.
fn request_id(clock: &dyn Clock) -> RequestId {
    let millis = u64::try_from(clock.unix_now().millis()).unwrap_or_default();
    let nanos = u32::try_from(millis % 1000).unwrap_or_default().saturating_mul(1_000_000);
    RequestId::new(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, millis / 1000, nanos)))
}

/// Counts the request for as long as it is served.
struct Active(Arc<Metrics>);

impl Active {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.active_requests.inc();
        Self(Arc::clone(metrics))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active_requests.dec();
    }
}
