//! One line for each request. Never tokens, queries, bodies or names of people.

use pingora::proxy::Session;

use super::context::RequestContext;

/// Writes the line, at target `access`.
pub(crate) fn write(session: &Session, ctx: &RequestContext, code: &'static str, status: u16) {
    let trace = &ctx.trace;
    let micros = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(
        target: "access",
        decision = code,
        request.id = %ctx.request_id,
        reason = ctx.reason(),
        http.method = session.req_header().method.as_str(),
        http.status = status,
        http.version = ?session.req_header().version,
        host = trace.host.as_deref(),
        route.id = trace.route.map(tracing::field::display),
        route.pattern = trace.pattern.as_deref(),
        tenant.id = trace.tenant.map(tracing::field::display),
        project.id = trace.project.map(tracing::field::display),
        principal = trace.subject.as_deref(),
        token.cached = trace.token_cached,
        client.address = session.client_addr().and_then(|a| a.as_inet()).map(|a| tracing::field::display(a.ip())),
        request.body_bytes = session.body_bytes_read(),
        response.body_bytes = session.body_bytes_sent(),
        decide.duration_us = micros(ctx.decide_took),
        upstream.duration_us = ctx.upstream_took.map(micros),
        request.duration_us = micros(ctx.took),
        "request"
    );
}
