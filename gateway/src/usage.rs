//! What tenants use of products under quotas: told to the other gateways through Redis, and to the control API, which
//! keeps it. See [`gate::quota`].
//!
//! ```text
//! twice a second, or when pressed:  own counts ─▶ Redis ─▶ what was used together
//! every 10 s, and at the end:       own counts ─▶ control API ─▶ what others had told it ─▶ Redis, where it is not there
//! ```
//!
//! This goes on beside the exchange of limits, which must not wait for however many counts there are. Everything is told to
//! Redis again within 10 s, for one that has lost it: each time the part of it whose turn it is.
//!
//! The control API is asked first of all, before the listeners open: what was used before this gateway started is on its
//! record, whatever became of Redis.

use std::{sync::Arc, time::Duration};

use domain::{
    Clock, TenantId,
    model::ProductKey,
    quota::{MAX_COUNTS, UsageCount, UsagePart},
};
use gate::{Gate, quota::Tally};
use link::{LinkError, log::ControlPlane, shared_limits::SharedLimits, shared_usage::UsageEntry};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// How often Redis is told at the latest.
const TELLING: Duration = Duration::from_millis(500);

/// How often it is looked whether it has to be told sooner.
const PRESSING: Duration = Duration::from_millis(25);

/// After so many times everything was told again.
const TURNS: u128 = 20;

/// How often the control API is told.
const EVERY: Duration = Duration::from_secs(10);

/// How often it is looked whether there is a count that it was not asked for.
const LOOK: Duration = Duration::from_millis(500);

/// Longest wait at the start for what is on record, and at the end for what is told last.
const PATIENCE: Duration = Duration::from_secs(2);

/// One gateway's book of what tenants use.
pub(crate) struct UsageBook {
    gate: Arc<Gate>,
    /// Where the gateways meet.
    shared: Option<SharedLimits>,
    /// Who keeps a record.
    plane: Option<Arc<dyn ControlPlane>>,
    /// Who this gateway is, from its start to its end.
    counter: Uuid,
    clock: Arc<dyn Clock>,
}

impl UsageBook {
    pub(crate) fn new(
        gate: Arc<Gate>,
        shared: Option<SharedLimits>,
        plane: Option<Arc<dyn ControlPlane>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let counter = shared.as_ref().map_or_else(Uuid::new_v4, SharedLimits::counter);
        Self { gate, shared, plane, counter, clock }
    }

    /// Tells the other gateways and hears of them, for as long as it is polled.
    pub(crate) async fn run_tellings(self: Arc<Self>) {
        let mut failing = false;
        for turn in (0..TURNS).cycle() {
            let began = self.clock.boot_now();
            match self.tell(Some(turn)).await {
                Ok(()) => failing = false,
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "what tenants use is not told to Redis");
                }
                Err(_) => {}
            }
            while self.clock.boot_now().since(began) < TELLING && !self.gate.share().is_usage_pressing() {
                sleep(PRESSING).await;
            }
        }
    }

    /// Tells what grew, and in its turn what was told before as well.
    async fn tell(&self, turn: Option<u128>) -> Result<(), LinkError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        let again = |tenant: TenantId| turn == Some(tenant.as_u128() % TURNS);
        let tallies = self.gate.snapshot().ledger().untold(self.clock.unix_now(), again);
        let entries: Vec<_> = tallies.iter().map(|tally| entry(tally, self.own(tally), false)).collect();
        if entries.is_empty() {
            return Ok(());
        }
        for (tally, kept) in tallies.iter().zip(shared.keep_usage(&entries).await?) {
            tally.told(kept.total);
            if !kept.founded && self.plane.is_some() {
                tally.is_unfounded();
            }
        }
        Ok(())
    }

    /// What this gateway has of its own; nothing before its first request.
    fn own(&self, tally: &Tally) -> Vec<UsagePart> {
        let part = UsagePart { counter: self.counter, used: tally.own };
        Some(part).filter(|part| part.used > 0).into_iter().collect()
    }

    /// Asks the control API for counts that it was never asked for. With `grown`, tells it of all that grew.
    async fn record(&self, grown: bool) -> Result<(), LinkError> {
        let Some(plane) = &self.plane else { return Ok(()) };
        let tallies = self.gate.snapshot().ledger().unrecorded(self.clock.unix_now(), grown);
        for batch in tallies.chunks(MAX_COUNTS) {
            // A product that no control API could know is on no record.
            let known: Vec<(&Tally, ProductKey)> =
                batch.iter().filter_map(|tally| Some((tally, tally.product().parse().ok()?))).collect();
            let count = |(tally, product): &(&Tally, ProductKey)| UsageCount {
                tenant_id: tally.tenant(),
                product: product.clone(),
                span: tally.span,
                used: tally.own,
            };
            let mut record = plane.record_usage(self.counter, known.iter().map(count).collect()).await?;
            record.resize(known.len(), Vec::new());
            let entries: Vec<_> =
                known.iter().zip(&record).map(|((tally, _), parts)| entry(tally, parts.clone(), true)).collect();
            if let Some(shared) = &self.shared {
                // Where Redis does not answer, it is founded when it does.
                let founded = shared.keep_usage(&entries).await;
                if let Err(error) = founded {
                    tracing::debug!(error = &error as &dyn std::error::Error, "what was used is not told to Redis");
                }
            }
            for ((tally, _), parts) in known.iter().zip(&record) {
                let others = parts.iter().filter(|part| part.counter != self.counter);
                tally.recorded(others.fold(0, |sum, part| sum.saturating_add(part.used)));
            }
        }
        Ok(())
    }

    /// Learns what is on record before the first request, if that can be had in time.
    pub(crate) async fn open(&self) {
        if self.gate.snapshot().ledger().is_empty() {
            return;
        }
        self.warn_alone();
        let learned = async {
            self.record(false).await?;
            self.tell(None).await
        };
        match timeout(PATIENCE, learned).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "what tenants have used is not known yet");
            }
            Err(_) => tracing::warn!("what tenants have used is not known yet"),
        }
    }

    /// Tells the control API, for as long as it is polled.
    pub(crate) async fn run(self: Arc<Self>) {
        let (mut failing, mut alone) = (false, self.gate.snapshot().ledger().is_empty());
        let mut told = self.clock.boot_now();
        loop {
            sleep(LOOK).await;
            if std::mem::replace(&mut alone, self.gate.snapshot().ledger().is_empty()) && !alone {
                self.warn_alone();
            }
            let now = self.clock.boot_now();
            let due = now.since(told) >= EVERY;
            match self.record(due).await {
                Ok(()) => {
                    failing = false;
                    if due {
                        told = now;
                        self.gate.snapshot().ledger().forget(self.clock.unix_now());
                    }
                }
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "what tenants use is not told to the control API"
                    );
                }
                Err(_) => {}
            }
        }
    }

    /// Tells everybody what was not told yet: this gateway ends.
    pub(crate) async fn close(&self) {
        let last = async {
            let shared = self.tell(None).await;
            self.record(true).await.and(shared)
        };
        match timeout(PATIENCE, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "what tenants used last is not told");
            }
            Err(_) => tracing::warn!("what tenants used last is not told"),
        }
    }

    fn warn_alone(&self) {
        if self.shared.is_none() {
            tracing::warn!("quotas are not shared: this gateway keeps to its part of `limits.gateways`");
        }
    }
}

fn entry(tally: &Tally, parts: Vec<UsagePart>, on_record: bool) -> UsageEntry {
    UsageEntry { tenant: tally.tenant(), product: tally.product().to_owned(), span: tally.span, parts, on_record }
}
