//! Which requests that are about organisational units are told to the control API, and how much each unit asks for.
//!
//! ```text
//! request is over ─┬▶ within the budget? ─▶ queue ─▶ a batch each half second ─┐
//!                  └▶ count of its unit and day ─▶ what grew, every 10 s ──────┴▶ ControlPlane::record_access
//! ```
//!
//! Records may be lost: each tenant has its own part of the budget, so that a busy one does not silence the others, and what
//! does not fit is counted and forgotten. Counts are told until they arrived. A request waits for none of this.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    BootInstant, OrgUnitId, TenantId, Timestamp,
    access::{AccessRecord, AccessReport, MAX_COUNTS, MAX_RECORDS, UnitCount, UnitUsage},
    quota::{Period, Span},
};
use gate::bucket::{Bucket, Buckets};
use link::{LinkError, log::ControlPlane};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::{config::AccessLogConfig, explain::Telling, metrics::Metrics};

/// Records that wait to be told. Those of more are dropped. At most 2 KiB each.
const QUEUED: usize = 2048;

/// Tenants with a part of the budget. Some 100 bytes each.
const TENANTS: usize = 10_000;

/// Units and days that are counted at once. Some 100 bytes each.
const COUNTED: usize = 100_000;

/// Records are gathered for this long.
const GATHER: Duration = Duration::from_millis(500);

/// How often counts are told.
const EVERY: Duration = Duration::from_secs(10);

/// Longest wait for the control API to take a report.
const DELIVERY: Duration = Duration::from_secs(5);

/// Longest wait at the end for what is told last.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was asked of units, as far as this gateway served it.
#[derive(Debug)]
pub(crate) struct UnitBook {
    config: AccessLogConfig,
    all: Bucket,
    tenants: Buckets<TenantId>,
    queue: mpsc::Sender<AccessRecord>,
    counts: Mutex<HashMap<Counted, Count>>,
    /// Who this gateway is, from its start to its end.
    counter: Uuid,
    metrics: Arc<Metrics>,
}

/// What is counted together.
type Counted = (TenantId, OrgUnitId, Span);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    now: UnitUsage,
    /// As far as the control API was told.
    told: UnitUsage,
}

impl UnitBook {
    /// As configured; the records that are chosen come out at the other end.
    pub(crate) fn new(config: &AccessLogConfig, metrics: &Arc<Metrics>) -> (Self, mpsc::Receiver<AccessRecord>) {
        let (queue, chosen) = mpsc::channel(QUEUED);
        let book = Self {
            config: config.clone(),
            all: Bucket::default(),
            tenants: Buckets::new(TENANTS),
            queue,
            counts: Mutex::default(),
            counter: Uuid::new_v4(),
            metrics: Arc::clone(metrics),
        };
        (book, chosen)
    }

    /// Counts a request that was let through.
    pub(crate) fn count(&self, (tenant, unit): (TenantId, OrgUnitId), at: Timestamp, bytes: (u64, u64)) {
        let place = (tenant, unit, Span::at(Period::Day, at));
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= COUNTED && !counts.contains_key(&place) {
            return self.metrics.accesses(Telling::OverBudget, 1);
        }
        counts.entry(place).or_default().now.add(bytes.0, bytes.1);
    }

    /// Tells of a request that is over, if the budget allows. The record is made only then.
    pub(crate) fn tell(&self, tenant: TenantId, now: BootInstant, record: impl FnOnce() -> Option<AccessRecord>) {
        if !self.config.records {
            return;
        }
        // The tenant's own bucket first: who has used that up takes nothing of what all share.
        let affords = self.tenants.of(tenant).take(self.config.tenant, now).is_ok()
            && self.all.take(self.config.total, now).is_ok();
        if !affords {
            return self.metrics.accesses(Telling::OverBudget, 1);
        }
        let Some(record) = record() else { return };
        // Fails only where the queue is full, or ends with its reader.
        if self.queue.try_send(record).is_err() {
            self.metrics.accesses(Telling::QueueFull, 1);
        }
    }

    /// Tells the control API of records, in batches. Runs for as long as it is polled.
    pub(crate) async fn run_records(
        self: Arc<Self>,
        plane: Arc<dyn ControlPlane>,
        mut chosen: mpsc::Receiver<AccessRecord>,
    ) {
        let mut batch = Vec::new();
        let mut failing = false;
        while chosen.recv_many(&mut batch, MAX_RECORDS).await > 0 {
            if batch.len() < MAX_RECORDS {
                sleep(GATHER).await;
                while batch.len() < MAX_RECORDS
                    && let Ok(record) = chosen.try_recv()
                {
                    batch.push(record);
                }
            }
            let count = batch.len() as u64;
            let report = AccessReport { records: std::mem::take(&mut batch), ..self.report() };
            let outcome = match delivered(&*plane, report).await {
                Ok(()) => Telling::Told,
                Err(reason) => {
                    if !failing {
                        tracing::warn!(reason, "requests of organisational units cannot be told");
                    }
                    Telling::Undelivered
                }
            };
            failing = matches!(outcome, Telling::Undelivered);
            self.metrics.accesses(outcome, count);
        }
    }

    /// Tells the control API of counts. Runs for as long as it is polled.
    pub(crate) async fn run_counts(self: Arc<Self>, plane: Arc<dyn ControlPlane>, clock: Arc<dyn domain::Clock>) {
        let mut failing = false;
        loop {
            sleep(EVERY).await;
            match self.tell_counts(&*plane).await {
                Ok(()) => {
                    failing = false;
                    self.forget(clock.unix_now());
                }
                Err(reason) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(reason, "what organisational units ask for is not told");
                }
                Err(_) => {}
            }
        }
    }

    /// Tells what was not told yet: this gateway ends.
    pub(crate) async fn close(&self, plane: &dyn ControlPlane) {
        if !matches!(timeout(PATIENCE, self.tell_counts(plane)).await, Ok(Ok(()))) {
            tracing::warn!("what organisational units asked for last is not told");
        }
    }

    async fn tell_counts(&self, plane: &dyn ControlPlane) -> Result<(), String> {
        let grown = self.grown();
        for some in grown.chunks(MAX_COUNTS) {
            let count = |((tenant, unit, day), usage): &(Counted, UnitUsage)| UnitCount {
                tenant_id: *tenant,
                ou_id: *unit,
                day: day.number(),
                usage: *usage,
            };
            delivered(plane, AccessReport { counts: some.iter().map(count).collect(), ..self.report() }).await?;
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (place, usage) in some {
                if let Some(count) = counts.get_mut(place) {
                    count.told = *usage;
                }
            }
        }
        Ok(())
    }

    fn grown(&self) -> Vec<(Counted, UnitUsage)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().filter(|(_, count)| count.now != count.told).map(|(place, count)| (*place, count.now)).collect()
    }

    /// Forgets days that are over and told.
    fn forget(&self, now: Timestamp) {
        let today = Span::at(Period::Day, now);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|(_, _, day), count| *day >= today || count.now != count.told);
    }

    fn report(&self) -> AccessReport {
        AccessReport { counter: self.counter, ..AccessReport::default() }
    }
}

async fn delivered(plane: &dyn ControlPlane, report: AccessReport) -> Result<(), String> {
    let taken: Result<Result<(), LinkError>, _> = timeout(DELIVERY, plane.record_access(report)).await;
    match taken {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the control API does not answer in time".into()),
    }
}

#[cfg(test)]
mod tests {
    use domain::snapshot::RateLimit;

    use super::*;

    fn book(config: &AccessLogConfig) -> (UnitBook, mpsc::Receiver<AccessRecord>) {
        UnitBook::new(config, &Arc::new(Metrics::new().unwrap()))
    }

    fn tenant(n: u128) -> TenantId {
        TenantId::new(Uuid::from_u128(n))
    }

    fn unit(n: u128) -> OrgUnitId {
        OrgUnitId::new(Uuid::from_u128(n))
    }

    fn record(of: TenantId) -> AccessRecord {
        AccessRecord {
            request_id: Uuid::from_u128(1).into(),
            at: Timestamp::from_secs(0),
            tenant_id: of,
            ou_id: unit(1),
            subject: domain::decision::Shown::cut("ann", 64),
            ip: [127, 0, 0, 1].into(),
            method: domain::decision::Shown::cut("GET", 16),
            path: domain::decision::Shown::cut("/x", 64),
            status: 200,
            user_agent: None,
            latency_us: 1,
        }
    }

    #[test]
    fn a_busy_tenant_does_not_silence_the_others_and_all_stay_within_the_total() {
        let limit = |burst| RateLimit { rps: 1, burst };
        let config = AccessLogConfig { records: true, tenant: limit(3), total: limit(5) };
        let (book, mut chosen) = book(&config);
        let now = BootInstant::from_nanos(1_000_000_000);
        for _ in 0..1000 {
            book.tell(tenant(1), now, || Some(record(tenant(1))));
        }
        for n in 2..100 {
            book.tell(tenant(n), now, || Some(record(tenant(n))));
        }
        let told: Vec<u128> =
            std::iter::from_fn(|| chosen.try_recv().ok()).map(|record| record.tenant_id.as_u128()).collect();
        assert_eq!(told, [1, 1, 1, 2, 3]);
    }

    #[test]
    fn nobody_is_told_of_requests_where_that_is_switched_off_and_they_are_counted() {
        let (book, mut chosen) = book(&AccessLogConfig { records: false, ..AccessLogConfig::default() });
        book.tell(tenant(1), BootInstant::default(), || Some(record(tenant(1))));
        assert!(chosen.try_recv().is_err());
        book.count((tenant(1), unit(1)), Timestamp::from_secs(0), (2, 3));
        book.count((tenant(1), unit(1)), Timestamp::from_secs(1), (20, 30));
        book.count((tenant(1), unit(1)), Timestamp::from_secs(86_400), (1, 1));
        let mut grown = book.grown();
        grown.sort_by_key(|((_, _, day), _)| *day);
        let first = UnitUsage { requests: 2, bytes_received: 22, bytes_sent: 33 };
        let second = UnitUsage { requests: 1, bytes_received: 1, bytes_sent: 1 };
        assert_eq!(grown.into_iter().map(|(_, usage)| usage).collect::<Vec<_>>(), [first, second]);
    }
}
