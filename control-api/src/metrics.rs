//! What Prometheus is told. Label values come from our own enums only.

use std::time::Duration;

use http::StatusCode;
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::{context::Listener, error::AppError};

/// The process's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    revision: IntGauge,
}

impl Metrics {
    /// With everything at zero.
    ///
    /// # Errors
    /// [`AppError::Internal`] when two metrics have one name.
    pub fn new() -> Result<Self, AppError> {
        let failed = |error: prometheus::Error| AppError::internal("the metrics cannot be set up", error);
        let requests = Opts::new("control_api_requests_total", "Requests by listener and class of status");
        let requests = IntCounterVec::new(requests, &["listener", "status"]).map_err(failed)?;
        let durations = HistogramOpts::new("control_api_request_seconds", "Time to answer, by listener")
            .buckets(vec![0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0]);
        let durations = HistogramVec::new(durations, &["listener"]).map_err(failed)?;
        let revision = IntGauge::new("control_api_revision", "The newest revision of the feed").map_err(failed)?;
        let registry = Registry::new();
        registry.register(Box::new(requests.clone())).map_err(failed)?;
        registry.register(Box::new(durations.clone())).map_err(failed)?;
        registry.register(Box::new(revision.clone())).map_err(failed)?;
        Ok(Self { registry, requests, durations, revision })
    }

    /// Counts an answered request.
    pub fn answered(&self, listener: Listener, status: StatusCode, took: Duration) {
        let class = match status.as_u16() {
            100..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests.with_label_values(&[listener.name(), class]).inc();
        self.durations.with_label_values(&[listener.name()]).observe(took.as_secs_f64());
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// [`AppError::Internal`].
    pub fn render(&self, revision: u64) -> Result<String, AppError> {
        self.revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .map_err(|error| AppError::internal("the metrics cannot be written", error))?;
        String::from_utf8(text).map_err(|error| AppError::internal("the metrics cannot be written", error))
    }
}
