//! Emergency administrators: set up on the machine, signed in with SQL alone.

use std::time::Duration;

use control_api::{emergency, totp::Codes};
use domain::{Clock, Secret};
use futures::future::join_all;
use serde_json::{Value, json};
use store::read::*;

use crate::support::{Answer, World, call, get, on_postgres, post};

/// An emergency administrator, and the means to sign in.
struct Emergency {
    customer: String,
    password: String,
    codes: Codes,
}

impl Emergency {
    async fn set_up(world: &World, customer: &str) -> Self {
        let made = emergency::set_up(&world.app, customer).await.unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        assert!(text("otpauth").starts_with("otpauth://totp/Portcullis:"), "{made}");
        let id = world.app.store.customer_by_code(customer).await.unwrap().unwrap().id;
        let secret = world.app.store.break_glass_secret(id).await.unwrap().unwrap();
        let codes = Codes::of(&secret).unwrap();
        assert_eq!(codes.base32().expose(), &text("totp_secret"));
        Self { customer: customer.into(), password: text("password"), codes }
    }

    fn code(&self, world: &World) -> String {
        self.codes.code(world.clock.unix_now().secs() / 30).unwrap()
    }

    async fn sign_in(&self, world: &World, password: &str, code: &str) -> Answer {
        let body = json!({ "customer": self.customer, "password": password, "code": code });
        post("/v1/break-glass/login", &body).send(&world.admin).await
    }
}

fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_platforms_own_signs_in_with_password_and_code_for_an_hour_at_most() {
    let world = World::new().await;
    let it = Emergency::set_up(&world, "root").await;
    let code = it.code(&world);
    it.sign_in(&world, &it.password, "000000").await.refused(401, "credentials_invalid");
    it.sign_in(&world, "wrong", &code).await.refused(401, "credentials_invalid");
    let pair = it.sign_in(&world, &it.password, &code).await.expect(200);
    let token = pair.text("access_token");
    assert_eq!(claims(&token)["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(claims(&token)["ctx"], "sys");
    get("/v1/customers").bearer(&token).send(&world.admin).await.expect(200);
    it.sign_in(&world, &it.password, &code).await.refused(401, "credentials_invalid");

    let events = get("/v1/audit?action=break-glass.login").bearer(&token).send(&world.admin).await.expect(200);
    assert_eq!(events.body["items"].as_array().unwrap().len(), 1, "the alert");
    let renewed = post("/api/v1/auth/refresh", &json!({ "refresh_token": pair.text("refresh_token") }));
    let renewed = renewed.send(&world.admin).await.expect(200);
    world.clock.advance(Duration::from_secs(3600));
    let late = post("/api/v1/auth/refresh", &json!({ "refresh_token": renewed.text("refresh_token") }));
    late.send(&world.admin).await.refused(401, "refresh_invalid");
    get("/v1/customers").bearer(&renewed.text("access_token")).send(&world.admin).await.refused(401, "token_expired");
}

async fn of_many_that_show_one_code_one_signs_in(world: World) {
    let it = Emergency::set_up(&world, "root").await;
    let code = it.code(&world);
    let all = join_all((0..6).map(|_| it.sign_in(&world, &it.password, &code))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);
}

#[tokio::test]
async fn of_many_that_show_one_code_one_signs_in_on_sqlite() {
    of_many_that_show_one_code_one_signs_in(World::new().await).await;
}

#[tokio::test]
async fn of_many_that_show_one_code_one_signs_in_on_postgres() {
    on_postgres(of_many_that_show_one_code_one_signs_in).await;
}

#[tokio::test]
async fn guesses_lock_and_tell_nothing() {
    let world = World::new().await;
    let it = Emergency::set_up(&world, "root").await;
    let nobody = Emergency { customer: "nobody".into(), password: String::new(), codes: it.codes };
    let it = Emergency {
        customer: "root".into(),
        password: it.password,
        codes: Codes::of(&Secret::new(vec![1; 20])).unwrap(),
    };
    for who in [&it, &nobody] {
        for _ in 0..5 {
            who.sign_in(&world, "wrong", "000000").await.refused(401, "credentials_invalid");
        }
        let locked = who.sign_in(&world, &it.password, "000000").await;
        assert!(locked.refused(429, "login_locked").headers.contains_key("retry-after"));
    }
    let again = Emergency::set_up(&world, "root").await;
    again.sign_in(&world, &again.password, &again.code(&world)).await.expect(200);
}

#[tokio::test]
async fn no_other_sign_in_takes_them_and_no_administrator_takes_their_place() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ann", &["admin"]).await;
    let it = Emergency::set_up(&world, "acme").await;
    let users = get(&format!("/v1/tenants/{tenant}/users")).bearer(&staff).send(&world.admin).await.expect(200);
    let users = users.body["items"].as_array().unwrap().clone();
    let user = users.iter().find(|it| it["is_break_glass"] == true).unwrap();
    let name = user["username"].as_str().unwrap();
    world.try_login("acme", name, &it.password).await.refused(401, "credentials_invalid");
    let ann = world.login("acme", "ann").await;
    let path = format!("/api/v1/tenant/users/{}", user["id"].as_str().unwrap());
    let as_ann = |method: &str, path: String| call(method, &path).bearer(&ann).host("acme.localhost");
    as_ann("DELETE", path.clone()).send(&world.admin).await.refused(409, "user_is_break_glass");
    as_ann("POST", format!("{path}/disable")).send(&world.admin).await.refused(409, "user_is_break_glass");
    let reset = as_ann("POST", format!("{path}/reset-password")).json(&json!({ "password": "Correct-horse-2" }));
    reset.send(&world.admin).await.refused(409, "user_is_break_glass");

    // And they do their work: as the tenant's administrator, on `admin`.
    let token = it.sign_in(&world, &it.password, &it.code(&world)).await.expect(200).text("access_token");
    as_ann("POST", format!("{path}/logout")).send(&world.admin).await.refused(409, "user_is_break_glass");
    get("/api/v1/tenant/users").bearer(&token).send(&world.admin).await.expect(200);
    get("/v1/customers").bearer(&token).send(&world.admin).await.refused(403, "permission_denied");
    // Through the edge there is no such path.
    let path = "/v1/break-glass/login";
    let assertion = world.assertion("POST", path, "acme.localhost", Some(&tenant)).await;
    let body = json!({ "customer": "acme", "password": it.password, "code": "000000" });
    let through = post(path, &body).header("x-md-global-assertion", &assertion).send(&world.public).await;
    through.refused(404, "route_not_found");
}

#[tokio::test]
async fn what_they_hold_is_not_the_tenants_to_give_or_take_and_no_credential_outlives_their_session() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    Emergency::set_up(&world, "acme").await;
    world.user(&staff, &tenant, "ann", &["owner"]).await;
    let ann = world.login("acme", "ann").await;
    let as_ann = async |method: &str, path: &str, body: &Value| {
        call(method, path).json(body).bearer(&ann).host("acme.localhost").send(&world.admin).await
    };
    let customer = world.app.store.customer_by_code("acme").await.unwrap().unwrap().id;
    let theirs = world.app.store.break_glass(customer).await.unwrap().unwrap().user_id;
    let kept = |answer: Answer| answer.refused(409, "user_is_break_glass");

    let role = json!({ "name": "clerk", "permissions": ["tenant:user:list"] });
    let role = as_ann("POST", "/v1/roles", &role).await.expect(201).id();
    kept(as_ann("POST", "/v1/role-bindings", &json!({ "role_id": role, "user_id": theirs })).await);
    let group = as_ann("POST", "/v1/groups", &json!({ "name": "staff" })).await.expect(201).id();
    kept(as_ann("POST", &format!("/v1/groups/{group}/members"), &json!({ "user_id": theirs })).await);
    let key = json!({ "name": "k", "owner_id": theirs, "scopes": [] });
    kept(as_ann("POST", "/v1/api-keys", &key).await);
    let as_staff = json!({ "name": "k", "owner_id": theirs, "scopes": [], "tenant_id": tenant });
    kept(post("/v1/api-keys", &as_staff).bearer(&staff).send(&world.admin).await);

    // What staff gave them the tenant does not take away.
    let by_staff = async |path: &str, body: &Value| {
        post(&format!("{path}?tenant_id={tenant}"), body).bearer(&staff).send(&world.admin).await.expect(201)
    };
    by_staff(&format!("/v1/groups/{group}/members"), &json!({ "user_id": theirs })).await;
    let bound = by_staff("/v1/role-bindings", &json!({ "role_id": role, "group_id": group })).await.id();
    kept(as_ann("DELETE", &format!("/v1/groups/{group}/members/{theirs}"), &Value::Null).await);
    kept(as_ann("DELETE", &format!("/v1/groups/{group}"), &Value::Null).await);
    kept(as_ann("DELETE", &format!("/v1/role-bindings/{bound}"), &Value::Null).await);
    let narrower = json!({ "name": "clerk", "permissions": [] });
    kept(as_ann("PUT", &format!("/v1/roles/{role}"), &narrower).await);
    let site = world.app.store.bindings(tenant.parse().unwrap(), theirs).await.unwrap();
    assert!(site.roles.contains(&role.parse().unwrap()), "{site:?}");
}

#[tokio::test]
async fn they_are_disabled_only_while_somebody_else_administers() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let it = Emergency::set_up(&world, "acme").await;
    let customer = world.app.store.customer_by_code("acme").await.unwrap().unwrap().id;
    let path = format!("/v1/customers/{customer}/break-glass");
    let switch = |verb: &str| call("POST", &format!("{path}/{verb}")).bearer(&staff).send(&world.admin);
    switch("disable").await.refused(409, "break_glass_needed");
    world.user(&staff, &tenant, "mia", &["member"]).await;
    switch("disable").await.refused(409, "break_glass_needed");
    world.user(&staff, &tenant, "ann", &["admin"]).await;
    let token = it.sign_in(&world, &it.password, &it.code(&world)).await.expect(200).text("access_token");
    assert!(switch("disable").await.expect(200).body["disabled_at"].is_string());
    get("/api/v1/tenant/users").bearer(&token).send(&world.admin).await.refused(401, "token_revoked");
    world.clock.advance(Duration::from_secs(30));
    it.sign_in(&world, &it.password, &it.code(&world)).await.refused(401, "credentials_invalid");
    assert_eq!(switch("enable").await.expect(200).body["disabled_at"], Value::Null);
    it.sign_in(&world, &it.password, &it.code(&world)).await.expect(200);

    // Set up anew: what was known before is good for nothing.
    let again = Emergency::set_up(&world, "acme").await;
    world.clock.advance(Duration::from_secs(30));
    it.sign_in(&world, &it.password, &it.code(&world)).await.refused(401, "credentials_invalid");
    again.sign_in(&world, &again.password, &again.code(&world)).await.expect(200);
    let found = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
    assert!(found.body["last_login_at"].is_string());
}

#[tokio::test]
async fn a_customer_without_a_tenant_has_nothing_to_administer() {
    let world = World::new().await;
    let staff = world.staff().await;
    post("/v1/customers", &json!({ "code": "acme", "name": "Acme" }))
        .bearer(&staff)
        .send(&world.admin)
        .await
        .expect(201);
    assert_eq!(emergency::set_up(&world.app, "acme").await.unwrap_err().public().1, "break_glass_no_tenant");
    assert_eq!(emergency::set_up(&world.app, "nobody").await.unwrap_err().public().1, "not_found");
}

#[tokio::test]
async fn a_locked_out_platform_administrator_gets_in_again() {
    let world = World::new().await;
    for _ in 0..5 {
        let body = json!({ "username": "platform-admin", "password": "wrong" });
        post("/api/v1/auth/login", &body).send(&world.admin).await.refused(401, "credentials_invalid");
    }
    let body = json!({ "username": "platform-admin", "password": world.staff_password });
    post("/api/v1/auth/login", &body).send(&world.admin).await.refused(429, "login_locked");
    let made = emergency::reset_password(&world.app, None).await.unwrap();
    assert_eq!(made["username"], "platform-admin");
    let body = json!({ "username": "platform-admin", "password": made["password"] });
    post("/api/v1/auth/login", &body).send(&world.admin).await.expect(200);
    let old = json!({ "username": "platform-admin", "password": world.staff_password });
    post("/api/v1/auth/login", &old).send(&world.admin).await.refused(401, "credentials_invalid");
}
