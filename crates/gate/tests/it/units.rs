//! Routes of organisational units: which unit, whether it is there, and what its administrators, auditors and others may.

use domain::{
    Fact, OrgUnitId, Seq,
    fact::Bindings,
    model::builtin,
    snapshot::{Entity, Role, RoleScope, Tenant},
};
use gate::Permit;

use crate::{
    forward::prepared,
    world::{ADMIN, ROLE_ADMIN, ROLE_MEMBER, Sent, UNIT, World, id, permission, role, tenant},
};

/// A user who works in units.
const WORKER: u128 = 520;
/// A role of the tenant's own that is held in units.
const WRITER: u128 = 640;

/// A world with the built-in roles of units and one of the tenant's own.
fn world() -> World {
    let world = World::new();
    let built_in = builtin::all().into_iter().filter(|role| role.scope == RoleScope::Ou);
    for role in built_in {
        world.put_one(Entity::Role(Role {
            id: role.id,
            tenant_id: None,
            name: role.name,
            scope: role.scope,
            permissions: role.permissions,
            admin: false,
            super_admin: false,
        }));
    }
    world.put_one(Entity::Role(role(WRITER, "writer", RoleScope::Ou, &["demo:note:write"])));
    world
}

fn unit(n: u128) -> OrgUnitId {
    id(n)
}

/// The worker holds these roles in units, and is a plain member otherwise.
fn works(world: &World, unit_roles: Vec<(OrgUnitId, domain::RoleId)>) -> String {
    let as_of = Seq(world.gate.mirror().position().seq.0);
    let bindings = Bindings { as_of, active: true, roles: vec![id(ROLE_MEMBER)], unit_roles, ..Bindings::default() };
    world.link.bindings.lock().unwrap().insert(id(WORKER), bindings);
    world.token(&world.acme, WORKER)
}

fn ask(world: &World, method: &'static str, target: &str, token: &str) -> &'static str {
    world.code(&Sent::new(method, "acme.localhost", target).bearer(token))
}

/// `requirements.md` §1.2, §5.1: administrators of a unit do everything on its routes, auditors GET and HEAD, others what
/// their roles grant.
#[test]
fn in_a_unit_administrators_do_everything_auditors_read_and_others_do_what_their_roles_grant() {
    let world = world();
    let notes = format!("/w/{}/notes", unit(UNIT));
    for (role, get, head, options, post) in [
        (Some(builtin::OU_ADMIN), true, true, true, true),
        (Some(builtin::OU_AUDITOR), true, true, false, false),
        (Some(builtin::OU_DEFAULT), false, false, false, false),
        (Some(id(WRITER)), true, true, true, true),
        (None, false, false, false, false),
    ] {
        world.say(Fact::BindingsChanged { tenant: world.acme.tenant, user: id(WORKER) });
        let token = works(&world, role.into_iter().map(|role| (unit(UNIT), role)).collect());
        for (method, passes) in [("GET", get), ("HEAD", head), ("OPTIONS", options), ("POST", post), ("DELETE", post)] {
            let expected = if passes { "permit" } else { "permission_denied" };
            assert_eq!(ask(&world, method, &notes, &token), expected, "{role:?} {method}");
        }
        let other = format!("/w/{}/notes", unit(UNIT + 1));
        assert_eq!(ask(&world, "GET", &other, &token), "permission_denied", "{role:?} in another unit");
    }
}

#[test]
fn an_administrator_of_a_unit_is_nobody_outside_it() {
    let world = world();
    let token = works(&world, vec![(unit(UNIT), builtin::OU_ADMIN)]);
    assert_eq!(ask(&world, "GET", "/admin-only-in-demo", &token), "permission_denied");
    assert_eq!(ask(&world, "GET", "/api/v1/tenant/users", &token), "permission_denied");
    assert_eq!(ask(&world, "GET", "/platform", &token), "context_mismatch");
}

#[test]
fn whoever_holds_the_permission_in_the_whole_tenant_needs_no_role_in_the_unit() {
    let world = world();
    world.put_one(Entity::Role(Role { admin: true, ..role(ROLE_ADMIN, "admin", RoleScope::Tenant, &["demo:note:*"]) }));
    let token = world.token(&world.acme, ADMIN);
    assert_eq!(ask(&world, "POST", &format!("/w/{}/notes", unit(UNIT + 1)), &token), "permit");
}

/// S0's defect 8: the look-up at the gateway ignored that a unit was deleted.
#[test]
fn a_unit_that_was_deleted_is_not_there_for_anybody() {
    let world = world();
    world.put_one(Entity::Role(Role { admin: true, ..role(ROLE_ADMIN, "admin", RoleScope::Tenant, &["demo:*"]) }));
    let worker = works(&world, vec![(unit(UNIT), builtin::OU_ADMIN)]);
    let admin = world.token(&world.acme, ADMIN);
    let notes = format!("/w/{}/notes", unit(UNIT));
    let sent = Sent::get("acme.localhost", &notes).bearer(&worker);
    let permit = world.send(&sent).unwrap();
    assert_eq!(ask(&world, "GET", &notes, &admin), "permit");
    let without = Tenant { org_units: [unit(UNIT + 1)].into(), ..tenant(1, world.acme.project, "acme") };
    world.put_one(Entity::Tenant(without));
    for token in [&worker, &admin] {
        assert_eq!(ask(&world, "GET", &notes, token), "org_unit_not_found");
        assert_eq!(ask(&world, "DELETE", &notes, token), "org_unit_not_found");
    }
    // What lasts ends with it.
    assert_eq!(world.still_holds(&permit, &sent).unwrap_err().public().1, "org_unit_not_found");
    world.put_one(Entity::Tenant(tenant(1, world.acme.project, "acme")));
    assert_eq!(ask(&world, "GET", &notes, &worker), "permit", "it was restored");
    assert!(world.still_holds(&permit, &sent).is_ok());
}

#[test]
fn a_unit_of_another_tenant_or_none_at_all_is_not_there() {
    let world = world();
    let foreign = Tenant { org_units: [unit(900)].into(), ..tenant(2, world.globex.project, "globex") };
    world.put_one(Entity::Tenant(foreign));
    let token = works(&world, vec![(unit(UNIT), builtin::OU_ADMIN), (unit(900), builtin::OU_ADMIN)]);
    for named in [unit(900).to_string(), "x".into(), "00000000".into(), format!("{}x", unit(UNIT))] {
        assert_eq!(ask(&world, "GET", &format!("/w/{named}/notes"), &token), "org_unit_not_found", "{named}");
    }
}

#[test]
fn a_unit_is_named_by_a_field_where_the_route_says_so_once_and_in_one_spelling() {
    let world = world();
    let token = works(&world, vec![(unit(UNIT), builtin::OU_ADMIN)]);
    let notes = || Sent::get("acme.localhost", "/notes").bearer(&token);
    let (own, other) = (unit(UNIT).to_string(), unit(UNIT + 1).to_string());
    assert_eq!(world.code(&notes().with("x-workspace-id", &own)), "permit");
    assert_eq!(world.code(&notes().with("x-workspace-id", &other)), "permission_denied");
    assert_eq!(world.code(&notes()), "org_unit_not_found");
    assert_eq!(world.code(&notes().with("x-workspace-id", "")), "org_unit_not_found");
    // Of two, the service might take the other.
    assert_eq!(world.code(&notes().with("x-workspace-id", &own).with("x-workspace-id", &other)), "org_unit_not_found");
    for spelled in ["x_workspace_id", "x-workspace_id", "x.workspace.id"] {
        let sent = notes().with("x-workspace-id", &own).with(spelled, &other);
        assert_eq!(world.code(&sent), "header_refused", "{spelled}");
    }
    // What is taken away on the way would be another unit, or none, to the service.
    let nominated = notes().with("x-workspace-id", &own).with("connection", "keep-alive, X-Workspace-Id");
    assert_eq!(world.code(&nominated), "header_refused");
    // A stream's field is gone by the time it is judged again: what it named holds.
    let sent = notes().with("x-workspace-id", &own);
    let permit = world.send(&sent).unwrap();
    assert!(world.still_holds(&permit, &sent).is_ok());
    world.put_one(Entity::Tenant(Tenant { org_units: [].into(), ..tenant(1, world.acme.project, "acme") }));
    assert_eq!(world.still_holds(&permit, &sent).unwrap_err().public().1, "org_unit_not_found");
}

#[test]
fn a_route_of_units_without_a_permission_is_for_who_is_in_the_unit_and_the_tenants_administrators() {
    let world = world();
    let home = format!("/ou/{}/home", unit(UNIT));
    let worker = works(&world, vec![(unit(UNIT), builtin::OU_DEFAULT)]);
    assert_eq!(ask(&world, "POST", &home, &worker), "permit");
    assert_eq!(ask(&world, "POST", &format!("/ou/{}/home", unit(UNIT + 1)), &worker), "org_unit_denied");
    assert_eq!(ask(&world, "GET", &home, &world.token(&world.acme, ADMIN)), "permit");
    assert_eq!(world.code(&Sent::get("acme.localhost", &home)), "credential_missing");
}

fn ou_ids(world: &World, sent: &Sent, permit: &Permit) -> Vec<String> {
    let head = prepared(world, sent, permit);
    head.headers.get_all("x-md-global-ou-id").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_upstream_is_told_the_unit_once() {
    let world = world();
    let (here, there) = (unit(UNIT), unit(UNIT + 1));
    works(&world, vec![(here, builtin::OU_ADMIN), (there, builtin::OU_ADMIN)]);
    // The token names the unit its user works in otherwise.
    let claims = world.claims(&world.acme, WORKER).set("ou", there.to_string());
    let token = world.acme.issuer.mint(claims);
    let send = |target: &str| {
        let sent = Sent::get("acme.localhost", target).bearer(&token).with("x-md-global-ou-id", "smuggled");
        let permit = world.send(&sent).unwrap();
        ou_ids(&world, &sent, &permit)
    };
    assert_eq!(send("/me"), [there.to_string()]);
    assert_eq!(send(&format!("/w/{here}/notes")), [here.to_string()]);
    // A unit in which its user holds nothing any more is not told.
    world.say(Fact::BindingsChanged { tenant: world.acme.tenant, user: id(WORKER) });
    works(&world, vec![(here, builtin::OU_ADMIN)]);
    assert!(send("/me").is_empty());
}

#[test]
fn an_account_of_a_decision_names_the_unit_and_the_role_held_in_it() {
    let world = world();
    let token = works(&world, vec![(unit(UNIT), builtin::OU_AUDITOR)]);
    let account = |method| {
        let sent = Sent::new(method, "acme.localhost", &format!("/w/{}/notes", unit(UNIT))).bearer(&token);
        world.explained(&sent).permission.unwrap()
    };
    let read = account("GET");
    assert_eq!((read.unit, read.held), (Some(unit(UNIT)), Some(true)));
    assert_eq!(read.by.iter().map(|by| (&*by.role, by.unit)).collect::<Vec<_>>(), [("ou_auditor", Some(unit(UNIT)))]);
    let written = account("POST");
    assert_eq!((written.unit, written.held), (Some(unit(UNIT)), Some(false)));
    assert_eq!(&*written.code, permission("demo:note:write").as_str());
}
