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
    fetches: IntCounterVec,
    late_issuers: IntGauge,
    oldest_keys: IntGauge,
    deliveries: IntCounterVec,
}

/// What became of sending an event to a webhook.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeliveryOutcome {
    /// The receiver took it.
    Taken,
    /// It did not, and gets it again.
    Again,
    /// It was given up.
    Failed,
}

impl DeliveryOutcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Again => "again",
            Self::Failed => "failed",
        }
    }
}

/// What became of fetching an issuer's keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FetchOutcome {
    /// Other keys are in force.
    Changed,
    /// The same keys are.
    Unchanged,
    /// None came; the last good ones are.
    Failed,
    /// None came for too long; none are.
    Dropped,
}

impl FetchOutcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
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
        let fetches = Opts::new("control_api_issuer_fetches_total", "Fetches of issuers' key sets by outcome");
        let fetches = IntCounterVec::new(fetches, &["outcome"]).map_err(failed)?;
        let late = "Issuers whose keys in force were last fetched longer ago than twice `issuers.refresh`";
        let late_issuers = IntGauge::new("control_api_issuers_late", late).map_err(failed)?;
        let oldest = "Age of the oldest of those keys, 0 for none";
        let oldest_keys = IntGauge::new("control_api_issuer_keys_oldest_seconds", oldest).map_err(failed)?;
        let deliveries = Opts::new("control_api_webhook_deliveries_total", "Attempts to tell webhooks by outcome");
        let deliveries = IntCounterVec::new(deliveries, &["outcome"]).map_err(failed)?;
        let registry = Registry::new();
        registry.register(Box::new(deliveries.clone())).map_err(failed)?;
        registry.register(Box::new(fetches.clone())).map_err(failed)?;
        registry.register(Box::new(late_issuers.clone())).map_err(failed)?;
        registry.register(Box::new(oldest_keys.clone())).map_err(failed)?;
        registry.register(Box::new(requests.clone())).map_err(failed)?;
        registry.register(Box::new(durations.clone())).map_err(failed)?;
        registry.register(Box::new(revision.clone())).map_err(failed)?;
        Ok(Self { registry, requests, durations, revision, fetches, late_issuers, oldest_keys, deliveries })
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

    /// Counts a fetch of an issuer's keys.
    pub fn fetched(&self, outcome: FetchOutcome) {
        self.fetches.with_label_values(&[outcome.name()]).inc();
    }

    /// Counts an attempt to tell a webhook.
    pub fn delivered(&self, outcome: DeliveryOutcome) {
        self.deliveries.with_label_values(&[outcome.name()]).inc();
    }

    /// Notes how many issuers' keys are late, and how old the oldest are.
    pub fn late_issuers(&self, count: usize, oldest: Option<Duration>) {
        self.late_issuers.set(i64::try_from(count).unwrap_or(i64::MAX));
        self.oldest_keys.set(oldest.map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)));
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
