//! The metrics listener: `/metrics`, `/healthz` and `/readyz`. Plain HTTP, for the operator's network only.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use authn::Lease;
use bytes::Bytes;
use domain::Clock;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use link::redis_record::RedisRecord;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use crate::{edge::stage::Stage, feed::Applier, metrics::Metrics};

/// Longest wait for a request's header.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// Longest pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Hostnames that `/readyz` names, at most.
const NAMED: usize = 100;

/// What the listener tells about.
pub(crate) struct Status {
    pub(crate) applier: Arc<Applier>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether there is a revocation list at all.
    pub(crate) revocations: bool,
    /// The record of a gateway on its own.
    pub(crate) record: Option<RedisRecord>,
    /// Whether the gateway will stop soon.
    pub(crate) leaving: watch::Receiver<bool>,
}

impl Status {
    /// Serves one socket for as long as it is polled, and no other process does.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener, mut stage: watch::Receiver<Stage>) {
        // Until then another process tells of this gateway.
        if stage.wait_for(|stage| *stage > Stage::Ready).await.is_err() {
            return;
        }
        loop {
            let accepted = tokio::select! {
                biased;
                // Another process tells of this gateway now.
                _ = stage.wait_for(|stage| *stage == Stage::Retiring) => return,
                accepted = listener.accept() => accepted,
            };
            let connection = match accepted {
                Ok((connection, _)) => connection,
                Err(error) => {
                    tracing::warn!(%error, "no connection to the metrics listener");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let this = Arc::clone(&self);
            tokio::spawn(async move {
                let answer = service_fn(|request: Request<Incoming>| {
                    let response = this.answer(request.method(), request.uri().path());
                    async move { Ok::<_, Infallible>(response) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_DEADLINE)
                    .serve_connection(TokioIo::new(connection), answer)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection to the metrics listener broke");
                }
            });
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD are served\n");
        }
        match path {
            "/healthz" => text(StatusCode::OK, "text/plain", "ok\n"),
            "/readyz" => {
                let (ready, report) = self.readiness();
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                text(status, "application/json", format!("{report}\n"))
            }
            "/metrics" => match self.scrape() {
                Ok(metrics) => text(StatusCode::OK, "text/plain; version=0.0.4", metrics),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
            },
            _ => text(StatusCode::NOT_FOUND, "text/plain", "nothing is here\n"),
        }
    }

    /// Ready is who has a snapshot, on its own a record that keeps what it is told, and will not stop soon. A gateway
    /// without a lease serves what its routes allow without one; were it not ready, one silent control plane would take the
    /// whole fleet out of its balancer.
    fn readiness(&self) -> (bool, Value) {
        let gate = self.applier.gate();
        let unfit = self.record.as_ref().and_then(|record| record.fitness().err());
        let stopping = *self.leaving.borrow();
        let ready = gate.snapshot().is_usable() && unfit.is_none() && !stopping;
        let revocations = if self.revocations {
            json!({
                "applied": gate.mirror().position().seq,
                "lease_seconds": self.lease().as_secs_f64(),
                "proven": !self.lease().is_zero(),
                "unfit": unfit.map(|error| error.to_string()),
            })
        } else {
            json!("none: there is no revocation list, tokens are good until they expire")
        };
        let report = json!({
            "ready": ready,
            "stopping": stopping,
            "snapshot": {
                "revision": gate.snapshot().revision(),
                "age_seconds": self.applier.age().map(|age| age.as_secs_f64()),
                "unserved_hostnames": gate.snapshot().unserved().iter().take(NAMED).collect::<Vec<_>>(),
            },
            "revocations": revocations,
        });
        (ready, report)
    }

    fn lease(&self) -> Duration {
        let now = self.clock.boot_now();
        match self.applier.gate().mirror().lease(now) {
            Lease::Proven { until } => until.since(now),
            Lease::Unproven { .. } => Duration::ZERO,
        }
    }

    /// Brings the gauges up to date and writes everything.
    fn scrape(&self) -> prometheus::Result<String> {
        let (gate, metrics) = (self.applier.gate(), &self.metrics);
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let tokens = gate.token_cache();
        metrics.log_lines_lost.set(signed(link::telemetry::lost_lines()));
        metrics.token_hits.set(signed(tokens.hits));
        metrics.token_misses.set(signed(tokens.misses));
        metrics.token_entries.set(count(tokens.entries));
        metrics.feed_revision.set(signed(gate.snapshot().revision()));
        metrics.hostnames_unserved.set(count(gate.snapshot().unserved().len()));
        metrics.feed_age.set(self.applier.age().map_or(-1.0, |age| age.as_secs_f64()));
        metrics.mirror_seq.set(signed(gate.mirror().position().seq.0));
        metrics.mirror_refused.set(count(gate.mirror().refused_count()));
        let now = self.clock.boot_now();
        let last_proven = match gate.mirror().lease(now) {
            Lease::Proven { .. } => Some(Duration::ZERO),
            Lease::Unproven { last_proven } => (last_proven.nanos() > 0).then(|| now.since(last_proven)),
        };
        metrics.mirror_age.set(last_proven.map_or(-1.0, |age| age.as_secs_f64()));
        metrics.lease.set(self.lease().as_secs_f64());
        metrics.text()
    }
}

/// A socket bound before, as the runtime wants it.
pub(crate) fn listener(socket: std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(socket)
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
