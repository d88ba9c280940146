//! One line for each request. Never tokens, queries, bodies or names of people.

use std::{net::IpAddr, time::Duration};

use http::{Method, Version};
use pingora::proxy::Session;

use super::context::RequestContext;

/// What a line says of the client's side of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) client: Option<IpAddr>,
    /// Of the response; 0 when there was none.
    pub(crate) status: u16,
    /// Of the two bodies, received and sent; none where they were not counted to the end.
    pub(crate) bytes: Option<(usize, usize)>,
}

impl Wire {
    /// As far as a session has come.
    pub(crate) fn of(session: &Session) -> Self {
        let header = session.req_header();
        Self {
            method: header.method.clone(),
            version: header.version,
            client: session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip()),
            status: session.response_written().map_or(0, |response| response.status.as_u16()),
            bytes: Some((session.body_bytes_read(), session.body_bytes_sent())),
        }
    }
}

/// Writes the line, at target `access`.
pub(crate) fn write(wire: &Wire, ctx: &RequestContext, code: &'static str) {
    let trace = &ctx.trace;
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(
        target: "access",
        decision = code,
        request.id = %ctx.request_id,
        reason = ctx.reason(),
        http.method = wire.method.as_str(),
        http.status = wire.status,
        http.version = ?wire.version,
        host = trace.host.as_deref(),
        route.id = trace.route_id().map(tracing::field::display),
        route.pattern = trace.pattern(),
        tenant.id = trace.tenant.map(tracing::field::display),
        project.id = trace.project.map(tracing::field::display),
        principal = trace.subject(),
        auth.method = trace.auth_method(),
        token.cached = trace.token_cached,
        client.address = trace.client.or(wire.client).map(tracing::field::display),
        request.body_bytes = wire.bytes.map(|(received, _)| received),
        response.body_bytes = wire.bytes.map(|(_, sent)| sent),
        decide.duration_us = micros(ctx.decide_took),
        upstream.duration_us = ctx.upstream_took.map(micros),
        request.duration_us = micros(ctx.took),
        "request"
    );
}
