//! Signing in.

use std::time::Duration;

use serde_json::json;

use crate::support::{PASSWORD, World, call, get, on_postgres, post};

#[tokio::test]
async fn a_user_signs_in_by_name_or_email_on_the_tenants_hostname() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &["member"]).await;
    for name in ["ada", "ADA", &format!("ada@{tenant}.example")] {
        let tokens = world.try_login("acme", name, PASSWORD).await.expect(200);
        assert_eq!(tokens.body["token_type"], "Bearer");
        assert_eq!(tokens.body["expires_in"], 900);
        assert_eq!(tokens.headers["cache-control"], "no-store");
    }
    let token = world.login("acme", "ada").await;
    let info = get("/api/v1/tenant/auth/info").bearer(&token).send(&world.admin).await.expect(200);
    assert_eq!(info.body["user"]["username"], "ada");
    assert_eq!(info.body["tenant"]["slug"], "acme");
    assert_eq!(info.body["roles"][0]["name"], "member");
}

#[tokio::test]
async fn unknown_names_and_wrong_passwords_get_the_same_answer_and_the_same_lock() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    for name in ["ada", "nobody"] {
        for _ in 0..5 {
            world.try_login("acme", name, "wrong").await.refused(401, "credentials_invalid");
        }
        let locked = world.try_login("acme", name, PASSWORD).await.refused(429, "login_locked");
        assert_eq!(locked.headers["retry-after"], "900", "{name}");
    }
    world.clock.advance(Duration::from_secs(901));
    world.try_login("acme", "ada", PASSWORD).await.expect(200);
    world.try_login("acme", "nobody", PASSWORD).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn guesses_made_at_once_are_counted_one_by_one() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    let guesses = (0..20).map(|n| {
        let world = &world;
        async move { world.try_login("acme", "ada", &format!("guess {n}")).await.status.as_u16() }
    });
    let mut answers = futures::future::join_all(guesses).await;
    answers.sort_unstable();
    assert_eq!(answers, [vec![401; 5], vec![429; 15]].concat());
}

#[tokio::test]
async fn name_and_email_share_one_count_of_failures() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    let email = format!("ada@{tenant}.example");
    for name in ["ada", &email, "ada", &email, "ada"] {
        world.try_login("acme", name, "wrong").await.refused(401, "credentials_invalid");
    }
    world.try_login("acme", &email, PASSWORD).await.refused(429, "login_locked");
}

#[tokio::test]
async fn a_success_forgets_earlier_failures() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    for _ in 0..2 {
        for _ in 0..4 {
            world.try_login("acme", "ada", "wrong").await.refused(401, "credentials_invalid");
        }
        world.try_login("acme", "ada", PASSWORD).await.expect(200);
    }
}

#[tokio::test]
async fn a_user_of_one_tenant_is_unknown_to_another() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "ada", &[]).await;
    world.try_login("globex", "ada", PASSWORD).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn disabled_users_and_suspended_tenants_do_not_sign_in_and_frozen_ones_do() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let ada = world.user(&staff, &tenant, "ada", &["admin"]).await;
    world.user(&staff, &tenant, "bob", &[]).await;
    let path = format!("/v1/tenants/{tenant}/users/{ada}/disable");
    call("POST", &path).bearer(&staff).send(&world.admin).await.expect(200);
    world.try_login("acme", "ada", PASSWORD).await.refused(401, "principal_inactive");
    call("POST", &format!("/v1/tenants/{tenant}/cancel")).bearer(&staff).send(&world.admin).await.expect(200);
    let frozen = world.login("acme", "bob").await;
    get("/api/v1/tenant/auth/info").bearer(&frozen).send(&world.admin).await.expect(200);
    let role = json!({ "name": "x", "permissions": [] });
    post("/v1/roles", &role).bearer(&frozen).send(&world.admin).await.refused(403, "tenant_frozen");
    call("POST", &format!("/v1/tenants/{tenant}/suspend")).bearer(&staff).send(&world.admin).await.expect(200);
    world.try_login("acme", "bob", PASSWORD).await.refused(403, "tenant_suspended");
    get("/api/v1/tenant/auth/info").bearer(&frozen).send(&world.admin).await.refused(403, "tenant_suspended");
}

#[tokio::test]
async fn a_password_that_must_be_changed_opens_no_session() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let ada = world.user(&staff, &tenant, "ada", &[]).await;
    world.user(&staff, &tenant, "root", &["admin"]).await;
    let admin = world.login("acme", "root").await;
    let path = format!("/api/v1/tenant/users/{ada}/reset-password");
    post(&path, &json!({ "password": "Another-horse-2" })).bearer(&admin).send(&world.admin).await.expect(200);
    world.try_login("acme", "ada", PASSWORD).await.refused(401, "credentials_invalid");
    world.try_login("acme", "ada", "Another-horse-2").await.refused(403, "password_change_required");
}

#[tokio::test]
async fn a_tenants_token_is_none_at_the_staffs_door() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &["admin"]).await;
    let token = world.login("acme", "ada").await;
    get("/api/v1/auth/userinfo").bearer(&token).send(&world.admin).await.refused(403, "context_mismatch");
    get("/api/v1/tenant/auth/info").bearer(&staff).send(&world.admin).await.refused(403, "context_mismatch");
    get("/v1/tenants").bearer(&token).send(&world.admin).await.refused(403, "permission_denied");
    let userinfo = get("/api/v1/auth/userinfo").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(userinfo.body["user"]["is_super_admin"], true);
}

#[tokio::test]
async fn a_tenants_user_does_not_sign_in_as_staff() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &["admin"]).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    post("/api/v1/auth/login", &body).send(&world.admin).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn without_a_hostname_the_body_names_the_tenant() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &[]).await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    post("/api/v1/tenant/auth/login", &body).send(&world.admin).await.refused(422, "validation_failed");
    let keyed = post("/api/v1/tenant/auth/login", &body).header("x-project-key", "acme");
    keyed.send(&world.admin).await.expect(200);
    let mut body = body;
    body["tenant"] = json!("acme");
    post("/api/v1/tenant/auth/login", &body).send(&world.admin).await.expect(200);
    body["tenant"] = json!("nobody");
    post("/api/v1/tenant/auth/login", &body).send(&world.admin).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn works_the_same_on_postgres() {
    on_postgres(a_session_from_beginning_to_end).await;
}

#[tokio::test]
async fn works_the_same_on_sqlite() {
    a_session_from_beginning_to_end(World::new().await).await;
}

async fn a_session_from_beginning_to_end(world: World) {
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ada", &["admin"]).await;
    for _ in 0..2 {
        world.try_login("acme", "ada", "wrong").await.refused(401, "credentials_invalid");
    }
    let token = world.login("acme", "ada").await;
    let body = json!({ "username": "bob", "password": PASSWORD });
    let bob = post("/api/v1/tenant/users", &body).bearer(&token).send(&world.admin).await.expect(201).id();
    let path = format!("/api/v1/tenant/users/{bob}");
    call("PATCH", &path).json(&json!({ "first_name": "Bob" })).bearer(&token).send(&world.admin).await.expect(200);
    call("DELETE", &path).bearer(&token).send(&world.admin).await.expect(204);
    let trail = get("/v1/audit").bearer(&token).send(&world.admin).await.expect(200);
    let actions: Vec<&str> =
        trail.body["items"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect();
    for action in ["user.created", "user.updated", "user.deleted", "login_success"] {
        assert!(actions.contains(&action), "{action} in {actions:?}");
    }
    post("/api/v1/tenant/auth/logout", &json!({})).bearer(&token).send(&world.admin).await.expect(200);
    get("/api/v1/tenant/auth/info").bearer(&token).send(&world.admin).await.refused(401, "token_revoked");
}
