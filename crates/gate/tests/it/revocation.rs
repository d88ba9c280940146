//! Stage 7: each fact ends what it names on the very next request, and silence does as the route says.

use std::time::Duration;

use domain::{Clock as _, Fact, Timestamp};
use gate::LookUp;
use uuid::Uuid;

use crate::world::{MEMBER, Sent, World, id};

const JTI: u128 = 801;
const SID: u128 = 802;

fn me(world: &World) -> Sent {
    let claims = world.claims(&world.acme, MEMBER).set("jti", Uuid::from_u128(JTI)).set("sid", Uuid::from_u128(SID));
    Sent::get("acme.localhost", "/me").bearer(&world.acme.issuer.mint(claims.set("ug", 4).set("tg", 4)))
}

#[test]
fn each_fact_ends_a_warm_token_on_the_very_next_request() {
    let (tenant, user) = (id(1), id(MEMBER));
    let exp = Timestamp::from_secs(4_000_000_000);
    for (fact, ends) in [
        (Fact::TokenRefused { jti: id(JTI), exp }, true),
        (Fact::TokenRefused { jti: id(JTI + 50), exp }, false),
        (Fact::SessionEnded { sid: id(SID), exp }, true),
        (Fact::UserGeneration { tenant, user, generation: 5, cutoff: None }, true),
        (Fact::UserGeneration { tenant, user, generation: 4, cutoff: None }, false),
        (Fact::UserGeneration { tenant: id(2), user, generation: 5, cutoff: None }, false),
        (Fact::TenantGeneration { tenant, generation: 5, cutoff: None }, true),
        (Fact::TenantGeneration { tenant: id(2), generation: 5, cutoff: None }, false),
    ] {
        let world = World::new();
        let me = me(&world);
        assert_eq!(world.code(&me), "permit");
        let permit = world.send(&me).unwrap();
        world.say(fact.clone());
        assert_eq!(world.code(&me), if ends { "token_revoked" } else { "permit" }, "{fact:?}");
        assert_eq!(world.still_holds(&permit, &me).is_err(), ends, "{fact:?} for a stream under way");
    }
}

#[test]
fn a_tenants_generation_in_the_snapshot_binds_as_the_fact_does() {
    let world = World::new();
    let me = me(&world);
    assert_eq!(world.code(&me), "permit");
    let tenant = domain::snapshot::Tenant { generation: 5, ..crate::world::tenant(1, world.acme.project, "acme") };
    world.put_one(domain::snapshot::Entity::Tenant(tenant));
    assert_eq!(world.code(&me), "token_revoked");
}

#[test]
fn without_proof_each_route_does_as_it_says() {
    // (route, method, Redis answers clear, no Redis), within five minutes of the last proof.
    for (target, method, clear, none) in [
        ("/strict", "GET", "revocation_unproven", "revocation_unproven"),
        ("/readable", "GET", "permit", "revocation_unproven"),
        ("/readable", "POST", "revocation_unproven", "revocation_unproven"),
        ("/me", "GET", "permit", "revocation_unproven"),
        ("/me", "POST", "permit", "revocation_unproven"),
        ("/public/x", "GET", "permit", "permit"),
    ] {
        let world = World::new();
        let sent = Sent::new(method, "acme.localhost", target).bearer(&world.token(&world.acme, MEMBER));
        assert_eq!(world.code(&sent), "permit", "{method} {target} while proven");
        world.clock.advance(Duration::from_secs(2));
        assert_eq!(world.code(&sent), none, "{method} {target} without Redis");
        *world.link.store.lock().unwrap() = Some(LookUp::Clear);
        assert_eq!(world.code(&sent), clear, "{method} {target} with Redis");
        *world.link.store.lock().unwrap() = Some(LookUp::Refused);
        let refused = world.code(&sent);
        assert!(refused == "token_revoked" || refused == clear && clear != "permit" || target == "/public/x");
    }
}

#[test]
fn serving_without_proof_ends_five_minutes_after_the_last_one() {
    let world = World::new();
    *world.link.store.lock().unwrap() = Some(LookUp::Clear);
    let claims = world.claims(&world.acme, MEMBER).set("exp", world.clock.unix_now().secs() + 3600);
    let me = Sent::get("acme.localhost", "/me").bearer(&world.acme.issuer.mint(claims));
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(world.code(&me), "permit");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.code(&me), "revocation_unproven");
    world.prove();
    assert_eq!(world.code(&me), "permit");
}

#[test]
fn a_stream_goes_on_without_proof_for_as_long_as_its_route_says() {
    for (target, seconds, holds) in
        [("/strict", 2, false), ("/readable", 2, true), ("/me", 300, true), ("/me", 301, false)]
    {
        let world = World::new();
        let claims = world.claims(&world.acme, MEMBER).set("exp", world.clock.unix_now().secs() + 3600);
        let sent = Sent::get("acme.localhost", target).bearer(&world.acme.issuer.mint(claims));
        let permit = world.send(&sent).unwrap();
        assert!(world.still_holds(&permit, &sent).is_ok());
        world.clock.advance(Duration::from_secs(seconds));
        assert_eq!(world.still_holds(&permit, &sent).is_ok(), holds, "{target} after {seconds} s");
    }
}

#[test]
fn an_upgrade_is_no_reading() {
    let world = World::new();
    let token = world.token(&world.acme, MEMBER);
    *world.link.store.lock().unwrap() = Some(LookUp::Clear);
    let upgrade = || Sent::get("acme.localhost", "/readable").bearer(&token).with("upgrade", "websocket");
    assert_eq!(world.code(&upgrade()), "permit");
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.code(&upgrade()), "revocation_unproven");
}

#[test]
fn platform_routes_always_refuse_without_proof() {
    let world = World::new();
    *world.link.store.lock().unwrap() = Some(LookUp::Clear);
    let platform = Sent::get("console.localhost", "/platform").bearer(&world.staff_token());
    assert_eq!(world.code(&platform), "permit");
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.code(&platform), "revocation_unproven");
}
