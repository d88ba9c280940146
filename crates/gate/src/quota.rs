//! What tenants use of products, counted by all gateways together and asking nobody while a request waits.
//!
//! A gateway counts for itself how many requests of a tenant it let through in a day and in a month. That number only
//! grows, so it can be told again and again: whoever keeps the numbers keeps the highest of each gateway, and what the
//! fleet has used is their sum. Nothing is lost or counted twice by an answer that does not come.
//!
//! ```text
//! request  ─▶ own + others below the quota, and own not too far ahead of what was told ─▶ own + 1
//! exchange ─▶ "I am at 17" ─▶ the place (Redis) keeps the highest of each gateway ─▶ "together you are at 40" ─▶ others = 23
//! ```
//!
//! **The error.** How far a gateway may be ahead of what it told is its *slack*: a tenth of the quota over the number of
//! gateways, rounded up. Until the place has heard of as many as the quota, less than the quota was told, and each
//! gateway is at most its slack ahead; afterwards each hears that no more is left when it tells the next time. So *a fleet
//! of N lets through less than `quota + N × slack`*; a gateway alone, exactly the quota. A simulation below looks for a
//! schedule that breaks this. Without an answer the slack is a gateway's part of what was left when it last heard.
//!
//! A count belongs to one day or month and says so in the same word, so the first request of a new one begins at zero:
//! nothing has to happen at midnight.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    ProductQuota, TenantId, Timestamp,
    quota::{Period, Span},
};
use parking_lot::Mutex;

use crate::{
    bucket::Level,
    denial::Limit,
    limit::Quota,
    share::{Share, Standing},
};

/// A tenth of a quota is all that a fleet may be wrong by.
const TENTH: u64 = 10;

/// A gateway that is too far ahead has told by then.
const TOLD_IN: Duration = Duration::from_secs(1);

/// What one tenant uses of one product.
#[derive(Debug)]
pub struct Usage {
    tenant: TenantId,
    product: Box<str>,
    day: Counter,
    month: Counter,
}

/// How much of a product a tenant may use, and uses.
#[derive(Debug)]
pub struct CompiledQuota {
    pub(crate) product: Box<str>,
    pub(crate) quota: ProductQuota,
    pub(crate) usage: Arc<Usage>,
}

/// Counts of a day or month. Each word names the one it is of; of any other it is zero.
#[derive(Debug, Default)]
struct Counter {
    /// What this gateway let through.
    own: AtomicU64,
    /// As much of it as the place has.
    told: AtomicU64,
    /// What the others let through, as far as it was heard.
    others: AtomicU64,
    /// As much of `own` as the control API has; nothing before it was asked.
    recorded: AtomicU64,
    /// What `own` was when the day or month before ended, until the control API has it.
    closed: AtomicU64,
}

/// Why a counter lets nothing through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Full {
    /// The quota is used up.
    Used,
    /// Too much was not told yet.
    Ahead,
}

/// The number of a day or month, from 1, and a count: 20 and 44 bits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Word(u64);

impl Word {
    const COUNT: u32 = 44;

    fn new(span: Span, count: u64) -> Self {
        Self(((u64::from(span.number()) + 1) << Self::COUNT) | count.min((1 << Self::COUNT) - 1))
    }

    const fn count(self) -> u64 {
        self.0 & ((1 << Self::COUNT) - 1)
    }

    /// Which day or month; none before the first count.
    fn span(self, period: Period) -> Option<Span> {
        let number = u32::try_from(self.0 >> Self::COUNT).ok()?.checked_sub(1)?;
        Some(Span::numbered(period, number))
    }

    /// Of a later one, or of the same and more.
    const fn is_beyond(self, other: Self) -> bool {
        self.0 > other.0
    }

    fn is_of(self, span: Span) -> bool {
        self.span(span.period()) == Some(span)
    }

    fn count_in(self, span: Span) -> u64 {
        if self.is_of(span) { self.count() } else { 0 }
    }
}

fn word(of: &AtomicU64) -> Word {
    Word(of.load(Ordering::Acquire))
}

impl Counter {
    /// One more, if the quota and the slack allow. Answers how many are left.
    fn take(&self, span: Span, most: Option<u64>, standing: Standing) -> Result<Option<u64>, Full> {
        // In this order: what was told is noted after what was heard with it.
        let told = word(&self.told);
        let others = word(&self.others).count_in(span);
        let mut full = Full::Used;
        let more = |own: u64| {
            let own = Word(own).count_in(span);
            let used = own.saturating_add(others);
            if let Some(most) = most {
                full = Full::Used;
                if used >= most {
                    return None;
                }
                if own.saturating_sub(told.count_in(span))
                    >= slack(most, others + told.count_in(span), told.is_of(span), standing)
                {
                    full = Full::Ahead;
                    return None;
                }
            }
            Some(Word::new(span, own + 1).0)
        };
        match self.own.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(before) => {
                let before = Word(before);
                if !before.is_of(span) && before.count() > 0 {
                    self.closed.store(before.0, Ordering::Release);
                }
                let used = before.count_in(span) + 1 + others;
                Ok(most.map(|most| most.saturating_sub(used)))
            }
            Err(_) => Err(full),
        }
    }

    fn give_back(&self, span: Span) {
        let less = |own: u64| Word(own).count_in(span).checked_sub(1).map(|own| Word::new(span, own).0);
        // Of a day that is over nothing is given back.
        let _ = self.own.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    /// Counts of one span only grow, and a later one stands for itself.
    fn heard_of_others(&self, span: Span, count: u64) {
        let more = |others: u64| {
            let others = Word(others);
            let heard = Word::new(span, count);
            heard.is_beyond(others).then_some(heard.0)
        };
        let _ = self.others.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
    }
}

/// How many a gateway may let through beyond what it told, having heard of `known` in all.
const fn slack(most: u64, known: u64, heard: bool, standing: Standing) -> u64 {
    let gateways = if standing.gateways == 0 { 1 } else { standing.gateways as u64 };
    if standing.answered && (gateways > 1 || !heard) {
        most.div_ceil(TENTH * gateways)
    } else {
        most.saturating_sub(known).div_ceil(gateways)
    }
}

impl Usage {
    fn new(tenant: TenantId, product: &str) -> Self {
        Self { tenant, product: product.into(), day: Counter::default(), month: Counter::default() }
    }

    const fn counter(&self, period: Period) -> &Counter {
        match period {
            Period::Day => &self.day,
            Period::Month => &self.month,
        }
    }
}

impl CompiledQuota {
    /// Counts one request, or says which limit refuses it. `tell` hears what is left of each quota.
    pub(crate) fn spend(
        &self,
        share: &Share,
        standing: Standing,
        now: Timestamp,
        mut tell: impl FnMut(Quota),
    ) -> Result<Spent, Refused> {
        let mut spent = Spent::default();
        for period in Period::ALL {
            let (span, most) = (Span::at(period, now), self.quota.of(period));
            let limit = match period {
                Period::Day => Limit::QuotaOfDay,
                Period::Month => Limit::QuotaOfMonth,
            };
            let quota = |left, wait| {
                let rest = span.ends_at().since(now);
                let window = u32::try_from(span.ends_at().since(span.starts_at()).as_secs()).unwrap_or(u32::MAX);
                let level = Level { left, full_in: rest, wait };
                Quota { limit, size: most.unwrap_or(u64::MAX), window, level }
            };
            match self.usage.counter(period).take(span, most, standing) {
                Ok(left) => {
                    if let Some(left) = left {
                        tell(quota(left, Duration::ZERO));
                    }
                    spent.took(&self.usage, span);
                }
                // What was taken of the day is given back with `spent`.
                Err(Full::Used) => return Err(Refused { quota: quota(0, span.ends_at().since(now)), used_up: true }),
                Err(Full::Ahead) => {
                    share.press_usage();
                    return Err(Refused { quota: quota(0, TOLD_IN), used_up: false });
                }
            }
        }
        Ok(spent)
    }
}

/// Why a request does not fit a quota.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) quota: Quota,
    /// Or this gateway must tell the others first.
    pub(crate) used_up: bool,
}

/// A request that was counted. Dropped before it is [kept](Self::keep), it was refused after all and is given back.
#[must_use = "what is dropped is given back"]
#[derive(Debug, Default)]
pub(crate) struct Spent {
    usage: Option<Arc<Usage>>,
    spans: [Option<Span>; 2],
}

impl Spent {
    fn took(&mut self, usage: &Arc<Usage>, span: Span) {
        if self.usage.is_none() {
            self.usage = Some(Arc::clone(usage));
        }
        if let Some(free) = self.spans.iter_mut().find(|it| it.is_none()) {
            *free = Some(span);
        }
    }

    /// The request is let through: it counts.
    pub(crate) fn keep(mut self) {
        self.usage = None;
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        if let Some(usage) = &self.usage {
            for span in self.spans.into_iter().flatten() {
                usage.counter(span.period()).give_back(span);
            }
        }
    }
}

/// Every usage that a quota was ever seen for, by tenant and product: it goes on through every change of their rows.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<HashMap<TenantId, ByProduct>>);

type ByProduct = HashMap<Box<str>, Arc<Usage>>;

/// One count of this gateway, on its way to whoever keeps it.
#[derive(Clone, Debug)]
pub struct Tally {
    usage: Arc<Usage>,
    /// Of which day or month.
    pub span: Span,
    /// Requests that this gateway let through.
    pub own: u64,
}

impl Ledger {
    pub(crate) fn usage(&self, tenant: TenantId, product: &str) -> Arc<Usage> {
        let mut all = self.0.lock();
        let of_tenant = all.entry(tenant).or_default();
        if let Some(usage) = of_tenant.get(product) {
            return Arc::clone(usage);
        }
        let usage = Arc::new(Usage::new(tenant, product));
        of_tenant.insert(product.into(), Arc::clone(&usage));
        usage
    }

    /// Whether there is any quota.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// What the place has to be told or asked: counts that grew, and those of which it was not asked yet. Of the tenants in
    /// `again` those too that it knew, for one that has lost them.
    pub fn untold(&self, now: Timestamp, again: impl Fn(TenantId) -> bool) -> Vec<Tally> {
        self.tallies(now, |usage, counter, span, own| {
            let told = word(&counter.told);
            !told.is_of(span) || own > told.count() || (own > 0 && again(usage.tenant))
        })
    }

    /// What the control API has to be asked: counts that it was never asked for. With `grown`, those too that it has to be
    /// told.
    pub fn unrecorded(&self, now: Timestamp, grown: bool) -> Vec<Tally> {
        let mut tallies = self.tallies(now, |_, counter, span, own| {
            let recorded = word(&counter.recorded);
            recorded == Word::default() || (grown && own > recorded.count_in(span))
        });
        if grown {
            for usage in self.usages() {
                for period in Period::ALL {
                    let (counter, current) = (usage.counter(period), Span::at(period, now));
                    let (own, closed) = (word(&counter.own), word(&counter.closed));
                    // Of one that is over, whether or not a request has come since.
                    for (over, is_due) in [(closed, true), (own, own.is_beyond(word(&counter.recorded)))] {
                        if let Some(span) = over.span(period).filter(|span| is_due && *span != current) {
                            tallies.push(Tally { usage: Arc::clone(&usage), span, own: over.count() });
                        }
                    }
                }
            }
        }
        tallies
    }

    /// Forgets what no quota names any more and was counted in no month that still goes on.
    pub fn forget(&self, now: Timestamp) {
        let month = Span::at(Period::Month, now);
        let is_needed = |usage: &Arc<Usage>| {
            Arc::strong_count(usage) > 1
                || word(&usage.month.own).is_of(month)
                || word(&usage.month.closed) != Word::default()
        };
        self.0.lock().retain(|_, of_tenant| {
            of_tenant.retain(|_, usage| is_needed(usage));
            !of_tenant.is_empty()
        });
    }

    fn usages(&self) -> Vec<Arc<Usage>> {
        self.0.lock().values().flat_map(HashMap::values).map(Arc::clone).collect()
    }

    fn tallies(&self, now: Timestamp, is_due: impl Fn(&Usage, &Counter, Span, u64) -> bool) -> Vec<Tally> {
        let spans = Period::ALL.map(|period| Span::at(period, now));
        let mut due = Vec::new();
        for usage in self.usages() {
            for span in spans {
                let counter = usage.counter(span.period());
                let own = word(&counter.own).count_in(span);
                if is_due(&usage, counter, span, own) {
                    due.push(Tally { usage: Arc::clone(&usage), span, own });
                }
            }
        }
        due
    }
}

impl Tally {
    /// Whose.
    pub fn tenant(&self) -> TenantId {
        self.usage.tenant
    }

    /// Of which product.
    pub fn product(&self) -> &str {
        &self.usage.product
    }

    /// The place has it: with that of the others it is `total`.
    pub fn told(&self, total: u64) {
        let counter = self.usage.counter(self.span.period());
        // What was given back since it was told is told no second time.
        let told = word(&counter.told).count_in(self.span).max(self.own);
        counter.heard_of_others(self.span, total.saturating_sub(told));
        counter.told.store(Word::new(self.span, told).0, Ordering::Release);
    }

    /// The control API has it, and knows of so much that others let through.
    pub fn recorded(&self, others: u64) {
        let counter = self.usage.counter(self.span.period());
        let closed = Word::new(self.span, self.own).0;
        if counter.closed.compare_exchange(closed, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return;
        }
        counter.heard_of_others(self.span, others);
        // What is recorded of an earlier one says nothing of this.
        counter.recorded.fetch_max(Word::new(self.span, self.own).0, Ordering::AcqRel);
    }

    /// The place has nothing of the control API's record: that is to be asked for it.
    pub fn is_unfounded(&self) {
        self.usage.counter(self.span.period()).recorded.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
