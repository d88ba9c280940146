//! Quotas of products: what counts, what does not, and when it begins anew.

use std::time::Duration;

use domain::{
    Clock, Permission, ProductQuota, Timestamp,
    quota::{Period, Span},
    snapshot::{Access, Entity, Tenant, TenantStatus},
};
use futures::FutureExt as _;
use gate::{Quota, Stop, Trace, denial::Limit};

use crate::world::{ADMIN, MEMBER, Sent, World, hostname, id, route, tenant};

const DAY: Duration = Duration::from_secs(86_400);

fn quota(per_day: impl Into<Option<u64>>, per_month: impl Into<Option<u64>>) -> ProductQuota {
    ProductQuota { per_day: per_day.into(), per_month: per_month.into() }
}

fn row(world: &World, quota: Option<ProductQuota>) -> Tenant {
    let quotas = quota.map(|quota| ("crm".to_owned(), quota)).into_iter().collect();
    Tenant { quotas, ..tenant(1, world.acme.project, "acme") }
}

fn with(quota: ProductQuota) -> World {
    let world = World::new();
    world.put_one(Entity::Tenant(row(&world, Some(quota))));
    world
}

fn crm(world: &World, user: u128) -> Sent {
    Sent::get("acme.localhost", "/crm").bearer(&world.token(&world.acme, user))
}

fn codes<const N: usize>(world: &World, sent: &Sent) -> [&'static str; N] {
    [(); N].map(|()| world.code(sent))
}

fn closest(world: &World, sent: &Sent) -> Quota {
    let mut trace = Trace::default();
    drop(world.gate.decide(&sent.head(), &world.clock, &mut trace).now_or_never());
    trace.quota.unwrap()
}

fn at(text: &str) -> Timestamp {
    serde_json::from_value(serde_json::json!(text)).unwrap()
}

#[test]
fn a_tenants_quota_is_for_all_its_principals_and_for_its_product_only() {
    let world = with(quota(3, None));
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["permit", "permit"]);
    assert_eq!(codes(&world, &crm(&world, ADMIN)), ["permit", "quota_exceeded"]);
    assert_eq!(world.code(&crm(&world, MEMBER)), "quota_exceeded");
    assert_eq!(world.denial(&crm(&world, MEMBER)).to_string(), "the tenant's quota of the day is used up");
    let me = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    assert_eq!(world.code(&me), "permit", "a route without the product");
}

#[test]
fn a_day_ends_at_midnight_of_utc_and_a_month_with_its_last_day() {
    for (from, last_day) in [
        ("2028-02-27T12:00:00Z", "2028-02-29"),
        ("2027-02-27T12:00:00Z", "2027-02-28"),
        ("2026-12-30T12:00:00Z", "2026-12-31"),
    ] {
        let world = with(quota(1, 2));
        world.clock.set_unix(at(from));
        let mut days = Vec::new();
        for _ in 0..4 {
            world.prove();
            let now = world.clock.unix_now();
            days.push((Span::at(Period::Day, now).to_string(), codes::<2>(&world, &crm(&world, MEMBER))));
            world.clock.set_unix(now + DAY);
        }
        let permits = |day: &(String, [&str; 2])| day.1.iter().filter(|code| **code == "permit").count();
        let over = days.iter().position(|day| day.0 == last_day).unwrap();
        for (position, day) in days.iter().enumerate() {
            // Two in the month that ends, one a day; then a new month.
            let expected = usize::from(position < 2 || position > over);
            assert_eq!(permits(day), expected, "{from}: {days:?}");
        }
    }
}

#[test]
fn who_is_refused_by_anything_uses_nothing() {
    let world = World::new();
    let needs = |text: &str| Access::Permission(text.parse::<Permission>().unwrap());
    let mut host = hostname(20, "acme.localhost", world.acme.project, Some(world.acme.tenant));
    host.routes = vec![
        domain::snapshot::Route {
            product: Some("crm".into()),
            upstream_id: Some(id(300)),
            ..route(91, "/crm/secret", &["GET"], needs("demo:secret:get"))
        },
        domain::snapshot::Route {
            product: Some("crm".into()),
            upstream_id: Some(id(300)),
            ..route(92, "/crm/public", &["GET"], Access::Public)
        },
    ];
    let quota = quota(2, None);
    world.put(vec![Entity::Tenant(row(&world, Some(quota))), Entity::Hostname(host)]);
    let token = world.token(&world.acme, MEMBER);
    let secret = Sent::get("acme.localhost", "/crm/secret").bearer(&token);
    let public = Sent::get("acme.localhost", "/crm/public");
    assert_eq!(codes(&world, &secret), ["permission_denied"; 5]);
    assert_eq!(codes(&world, &public), ["permit"; 5], "strangers do not use what the tenant has");
    world.put_one(Entity::Tenant(Tenant { status: TenantStatus::Suspended, ..row(&world, Some(quota)) }));
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["tenant_suspended"; 5]);
    let full = domain::Admission { in_flight: Some(1), ..Default::default() };
    world.put_one(Entity::Tenant(Tenant { admission: full, ..row(&world, Some(quota)) }));
    let held = world.send(&crm(&world, MEMBER)).unwrap();
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["concurrency_limited"; 5]);
    drop(held);
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["permit", "quota_exceeded"]);
}

#[test]
fn another_quota_is_in_force_at_once_and_goes_on_from_what_was_used() {
    let world = with(quota(2, None));
    let change = |quota| drop(world.put_one(Entity::Tenant(row(&world, quota))));
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["permit", "permit", "quota_exceeded"]);
    change(Some(quota(4, None)));
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["permit", "permit", "quota_exceeded"]);
    change(Some(quota(None, 5)));
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["permit", "quota_exceeded"], "the month was counted all along");
    change(None);
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["permit", "permit"]);
    change(Some(quota(5, None)));
    assert_eq!(world.code(&crm(&world, MEMBER)), "quota_exceeded");
    let other = Tenant { quotas: [("erp".to_owned(), quota(1, 1))].into(), ..row(&world, None) };
    world.put_one(Entity::Tenant(other));
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["permit", "permit"], "of another product");
}

#[test]
fn an_entitlement_that_ends_is_no_matter_of_quotas() {
    let world = World::new();
    let end = world.clock.unix_now() + Duration::from_secs(60);
    let products = [("crm".to_owned(), Some(end))].into();
    world.put_one(Entity::Tenant(Tenant { products, ..row(&world, Some(quota(2, None))) }));
    assert_eq!(world.code(&crm(&world, MEMBER)), "permit");
    world.clock.set_unix(end);
    assert_eq!(codes(&world, &crm(&world, MEMBER)), ["entitlement_missing"; 3]);
}

#[test]
fn a_refusal_tells_when_the_quota_is_there_again() {
    let world = with(quota(10, 4));
    world.clock.set_unix(at("2028-02-29T22:00:00Z"));
    let sent = crm(&world, MEMBER);
    let found = closest(&world, &sent);
    assert_eq!((found.limit, found.size, found.level.left), (Limit::QuotaOfMonth, 4, 3), "the scarcer of both");
    assert_eq!(found.window, 29 * 86_400);
    assert_eq!((found.level.full_in, found.level.wait), (Duration::from_secs(7_200), Duration::ZERO));
    while world.send(&sent).is_ok() {}
    let refused = closest(&world, &sent);
    assert_eq!(
        (refused.limit, refused.level.left, refused.level.wait),
        (Limit::QuotaOfMonth, 0, Duration::from_secs(7_200))
    );
}

#[test]
fn a_gateway_that_is_too_far_ahead_of_its_fleet_tells_before_it_goes_on() {
    let world = with(quota(40, None));
    let share = world.gate.share();
    share.begin(2);
    share.heard(2, world.clock.boot_now());
    let sent = crm(&world, MEMBER);
    assert_eq!(codes(&world, &sent), ["permit", "permit", "rate_limited"], "not used up, but two were not told");
    assert_eq!(closest(&world, &sent).level.wait, Duration::from_secs(1));
    assert!(share.is_usage_pressing());
    for tally in world.gate.snapshot().ledger().untold(world.clock.unix_now(), |_| false) {
        // The others are at 36.
        tally.told(38);
    }
    assert_eq!(codes(&world, &sent), ["permit", "permit", "quota_exceeded"]);
}

#[test]
fn a_warm_decision_under_a_quota_allocates_nothing() {
    let world = with(quota(1_000, 10_000));
    let sent = crm(&world, MEMBER);
    let head = sent.head();
    let decide = || {
        let decided = world.gate.decide(&head, &world.clock, &mut Trace::default()).now_or_never();
        matches!(decided, Some(Ok(_)))
    };
    assert!(decide(), "warms up");
    let mut permitted = false;
    let info = allocation_counter::measure(|| permitted = decide());
    assert!(permitted);
    assert_eq!(info.count_total, 0);
}

#[test]
fn a_refusal_is_a_429() {
    let world = with(quota(1, None));
    let sent = crm(&world, MEMBER);
    assert_eq!(world.code(&sent), "permit");
    let Err(Stop::Deny(denial)) = world.send(&sent) else { panic!("it is used up") };
    assert_eq!((denial.public().0.as_u16(), denial.public().1), (429, "quota_exceeded"));
}
