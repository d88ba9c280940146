//! One line for each fault.

use std::fmt;

use serde::Serialize;

use crate::probing::{Answer, Fault, Outcome};

/// The head of the table.
pub(crate) const HEAD: &str = "\
| Fault | n | min | p50 | p99 | p99.9 | max | accepted too late | 202 | answer p50 | answer max |
|---|---|---|---|---|---|---|---|---|---|---|";

/// What was seen of a fault. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    fault: &'static str,
    /// Last accept − end, for each revocation at each gateway.
    last_accept: Distribution,
    /// Probes that were sent too late and accepted: there must be none.
    pub(crate) accepted_too_late: usize,
    revocations: usize,
    /// Those that were answered 202.
    named_a_time: usize,
    /// How long the revoking call took.
    answer: Distribution,
}

#[derive(Debug, Serialize)]
struct Distribution {
    n: usize,
    min: f64,
    p50: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

/// How long revoking calls took, one after the other, while nothing was broken. In milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Answers {
    took: Distribution,
    /// Those that were answered 202, and not once every gateway had applied them.
    named_a_time: usize,
}

impl Answers {
    pub(crate) fn of(calls: &[Answer]) -> Self {
        Self {
            took: Distribution::of(calls.iter().map(|call| call.took.as_secs_f64() * 1000.0).collect()),
            named_a_time: calls.iter().filter(|call| call.until.is_some()).count(),
        }
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { took: Distribution { n, min, p50, p99, p99_9, max }, named_a_time } = self;
        write!(
            f,
            "healthy, {n} revocations one after the other: answered after {min:.1} ms at least, p50 {p50:.1}, p99 {p99:.1}, \
             p99.9 {p99_9:.1}, at most {max:.1}; 202: {named_a_time}"
        )
    }
}

impl Line {
    pub(crate) fn of(fault: Fault, outcomes: &[Outcome], gateways: usize) -> Self {
        let last = outcomes.iter().flat_map(|outcome| (0..gateways).map(|gateway| last_accept(outcome, gateway)));
        Self {
            fault: fault.name(),
            last_accept: Distribution::of(last.collect()),
            accepted_too_late: outcomes.iter().map(|outcome| outcome.accepted_too_late().count()).sum(),
            revocations: outcomes.len(),
            named_a_time: outcomes.iter().filter(|outcome| outcome.named_a_time).count(),
            answer: Distribution::of(outcomes.iter().map(|outcome| outcome.took.as_secs_f64() * 1000.0).collect()),
        }
    }
}

/// How long after the end a gateway accepted for the last time, in milliseconds; negative for before.
fn last_accept(outcome: &Outcome, gateway: usize) -> f64 {
    let accepted = outcome.probes.iter().filter(|probe| probe.gateway == gateway).filter_map(|probe| probe.arrived);
    let last = accepted.max().unwrap();
    let after = last.saturating_duration_since(outcome.over).as_secs_f64();
    (after - outcome.over.saturating_duration_since(last).as_secs_f64()) * 1000.0
}

impl Distribution {
    /// By rank: the smallest value that so many are not above.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        let at = |per_mille: usize| values[(n * per_mille).div_ceil(1000).clamp(1, n) - 1];
        Self { n, min: at(0), p50: at(500), p99: at(990), p99_9: at(999), max: at(1000) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, last_accept: last, accepted_too_late, revocations, named_a_time, answer } = self;
        let Distribution { n, min, p50, p99, p99_9, max } = last;
        write!(
            f,
            "| {fault} | {n} | {min:.1} | {p50:.1} | {p99:.1} | {p99_9:.1} | {max:.1} | {accepted_too_late} | \
             {named_a_time}/{revocations} | {:.1} | {:.1} |",
            answer.p50, answer.max
        )
    }
}
