//! Limits of principals, what is left of limits, and whose address counts.

use std::time::Duration;

use domain::{
    BootInstant,
    snapshot::{Entity, RateLimit, Tenant},
};
use futures::FutureExt as _;
use gate::{GateConfig, Quota, Trace, denial::Limit};

use crate::world::{ADMIN, MEMBER, Sent, World, tenant};

fn quota(world: &World, sent: &Sent) -> Option<Quota> {
    let mut trace = Trace::default();
    drop(world.gate.decide(&sent.head(), &world.clock, &mut trace).now_or_never());
    trace.quota
}

#[test]
fn each_principal_has_a_limit_of_its_own_over_all_of_its_tokens() {
    let world = World::with_config(GateConfig {
        principal_limit: Some(RateLimit { rps: 1, burst: 2 }),
        ..GateConfig::default()
    });
    let me = |user| Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, user));
    // Two tokens of one user.
    let (one, other) = (me(MEMBER), {
        let claims = world.claims(&world.acme, MEMBER).set("jti", uuid::Uuid::new_v4());
        Sent::get("acme.localhost", "/me").bearer(&world.acme.issuer.mint(claims))
    });
    assert_eq!([world.code(&one), world.code(&other), world.code(&one)], ["permit", "permit", "rate_limited"]);
    assert_eq!(world.denial(&other).to_string(), "too many requests (principal)");
    assert_eq!(world.code(&me(ADMIN)), "permit", "another principal's use is its own");
    assert_eq!(world.code(&Sent::get("acme.localhost", "/public/x")), "permit", "strangers are no principals");
}

#[test]
fn a_tenants_limit_for_its_principals_stands_before_the_gateways() {
    let world = World::new();
    let row =
        Tenant { principal_rate_limit: Some(RateLimit { rps: 1, burst: 1 }), ..tenant(1, world.acme.project, "acme") };
    world.put_one(Entity::Tenant(row));
    let me = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    assert_eq!([world.code(&me), world.code(&me)], ["permit", "rate_limited"]);
}

#[test]
fn a_decision_tells_the_limit_that_it_came_closest_to() {
    let world = World::with_config(GateConfig {
        tenant_limit: RateLimit { rps: 100, burst: 100 },
        principal_limit: Some(RateLimit { rps: 10, burst: 5 }),
        ..GateConfig::default()
    });
    let me = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    let found = quota(&world, &me).unwrap();
    assert_eq!((found.limit, found.size, found.level.left), (Limit::Principal, 5, 4));
    assert_eq!(found.level.full_in, Duration::from_millis(100));
    let stranger = quota(&world, &Sent::get("acme.localhost", "/public/x")).unwrap();
    assert_eq!((stranger.limit, stranger.level.left), (Limit::Stranger, 49), "half of the tenant's, less one");
    assert_eq!(quota(&world, &Sent::get("unknown.localhost", "/")), None);
    for _ in 0..4 {
        assert_eq!(world.code(&me), "permit");
    }
    let spent = quota(&world, &me).unwrap();
    assert_eq!((spent.limit, spent.level.left, spent.level.wait), (Limit::Principal, 0, Duration::from_millis(100)));
}

#[test]
fn a_fleet_of_two_keeps_to_one_limit() {
    let limit = RateLimit { rps: 1, burst: 10 };
    let worlds = [(); 2].map(|()| World::with_config(GateConfig { tenant_limit: limit, ..GateConfig::default() }));
    for world in &worlds {
        world.gate.share().begin(2);
        world.gate.share().heard(2, BootInstant::from_nanos(u64::MAX / 2));
    }
    let through = |world: &World| {
        let sent = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
        (0..20).filter(|_| world.send(&sent).is_ok()).count()
    };
    assert_eq!(through(&worlds[0]), 5, "its slack");
    let told = worlds[0].gate.share().take_untold();
    assert_eq!((told.len(), told[0].requests), (1, 5));
    assert!(told[0].key.to_string().starts_with("tenant:"));
    let cost = told[0].cost();
    assert_eq!(cost, Duration::from_secs(5));
    let now = domain::Clock::boot_now(&worlds[0].clock);
    told.into_iter().for_each(|it| worlds[0].gate.share().told(it, cost, now));
    assert_eq!(through(&worlds[0]), 5, "the other half, once that was told");
    assert_eq!(through(&worlds[1]), 5, "who was told nothing lets through its slack at most");
    // Strangers are counted by each gateway, and told of by none.
    let strange = Sent::get("acme.localhost", "/public/x");
    assert_eq!((0..20).filter(|_| worlds[1].send(&strange).is_ok()).count(), 5, "half of it for one address");
    assert!(worlds[1].gate.share().take_untold().iter().all(|it| it.requests == 5));
}

#[test]
fn s7_limits_and_permits_are_the_clients_behind_a_proxy() {
    let world = World::with_config(GateConfig {
        trusted_proxies: vec!["192.0.2.1".parse().unwrap()],
        address_limit: RateLimit { rps: 1, burst: 1 },
        ..GateConfig::default()
    });
    let from = |client: &str| Sent::get("acme.localhost", "/public/x").with("x-forwarded-for", client);
    let permit = world.send(&from("203.0.113.7")).unwrap();
    assert_eq!(permit.client.to_string(), "203.0.113.7");
    assert_eq!(world.code(&from("203.0.113.7")), "rate_limited");
    assert_eq!(world.code(&from("198.51.100.1, 203.0.113.8")), "permit");
    assert_eq!(world.code(&from("rubbish")), "request_malformed");
}

#[test]
fn one_address_cannot_keep_a_tenants_other_strangers_from_signing_in() {
    let world = World::with_config(GateConfig {
        tenant_limit: RateLimit { rps: 10, burst: 40 },
        stranger_percent: 25,
        trusted_proxies: vec!["192.0.2.1".parse().unwrap()],
        ..GateConfig::default()
    });
    let login = |client: &str| Sent::new("POST", "acme.localhost", "/login").with("x-forwarded-for", client);
    let through = |client: &str| (0..100).filter(|_| world.send(&login(client)).is_ok()).count();
    assert_eq!(through("203.0.113.7"), 10, "a quarter of 40");
    assert_eq!(world.denial(&login("203.0.113.7")).to_string(), "too many requests (client address in the tenant)");
    assert_eq!(world.code(&login("203.0.113.8")), "permit", "another still signs in");
    assert_eq!(through("2001:db8:0:1::1"), 10);
    assert_eq!(through("2001:db8:0:1::2"), 0, "a /64 is one customer");
    assert_eq!(through("2001:db8:0:2::1"), 10);
    assert_eq!(through("203.0.113.9"), 9, "together they have what the tenant's strangers have");
    let me = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    assert_eq!(world.code(&me.with("x-forwarded-for", "203.0.113.7")), "permit", "its users have their own");
}
