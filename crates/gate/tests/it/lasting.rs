//! What lasts is judged again by what is in force: a stream ends when its request would not begin any more.

use domain::{
    Fact,
    fact::Bindings,
    snapshot::{
        Access, Change, Entity, EntityKey, EntityKind, Issuer, READER, Role, RoleScope, Route, Service, Tenant,
    },
};
use gate::Permit;

use crate::world::{MEMBER, ROLE_MEMBER, Sent, World, hostname, id, permission, role, route, routes, tenant};

/// A world with a stream that was permitted in it.
struct Stream {
    world: World,
    sent: Sent,
    permit: Permit,
}

impl Stream {
    /// Of a member.
    fn of_member(target: &str) -> Self {
        let world = World::new();
        let sent = Sent::get("acme.localhost", target).bearer(&world.token(&world.acme, MEMBER));
        let permit = world.send(&sent).unwrap();
        Self { world, sent, permit }
    }

    /// Of nobody in particular.
    fn of_nobody() -> Self {
        let world = World::new();
        let sent = Sent::get("acme.localhost", "/public/x");
        let permit = world.send(&sent).unwrap();
        Self { world, sent, permit }
    }

    /// The code it is cut off with; `holds` while it is not.
    fn code(&self) -> &'static str {
        match self.world.still_holds(&self.permit, &self.sent) {
            Ok(()) => "holds",
            Err(denial) => denial.public().1,
        }
    }

    fn service(&self, routes: Vec<Route>) {
        let service = Service { id: id(400), name: "demo".into(), upstream_id: id(300), routes };
        self.world.put_one(Entity::Service(service));
    }

    fn gone(&self, kind: EntityKind, key: u128) {
        let key = EntityKey { kind, id: uuid::Uuid::from_u128(key) };
        self.world.change(|revision| Change { revision, key, min_reader: READER, entity: None });
    }
}

#[test]
fn a_stream_goes_on_through_changes_that_do_not_concern_it() {
    let stream = Stream::of_member("/orders");
    stream.world.put_one(Entity::Tenant(tenant(2, stream.world.globex.project, "globex")));
    stream.world.put_one(Entity::Tenant(Tenant { plan: None, ..tenant(1, stream.world.acme.project, "acme") }));
    let wider = role(ROLE_MEMBER, "member", RoleScope::Tenant, &["demo:order:list", "demo:order:get"]);
    stream.world.put_one(Entity::Role(wider));
    stream.service(routes().into_iter().rev().collect());
    stream.world.say(Fact::BindingsChanged { tenant: id(1), user: id(MEMBER + 40) });
    assert_eq!(stream.code(), "holds");
}

#[test]
fn a_stream_ends_with_its_tenant_whoever_it_is_to() {
    use domain::snapshot::TenantStatus::{Deleted, Suspended};
    for stream in [Stream::of_member("/orders"), Stream::of_nobody()] {
        for status in [Suspended, Deleted] {
            let acme = tenant(1, stream.world.acme.project, "acme");
            stream.world.put_one(Entity::Tenant(acme.clone()));
            assert_eq!(stream.code(), "holds");
            stream.world.put_one(Entity::Tenant(Tenant { status, ..acme }));
            assert_eq!(stream.code(), "tenant_suspended");
        }
    }
}

#[test]
fn a_stream_ends_with_its_hostname() {
    let stream = Stream::of_nobody();
    stream.gone(EntityKind::Hostname, 20);
    assert_eq!(stream.code(), "hostname_unknown");
    stream.world.put_one(Entity::Hostname(hostname(20, "acme.localhost", stream.world.acme.project, Some(id(1)))));
    assert_eq!(stream.code(), "holds");
}

#[test]
fn a_stream_ends_with_its_route_and_when_the_route_asks_for_more() {
    let stream = Stream::of_member("/orders");
    let without = |n: u128| routes().into_iter().filter(|it| it.id != id(n)).collect::<Vec<_>>();
    stream.service(without(4));
    assert_eq!(stream.code(), "route_not_found");
    let other = route(4, "/orders", &["GET"], Access::Permission(permission("demo:order:audit")));
    stream.service([without(4), vec![other]].concat());
    assert_eq!(stream.code(), "permission_denied");
    stream.service(routes());
    assert_eq!(stream.code(), "holds");
    // A route that stands before it now is the one that counts.
    let host = hostname(20, "acme.localhost", stream.world.acme.project, Some(id(1)));
    let own = Access::Permission(permission("demo:order:audit"));
    let own = Route { upstream_id: Some(id(300)), ..route(50, "/orders", &["GET"], own) };
    stream.world.put_one(Entity::Hostname(domain::snapshot::Hostname { routes: vec![own], ..host }));
    assert_eq!(stream.code(), "permission_denied");
    let public = Stream::of_nobody();
    let closed = route(1, "/public/**", &[], Access::Authenticated);
    public.service([without(1), vec![closed]].concat());
    assert_eq!(public.code(), "credential_missing");
}

#[test]
fn a_stream_ends_when_its_role_is_narrowed_or_taken_away() {
    let stream = Stream::of_member("/orders");
    let narrowed = role(ROLE_MEMBER, "member", RoleScope::Tenant, &["demo:order:get"]);
    stream.world.put_one(Entity::Role(narrowed.clone()));
    assert_eq!(stream.code(), "permission_denied");
    stream.world.put_one(Entity::Role(Role { permissions: vec![permission("demo:order:list")], ..narrowed }));
    assert_eq!(stream.code(), "holds");
    let seq = stream.world.say(Fact::BindingsChanged { tenant: id(1), user: id(MEMBER) });
    let bindings = Bindings { as_of: seq, active: true, ..Bindings::default() };
    stream.world.link.bindings.lock().unwrap().insert(id(MEMBER), bindings);
    assert_eq!(stream.code(), "permission_denied");
}

#[test]
fn a_stream_ends_when_nobody_can_say_what_its_user_may_do_now() {
    let stream = Stream::of_member("/orders");
    stream.world.say(Fact::AllBindingsChanged);
    stream.world.link.bindings.lock().unwrap().clear();
    assert_eq!(stream.code(), "permissions_unavailable");
}

#[test]
fn a_stream_ends_when_its_issuer_loses_the_key_and_not_when_it_gets_another() {
    let stream = Stream::of_member("/orders");
    let row = Issuer { id: id(30), ..stream.world.acme.issuer.row(stream.world.acme.project) };
    let mut rotated = testkit::TestIssuer::new(&row.issuer, domain::snapshot::Algorithm::EdDsa);
    rotated.rotate(testkit::TestKey::generate(domain::snapshot::Algorithm::EdDsa));
    let keys = |documents: [&serde_json::Value; 2]| {
        let keys = documents.iter().flat_map(|document| document["keys"].as_array().unwrap().clone());
        serde_json::json!({ "keys": keys.collect::<Vec<_>>() })
    };
    let both = keys([&row.jwks, &rotated.jwks()]);
    stream.world.put_one(Entity::Issuer(Issuer { jwks: both, ..row.clone() }));
    assert_eq!(stream.code(), "holds");
    stream.world.put_one(Entity::Issuer(Issuer { jwks: rotated.jwks(), ..row }));
    assert_eq!(stream.code(), "key_unknown");
}

#[test]
fn a_stream_ends_when_the_snapshot_is_too_old_to_judge_by() {
    let stream = Stream::of_nobody();
    stream.world.gate.snapshot().expire();
    assert_eq!(stream.code(), "snapshot_unavailable");
}
