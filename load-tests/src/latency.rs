//! How long answers took.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;

/// Times of answers, from 1 µs to 1 min with three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, 60_000_000, 3).unwrap())
    }
}

impl Latencies {
    /// One more.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// Those of another too.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).unwrap();
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time within which this share of the answers came, in microseconds.
    pub fn quantile(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|share| self.quantile(share));
        write!(f, "p50 {p50} µs, p99 {p99} µs, p99.9 {p999} µs, of {}", self.count())
    }
}
