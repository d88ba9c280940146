//! Prometheus metrics. Label values come from our own enums only, never from a request.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use domain::{BootInstant, decision::Stage};
use gate::Laps;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};

use crate::explain::Telling;

/// What every name starts with.
const PREFIX: &str = "portcullis_gateway";

/// Seconds; a warm decision takes microseconds, an upstream up to a minute.
const BUCKETS: [f64; 16] = [
    0.000_000_2,
    0.000_001,
    0.000_005,
    0.000_02,
    0.000_1,
    0.000_5,
    0.001,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.5,
    1.0,
    5.0,
    30.0,
];

/// One decision in this many is timed stage by stage.
const SAMPLED: u64 = 16;

/// All metrics of one gateway.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    decide: Histogram,
    upstream: Histogram,
    total: Histogram,
    /// Of the gate's own stages, by their place in [`Stage::judging`].
    stages: Vec<Histogram>,
    /// Decisions so far, of which one in [`SAMPLED`] is timed stage by stage.
    decisions: AtomicU64,
    /// Requests that are being served.
    pub(crate) active_requests: IntGauge,
    /// TLS connections that are open.
    pub(crate) active_connections: IntGauge,
    /// Gateways that share limits with this one, and itself; 0 while it keeps to its part.
    pub(crate) limit_gateways: IntGauge,
    /// Connections that were closed at the entrance, by the reason.
    connections_closed: IntCounterVec,
    /// Log lines that nobody read fast enough, since the start.
    pub(crate) log_lines_lost: IntGauge,
    /// Verified tokens found in memory, since the start.
    pub(crate) token_hits: IntGauge,
    /// Verified tokens not found in memory, since the start.
    pub(crate) token_misses: IntGauge,
    /// Verified tokens in memory.
    pub(crate) token_entries: IntGauge,
    /// Look-ups of role bindings, by the level that answered.
    bindings: IntCounterVec,
    /// Decisions that were to be told to the control API, by what became of them.
    decisions_told: IntCounterVec,
    /// Requests of organisational units that were to be told to the control API, by what became of them.
    accesses_told: IntCounterVec,
    /// Revision of the snapshot in force.
    pub(crate) feed_revision: IntGauge,
    /// Seconds since the feed was last heard of.
    pub(crate) feed_age: Gauge,
    /// Entities of the feed that were refused.
    pub(crate) feed_refused: IntGauge,
    /// Hostnames of the feed that are not served.
    pub(crate) hostnames_unserved: IntGauge,
    /// Files of the feed that were refused since the start.
    pub(crate) feed_failures: IntCounter,
    /// Number of the last applied fact.
    pub(crate) mirror_seq: IntGauge,
    /// Tokens and sessions that are refused.
    pub(crate) mirror_refused: IntGauge,
    /// Seconds since freshness was last proven; -1 for never.
    pub(crate) mirror_age: Gauge,
    /// Seconds that are left of the lease.
    pub(crate) lease: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some(PREFIX.into()), None)?;
        let add = Adder(&registry);
        let stages =
            HistogramOpts::new("stage_duration_seconds", "Time spent on a request, by stage").buckets(BUCKETS.to_vec());
        let stages = HistogramVec::new(stages, &["stage"])?;
        registry.register(Box::new(stages.clone()))?;
        let gate = Stage::judging().iter().map(|stage| stages.get_metric_with_label_values(&[stage.name()]));
        Ok(Self {
            stages: gate.collect::<Result<_, _>>()?,
            decisions: AtomicU64::new(0),
            requests: add.counters("requests_total", "Requests by what became of them", "decision")?,
            decide: stages.get_metric_with_label_values(&["decide"])?,
            upstream: stages.get_metric_with_label_values(&["upstream"])?,
            total: stages.get_metric_with_label_values(&["total"])?,
            active_requests: add.integer("active_requests", "Requests that are being served")?,
            active_connections: add.integer("active_tls_connections", "TLS connections that are open")?,
            log_lines_lost: add
                .integer("log_lines_lost", "Log lines lost since the start: nobody read them fast enough")?,
            limit_gateways: add.integer("limit_gateways", "Gateways that share limits; 0 while they do not")?,
            connections_closed: add.counters(
                "connections_closed_total",
                "Connections that were closed before their first request",
                "reason",
            )?,
            token_hits: add.integer("token_cache_hits", "Verified tokens found in memory")?,
            token_misses: add.integer("token_cache_misses", "Tokens that had to be verified")?,
            token_entries: add.integer("token_cache_entries", "Verified tokens in memory")?,
            bindings: add.counters("bindings_lookups_total", "Look-ups of role bindings", "level")?,
            decisions_told: add.counters(
                "decisions_told_total",
                "Decisions that were to be told to the control API",
                "outcome",
            )?,
            accesses_told: add.counters(
                "access_records_total",
                "Requests of organisational units that were to be told to the control API",
                "outcome",
            )?,
            feed_revision: add.integer("feed_revision", "Revision of the snapshot in force")?,
            feed_age: add.gauge("feed_age_seconds", "Time since the feed was last heard of; -1 for never")?,
            feed_refused: add.integer("feed_refused_entities", "Entities that the gate refused")?,
            hostnames_unserved: add.integer("unserved_hostnames", "Hostnames that are known and not served")?,
            feed_failures: add.counter("feed_failures_total", "Readings of the feed that failed")?,
            mirror_seq: add.integer("mirror_applied_seq", "Number of the last applied fact of the log")?,
            mirror_refused: add.integer("mirror_refused", "Tokens and sessions that are refused")?,
            mirror_age: add.gauge("mirror_age_seconds", "Time since freshness was last proven; -1 for never")?,
            lease: add.gauge("lease_seconds", "What is left of the lease")?,
            registry,
        })
    }

    /// Counts a request by its decision's code, such as `permit` or `token_expired`.
    pub(crate) fn request(&self, code: &'static str, decide: Duration, total: Duration) {
        self.requests.with_label_values(&[code]).inc();
        self.decide.observe(decide.as_secs_f64());
        self.total.observe(total.as_secs_f64());
    }

    /// Counts a head that became no request, by its answer's code.
    pub(crate) fn no_request(&self, code: &'static str) {
        self.requests.with_label_values(&[code]).inc();
    }

    /// The laps to time this decision with, if its turn has come: the first and then one in [`SAMPLED`].
    pub(crate) fn laps(&self, now: BootInstant) -> Option<Laps> {
        let turn = self.decisions.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLED);
        turn.then(|| Laps::from(now))
    }

    /// Notes how long each stage of a timed decision took.
    pub(crate) fn stages(&self, laps: &Laps) {
        for (stage, took) in laps.iter() {
            if let Some(histogram) = self.stages.get(stage as usize) {
                histogram.observe(took.as_secs_f64());
            }
        }
    }

    /// Notes how long an upstream took for its response header.
    pub(crate) fn upstream(&self, took: Duration) {
        self.upstream.observe(took.as_secs_f64());
    }

    /// Counts a connection that was closed at the entrance.
    pub(crate) fn connection_closed(&self, reason: &'static str) {
        self.connections_closed.with_label_values(&[reason]).inc();
    }

    /// Counts a look-up of role bindings by the level that answered.
    pub(crate) fn bindings(&self, level: &'static str) {
        self.bindings.with_label_values(&[level]).inc();
    }

    /// Counts decisions that were to be told to the control API.
    pub(crate) fn decisions(&self, outcome: Telling, count: u64) {
        self.decisions_told.with_label_values(&[outcome.name()]).inc_by(count);
    }

    /// Counts requests of organisational units that were to be told to the control API.
    pub(crate) fn accesses(&self, outcome: Telling, count: u64) {
        self.accesses_told.with_label_values(&[outcome.name()]).inc_by(count);
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn text(&self) -> prometheus::Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// Makes and registers.
struct Adder<'r>(&'r Registry);

impl Adder<'_> {
    fn counters(&self, name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
        let metric = IntCounterVec::new(Opts::new(name, help), &[label])?;
        self.0.register(Box::new(metric.clone())).map(|()| metric)
    }
    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let metric = IntCounter::new(name, help)?;
        self.0.register(Box::new(metric.clone())).map(|()| metric)
    }
    fn integer(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let metric = IntGauge::new(name, help)?;
        self.0.register(Box::new(metric.clone())).map(|()| metric)
    }
    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<Gauge> {
        let metric = Gauge::new(name, help)?;
        self.0.register(Box::new(metric.clone())).map(|()| metric)
    }
}

#[test]
fn one_decision_in_sixteen_is_timed_stage_by_stage() {
    let metrics = Metrics::new().unwrap();
    let timed = (0..32).filter(|_| metrics.laps(BootInstant::default()).is_some()).count();
    assert_eq!(timed, 2);
}

#[test]
fn every_metric_can_be_registered_and_written() {
    let metrics = Metrics::new().unwrap();
    metrics.request("permit", Duration::from_micros(10), Duration::from_millis(2));
    let text = metrics.text().unwrap();
    assert!(text.contains("portcullis_gateway_requests_total{decision=\"permit\"} 1"), "{text}");
}
