//! Who is let in to a tenant or hostname, and how much of it at once.

use domain::{
    Admission,
    snapshot::{Entity, Hostname, RateLimit, Tenant},
};
use gate::{GateConfig, load::LoadLimits};

use crate::world::{ADMIN, MEMBER, Sent, World, hostname, id, tenant};

fn networks(list: &[&str]) -> Vec<domain::Network> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn tenant_with(world: &World, admission: Admission) {
    world.put_one(Entity::Tenant(Tenant { admission, ..tenant(1, world.acme.project, "acme") }));
}

fn hostname_with(world: &World, admission: Admission) {
    let row = hostname(20, "acme.localhost", world.acme.project, Some(world.acme.tenant));
    world.put_one(Entity::Hostname(Hostname { admission, ..row }));
}

fn from(client: &str) -> Sent {
    Sent { client: client.parse().unwrap(), ..Sent::get("acme.localhost", "/public/x") }
}

#[test]
fn deny_wins_and_an_allow_list_lets_in_nobody_else() {
    let world = World::new();
    let lists = Admission {
        allow: networks(&["192.0.2.0/24", "2001:db8::/32"]),
        deny: networks(&["192.0.2.66"]),
        ..Admission::default()
    };
    for put in [tenant_with, hostname_with] {
        put(&world, lists.clone());
        for (client, code) in [
            ("192.0.2.1", "permit"),
            ("::ffff:192.0.2.1", "permit"),
            ("2001:db8::1", "permit"),
            ("192.0.2.66", "address_refused"),
            ("::ffff:192.0.2.66", "address_refused"),
            ("203.0.113.1", "address_refused"),
        ] {
            assert_eq!(world.code(&from(client)), code, "{client}");
        }
        put(&world, Admission::default());
        assert_eq!(world.code(&from("203.0.113.1")), "permit", "open again");
    }
}

#[test]
fn hostname_and_tenant_must_both_let_in() {
    let world = World::new();
    tenant_with(&world, Admission { allow: networks(&["192.0.2.0/24", "203.0.113.0/24"]), ..Admission::default() });
    hostname_with(&world, Admission { deny: networks(&["203.0.113.0/24"]), ..Admission::default() });
    assert_eq!(world.code(&from("192.0.2.1")), "permit");
    assert_eq!(world.code(&from("203.0.113.1")), "address_refused");
    assert_eq!(world.code(&from("198.51.100.1")), "address_refused");
}

#[test]
fn on_a_shared_hostname_the_tokens_tenant_lets_in() {
    let world = World::new();
    let row = Tenant {
        admission: Admission { deny: networks(&["192.0.2.1"]), ..Admission::default() },
        ..tenant(4, world.cloud.project, "alpha")
    };
    let me = Sent::get("cloud.localhost", "/me").bearer(&world.token(&world.cloud, MEMBER));
    assert_eq!(world.code(&me), "permit");
    world.put_one(Entity::Tenant(row));
    assert_eq!(world.code(&me), "address_refused");
    assert_eq!(world.code(&Sent { client: [192, 0, 2, 2].into(), ..me }), "permit");
}

#[test]
fn a_stream_of_an_address_that_is_shut_out_ends() {
    let world = World::new();
    let sent = from("192.0.2.1");
    let permit = world.send(&sent).unwrap();
    tenant_with(&world, Admission { deny: networks(&["203.0.113.0/24"]), ..Admission::default() });
    assert_eq!(world.still_holds(&permit, &sent), Ok(()));
    tenant_with(&world, Admission { deny: networks(&["192.0.2.0/24"]), ..Admission::default() });
    assert_eq!(world.still_holds(&permit, &sent).unwrap_err().public().1, "address_refused");
}

#[test]
fn a_tenant_is_served_so_many_requests_at_once_and_each_gives_its_place_back() {
    let config =
        GateConfig { tenant_load: LoadLimits { requests: 3, websockets: 1, connections: 10 }, ..GateConfig::default() };
    let world = World::with_config(config);
    let sent = from("192.0.2.1");
    let websocket = from("192.0.2.1").with("upgrade", "websocket");
    let first = world.send(&websocket).unwrap();
    assert_eq!(world.denial(&websocket).to_string(), "too many at once (WebSockets of the tenant)");
    let others = [world.send(&sent).unwrap(), world.send(&sent).unwrap()];
    assert_eq!(world.denial(&sent).to_string(), "too many at once (requests of the tenant)");
    assert_eq!(world.code(&Sent::get("globex.localhost", "/public/x")), "permit", "another tenant has its own");
    // The row changes while they are served: its load is the same.
    tenant_with(&world, Admission { in_flight: Some(2), ..Admission::default() });
    assert_eq!(world.code(&sent), "concurrency_limited");
    drop(others);
    assert_eq!(world.code(&sent), "permit");
    drop(first);
    let again = [world.send(&websocket), world.send(&sent)];
    assert!(again.iter().all(Result::is_ok));
    assert_eq!(world.code(&sent), "concurrency_limited", "nothing leaks, nothing is given back twice");
}

/// However slowly strangers write to public routes, a tenant's users are served.
#[test]
fn strangers_take_no_place_of_a_tenants_users() {
    let config =
        GateConfig { tenant_load: LoadLimits { requests: 2, websockets: 1, connections: 10 }, ..GateConfig::default() };
    let world = World::with_config(config);
    let token = world.token(&world.acme, MEMBER);
    let stranger = from("192.0.2.1");
    let held = [world.send(&stranger).unwrap(), world.send(&stranger).unwrap()];
    assert_eq!(world.code(&stranger), "concurrency_limited");
    let user = Sent::get("acme.localhost", "/me").bearer(&token);
    let served = [world.send(&user).unwrap(), world.send(&user).unwrap()];
    assert_eq!(world.code(&user), "concurrency_limited");
    drop(served);
    assert_eq!(world.code(&user), "permit");
    drop(held);
    assert_eq!(world.code(&stranger), "permit");
}

/// Who is refused by a limit of their own takes nothing from the tenant's.
#[test]
fn a_principal_beyond_its_limit_costs_the_tenant_nothing() {
    let limit = |burst| RateLimit { rps: 1, burst };
    let config = GateConfig { tenant_limit: limit(10), principal_limit: Some(limit(2)), ..GateConfig::default() };
    let world = World::with_config(config);
    let me = |user| Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, user));
    let (busy, other) = (me(MEMBER), me(ADMIN));
    let passed = (0..50).filter(|_| world.send(&busy).is_ok()).count();
    assert_eq!(passed, 2);
    assert_eq!(world.code(&other), "permit");
}

#[test]
fn a_hostname_has_a_load_of_its_own() {
    let world = World::new();
    hostname_with(&world, Admission { in_flight: Some(1), websockets: Some(1), ..Admission::default() });
    let sent = from("192.0.2.1");
    let held = world.send(&sent).unwrap();
    assert_eq!(world.denial(&sent).to_string(), "too many at once (requests of the hostname)");
    drop(held);
    assert_eq!(world.code(&sent), "permit");
}

#[test]
fn what_is_refused_later_takes_no_place() {
    let config =
        GateConfig { tenant_load: LoadLimits { requests: 1, websockets: 1, connections: 10 }, ..GateConfig::default() };
    let world = World::with_config(config);
    for _ in 0..5 {
        assert_eq!(world.code(&Sent::get("acme.localhost", "/me")), "credential_missing");
    }
    assert_eq!(world.code(&from("192.0.2.1")), "permit");
}

#[test]
fn parallel_requests_never_exceed_the_load() {
    let config =
        GateConfig { tenant_load: LoadLimits { requests: 5, websockets: 5, connections: 10 }, ..GateConfig::default() };
    let world = World::with_config(config);
    let held: Vec<_> = std::thread::scope(|scope| {
        let ask = || (0..50).filter_map(|_| world.send(&from("192.0.2.1")).ok()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(held.len(), 5);
    let tenant = held[0].tenant.clone().unwrap();
    assert_eq!(tenant.load.requests(), 5);
    drop(held);
    assert_eq!(tenant.load.requests(), 0);
    assert_eq!(tenant.id, id(1));
}
