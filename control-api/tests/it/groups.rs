//! Groups: what they are called, who is in them, and that nobody gives by a group what they could not give.

use serde_json::{Value, json};

use crate::{org_units::office, support::call};

async fn role(it: &crate::org_units::Office, name: &str) -> Value {
    let roles = it.send(&it.admin, "GET", "/v1/roles", None).await.expect(200);
    roles.body["items"].as_array().unwrap().iter().find(|role| role["name"] == name).unwrap()["id"].clone()
}

#[tokio::test]
async fn a_group_is_made_named_filled_and_deleted() {
    let it = office().await;
    let body = json!({ "name": "night shift" });
    let made = it.send(&it.admin, "POST", "/v1/groups", Some(body.clone())).await.expect(201);
    let group = format!("/v1/groups/{}", made.id());
    it.send(&it.admin, "POST", "/v1/groups", Some(body)).await.refused(409, "already_exists");
    let named = it.send(&it.admin, "PATCH", &group, Some(json!({ "description": "22 to 6" }))).await.expect(200);
    assert_eq!((&named.body["name"], &named.body["description"]), (&json!("night shift"), &json!("22 to 6")));
    let stale = call("PATCH", &group).json(&json!({ "name": "x" })).header("if-match", "\"1\"").bearer(&it.admin);
    stale.send(&it.world.admin).await.refused(412, "version_mismatch");
    let members = format!("{group}/members");
    let una = json!({ "user_id": it.users[0] });
    it.send(&it.admin, "POST", &members, Some(una.clone())).await.expect(201);
    it.send(&it.admin, "POST", &members, Some(una)).await.refused(409, "already_exists");
    let listed = it.send(&it.admin, "GET", &members, None).await.expect(200);
    assert_eq!(listed.body["items"][0]["user_id"], json!(it.users[0]));

    let token = it.world.login("acme", "una").await;
    it.send(&token, "GET", "/api/v1/tenant/users", None).await.refused(403, "permission_denied");
    let bind = json!({ "role_id": role(&it, "auditor").await, "group_id": made.id() });
    let bound = it.send(&it.admin, "POST", "/v1/role-bindings", Some(bind)).await.expect(201);
    assert_eq!((&bound.body["subject_kind"], &bound.body["subject_id"]), (&json!("group"), &json!(made.id())));
    it.send(&token, "GET", "/api/v1/tenant/users", None).await.expect(200);
    it.send(&it.admin, "DELETE", &format!("{members}/{}", it.users[0]), None).await.expect(204);
    it.send(&token, "GET", "/api/v1/tenant/users", None).await.refused(403, "permission_denied");
    it.send(&it.admin, "POST", &members, Some(json!({ "user_id": it.users[0] }))).await.expect(201);
    it.send(&token, "GET", "/api/v1/tenant/users", None).await.expect(200);
    it.send(&it.admin, "DELETE", &group, None).await.expect(204);
    it.send(&token, "GET", "/api/v1/tenant/users", None).await.refused(403, "permission_denied");
    it.send(&it.admin, "GET", &group, None).await.refused(404, "not_found");
    for body in [
        json!({ "role_id": role(&it, "member").await }),
        json!({ "role_id": role(&it, "member").await, "user_id": it.users[0], "group_id": made.id() }),
    ] {
        it.send(&it.admin, "POST", "/v1/role-bindings", Some(body)).await.refused(422, "validation_failed");
    }
}

#[tokio::test]
async fn nobody_gives_by_a_group_what_they_could_not_give() {
    let it = office().await;
    it.world.user(&it.staff, &it.tenant, "clerk", &["it_admin"]).await;
    let clerk = it.world.login("acme", "clerk").await;
    let group = it.send(&it.admin, "POST", "/v1/groups", Some(json!({ "name": "chiefs" }))).await.expect(201).id();
    let bind = json!({ "role_id": role(&it, "admin").await, "group_id": group });
    it.send(&clerk, "POST", "/v1/role-bindings", Some(bind.clone())).await.refused(403, "permission_escalation");
    it.send(&it.admin, "POST", "/v1/role-bindings", Some(bind)).await.expect(201);
    let members = format!("/v1/groups/{group}/members");
    for user in &it.users {
        let body = json!({ "user_id": user });
        it.send(&clerk, "POST", &members, Some(body)).await.refused(403, "permission_escalation");
    }
    it.send(&it.admin, "POST", &members, Some(json!({ "user_id": it.users[0] }))).await.expect(201);
    for path in [format!("{members}/{}", it.users[0]), format!("/v1/groups/{group}")] {
        it.send(&clerk, "DELETE", &path, None).await.refused(403, "permission_escalation");
    }
    // Who holds more by a group is not reached either.
    let disable = format!("/api/v1/tenant/users/{}/disable", it.users[0]);
    it.send(&clerk, "POST", &disable, None).await.refused(403, "permission_escalation");
    // A group of another tenant is not there.
    let globex = it.world.tenant(&it.staff, "globex").await;
    it.world.user(&it.staff, &globex, "gus", &["owner"]).await;
    let theirs = it.world.login("globex", "gus").await;
    for (method, path) in
        [("GET", format!("/v1/groups/{group}")), ("GET", members), ("DELETE", format!("/v1/groups/{group}"))]
    {
        it.send(&theirs, method, &path, None).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_tenant_keeps_its_last_administrator_though_they_are_one_by_a_group() {
    let it = office().await;
    let group = it.send(&it.admin, "POST", "/v1/groups", Some(json!({ "name": "chiefs" }))).await.expect(201).id();
    let bind = json!({ "role_id": role(&it, "owner").await, "group_id": group });
    it.send(&it.admin, "POST", "/v1/role-bindings", Some(bind)).await.expect(201);
    let members = format!("/v1/groups/{group}/members");
    it.send(&it.admin, "POST", &members, Some(json!({ "user_id": it.users[0] }))).await.expect(201);
    let una = it.world.login("acme", "una").await;
    // Ada is one of her own: she may go. Una is the last then.
    let users = it.send(&una, "GET", "/api/v1/tenant/users?search=ada@", None).await.expect(200);
    let ada = format!("/api/v1/tenant/users/{}", users.body["items"][0]["id"].as_str().unwrap());
    it.send(&una, "DELETE", &ada, None).await.expect(204);
    it.send(&una, "DELETE", &format!("{members}/{}", it.users[0]), None).await.refused(409, "last_admin");
    it.send(&una, "DELETE", &format!("/v1/groups/{group}"), None).await.refused(409, "last_admin");
}
