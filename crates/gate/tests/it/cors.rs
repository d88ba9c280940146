//! Preflights open nothing (threat D4).

use domain::{
    Cors,
    snapshot::{Entity, Hostname},
};
use gate::{Answer, Stop};

use crate::world::{MEMBER, Sent, World, hostname};

const PAGE: &str = "https://app.example.com";

/// A world whose acme may be called by pages of these origins.
fn world(origins: &[&str]) -> World {
    let world = World::new();
    let row = hostname(20, "acme.localhost", world.acme.project, Some(world.acme.tenant));
    let cors = Cors { origins: origins.iter().map(|text| text.parse().unwrap()).collect(), ..Cors::default() };
    world.put_one(Entity::Hostname(Hostname { cors, ..row }));
    world
}

fn options(target: &str) -> Sent {
    Sent::new("OPTIONS", "acme.localhost", target)
}

fn preflight(target: &str, origin: &str) -> Sent {
    options(target).with("origin", origin).with("access-control-request-method", "DELETE")
}

fn is_answered(world: &World, sent: &Sent) -> bool {
    matches!(world.send(sent), Err(Stop::Answer(Answer::Preflight { .. })))
}

#[test]
fn d4_a_preflight_is_answered_here_whatever_its_path_and_origin() {
    let world = world(&[PAGE]);
    for target in ["/orders", "/me", "/public/x", "/nothing-like-it", "/platform"] {
        for origin in [PAGE, "https://evil.test", "null"] {
            assert!(is_answered(&world, &preflight(target, origin)), "{target} {origin}");
        }
    }
}

#[test]
fn d4_options_with_a_body_or_a_credential_is_decided_as_every_method() {
    let world = world(&[PAGE]);
    for (name, value) in
        [("authorization", "Bearer x"), ("cookie", "a=b"), ("content-length", "2"), ("transfer-encoding", "chunked")]
    {
        assert!(!is_answered(&world, &preflight("/me", PAGE).with(name, value)), "{name}");
    }
    assert_eq!(world.code(&preflight("/orders", PAGE).with("content-length", "2")), "credential_missing");
    let token = world.token(&world.acme, MEMBER);
    assert_eq!(world.code(&preflight("/orders", PAGE).bearer(&token)), "route_not_found", "GET and POST only");
    assert_eq!(world.code(&preflight("/public/x", PAGE).bearer("rubbish")), "permit", "as every method");
    assert!(is_answered(&world, &preflight("/me", PAGE).with("content-length", "0")));
}

#[test]
fn d4_an_options_that_is_no_preflight_is_decided() {
    let world = world(&[PAGE]);
    assert_eq!(world.code(&options("/me")), "credential_missing");
    assert_eq!(world.code(&options("/me").with("origin", PAGE)), "credential_missing");
    assert_eq!(world.code(&options("/me").with("access-control-request-method", "GET")), "credential_missing");
    let get = Sent::get("acme.localhost", "/me").with("origin", PAGE).with("access-control-request-method", "GET");
    assert_eq!(world.code(&get), "credential_missing", "another method is no preflight");
}

#[test]
fn d4_without_rules_the_edge_answers_no_preflight() {
    let world = World::new();
    assert_eq!(world.code(&preflight("/me", PAGE)), "credential_missing");
    assert_eq!(world.code(&preflight("/public/x", PAGE)), "permit");
}

#[test]
fn d4_a_preflight_to_what_is_not_served_is_not_answered() {
    let world = world(&[PAGE]);
    let unknown = Sent::new("OPTIONS", "evil.localhost", "/me").with("origin", PAGE);
    assert_eq!(world.code(&unknown.with("access-control-request-method", "GET")), "hostname_unknown");
    assert_eq!(world.code(&preflight("/a/../b", PAGE)), "path_refused");
}

#[test]
fn l2_one_origin_that_is_named_may_call_and_no_other() {
    let world = world(&[PAGE, "https://*.example.org"]);
    let cors = |sent: &Sent| match world.send(sent) {
        Err(Stop::Answer(Answer::Preflight { cors })) => cors.allows(&sent.headers).is_some(),
        other => panic!("{other:?}"),
    };
    for good in [PAGE, "https://a.example.org", "https://a.b.example.org"] {
        assert!(cors(&preflight("/me", good)), "{good}");
    }
    for bad in [
        "https://evilexample.org",
        "https://example.org",
        "null",
        "http://app.example.com",
        "https://app.example.com:444",
    ] {
        assert!(!cors(&preflight("/me", bad)), "{bad}");
    }
    assert!(!cors(&preflight("/me", PAGE).with("origin", PAGE)), "two origins are none");
}
