//! What is known of one request while it is served.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{BootInstant, Clock, RequestId, access::AccessRecord, decision::Shown};
use gate::{About, Answer, Denial, RawHead, Stop, Trace};
use pingora::ErrorType;
use tracing::Span;

use super::{
    Shared,
    access_log::{self, Wire},
    peers::Attempts,
    request_id::request_id,
    trace,
    watch::Watch,
};
use crate::metrics::Metrics;

/// Made when a request begins, dropped when it is over.
pub(crate) struct RequestContext {
    /// Ours, never the client's.
    pub(crate) request_id: RequestId,
    pub(crate) trace: Trace,
    /// Its permit, and whether that still holds.
    pub(crate) watch: Arc<Watch>,
    /// The body of a signed request, which was compared before the request is sent on.
    pub(crate) signed_body: Option<Bytes>,
    /// When the permit was last judged.
    pub(crate) judged_at: BootInstant,
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
    /// For the access log, should the request be cut off.
    pub(crate) wire: Wire,
    shared: Arc<Shared>,
    started_at: BootInstant,
    /// Whether the access log has its line.
    logged: bool,
    active: Active,
}

impl RequestContext {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let clock = &*shared.clock;
        let now = clock.boot_now();
        let watch = Watch::current();
        if let Some(connection) = watch.connection() {
            connection.head_read();
        }
        Self {
            request_id: request_id(clock),
            trace: Trace::default(),
            watch,
            signed_body: None,
            judged_at: now,
            stop: None,
            attempts: Attempts::default(),
            upstream_since: None,
            upstream_took: None,
            decide_took: Duration::ZERO,
            took: Duration::ZERO,
            span: Span::none(),
            wire: Wire::default(),
            started_at: now,
            logged: false,
            active: Active::new(&shared.metrics),
            shared: Arc::clone(shared),
        }
    }

    pub(crate) fn decided(&mut self, clock: &dyn Clock) {
        self.judged_at = clock.boot_now();
        self.decide_took = self.judged_at.since(self.started_at);
    }

    /// Counts the request, writes its line and tells of it. Of one that was cut off, the head is gone.
    pub(crate) fn finished(&mut self, at: BootInstant, wire: &Wire, failed: bool, head: Option<&RawHead<'_>>) {
        self.logged = true;
        self.took = at.since(self.started_at);
        let code = self.code(failed);
        self.active.0.request(code, self.decide_took, self.took);
        trace::end(&self.span, &self.trace, code, wire.status);
        access_log::write(wire, self, code);
        self.explain(head);
        self.note_unit(wire, head);
    }

    /// Counts and tells of a request that was about an organisational unit.
    fn note_unit(&self, wire: &Wire, head: Option<&RawHead<'_>>) {
        let (Some(units), Some(ou_id), Some(tenant_id)) = (&self.shared.units, self.trace.unit, self.trace.bound_to())
        else {
            return;
        };
        let clock = &*self.shared.clock;
        let at = clock.unix_now();
        let held = self.watch.held();
        if held.is_some() {
            let (received, sent) = wire.bytes.unwrap_or_default();
            units.count((tenant_id, ou_id), at, (received as u64, sent as u64));
        }
        units.tell(tenant_id, clock.boot_now(), || {
            let asked = head.and_then(|head| std::str::from_utf8(head.target).ok());
            let path = held.map(|(_, path)| path).or_else(|| asked?.split('?').next())?;
            let agent = head.and_then(|head| head.headers.get(http::header::USER_AGENT)?.to_str().ok());
            Some(AccessRecord {
                request_id: self.request_id,
                at,
                tenant_id,
                ou_id,
                subject: Shown::cut(self.trace.subject()?, Shown::MAX_BYTES),
                ip: self.trace.client.or(wire.client)?,
                method: Shown::cut(wire.method.as_str(), 32),
                path: Shown::cut(path, Shown::MAX_BYTES),
                status: wire.status,
                user_agent: agent.map(|agent| Shown::cut(agent, 256)),
                latency_us: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            })
        });
    }

    fn explain(&self, head: Option<&RawHead<'_>>) {
        let Shared { explainer: Some(explainer), gate, clock, .. } = &*self.shared else { return };
        let held = self.watch.held();
        let denial = match &self.stop {
            Some(Stop::Deny(denial)) => Some(denial),
            None if held.is_some() => None,
            Some(Stop::Answer(_)) | None => return,
        };
        let about = match (head, held) {
            (Some(head), _) => About::Head(head),
            (None, Some((permit, path))) => About::Permit(permit, path),
            (None, None) => return,
        };
        explainer.tell(gate, (self.request_id, &about), &self.trace, denial, clock);
    }

    /// Refuses what was permitted before.
    pub(crate) fn refuse(&mut self, denial: Denial) -> Box<pingora::Error> {
        self.stop = Some(denial.into());
        pingora::Error::explain(ErrorType::InternalError, "the permit does not hold any more")
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
            Some(Stop::Answer(Answer::Preflight { .. })) => "preflight",
            None if failed => "client_gone",
            None => "permit",
        }
    }
}

impl Drop for RequestContext {
    /// A stream that was cut off has not been told to the log.
    fn drop(&mut self) {
        let watch = Arc::clone(&self.watch);
        if let (Some(cut), false) = (watch.cut(), self.logged) {
            self.stop = Some(cut.denial.clone().into());
            let wire = std::mem::take(&mut self.wire);
            self.finished(cut.at, &wire, true, None);
        }
    }
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
