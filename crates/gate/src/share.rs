//! One limit over a fleet of gateways, without asking anybody while a request waits.
//!
//! Each gateway counts by itself, in its own copy of the fleet's bucket. Beside the requests, every half second or as
//! soon as there is much to tell, it tells a common place what it let through, and learns what the bucket owes by now:
//!
//! ```text
//! request ─▶ own copy has one, and less than the slack is untold ─▶ untold + 1
//! exchange: untold ─▶ fleet's bucket (Redis) ─▶ what it owes, how many gateways there are ─▶ own copy
//! ```
//!
//! The **slack** is the burst over the number of gateways, rounded up. It bounds what a gateway lets through without the
//! others knowing, and with it the error: *in any stretch of time of length t a fleet of N lets through at most
//! `burst + rps × t + N × slack`*, that is less than one burst and N requests more than one gateway alone would. What is
//! too much is owed, and is waited for afterwards: over longer times the rate is exact. A simulation below looks for a
//! schedule that breaks this.
//!
//! Without an answer for [`PATIENCE`] a gateway keeps to its part: the same limit, divided by the number of gateways that
//! there were. Each time the common place is lost or comes back, one more burst may be let through.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{ApiKeyId, BootInstant, RouteId, TenantId, snapshot::RateLimit};
use parking_lot::Mutex;

use crate::bucket::{Bucket, Level, Pace};

/// How long an answer of the common place is good.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Whose bucket it is, by a name that all gateways of a fleet give it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ShareKey {
    /// A tenant's principals.
    Tenant {
        /// The tenant.
        tenant: TenantId,
    },
    /// A principal in its tenant.
    Principal {
        /// The tenant.
        tenant: TenantId,
        /// The principal, as [`crate::identity::Principal::number`] has it.
        principal: u128,
    },
    /// An API key.
    Key {
        /// The tenant.
        tenant: TenantId,
        /// The key.
        key: ApiKeyId,
    },
    /// A tenant on one route.
    Route {
        /// The tenant.
        tenant: TenantId,
        /// The route.
        route: RouteId,
    },
}

/// As part of a key's name in the common place.
impl fmt::Display for ShareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant { tenant } => write!(f, "tenant:{tenant}"),
            Self::Principal { tenant, principal } => write!(f, "principal:{tenant}:{principal:032x}"),
            Self::Key { tenant, key } => write!(f, "key:{tenant}:{key}"),
            Self::Route { tenant, route } => write!(f, "route:{tenant}:{route}"),
        }
    }
}

/// What was let through and not told yet.
#[derive(Debug)]
pub struct Untold {
    /// Whose bucket.
    pub key: ShareKey,
    /// Its limit, as the last request found it.
    pub limit: RateLimit,
    /// How many requests.
    pub requests: u32,
    bucket: Arc<Bucket>,
}

impl Untold {
    /// By how much this moves the fleet's bucket.
    pub fn cost(&self) -> Duration {
        Duration::from_nanos(Pace::of(self.limit).interval().saturating_mul(self.requests.into()))
    }

    /// The most that the bucket of a fleet of so many can owe. More is what was told twice, or owed to a lower limit.
    pub fn most(&self, gateways: u32) -> Duration {
        Duration::from_nanos(Pace::of(self.limit).of_fleet(gateways).most())
    }
}

/// This gateway's side of the exchange.
#[derive(Debug, Default)]
pub struct Share {
    /// Gateways of the fleet with this one; 0 while limits are this gateway's alone.
    gateways: AtomicU32,
    /// What is known of the others is good until then.
    good_until: AtomicU64,
    /// Some bucket has used up half of its slack.
    pressing: AtomicBool,
    /// Some count of what is used under a quota is its slack ahead.
    usage_pressing: AtomicBool,
    untold: Mutex<Vec<Untold>>,
}

/// How a gateway stands to the rest of its fleet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Gateways with this one.
    pub(crate) gateways: u32,
    /// What is known of the others is good.
    pub(crate) answered: bool,
}

impl Share {
    /// From now on limits are the fleet's. Until the first answer this gateway keeps to its part of `gateways`.
    pub fn begin(&self, gateways: u32) {
        self.gateways.store(gateways.max(1), Ordering::Relaxed);
    }

    /// Whether an exchange would let requests through that would otherwise be refused. Asking resets it.
    pub fn is_pressing(&self) -> bool {
        self.pressing.swap(false, Ordering::Relaxed)
    }

    /// Whether telling of what is used would let requests through that would otherwise be refused. Asking resets it.
    pub fn is_usage_pressing(&self) -> bool {
        self.usage_pressing.swap(false, Ordering::Relaxed)
    }

    /// What is used has to be told.
    pub(crate) fn press_usage(&self) {
        self.usage_pressing.store(true, Ordering::Relaxed);
    }

    /// An exchange would let requests through.
    fn press(&self) {
        self.pressing.store(true, Ordering::Relaxed);
    }

    /// How this gateway stands at `now`, one of `alone` while limits are not shared.
    pub(crate) fn standing(&self, now: BootInstant, alone: u32) -> Standing {
        match self.gateways.load(Ordering::Relaxed) {
            0 => Standing { gateways: alone, answered: false },
            gateways => Standing { gateways, answered: now.nanos() < self.good_until.load(Ordering::Relaxed) },
        }
    }

    /// What there is to tell. Each comes back by [`Share::told`] or [`Share::not_told`].
    pub fn take_untold(&self) -> Vec<Untold> {
        let mut taken = std::mem::take(&mut *self.untold.lock());
        for it in &mut taken {
            it.requests = it.bucket.untold.load(Ordering::Relaxed);
        }
        taken
    }

    /// The common place has counted these requests: at `now` the fleet's bucket owes so much.
    pub fn told(&self, it: Untold, owed: Duration, now: BootInstant) {
        let before = it.bucket.untold.fetch_sub(it.requests, Ordering::AcqRel);
        let rest = before.saturating_sub(it.requests);
        let own = Pace::of(it.limit).interval().saturating_mul(rest.into());
        let owed = u64::try_from(owed.as_nanos()).unwrap_or(u64::MAX);
        it.bucket.owes(owed.saturating_add(own), now);
        it.bucket.listed.store(false, Ordering::Release);
        if it.bucket.untold.load(Ordering::Acquire) > 0 {
            self.list(it);
        }
    }

    /// Each bucket stands in the list once.
    fn list(&self, it: Untold) {
        if !it.bucket.listed.swap(true, Ordering::AcqRel) {
            self.untold.lock().push(it);
        }
    }

    /// How many gateways share limits, with this one.
    pub fn gateways(&self) -> u32 {
        self.gateways.load(Ordering::Relaxed)
    }

    /// Whether it has counted them is not known: they are told again. Telling twice refuses too much, at most until the
    /// bucket has given what it can owe at all ([`Untold::most`]), and never too little.
    pub fn not_told(&self, them: Vec<Untold>) {
        self.untold.lock().extend(them);
    }

    /// The common place answered the question of `asked`, and knows of so many gateways.
    pub fn heard(&self, gateways: u32, asked: BootInstant) {
        self.gateways.store(gateways.max(1), Ordering::Relaxed);
        self.good_until.store((asked + PATIENCE).nanos(), Ordering::Relaxed);
    }

    /// Takes one request's worth of a bucket.
    pub(crate) fn take(
        &self,
        key: ShareKey,
        bucket: &Arc<Bucket>,
        limit: RateLimit,
        now: BootInstant,
    ) -> Result<Level, Level> {
        let gateways = self.gateways.load(Ordering::Relaxed);
        if gateways == 0 {
            return bucket.take(limit, now);
        }
        let pace = Pace::of(limit).of_fleet(gateways);
        if now.nanos() >= self.good_until.load(Ordering::Relaxed) {
            return bucket.step(pace.among(gateways), now);
        }
        let slack = slack(limit, gateways);
        let too_much = || {
            self.press();
            Level::default()
        };
        if bucket.untold.load(Ordering::Relaxed) >= slack {
            return Err(too_much());
        }
        let level = bucket.step(pace, now)?;
        let more = |untold: u32| (untold < slack).then(|| untold + 1);
        let before = bucket.untold.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).map_err(|_| too_much())?;
        if !bucket.listed.load(Ordering::Acquire) {
            self.list(Untold { key, limit, requests: 0, bucket: Arc::clone(bucket) });
        }
        if before + 1 >= slack.div_ceil(2) {
            self.press();
        }
        Ok(level)
    }
}

/// What one of so many gateways may let through without the others knowing.
pub const fn slack(limit: RateLimit, gateways: u32) -> u32 {
    let burst = if limit.burst == 0 { 1 } else { limit.burst };
    burst.div_ceil(if gateways == 0 { 1 } else { gateways })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const KEY: ShareKey = ShareKey::Tenant { tenant: TenantId::new(Uuid::nil()) };

    /// The common place, as Redis plays it.
    #[derive(Default)]
    struct Place {
        due: u64,
    }

    impl Place {
        fn count(&mut self, untold: &[Untold], gateways: u32, now: BootInstant) -> Duration {
            for it in untold {
                let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
                let due = self.due.max(now.nanos()) + nanos(it.cost());
                self.due = due.min(now.nanos() + nanos(it.most(gateways)));
            }
            Duration::from_nanos(self.due.saturating_sub(now.nanos()))
        }
    }

    #[derive(Default)]
    struct Gateway {
        share: Share,
        bucket: Arc<Bucket>,
        /// An exchange that is on its way: what is told, and what the place answered once it was reached.
        under_way: Option<(Vec<Untold>, Option<Duration>)>,
    }

    /// What may happen next at a gateway, after so many milliseconds.
    #[derive(Clone, Debug)]
    enum Event {
        Requests(usize, u32),
        Exchange(usize),
        Lost(usize),
    }

    fn events(gateways: usize) -> impl Strategy<Value = Vec<(u64, Event)>> {
        let event = prop_oneof![
            3 => (0..gateways, 1_u32..400).prop_map(|(at, many)| Event::Requests(at, many)),
            6 => (0..gateways).prop_map(Event::Exchange),
            1 => (0..gateways).prop_map(Event::Lost),
        ];
        proptest::collection::vec((0_u64..40, event), 1..300)
    }

    fn fleet(gateways: usize, now: BootInstant) -> Vec<Gateway> {
        let fleet: Vec<Gateway> = (0..gateways).map(|_| Gateway::default()).collect();
        for gateway in &fleet {
            gateway.share.begin(1);
            gateway.share.heard(u32::try_from(gateways).unwrap(), now + Duration::from_secs(3600));
        }
        fleet
    }

    proptest! {
        /// The claim of this module's head, for every schedule: a bucket that holds the burst and all slack is never
        /// overdrawn by what the fleet lets through.
        #[test]
        fn a_fleet_never_lets_through_more_than_the_stated_error(
            limit in (1_u32..300, 1_u32..200).prop_map(|(rps, burst)| RateLimit { rps, burst }),
            (gateways, events) in (1_usize..6).prop_flat_map(|n| (Just(n), events(n))),
        ) {
            let mut now = BootInstant::from_nanos(1_000_000_000);
            let mut fleet = fleet(gateways, now);
            let mut place = Place::default();
            let many = u32::try_from(gateways).unwrap();
            let most = RateLimit { rps: limit.rps, burst: limit.burst + many * slack(limit, many) };
            let reference = Bucket::default();
            for (millis, event) in events {
                now = now + Duration::from_millis(millis);
                match event {
                    Event::Requests(at, count) => {
                        let Gateway { share, bucket, .. } = &fleet[at];
                        for _ in 0..count {
                            if share.take(KEY, bucket, limit, now).is_ok() {
                                prop_assert!(reference.take(most, now).is_ok(), "more than {most:?}");
                            }
                        }
                    }
                    // One step of an exchange: leave, arrive, come back.
                    Event::Exchange(at) => {
                        let gateway = &mut fleet[at];
                        match gateway.under_way.take() {
                            None => gateway.under_way = Some((gateway.share.take_untold(), None)),
                            Some((untold, None)) => {
                                let owed = place.count(&untold, many, now);
                                gateway.under_way = Some((untold, Some(owed)));
                            }
                            Some((untold, Some(owed))) => {
                                untold.into_iter().for_each(|it| gateway.share.told(it, owed, now));
                            }
                        }
                    }
                    // The answer does not come, whether or not the place had counted.
                    Event::Lost(at) => {
                        if let Some((untold, _)) = fleet[at].under_way.take() {
                            fleet[at].share.not_told(untold);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_too_much_is_waited_for() {
        let limit = RateLimit { rps: 10, burst: 10 };
        let now = BootInstant::from_nanos(1_000_000_000);
        let (fleet, mut place) = (fleet(2, now), Place::default());
        let mut through = 0;
        let mut at = now;
        for _ in 0..200 {
            for Gateway { share, bucket, .. } in &fleet {
                through += (0..20).filter(|_| share.take(KEY, bucket, limit, at).is_ok()).count();
                for it in share.take_untold() {
                    let owed = place.count(std::slice::from_ref(&it), 2, at);
                    share.told(it, owed, at);
                }
            }
            at = at + Duration::from_millis(100);
        }
        assert!((200..=220).contains(&through), "{through} in twenty seconds");
    }

    #[test]
    fn one_gateway_with_all_the_traffic_gets_all_of_the_rate() {
        let limit = RateLimit { rps: 100, burst: 40 };
        let now = BootInstant::from_nanos(1_000_000_000);
        let (fleet, mut place) = (fleet(4, now), Place::default());
        let Gateway { share, bucket, .. } = &fleet[0];
        let mut at = now;
        let mut through = 0;
        for _ in 0..400 {
            through += (0..3).filter(|_| share.take(KEY, bucket, limit, at).is_ok()).count();
            if share.is_pressing() {
                for it in share.take_untold() {
                    let owed = place.count(std::slice::from_ref(&it), 4, at);
                    share.told(it, owed, at);
                }
            }
            at = at + Duration::from_millis(25);
        }
        assert!((1_000..=1_045).contains(&through), "{through} in ten seconds");
    }

    /// A place that was too slow runs every exchange that was given up.
    #[test]
    fn what_is_told_again_and_again_is_owed_up_to_what_can_be_owed() {
        let limit = RateLimit { rps: 10, burst: 10 };
        let now = BootInstant::from_nanos(1_000_000_000);
        let (fleet, mut place) = (fleet(2, now), Place::default());
        let Gateway { share, bucket, .. } = &fleet[0];
        while share.take(KEY, bucket, limit, now).is_ok() {}
        for _ in 0..1_000 {
            let untold = share.take_untold();
            place.count(&untold, 2, now);
            share.not_told(untold);
        }
        for it in share.take_untold() {
            let owed = place.count(std::slice::from_ref(&it), 2, now);
            assert!(owed <= Duration::from_millis(100 * (2 * 10 + 2)), "{owed:?}");
            share.told(it, owed, now);
        }
        let later = now + Duration::from_millis(100 * (10 + 3));
        assert!(share.take(KEY, bucket, limit, later).is_ok(), "a burst and what others may be ahead is waited for");
    }

    #[test]
    fn a_higher_limit_is_not_held_to_what_a_lower_one_owed() {
        let (low, high) = (RateLimit { rps: 1, burst: 1_000 }, RateLimit { rps: 100, burst: 10 });
        let now = BootInstant::from_nanos(1_000_000_000);
        let fleet = fleet(1, now);
        let Gateway { share, bucket, .. } = &fleet[0];
        while share.take(KEY, bucket, low, now).is_ok() {}
        share.take_untold().into_iter().for_each(|it| share.told(it, Duration::from_secs(1_000), now));
        assert!(share.take(KEY, bucket, low, now + Duration::from_millis(300)).is_err());
        assert!(share.take(KEY, bucket, high, now + Duration::from_millis(300)).is_err(), "a burst is owed");
        assert!(share.take(KEY, bucket, high, now + Duration::from_millis(600)).is_ok(), "not in a quarter of an hour");
    }

    #[test]
    fn without_an_answer_each_keeps_to_its_part() {
        let limit = RateLimit { rps: 10, burst: 10 };
        let fleet: Vec<Gateway> = (0..2).map(|_| Gateway::default()).collect();
        let now = BootInstant::from_nanos(1_000_000_000);
        let mut through = 0;
        for Gateway { share, bucket, .. } in &fleet {
            share.begin(2);
            for step in 0..1_000 {
                through += usize::from(share.take(KEY, bucket, limit, now + Duration::from_millis(10 * step)).is_ok());
            }
            assert!(share.take_untold().is_empty(), "nothing to tell of one's own part");
        }
        assert!((100..=112).contains(&through), "{through} in ten seconds");
    }

    #[test]
    fn a_gateway_alone_has_nothing_to_tell() {
        let gateway = Gateway::default();
        assert!(
            gateway.share.take(KEY, &gateway.bucket, RateLimit { rps: 1, burst: 1 }, BootInstant::default()).is_ok()
        );
        assert!(gateway.share.take_untold().is_empty());
        assert!(!gateway.share.is_pressing());
    }
}
