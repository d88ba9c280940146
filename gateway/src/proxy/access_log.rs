//! One line for each request. Never tokens, queries, bodies or names of people.

use std::{net::IpAddr, time::Duration};

use domain::RequestId;
use gate::Denial;
use http::{Method, StatusCode, Version};
use link::telemetry;
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
    telemetry::access(|line| {
        let trace = &ctx.trace;
        line.text("decision", code);
        line.id("request.id", ctx.request_id);
        if let Some(reason) = ctx.reason() {
            line.text("reason", &reason);
        }
        line.text("http.method", wire.method.as_str());
        line.number("http.status", wire.status.into());
        line.text("http.version", version(wire.version));
        if let Some(host) = trace.host.as_deref() {
            line.text("host", host);
        }
        if let Some(route) = trace.route_id() {
            line.id("route.id", route);
        }
        if let Some(pattern) = trace.pattern() {
            line.text("route.pattern", pattern);
        }
        if let Some(tenant) = trace.tenant {
            line.id("tenant.id", tenant);
        }
        if let Some(project) = trace.project {
            line.id("project.id", project);
        }
        if let Some(principal) = trace.subject() {
            line.text("principal", principal);
        }
        if let Some(method) = trace.auth_method() {
            line.text("auth.method", method);
        }
        if let Some(cached) = trace.token_cached {
            line.flag("token.cached", cached);
        }
        if let Some(client) = trace.client.or(wire.client) {
            line.address("client.address", client);
        }
        if let Some((received, sent)) = wire.bytes {
            line.number("request.body_bytes", received.try_into().unwrap_or(u64::MAX));
            line.number("response.body_bytes", sent.try_into().unwrap_or(u64::MAX));
        }
        line.number("decide.duration_us", micros(ctx.decide_took));
        if let Some(took) = ctx.upstream_took {
            line.number("upstream.duration_us", micros(took));
        }
        line.number("request.duration_us", micros(ctx.took));
    });
}

/// Writes the line of what became no request.
pub(crate) fn write_no_request(
    id: RequestId,
    (status, code): (StatusCode, &'static str),
    denial: &Denial,
    client: Option<IpAddr>,
) {
    telemetry::access(|line| {
        line.text("decision", code);
        line.id("request.id", id);
        line.display("reason", denial);
        line.number("http.status", status.as_u16().into());
        if let Some(client) = client {
            line.address("client.address", client);
        }
    });
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// As the request line has it (RFC 9112 §2.3).
const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "unknown",
    }
}
