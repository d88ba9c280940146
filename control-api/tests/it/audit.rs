//! Every change leaves its row.

use serde_json::json;

use crate::support::{World, call, get, post};

#[tokio::test]
async fn every_change_leaves_its_row_with_who_and_to_what() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let ada = world.user(&staff, &tenant, "ada", &["admin"]).await;
    let token = world.login("acme", "ada").await;
    let role = json!({ "name": "clerk", "permissions": ["orders:order:list"] });
    let role_id = post("/v1/roles", &role).bearer(&token).send(&world.admin).await.expect(201).id();
    let binding = json!({ "role_id": role_id, "user_id": ada });
    let binding = post("/v1/role-bindings", &binding).bearer(&token).send(&world.admin).await.expect(201).id();
    call("DELETE", &format!("/v1/role-bindings/{binding}")).bearer(&token).send(&world.admin).await.expect(204);
    call("DELETE", &format!("/v1/roles/{role_id}")).bearer(&token).send(&world.admin).await.expect(204);
    call("POST", "/api/v1/tenant/auth/logout").bearer(&token).send(&world.admin).await.expect(200);

    let mut seen = Vec::new();
    let mut path = format!("/v1/audit?tenant_id={tenant}&limit=2");
    loop {
        let page = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
        seen.extend(page.body["items"].as_array().unwrap().clone());
        match page.body["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/audit?tenant_id={tenant}&limit=2&cursor={cursor}"),
            None => break,
        }
    }
    let actions: Vec<&str> = seen.iter().map(|event| event["action"].as_str().unwrap()).collect();
    for action in [
        "tenant.created",
        "hostname.created",
        "user.created",
        "membership.created",
        "role-binding.created",
        "login_success",
        "role.created",
        "role-binding.deleted",
        "role.deleted",
        "logout",
    ] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    let deleted = seen.iter().find(|event| event["action"] == "role.deleted").unwrap();
    assert_eq!(deleted["actor"]["name"], "ada");
    assert_eq!(deleted["target"]["id"], role_id);
    assert!(deleted["request_id"].is_string());
    let text = serde_json::to_string(&seen).unwrap();
    assert!(!text.contains("argon2") && !text.contains(crate::support::PASSWORD));
}

#[tokio::test]
async fn a_failed_sign_in_is_kept_without_the_name_that_was_tried() {
    let world = World::new().await;
    let staff = world.staff().await;
    world.tenant(&staff, "acme").await;
    world.try_login("acme", "my-secret-password", "x").await.refused(401, "credentials_invalid");
    let page = get("/v1/audit?action=login_failure").bearer(&staff).send(&world.admin).await.expect(200);
    let event = &page.body["items"][0];
    assert_eq!((&event["is_failure"], &event["is_anonymous"]), (&json!(true), &json!(true)));
    assert!(!page.body.to_string().contains("my-secret-password"));
}
