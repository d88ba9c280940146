//! One's own account and sessions.

use domain::{Position, Seq};
use link::log::ControlPlane;
use serde_json::{Value, json};

use crate::{
    logout::report,
    support::{Answer, PASSWORD, World, call, edge, get, post},
};

const INFO: &str = "/api/v1/tenant/auth/info";

async fn world() -> (World, String, String) {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    world.user(&staff, &tenant, "bob", &["admin"]).await;
    (world, staff, tenant)
}

async fn sessions(world: &World, token: &str) -> Vec<Value> {
    let answer = get("/v1/me/sessions").bearer(token).send(&world.admin).await.expect(200);
    answer.body["items"].as_array().unwrap().clone()
}

async fn current(world: &World, token: &str) -> String {
    let all = sessions(world, token).await;
    all.iter().find(|session| session["current"] == true).unwrap()["id"].as_str().unwrap().to_owned()
}

async fn end(world: &World, token: &str, session: &str) -> Answer {
    call("DELETE", &format!("/v1/me/sessions/{session}")).bearer(token).send(&world.admin).await
}

async fn is_believed(world: &World, token: &str) -> bool {
    get(INFO).bearer(token).send(&world.admin).await.status == 200
}

#[tokio::test]
async fn one_sees_ones_own_account_and_sessions() {
    let (world, staff, _) = world().await;
    let (ada, other) = (world.login("acme", "ada").await, world.login("acme", "ada").await);
    world.login("acme", "bob").await;
    let me = get("/v1/me").bearer(&ada).send(&world.admin).await.expect(200);
    assert_eq!(me.body["username"], "ada");
    assert!(!me.body.to_string().contains("password_hash"));
    let seen = sessions(&world, &ada).await;
    let marked = seen.iter().filter(|session| session["current"] == true).count();
    assert_eq!((seen.len(), marked), (2, 1));
    assert_ne!(current(&world, &ada).await, current(&world, &other).await);
    let page = get("/v1/me/sessions?limit=1").bearer(&ada).send(&world.admin).await.expect(200);
    let next = format!("/v1/me/sessions?limit=1&cursor={}", page.text("next_cursor"));
    let rest = get(&next).bearer(&ada).send(&world.admin).await.expect(200);
    assert_eq!(rest.body["items"][0]["id"], seen[1]["id"]);
    // Staff too, in its own context.
    assert_eq!(sessions(&world, &staff).await.len(), 1);
}

/// How one signs in and what one may do are not one's own to change.
#[tokio::test]
async fn one_changes_ones_own_profile_and_nothing_else() {
    let (world, staff, tenant) = world().await;
    let ada = world.login("acme", "ada").await;
    let me = get("/v1/me").bearer(&ada).send(&world.admin).await.expect(200);
    let change = |body: Value| call("PATCH", "/v1/me").json(&body).bearer(&ada);
    let edit = json!({ "first_name": "Ada", "phone": "+44 20 7946 0000" });
    let changed = change(edit).send(&world.admin).await.expect(200);
    assert_eq!((&changed.body["first_name"], &changed.body["last_name"]), (&json!("Ada"), &me.body["last_name"]));
    let etag = me.headers["etag"].to_str().unwrap();
    let stale = change(json!({ "last_name": "Lovelace" })).header("if-match", etag);
    stale.send(&world.admin).await.refused(412, "version_mismatch");
    for field in ["username", "email", "status", "is_break_glass", "must_change_password", "id"] {
        change(json!({ field: "x" })).send(&world.admin).await.refused(422, "validation_failed");
    }
    for (field, text) in [("first_name", "x".repeat(129)), ("last_name", "a\u{0}b".into()), ("phone", "1".repeat(33))] {
        change(json!({ field: text })).send(&world.admin).await.refused(422, "validation_failed");
    }
    call("PATCH", "/v1/me").json(&json!({})).send(&world.admin).await.refused(401, "credential_missing");
    let now = get("/v1/me").bearer(&ada).send(&world.admin).await.expect(200);
    assert_eq!((&now.body["username"], &now.body["phone"]), (&me.body["username"], &json!("+44 20 7946 0000")));
    let trail = get(&format!("/v1/audit?tenant_id={tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    let updated = |event: &&Value| event["action"] == "user.updated" && event["actor"]["name"] == "ada";
    assert_eq!(trail.body["items"].as_array().unwrap().iter().filter(updated).count(), 1);
    call("PATCH", "/v1/me").json(&json!({ "last_name": "Staff" })).bearer(&staff).send(&world.admin).await.expect(200);
}

/// One of several, by the tenant's administrator and by the platform's staff; who holds more is not reached.
#[tokio::test]
async fn an_administrator_ends_one_session_of_a_user() {
    let (world, staff, tenant) = world().await;
    let id_of = async |token: &str| get("/v1/me").bearer(token).send(&world.admin).await.expect(200).id();
    let (ada, other, third) =
        (world.login("acme", "ada").await, world.login("acme", "ada").await, world.login("acme", "ada").await);
    let bob = world.login("acme", "bob").await;
    let (ada_id, bob_id) = (id_of(&ada).await, id_of(&bob).await);
    let (ended, bobs) = (current(&world, &other).await, current(&world, &bob).await);
    let path = |user: &str, sid: &str| format!("/api/v1/tenant/users/{user}/sessions/{sid}");
    let delete = async |token: &str, path: String| call("DELETE", &path).bearer(token).send(&world.admin).await;
    delete(&ada, path(&bob_id, &bobs)).await.refused(403, "permission_denied");
    delete(&bob, path(&ada_id, &bobs)).await.refused(404, "not_found");
    delete(&bob, path(&ada_id, &ended)).await.expect(204);
    assert!(!is_believed(&world, &other).await);
    assert!(is_believed(&world, &ada).await && is_believed(&world, &bob).await);
    delete(&bob, path(&ada_id, &ended)).await.refused(404, "not_found");
    let (globex, gia) = (world.tenant(&staff, "globex").await, "gia");
    world.user(&staff, &globex, gia, &["admin"]).await;
    let theirs = world.login("globex", gia).await;
    delete(&theirs, path(&ada_id, &current(&world, &ada).await)).await.refused(404, "not_found");

    let platform = format!("/v1/tenants/{tenant}/users/{ada_id}/sessions");
    let listed = get(&platform).bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2);
    delete(&staff, format!("{platform}/{}", current(&world, &third).await)).await.expect(204);
    assert!(!is_believed(&world, &third).await);
    get(&platform).bearer(&theirs).send(&world.admin).await.refused(404, "not_found");
    let trail = get(&format!("/v1/audit?tenant_id={tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    let revoked = |event: &&Value| event["action"] == "session_revoked";
    let by: Vec<_> = trail.body["items"].as_array().unwrap().iter().filter(revoked).collect();
    assert_eq!(by.len(), 2);
    assert!(by.iter().any(|event| event["actor"]["name"] == "bob"));
}

/// S0 defect 4: a session was ended by whoever knew its id.
#[tokio::test]
async fn nobody_elses_session_exists() {
    let (world, staff, _) = world().await;
    let (ada, bob) = (world.login("acme", "ada").await, world.login("acme", "bob").await);
    let shared = world.shared_tenants(&staff, &["north", "south"]).await;
    let eve = world.user(&staff, &shared["north"], "eve", &[]).await;
    world.join(&staff, &shared["south"], &eve).await;
    let (north, south) = (world.login("north", "eve").await, world.login("south", "eve").await);
    for (mine, theirs) in [(&bob, &ada), (&north, &ada), (&north, &south), (&staff, &ada)] {
        let id = current(&world, theirs).await;
        end(&world, mine, &id).await.refused(404, "not_found");
        assert!(is_believed(&world, theirs).await);
    }
    end(&world, &ada, "00000000-0000-0000-0000-000000000001").await.refused(404, "not_found");
    end(&world, &ada, "x").await.refused(404, "not_found");
}

#[tokio::test]
async fn one_ends_ones_sessions_one_by_one() {
    let (world, staff, tenant) = world().await;
    let (ada, other) = (world.login("acme", "ada").await, world.login("acme", "ada").await);
    let id = current(&world, &other).await;
    end(&world, &ada, &id).await.expect(204);
    assert!(!is_believed(&world, &other).await);
    end(&world, &ada, &id).await.refused(404, "not_found");
    let own = current(&world, &ada).await;
    end(&world, &ada, &own).await.expect(204);
    get("/v1/me").bearer(&ada).send(&world.admin).await.refused(401, "token_revoked");
    let trail = get(&format!("/v1/audit?tenant_id={tenant}")).bearer(&staff).send(&world.admin).await.expect(200);
    let revoked = |event: &&Value| event["action"] == "session_revoked" && event["actor"]["name"] == "ada";
    assert_eq!(trail.body["items"].as_array().unwrap().iter().filter(revoked).count(), 2);
}

/// S0 defect 4: "all but current" ended all.
#[tokio::test]
async fn all_but_the_current_session_are_ended_in_every_tenant_and_nobody_elses() {
    let (world, staff, _) = world().await;
    let shared = world.shared_tenants(&staff, &["north", "south"]).await;
    let eve = world.user(&staff, &shared["north"], "eve", &[]).await;
    world.join(&staff, &shared["south"], &eve).await;
    world.user(&staff, &shared["north"], "mallory", &[]).await;
    let (kept, mallory) = (world.login("north", "eve").await, world.login("north", "mallory").await);
    let others = [world.login("north", "eve").await, world.login("south", "eve").await];
    let answer = post("/v1/me/sessions/revoke-others", &json!({})).bearer(&kept).send(&world.admin).await.expect(200);
    assert_eq!(answer.body, json!({ "ended": 2 }));
    assert!(is_believed(&world, &kept).await);
    assert!(is_believed(&world, &mallory).await);
    for token in &others {
        get(INFO).bearer(token).send(&world.admin).await.refused(401, "token_revoked");
    }
    let again = post("/v1/me/sessions/revoke-others", &json!({})).bearer(&kept).send(&world.admin).await.expect(200);
    assert_eq!(again.body, json!({ "ended": 0 }));
}

#[tokio::test]
async fn signing_out_everywhere_ends_everything_in_every_tenant() {
    let (world, staff, _) = world().await;
    let shared = world.shared_tenants(&staff, &["north", "south"]).await;
    let eve = world.user(&staff, &shared["north"], "eve", &[]).await;
    world.join(&staff, &shared["south"], &eve).await;
    let north = world.try_login("north", "eve", PASSWORD).await.expect(200);
    let (south, ada) = (world.login("south", "eve").await, world.login("acme", "ada").await);
    let everywhere =
        post("/v1/me/sign-out-everywhere", &json!({ "password": PASSWORD })).bearer(&north.text("access_token"));
    let answer = everywhere.send(&world.admin).await.expect(200);
    assert_eq!(answer.body, json!({ "status": "signed_out" }));
    for token in [&north.text("access_token"), &south] {
        get(INFO).bearer(token).send(&world.admin).await.refused(401, "token_revoked");
    }
    let body = json!({ "refresh_token": north.text("refresh_token") });
    let refresh = post("/api/v1/tenant/auth/refresh", &body).host("north.localhost");
    refresh.send(&world.admin).await.refused(401, "refresh_invalid");
    assert!(is_believed(&world, &ada).await);
    assert!(is_believed(&world, &world.login("north", "eve").await).await);
}

/// What ends sessions is answered for as signing out is: once the gateways have heard, or with who has not.
#[tokio::test]
async fn ending_sessions_leaves_facts_and_names_the_gateway_that_has_not_heard() {
    let (world, _, _) = world().await;
    let plane = control_api::internal::Plane::new(std::sync::Arc::clone(&world.app.hub));
    let (ada, other) = (world.login("acme", "ada").await, world.login("acme", "ada").await);
    let id = current(&world, &other).await;
    let before = plane.prove(Position::default(), &edge()).await.unwrap().head;
    report(&world, "gw-1", Seq(0), 0).await;
    for (call, expected) in [
        (call("DELETE", &format!("/v1/me/sessions/{id}")), "session_ended"),
        (post("/v1/me/sessions/revoke-others", &json!({})), "session_ended"),
        (post("/v1/me/sign-out-everywhere", &json!({ "password": PASSWORD })), "user_generation"),
    ] {
        world.login("acme", "ada").await;
        let already = plane.facts_after(before).await.unwrap().len();
        let answer = call.bearer(&ada).send(&world.admin).await.expect(202);
        assert_eq!(answer.body["waiting_for"], json!(["gw-1"]));
        let fresh = plane.facts_after(before).await.unwrap().split_off(already);
        let names: Vec<_> = fresh.iter().map(|it| serde_json::to_value(&it.fact).unwrap()["fact"].clone()).collect();
        assert!(!names.is_empty() && names.iter().all(|name| name == expected), "{names:?}, expected {expected}");
    }
}

/// A pair that was minted is never lost to a gateway that is slow to hear.
#[tokio::test]
async fn a_switch_that_waits_for_a_gateway_still_answers_with_the_pair() {
    let (world, staff, _) = world().await;
    let shared = world.shared_tenants(&staff, &["north", "south"]).await;
    let eve = world.user(&staff, &shared["north"], "eve", &[]).await;
    world.join(&staff, &shared["south"], &eve).await;
    let pair = world.try_login("north", "eve", PASSWORD).await.expect(200);
    report(&world, "gw-1", Seq(0), 0).await;
    let body = json!({ "tenant": "south", "refresh_token": pair.text("refresh_token") });
    let switch = post("/api/v1/tenant/auth/switch", &body).bearer(&pair.text("access_token"));
    let answer = switch.send(&world.admin).await.expect(202);
    assert_eq!(answer.body["waiting_for"], json!(["gw-1"]));
    assert!(is_believed(&world, &answer.text("access_token")).await);
}

#[tokio::test]
async fn a_frozen_tenants_users_still_end_their_sessions() {
    let (world, staff, tenant) = world().await;
    let (ada, _) = (world.login("acme", "ada").await, world.login("acme", "ada").await);
    let cancel = post(&format!("/v1/tenants/{tenant}/cancel"), &json!({})).bearer(&staff);
    cancel.send(&world.admin).await.expect(200);
    let favorite = post("/api/v1/tenant/auth/favorite", &json!({ "menu_key": "x", "favorite": true })).bearer(&ada);
    favorite.send(&world.admin).await.refused(403, "tenant_frozen");
    get("/v1/me").bearer(&ada).send(&world.admin).await.expect(200);
    let others = post("/v1/me/sessions/revoke-others", &json!({})).bearer(&ada).send(&world.admin).await.expect(200);
    assert_eq!(others.body["ended"], 1);
    let everywhere =
        post("/v1/me/sign-out-everywhere", &json!({ "password": PASSWORD })).bearer(&ada).send(&world.admin).await;
    everywhere.expect(200);
}
