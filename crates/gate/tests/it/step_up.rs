//! Routes that demand something of their callers' sign-in.

use std::time::Duration;

use domain::{
    Acr, Clock as _, CredentialKind, Credentials, Requirement,
    snapshot::{Access, Algorithm, Entity, Issuer, Route, Service, TenantBinding},
};
use gate::Denial;
use serde_json::json;

use crate::{
    api_keys,
    world::{MEMBER, Sent, World, id, permission, route},
};

const CODE: &str = "insufficient_user_authentication";

/// A world in which `/sure` demands this.
fn demanding(access: Access, require: Requirement) -> World {
    let world = World::new();
    demand(&world, access, require);
    world
}

fn demand(world: &World, access: Access, require: Requirement) {
    let sure = Route { require: Some(require), ..route(17, "/sure", &[], access) };
    let service = Service { id: id(400), name: "demo".into(), upstream_id: id(300), routes: vec![sure] };
    world.put_one(Entity::Service(service));
}

fn second_factor() -> Requirement {
    Requirement { acr: Some(Acr::Aal2), ..Requirement::default() }
}

fn recent() -> Requirement {
    Requirement { max_age: Some("5m".parse().unwrap()), ..Requirement::default() }
}

/// A member who signed in like this, so many seconds ago.
fn signed_in(world: &World, amr: &[&str], acr: Option<&str>, secs_ago: i64) -> Sent {
    let claims = world.claims(&world.acme, MEMBER).set("amr", amr);
    let claims = claims.set("auth_time", world.clock.unix_now().secs() - secs_ago);
    let claims = match acr {
        Some(acr) => claims.set("acr", acr),
        None => claims,
    };
    Sent::get("acme.localhost", "/sure").bearer(&world.acme.issuer.mint(claims))
}

#[test]
fn a_second_factor_is_shown_by_the_token_or_asked_for() {
    let world = demanding(Access::Authenticated, second_factor());
    let surely = ["pwd", "otp", "mfa"];
    for (sent, expected) in [
        (signed_in(&world, &surely, Some("aal2"), 0), "permit"),
        (signed_in(&world, &surely, Some("aal2"), 86_400), "permit"),
        (signed_in(&world, &["pwd"], Some("aal1"), 0), CODE),
        // What a token of an older release does not say, it does not show.
        (signed_in(&world, &["pwd"], None, 0), CODE),
        (signed_in(&world, &["pwd"], Some("AAL2"), 0), CODE),
        (signed_in(&world, &["pwd"], Some("aal3"), 0), CODE),
        (Sent::get("acme.localhost", "/sure"), "credential_missing"),
    ] {
        assert_eq!(world.code(&sent), expected);
    }
    let denial = world.denial(&signed_in(&world, &["pwd"], None, 0));
    assert_eq!(denial.public().0, 401);
    let challenge = denial.challenge().unwrap();
    assert!(challenge.starts_with("Bearer error=\"insufficient_user_authentication\", "), "{challenge}");
    assert!(challenge.ends_with(", acr_values=\"aal2\""), "{challenge}");
}

#[test]
fn a_sign_in_is_recent_for_so_long() {
    let world = demanding(Access::Authenticated, recent());
    assert_eq!(world.code(&signed_in(&world, &["pwd"], None, 300)), "permit");
    let old = signed_in(&world, &["pwd"], None, 301);
    assert_eq!(world.code(&old), CODE);
    let challenge = world.denial(&old).challenge().unwrap().into_owned();
    assert!(challenge.ends_with(", max_age=\"300\""), "{challenge}");
    // A token that is kept as verified grows old, too.
    let young = signed_in(&world, &["pwd"], None, 299);
    assert_eq!(world.code(&young), "permit");
    world.clock.advance(Duration::from_millis(1900));
    world.prove();
    assert_eq!(world.code(&young), CODE);
}

#[test]
fn means_are_asked_for_by_name() {
    let require: Requirement = serde_json::from_value(json!({ "amr": ["hwk"] })).unwrap();
    let world = demanding(Access::Authenticated, require);
    assert_eq!(world.code(&signed_in(&world, &["hwk", "user", "mfa"], Some("aal2"), 0)), "permit");
    assert_eq!(world.code(&signed_in(&world, &["pwd", "otp", "mfa"], Some("aal2"), 0)), CODE);
}

#[test]
fn keys_show_no_sign_in_unless_the_route_says_that_they_need_not() {
    let (world, key) = api_keys::with_key(domain::ApiKeyScheme::Bearer);
    demand(&world, Access::Permission(permission("demo:order:list")), second_factor());
    let sent = api_keys::get("/sure", &key);
    assert_eq!(world.code(&sent), CODE);
    let exempt = Credentials::of([CredentialKind::ApiKey]).ok();
    demand(&world, Access::Permission(permission("demo:order:list")), Requirement { exempt, ..second_factor() });
    assert_eq!(world.code(&sent), "permit");
    assert_eq!(world.code(&signed_in(&world, &["pwd"], None, 0)), CODE, "people are asked all the same");
}

/// Its words are of its own vocabulary, and nobody has said here what they mean.
#[test]
fn what_an_external_issuer_says_of_a_sign_in_shows_none() {
    let world = demanding(Access::Authenticated, second_factor());
    let issuer = testkit::TestIssuer::new("https://idp.example", Algorithm::Es256);
    let binding = TenantBinding::Claim("org".into());
    world.put_one(Entity::Issuer(Issuer { id: id(39), ..issuer.external_row(world.acme.project, binding) }));
    let now = world.clock.unix_now();
    let claims = || issuer.external_claims(now).set("org", "acme").set("roles", ["member"]);
    let sent = || {
        let claims = claims().set("acr", "aal2").set("amr", ["pwd", "otp", "mfa", "hwk"]).set("auth_time", now.secs());
        Sent::get("acme.localhost", "/sure").bearer(&issuer.mint_as("JWT", claims))
    };
    let routes = vec![route(17, "/sure", &[], Access::Authenticated)];
    world.put_one(Entity::Service(Service { id: id(400), name: "demo".into(), upstream_id: id(300), routes }));
    assert_eq!(world.code(&sent()), "permit", "where nothing is demanded");
    for require in [
        json!({ "acr": "aal2" }),
        json!({ "acr": "aal1" }),
        json!({ "amr": ["pwd"] }),
        json!({ "max_age": "30d" }),
        json!({ "acr": "aal2", "exempt": ["api_key", "signature", "certificate"] }),
    ] {
        demand(&world, Access::Authenticated, serde_json::from_value(require.clone()).unwrap());
        let denial = world.denial(&sent());
        assert_eq!(denial.public(), (http::StatusCode::UNAUTHORIZED, CODE), "{require}");
        let challenge = denial.challenge().unwrap();
        assert!(challenge.starts_with("Bearer error=\"insufficient_user_authentication\", "), "{challenge}");
    }
}

/// Nobody is asked to sign in anew for what they may not do anyway.
#[test]
fn a_right_that_is_not_held_is_said_first() {
    let world = demanding(Access::Permission(permission("demo:secret:get")), second_factor());
    assert_eq!(world.code(&signed_in(&world, &["pwd"], None, 0)), "permission_denied");
}

#[test]
fn a_public_route_that_demands_something_is_for_nobody() {
    for access in [Access::Public, Access::Optional] {
        let world = demanding(access, second_factor());
        assert_eq!(world.code(&Sent::get("acme.localhost", "/sure")), "credential_missing");
    }
}

#[test]
fn a_stream_ends_when_its_sign_in_is_not_recent_any_more() {
    let world = demanding(Access::Authenticated, recent());
    let sent = signed_in(&world, &["pwd"], None, 100);
    let permit = world.send(&sent).unwrap();
    let end = domain::Timestamp::from_secs(world.clock.unix_now().secs() + 200);
    assert_eq!(permit.lasting.ends_at, Some(end));
    // And when the route comes to demand more than was shown.
    demand(&world, Access::Authenticated, second_factor());
    assert!(matches!(world.still_holds(&permit, &sent), Err(Denial::AuthenticationInsufficient(_))));
}
