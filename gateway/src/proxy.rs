//! Pingora's phases around the gate: translates, decides nothing.
//!
//! ```text
//! request_filter           raw head ─▶ Gate::decide ─▶ Permit, or an answer and the end
//! upstream_peer            Permit ─▶ an address of its upstream
//! upstream_request_filter  Gate::still_holds, then strip and inject (after Pingora removed what `Connection` names)
//! request_body_filter      Gate::still_holds again, while a body is uploaded
//! response_filter          nothing of ours, nothing hop-by-hop from the upstream; our request id
//! fail_to_proxy            what went wrong ─▶ a denial's problem
//! logging                  one line, the metrics, and what is told of the decision
//! ```
//!
//! Around all of them stands `watch`, which cuts off what lasts and whose permit does not hold any more.

mod accept;
pub(crate) mod access_log;
pub(crate) mod answer;
pub(crate) mod context;
mod cors;
mod fields;
pub(crate) mod forbidden;
mod head;
mod our_cookies;
pub(crate) mod peers;
mod quota;
pub(crate) mod request_id;
pub(crate) mod resolver;
mod response;
mod signed_body;
mod stream;
mod trace;
mod upload;
mod upstream_head;
pub(crate) mod watch;
mod websocket;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use domain::Clock;
use gate::{Denial, Gate, Listener, Stop};
use http::{HeaderMap, StatusCode, Version, header};
use pingora::{
    Error, ErrorSource, ErrorType,
    http::{RequestHeader, ResponseHeader},
    modules::http::HttpModules,
    proxy::{FailToProxy, ProxyHttp, Session},
    upstreams::peer::HttpPeer,
};

use self::{
    access_log::Wire,
    context::RequestContext,
    peers::{Errand, Peers},
    stream::Stream,
    upload::Upload,
};
use crate::{config::ConnectionConfig, connection::Connection, explain::Explainer, metrics::Metrics, units::UnitBook};

/// Longest time for what is left of a request body after it was answered.
const DRAIN: Duration = Duration::from_secs(5);

/// What all workers and listeners share.
pub(crate) struct Shared {
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) peers: Peers,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether traces are sent anywhere.
    pub(crate) traced: bool,
    /// What bounds a client.
    pub(crate) limits: ConnectionConfig,
    /// None where there is nobody to tell of decisions.
    pub(crate) explainer: Option<Explainer>,
    /// None where there is nobody to tell what is asked of organisational units.
    pub(crate) units: Option<Arc<UnitBook>>,
    /// Whether answers say what is left of limits.
    pub(crate) tells_limits: bool,
}

/// The proxy of one listener.
pub(crate) struct EdgeProxy {
    pub(crate) shared: Arc<Shared>,
    pub(crate) listener: Listener,
}

#[async_trait]
impl ProxyHttp for EdgeProxy {
    /// In a place of its own: Pingora hands it from one future to the next.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(RequestContext::new(&self.shared))
    }

    /// None: the response compression that is there by default would be one more door to the bodies.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> pingora::Result<bool> {
        let Shared { gate, clock, metrics, limits, .. } = &*self.shared;
        session.set_read_timeout(Some(limits.body_timeout.get()));
        session.set_write_timeout(Some(limits.write_timeout.get()));
        session.set_total_drain_timeout(Some(DRAIN));
        if self.shared.traced {
            ctx.span = trace::begin(&session.req_header().headers, ctx.request_id);
        }
        ctx.trace.laps = metrics.laps(ctx.judged_at);
        let empty = session.is_body_empty();
        let decision = {
            let head = head::read(session, ctx.watch.handshake(), self.listener, !empty, ctx.request_id);
            match head::oversized(session, limits) {
                Some(denial) => Err(denial.into()),
                None => gate.decide(&head, clock, &mut ctx.trace).await,
            }
        };
        ctx.decided(&**clock);
        let decision = decision.map(Box::new).and_then(|permit| {
            let headers = &session.req_header().headers;
            let most = permit.max_body.unwrap_or(limits.max_body).bytes();
            let most = if permit.body_digest.is_some() { most.min(signed_body::limit(session)) } else { most };
            let upload = Upload::new(most, empty, session.is_http2(), headers, limits, ctx.judged_at);
            upload.announced(headers)?;
            Ok((permit, upload))
        });
        let decision = match decision {
            Ok((permit, upload)) => match &permit.body_digest {
                Some(digest) => {
                    let taken = signed_body::take_in(session, digest, &upload, clock).await?;
                    taken.map(|body| {
                        ctx.signed_body = body;
                        (permit, upload)
                    })
                }
                None => Ok((permit, upload)),
            },
            Err(stop) => Err(stop),
        };
        if let Some(laps) = &ctx.trace.laps {
            metrics.stages(laps);
        }
        match decision {
            Ok((permit, upload)) => {
                let (headers, idle) = (&session.req_header().headers, limits.stream_idle.get());
                let began = if permit.body_digest.is_some() { clock.boot_now() } else { ctx.judged_at };
                let stream = Stream::new(&permit, headers, empty, idle, began);
                ctx.wire = Wire { bytes: None, ..Wire::of(session) };
                ctx.watch.permitted(permit, session.req_header().uri.clone(), upload, stream);
                Ok(false)
            }
            Err(stop) => {
                answer::write(session, ctx, self.listener, &stop, self.shared.tells_limits).await?;
                ctx.stop = Some(stop);
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Self::CTX) -> pingora::Result<Box<HttpPeer>> {
        let Some(permit) = ctx.watch.permit() else {
            return Err(Error::explain(ErrorType::InternalError, "no permit"));
        };
        ctx.upstream_since = Some(self.shared.clock.boot_now());
        let errand = Errand {
            for_websocket: session.req_header().headers.contains_key(header::UPGRADE),
            silence: ctx.watch.upstream_silence(),
        };
        self.shared.peers.choose(&permit.route.upstream, &mut ctx.attempts, errand).await.map_err(|error| {
            tracing::error!(request.id = %ctx.request_id, error = &error as &dyn std::error::Error, "no peer");
            ctx.stop = Some(Denial::UpstreamUnreachable.into());
            Error::because(ErrorType::ConnectError, "no peer", error).into_up()
        })
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let Shared { gate, clock, .. } = &*self.shared;
        ctx.judged_at = clock.boot_now();
        let prepared = match (ctx.watch.still_holds(gate, clock).await, ctx.watch.permit()) {
            (Err(denial), _) => Err(denial),
            (Ok(()), None) => Err(Denial::RouteNotFound),
            (Ok(()), Some(permit)) => upstream_head::prepare(permit, upstream, clock),
        };
        match prepared {
            Ok(()) => trace::forward(&ctx.span, upstream),
            Err(denial) => Err(ctx.refuse(denial)),
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        last: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let Shared { gate, clock, .. } = &*self.shared;
        let now = clock.boot_now();
        ctx.watch.heard(&**clock);
        if now.since(ctx.judged_at) >= watch::EVERY {
            ctx.judged_at = now;
            ctx.watch.judge(gate, clock).await.map_err(|denial| ctx.refuse(denial))?;
        }
        if session.was_upgraded() {
            return Ok(());
        }
        if let Some(whole) = &ctx.signed_body {
            // It is here, counted and compared: the end of it stands for all of it.
            *body = last.then(|| whole.clone());
            return Ok(());
        }
        let bytes = body.as_ref().map_or(0, Bytes::len);
        ctx.watch.uploads(bytes, last, now).map_err(|denial| ctx.refuse(denial))
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut Self::CTX,
    ) -> pingora::Result<()> {
        response::one_reading(response, session.is_upgrade_req())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if let Some(since) = ctx.upstream_since.take() {
            let took = self.shared.clock.boot_now().since(since);
            ctx.upstream_took = Some(took);
            self.shared.metrics.upstream(took);
        }
        // Interim responses (RFC 9110 §15.2) are followed by another one.
        if response.status == StatusCode::SWITCHING_PROTOCOLS || !response.status.is_informational() {
            ctx.wire.status = response.status.as_u16();
            ctx.watch.streams();
            // From here on the two talk as they like: a WebSocket may be silent for long.
            session.set_read_timeout(None);
        }
        if ctx.watch.connection().is_some_and(Connection::is_retired) {
            session.set_keepalive(None);
        }
        if session.req_header().version == Version::HTTP_10 && response::ends_with_the_connection(response) {
            session.set_keepalive(None);
        }
        let upstream = ctx.watch.permit().map(|permit| &permit.route.upstream);
        let cookies_are_its_own = upstream.is_some_and(|upstream| our_cookies::are_for(upstream));
        let status = response.status;
        fields::change(response, |fields| {
            response::clean(status, fields, cookies_are_its_own);
            if let Some(policy) = &ctx.trace.response
                && !status.is_informational()
            {
                response::apply(policy, fields);
            }
            if let Some(rules) = &ctx.trace.cors {
                cors::clean(fields);
                cors::tell(fields, rules, &session.req_header().headers);
            }
            if let (Some(quota), true) = (&ctx.trace.quota, self.shared.tells_limits) {
                quota::tell(fields, quota)?;
            }
            response::mark(fields, ctx.request_id, ctx.watch.permit().is_some_and(|permit| permit.refresh_advised))
        })
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        ctx.watch.heard(&*self.shared.clock);
        Ok(None)
    }

    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Self::CTX,
    ) -> pingora::Result<()> {
        response::clean_trailers(trailers);
        Ok(())
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, ctx: &mut Self::CTX, mut error: Box<Error>) -> Box<Error> {
        // Nothing was sent yet, so that any method may go to the next address.
        error.set_retry(ctx.attempts.failed());
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        let denial = match ctx.stop.take() {
            Some(Stop::Deny(denial)) => Some(denial),
            _ => denial_of(error),
        };
        let Some(denial) = denial else {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        let status = denial.public().0.as_u16();
        if *error.esource() == ErrorSource::Upstream {
            tracing::warn!(request.id = %ctx.request_id, %error, "the upstream failed");
        }
        let stop = Stop::Deny(denial);
        // Once a response has begun it can only be cut off.
        if session.response_written().is_none() {
            session.set_keepalive(None);
            if let Err(error) = answer::write(session, ctx, self.listener, &stop, self.shared.tells_limits).await {
                tracing::debug!(request.id = %ctx.request_id, %error, "the client did not wait for the answer");
            }
            if !session.is_http2() {
                session.as_downstream_mut().shutdown().await;
            }
        }
        ctx.stop = Some(stop);
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    /// Failures are logged by `fail_to_proxy`, once, and without the query.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, ctx: &Self::CTX) -> String {
        format!("request {}", ctx.request_id)
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        let watch = Arc::clone(&ctx.watch);
        // Whether a body followed is not told.
        let head = head::read(session, watch.handshake(), self.listener, false, ctx.request_id);
        ctx.finished(self.shared.clock.boot_now(), &Wire::of(session), error.is_some(), Some(&head));
    }
}

/// What a failure is called; none when the client is gone.
fn denial_of(error: &Error) -> Option<Denial> {
    use ErrorType as E;
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, E::ReadError | E::WriteError | E::ConnectionClosed | E::H2Error) => None,
        (ErrorSource::Downstream, E::ReadTimedout) => Some(Denial::RequestTimeout),
        (ErrorSource::Downstream, _) => Some(Denial::RequestMalformed("the request cannot be read")),
        (_, E::ConnectTimedout | E::TLSHandshakeTimedout | E::ReadTimedout | E::WriteTimedout) => {
            Some(Denial::UpstreamTimeout)
        }
        (_, E::InvalidHTTPHeader | E::H1Error | E::H2Error | E::InvalidH2 | E::H2Downgrade) => {
            Some(Denial::UpstreamInvalid)
        }
        _ => Some(Denial::UpstreamUnreachable),
    }
}
