//! Traces (W3C Trace Context): a span for each request, the child of the caller's and the parent of the upstream's.
//! Only where traces are sent somewhere; otherwise the caller's `traceparent` goes through untouched.

use domain::RequestId;
use http::HeaderMap;
use link::telemetry::TraceParent;
use pingora::http::RequestHeader;
use tracing::{Span, field::Empty};

const TRACEPARENT: &str = "traceparent";

/// Begins the span of a request.
pub(crate) fn begin(headers: &HeaderMap, id: RequestId) -> Span {
    let span = tracing::info_span!(
        "edge.request",
        otel.kind = "server",
        request.id = %id,
        decision = Empty,
        http.route = Empty,
        http.response.status_code = Empty,
        tenant.id = Empty,
    );
    let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(TraceParent::parse);
    if let Some(caller) = caller {
        caller.adopt(&span);
    }
    span
}

/// Makes the upstream's span a child of ours.
pub(crate) fn forward(span: &Span, upstream: &mut RequestHeader) -> pingora::Result<()> {
    match TraceParent::of(span) {
        Some(ours) => upstream.insert_header(TRACEPARENT, ours.to_string()),
        None => Ok(()),
    }
}

/// Says how the request ended. The span ends with its request.
pub(crate) fn end(span: &Span, found: &gate::Trace, decision: &'static str, status: u16) {
    span.record("decision", decision);
    span.record("http.response.status_code", status);
    if let Some(pattern) = found.pattern() {
        span.record("http.route", pattern);
    }
    if let Some(tenant) = found.tenant {
        span.record("tenant.id", tracing::field::display(tenant));
    }
}
