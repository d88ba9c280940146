//! Stages 2 to 5: hostnames, the five access kinds, one credential.

use domain::{decision::Stage, snapshot::Access};
use futures::FutureExt as _;
use gate::{Answer, Listener, Stop, Trace};

use crate::world::{MEMBER, Sent, World, id, route};

#[test]
fn each_access_kind_lets_in_who_it_says() {
    let world = World::new();
    let member = world.token(&world.acme, MEMBER);
    for (target, anonymous, authenticated) in [
        ("/public/x", "permit", "permit"),
        ("/optional/x", "permit", "permit"),
        ("/me", "credential_missing", "permit"),
        ("/orders", "credential_missing", "permit"),
        ("/platform", "credential_missing", "context_mismatch"),
        ("/nothing", "credential_missing", "route_not_found"),
        ("/me/", "credential_missing", "route_not_found"),
        ("/public2", "credential_missing", "route_not_found"),
    ] {
        let sent = || Sent::get("acme.localhost", target);
        assert_eq!(world.code(&sent()), anonymous, "{target} anonymous");
        assert_eq!(world.code(&sent().bearer(&member)), authenticated, "{target} as member");
    }
}

#[test]
fn public_routes_ignore_credentials_and_optional_ones_do_not() {
    let world = World::new();
    assert_eq!(world.code(&Sent::get("acme.localhost", "/public/x").bearer("rubbish")), "permit");
    assert_eq!(world.code(&Sent::get("acme.localhost", "/optional/x").bearer("rubbish")), "token_malformed");
    let permit =
        world.send(&Sent::get("acme.localhost", "/public/x").bearer(&world.token(&world.acme, MEMBER))).unwrap();
    assert!(permit.identity.is_none());
}

#[test]
fn j9_refuses_empty_and_doubled_credentials() {
    let world = World::new();
    let me = || Sent::get("acme.localhost", "/me");
    let token = world.token(&world.acme, MEMBER);
    for value in ["", " ", "Bearer", "Bearer ", "Bearer  x", "Basic eDp5", &format!("bearer{token}"), "Bearer a b"] {
        assert_eq!(world.code(&me().with("authorization", value)), "credential_refused", "{value:?}");
    }
    assert_eq!(world.code(&me().with("authorization", &format!("bearer {token}"))), "permit");
    assert_eq!(world.code(&me().bearer(&token).bearer(&token)), "credential_ambiguous");
    assert_eq!(world.code(&me().bearer(&"a".repeat(1 << 20))), "token_malformed");
}

#[test]
fn a_route_refuses_a_credential_of_a_kind_it_does_not_list() {
    let world = World::new();
    let credentials = domain::Credentials::only(domain::CredentialKind::Certificate);
    let route = |n, path, access| domain::snapshot::Route { credentials, ..route(n, path, &[], access) };
    let service = domain::snapshot::Service {
        id: id(400),
        name: "demo".into(),
        upstream_id: id(300),
        routes: vec![
            route(1, "/me", Access::Authenticated),
            route(2, "/optional", Access::Optional),
            route(3, "/public", Access::Public),
        ],
    };
    assert_eq!(domain::snapshot::Entity::Service(service.clone()).min_reader(), 3, "an older gateway takes tokens");
    world.put_one(domain::snapshot::Entity::Service(service));
    let token = world.token(&world.acme, MEMBER);
    for (path, anonymous, with_token) in [
        ("/me", "credential_missing", "credential_refused"),
        ("/optional", "permit", "credential_refused"),
        ("/public", "permit", "permit"),
        ("/nothing", "credential_missing", "route_not_found"),
    ] {
        let sent = || Sent::get("acme.localhost", path);
        assert_eq!(world.code(&sent()), anonymous, "{path} anonymous");
        assert_eq!(world.code(&sent().bearer(&token)), with_token, "{path} with a token");
    }
}

#[test]
fn a_timed_decision_names_the_stages_it_reached() {
    let world = World::new();
    let stages = |sent: &Sent| {
        let mut trace = Trace::default();
        trace.laps = Some(gate::Laps::from(domain::Clock::boot_now(&world.clock)));
        drop(world.gate.decide(&sent.head(), &world.clock, &mut trace).now_or_never());
        trace.laps.unwrap().iter().map(|(stage, _)| stage).collect::<Vec<_>>()
    };
    let member = world.token(&world.acme, MEMBER);
    assert_eq!(stages(&Sent::get("acme.localhost", "/me").bearer(&member)), *Stage::judging());
    assert_eq!(stages(&Sent::get("acme.localhost", "/me")), Stage::judging()[..4]);
    assert_eq!(stages(&Sent::get("evil.localhost", "/me")), Stage::judging()[..1]);
}

#[test]
fn unknown_hosts_are_not_there() {
    let world = World::new();
    assert_eq!(world.code(&Sent::get("evil.localhost", "/public/x")), "hostname_unknown");
    assert_eq!(world.code(&Sent::get("ACME.localhost.:8443", "/public/x")), "permit");
}

#[test]
fn the_plain_listener_only_redirects() {
    let world = World::new();
    let sent = Sent::get("acme.localhost:8080", "/orders?page=2");
    let head = gate::RawHead { listener: Listener::Plain, ..sent.head() };
    let stop = world.gate.decide(&head, &world.clock, &mut Trace::default()).now_or_never().unwrap().unwrap_err();
    let location = "https://acme.localhost/orders?page=2".to_owned();
    assert_eq!(stop, Stop::Answer(Answer::RedirectToHttps { location }));
    let unknown = Sent::get("evil.localhost", "/");
    let head = gate::RawHead { listener: Listener::Plain, ..unknown.head() };
    let stop = world.gate.decide(&head, &world.clock, &mut Trace::default()).now_or_never().unwrap().unwrap_err();
    assert_eq!(stop, Stop::Deny(gate::Denial::HostnameUnknown));
}

#[test]
fn without_a_snapshot_everything_is_refused() {
    let world = World::new();
    world.gate.snapshot().expire();
    assert_eq!(world.code(&Sent::get("acme.localhost", "/public/x")), "snapshot_unavailable");
}

#[test]
fn limits_of_address_and_tenant_answer_429() {
    let config = gate::GateConfig {
        address_limit: domain::snapshot::RateLimit { rps: 1, burst: 3 },
        tenant_limit: domain::snapshot::RateLimit { rps: 1, burst: 2 },
        stranger_percent: 100,
        ..gate::GateConfig::default()
    };
    let world = World::with_config(config);
    let sent = Sent::get("acme.localhost", "/public/x");
    let codes: Vec<_> = (0..4).map(|_| world.denial_or_permit(&sent)).collect();
    assert_eq!(
        codes,
        ["permit", "permit", "too many requests (client address in the tenant)", "too many requests (client address)"]
    );
    let other_tenant = Sent { client: [192, 0, 2, 2].into(), ..Sent::get("globex.localhost", "/public/x") };
    assert_eq!(world.code(&other_tenant), "permit", "one tenant's use does not touch another's");
}

#[test]
fn strangers_do_not_use_up_what_a_tenants_principals_have() {
    let config = gate::GateConfig {
        tenant_limit: domain::snapshot::RateLimit { rps: 1, burst: 1 },
        ..gate::GateConfig::default()
    };
    let world = World::with_config(config);
    let stranger = Sent::get("acme.localhost", "/public/x");
    assert_eq!(world.code(&stranger), "permit");
    assert_eq!(world.code(&stranger), "rate_limited");
    let me = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    assert_eq!(world.code(&me), "permit");
    assert_eq!(world.code(&me), "rate_limited");
}

impl World {
    fn denial_or_permit(&self, sent: &Sent) -> String {
        match self.send(sent) {
            Ok(_) => "permit".into(),
            Err(Stop::Deny(denial)) => denial.to_string(),
            Err(Stop::Answer(answer)) => format!("{answer:?}"),
        }
    }
}
