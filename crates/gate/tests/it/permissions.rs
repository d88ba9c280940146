//! Stage 10: roles, wildcards, units, the bypass.

use domain::{
    Fact, Seq,
    fact::Bindings,
    snapshot::{Entity, RoleScope},
};

use crate::world::{ADMIN, MEMBER, ROLE_MEMBER, STRANGER, Sent, UNIT, World, id, role};

#[test]
fn the_bypass_covers_the_tenants_own_apis_and_nothing_else() {
    let world = World::new();
    let admin = world.token(&world.acme, ADMIN);
    let member = world.token(&world.acme, MEMBER);
    for (target, as_admin, as_member) in [
        ("/api/v1/tenant/users", "permit", "permission_denied"),
        ("/orders", "permit", "permit"),
        ("/admin-only-in-demo", "permission_denied", "permission_denied"),
    ] {
        assert_eq!(world.code(&Sent::get("acme.localhost", target).bearer(&admin)), as_admin, "{target} as admin");
        assert_eq!(world.code(&Sent::get("acme.localhost", target).bearer(&member)), as_member, "{target} as member");
    }
}

#[test]
fn flags_and_roles_written_into_a_token_of_ours_count_for_nothing() {
    let world = World::new();
    let claims = world.claims(&world.acme, MEMBER).set("is_admin", true).set("is_super_admin", true);
    let token = world.acme.issuer.mint(claims.set("roles", ["admin", "platform_admin"]));
    assert_eq!(world.code(&Sent::get("acme.localhost", "/api/v1/tenant/users").bearer(&token)), "permission_denied");
}

#[test]
fn a_role_edit_is_in_force_on_the_next_request() {
    let world = World::new();
    let orders = Sent::get("acme.localhost", "/orders").bearer(&world.token(&world.acme, MEMBER));
    assert_eq!(world.code(&orders), "permit");
    world.put_one(Entity::Role(role(ROLE_MEMBER, "member", RoleScope::Tenant, &[])));
    assert_eq!(world.code(&orders), "permission_denied");
    world.put_one(Entity::Role(role(ROLE_MEMBER, "member", RoleScope::Tenant, &["demo:*"])));
    assert_eq!(world.code(&orders), "permit");
}

#[test]
fn a_demotion_is_never_overwritten_by_a_slow_answer() {
    let world = World::new();
    let orders = Sent::get("acme.localhost", "/orders").bearer(&world.token(&world.acme, MEMBER));
    assert_eq!(world.code(&orders), "permit");
    let seq = world.say(Fact::BindingsChanged { tenant: world.acme.tenant, user: id(MEMBER) });
    assert_eq!(world.code(&orders), "permissions_unavailable", "the answer at hand was read before the change");
    let demoted = Bindings { as_of: seq, active: true, ..Bindings::default() };
    world.link.bindings.lock().unwrap().insert(id(MEMBER), demoted);
    assert_eq!(world.code(&orders), "permission_denied");
}

#[test]
fn a_disabled_user_is_refused_and_one_nobody_answers_for_waits() {
    let world = World::new();
    let me = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, MEMBER));
    let disabled = Bindings { as_of: Seq(0), active: false, ..Bindings::default() };
    world.link.bindings.lock().unwrap().insert(id(MEMBER), disabled);
    assert_eq!(world.code(&me), "principal_inactive");
    let stranger = Sent::get("acme.localhost", "/me").bearer(&world.token(&world.acme, STRANGER));
    assert_eq!(world.code(&stranger), "permissions_unavailable");
}

#[test]
fn a_role_in_a_unit_counts_in_that_unit_only() {
    let world = World::new();
    let token = world.token(&world.acme, MEMBER);
    let files = |unit: u128| {
        let unit: domain::OrgUnitId = id(unit);
        world.code(&Sent::get("acme.localhost", &format!("/ou/{unit}/files")).bearer(&token))
    };
    assert_eq!(files(UNIT), "permit");
    assert_eq!(files(UNIT + 1), "permission_denied");
    assert_eq!(world.code(&Sent::get("acme.localhost", "/ou/x/files").bearer(&token)), "org_unit_not_found");
}

#[test]
fn bindings_are_asked_for_once_and_kept() {
    let world = World::new();
    let token = world.token(&world.acme, MEMBER);
    for _ in 0..5 {
        assert_eq!(world.code(&Sent::get("acme.localhost", "/orders").bearer(&token)), "permit");
    }
    assert_eq!(world.link.asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}
