use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const TENANT: TenantId = TenantId::new(Uuid::from_u128(7));
const NOON: Timestamp = Timestamp::from_secs(1_834_920_000);
const DAY: Duration = Duration::from_secs(86_400);

const ALONE: Standing = Standing { gateways: 1, answered: false };

fn of_day(now: Timestamp) -> Span {
    Span::at(Period::Day, now)
}

/// The common place, as Redis plays it: of each gateway the highest.
#[derive(Default)]
struct Place(HashMap<usize, u64>);

impl Place {
    fn keep(&mut self, gateway: usize, own: u64) -> u64 {
        let kept = self.0.entry(gateway).or_default();
        *kept = own.max(*kept);
        self.0.values().sum()
    }
}

struct Gateway {
    ledger: Ledger,
    usage: Arc<Usage>,
    /// An exchange that is on its way: what is told, and what the place answered once it was reached.
    under_way: Option<(Tally, Option<u64>)>,
}

impl Default for Gateway {
    fn default() -> Self {
        let ledger = Ledger::default();
        let usage = ledger.usage(TENANT, "orders");
        Self { ledger, usage, under_way: None }
    }
}

impl Gateway {
    fn day(&self) -> &Counter {
        self.usage.counter(Period::Day)
    }

    fn takes(&self, most: u64, now: Timestamp, standing: Standing) -> bool {
        self.day().take(of_day(now), Some(most), standing).is_ok()
    }

    fn untold(&self, now: Timestamp) -> Option<Tally> {
        self.ledger.untold(now, |_| true).into_iter().find(|tally| tally.span.period() == Period::Day)
    }
}

/// What may happen next at a gateway.
#[derive(Clone, Debug)]
enum Event {
    Requests(usize, u32),
    /// Requests that another stage refuses after they were counted.
    Refused(usize, u32),
    Exchange(usize),
    Lost(usize),
}

fn events(gateways: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..gateways, 1_u32..200).prop_map(|(at, many)| Event::Requests(at, many)),
        1 => (0..gateways, 1_u32..20).prop_map(|(at, many)| Event::Refused(at, many)),
        6 => (0..gateways).prop_map(Event::Exchange),
        1 => (0..gateways).prop_map(Event::Lost),
    ];
    proptest::collection::vec(event, 1..400)
}

/// Runs a schedule over a fleet; answers how many requests it let through.
fn through(most: u64, gateways: usize, answered: bool, events: Vec<Event>) -> u64 {
    let standing = Standing { gateways: u32::try_from(gateways).unwrap(), answered };
    let mut fleet: Vec<Gateway> = (0..gateways).map(|_| Gateway::default()).collect();
    let mut place = Place::default();
    let mut through = 0;
    for event in events {
        match event {
            Event::Requests(at, many) => {
                through += (0..many).filter(|_| fleet[at].takes(most, NOON, standing)).count() as u64;
            }
            Event::Refused(at, many) => {
                for _ in 0..many {
                    if fleet[at].takes(most, NOON, standing) {
                        fleet[at].day().give_back(of_day(NOON));
                    }
                }
            }
            // One step of an exchange: leave, arrive, come back.
            Event::Exchange(at) => {
                let gateway = &mut fleet[at];
                match gateway.under_way.take() {
                    None => gateway.under_way = gateway.untold(NOON).map(|tally| (tally, None)),
                    Some((tally, None)) => {
                        let total = place.keep(at, tally.own);
                        gateway.under_way = Some((tally, Some(total)));
                    }
                    Some((tally, Some(total))) => tally.told(total),
                }
            }
            // The answer does not come, whether or not the place had counted.
            Event::Lost(at) => fleet[at].under_way = None,
        }
    }
    through
}

fn schedules() -> impl Strategy<Value = (u64, usize, Vec<Event>)> {
    (1_u64..500, 1_usize..6).prop_flat_map(|(most, n)| (Just(most), Just(n), events(n)))
}

proptest! {
    /// The claim of the module's head, for every schedule of requests, exchanges and lost answers.
    #[test]
    fn a_fleet_never_lets_through_more_than_the_stated_error((most, gateways, events) in schedules()) {
        let n = gateways as u64;
        let slack = most.div_ceil(TENTH * n);
        let bound = if n == 1 { most } else { most + n * slack - 1 };
        let through = through(most, gateways, true, events);
        prop_assert!(through <= bound, "{through} of {most}, at most {bound}");
    }

    #[test]
    fn without_answers_a_fleet_lets_through_less_than_twice_the_quota((most, gateways, events) in schedules()) {
        let n = gateways as u64;
        let bound = if n == 1 { most } else { most + n * most.div_ceil(n) - 1 };
        prop_assert!(through(most, gateways, false, events) <= bound);
    }
}

#[test]
fn one_gateway_with_all_the_traffic_gets_all_of_the_quota() {
    let standing = Standing { gateways: 3, answered: true };
    let (gateway, mut place) = (Gateway::default(), Place::default());
    let mut through = 0;
    for _ in 0..100 {
        through += (0..50).filter(|_| gateway.takes(1_000, NOON, standing)).count();
        let tally = gateway.untold(NOON).unwrap();
        let total = place.keep(0, tally.own);
        tally.told(total);
    }
    assert_eq!(through, 1_000, "and not one more, for what it told itself it knows");
}

#[test]
fn gateways_that_never_hear_of_each_other_keep_to_their_parts() {
    let standing = Standing { gateways: 4, answered: false };
    let through: usize =
        (0..4).map(|_| Gateway::default()).map(|it| (0..500).filter(|_| it.takes(100, NOON, standing)).count()).sum();
    assert_eq!(through, 100);
}

#[test]
fn a_new_day_begins_at_zero_and_the_old_one_is_still_told_of() {
    let gateway = Gateway::default();
    let (eve, midnight) = (NOON, Timestamp::from_secs(NOON.secs().div_euclid(86_400) * 86_400 + 86_400));
    assert_eq!((0..10).filter(|_| gateway.takes(3, eve, ALONE)).count(), 3);
    assert!(!gateway.takes(3, midnight - Duration::from_millis(1), ALONE));
    assert!(gateway.takes(3, midnight, ALONE), "the clock alone ends a day");
    let recorded = gateway.ledger.unrecorded(midnight, true);
    let days: Vec<_> =
        recorded.iter().filter(|it| it.span.period() == Period::Day).map(|it| (it.span, it.own)).collect();
    assert_eq!(days, [(of_day(midnight), 1), (of_day(eve), 3)]);
    recorded.iter().for_each(|tally| tally.recorded(0));
    assert!(gateway.ledger.unrecorded(midnight, true).is_empty(), "each is told once");
}

#[test]
fn what_others_used_of_yesterday_is_nothing_today() {
    let gateway = Gateway::default();
    gateway.untold(NOON).into_iter().for_each(|tally| tally.told(0));
    assert!(gateway.takes(5, NOON, ALONE));
    gateway.untold(NOON).unwrap().told(5);
    assert!(!gateway.takes(5, NOON, ALONE), "four of others");
    assert_eq!((0..10).filter(|_| gateway.takes(5, NOON + DAY, ALONE)).count(), 5);
}

#[test]
fn what_is_heard_late_or_from_a_place_that_forgot_takes_nothing_back() {
    let gateway = Gateway::default();
    assert!(gateway.takes(10, NOON, ALONE));
    let tally = gateway.untold(NOON).unwrap();
    tally.told(10);
    assert!(!gateway.takes(10, NOON, ALONE));
    tally.told(1);
    tally.recorded(0);
    assert!(!gateway.takes(10, NOON, ALONE));
    assert!(gateway.takes(11, NOON, ALONE), "a larger quota is in force with the next request");
}

#[test]
fn what_is_given_back_is_there_for_the_next() {
    let gateway = Gateway::default();
    let quota = CompiledQuota {
        product: "orders".into(),
        quota: ProductQuota { per_day: Some(5), per_month: Some(2) },
        usage: Arc::clone(&gateway.usage),
    };
    let share = Share::default();
    let spend = || quota.spend(&share, ALONE, NOON, |_| ());
    drop(spend().unwrap());
    for _ in 0..2 {
        spend().unwrap().keep();
    }
    let refused = spend().map(Spent::keep).unwrap_err();
    assert!(refused.used_up);
    assert_eq!((refused.quota.limit, refused.quota.size), (Limit::QuotaOfMonth, 2));
    let own = |period| word(&gateway.usage.counter(period).own).count();
    assert_eq!((own(Period::Day), own(Period::Month)), (2, 2), "what the month refuses the day gets back");
}

#[test]
fn parallel_takers_never_get_more_than_the_quota() {
    let gateway = Gateway::default();
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    if gateway.takes(777, NOON, ALONE) {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(taken.into_inner(), 777);
}

#[test]
fn a_usage_is_kept_for_its_month_and_while_a_quota_names_it() {
    let ledger = Ledger::default();
    let usage = ledger.usage(TENANT, "orders");
    ledger.forget(NOON);
    assert!(!ledger.is_empty(), "a row names it");
    let month = Span::at(Period::Month, NOON);
    usage.month.take(month, Some(1), ALONE).unwrap();
    drop(usage);
    ledger.forget(NOON);
    assert!(!ledger.is_empty(), "a quota that comes back goes on where it was");
    ledger.forget(month.ends_at());
    assert!(ledger.is_empty());
}

#[test]
fn the_last_requests_of_a_day_are_told_though_none_comes_after_them() {
    let gateway = Gateway::default();
    gateway.ledger.unrecorded(NOON, true).iter().for_each(|tally| tally.recorded(0));
    assert!(gateway.takes(5, NOON, ALONE));
    let tomorrow = NOON + DAY;
    let due = gateway.ledger.unrecorded(tomorrow, true);
    assert_eq!(due.iter().map(|it| (it.span, it.own)).collect::<Vec<_>>(), [(of_day(NOON), 1)]);
    due.iter().for_each(|tally| tally.recorded(7));
    assert!(gateway.ledger.unrecorded(tomorrow, true).is_empty(), "once");
    assert_eq!((0..10).filter(|_| gateway.takes(5, tomorrow, ALONE)).count(), 5, "what others used yesterday is over");
}

#[test]
fn what_is_heard_of_yesterday_changes_nothing_of_today() {
    let gateway = Gateway::default();
    assert!(gateway.takes(5, NOON, ALONE));
    let yesterday = gateway.untold(NOON).unwrap();
    assert!(gateway.takes(5, NOON + DAY, ALONE));
    gateway.untold(NOON + DAY).unwrap().told(5);
    assert!(!gateway.takes(5, NOON + DAY, ALONE), "four of others");
    yesterday.recorded(100);
    assert!(!gateway.takes(5, NOON + DAY, ALONE));
}
