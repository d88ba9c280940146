//! A warm decision allocates nothing on the heap.

use futures::FutureExt as _;
use gate::{Stop, Trace};

use crate::world::{MEMBER, Sent, World};

#[test]
fn a_warm_decision_allocates_nothing() {
    let world = World::new();
    let token = world.token(&world.acme, MEMBER);
    for sent in [
        Sent::get("acme.localhost", "/orders").bearer(&token),
        Sent::get("acme.localhost:8443", "/me?x=1").bearer(&token),
        Sent::get("acme.localhost", "/public/x/y"),
        Sent::get("acme.localhost", "/optional/x"),
    ] {
        let head = sent.head();
        let decide = || {
            let mut trace = Trace::default();
            world.gate.decide(&head, &world.clock, &mut trace).now_or_never().is_some_and(|decided| decided.is_ok())
        };
        assert!(decide(), "warms up");
        let mut permitted = false;
        let info = allocation_counter::measure(|| permitted = decide());
        assert!(permitted);
        assert_eq!(info.count_total, 0, "{} {}", sent.method, sent.target);
    }
}

#[test]
fn a_refusal_of_an_unknown_host_allocates_nothing() {
    let world = World::new();
    let sent = Sent::get("unknown.localhost", "/x");
    let head = sent.head();
    let mut denied = false;
    let info = allocation_counter::measure(|| {
        let decided = world.gate.decide(&head, &world.clock, &mut Trace::default()).now_or_never();
        denied = matches!(decided, Some(Err(Stop::Deny(_))));
    });
    assert!(denied);
    assert_eq!(info.count_total, 0);
}
