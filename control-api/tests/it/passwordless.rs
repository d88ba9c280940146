//! Signing in with what was sent to an address.

use std::time::Duration;

use serde_json::{Value, json};
use store::read::*;

use crate::{
    letters::Acme,
    support::{Answer, PASSWORD, World, call, get, on_postgres, post},
};

const ADA: &str = "ada@acme.example";
const EVE: &str = "eve@mail.example";

async fn request(it: &Acme, email: &str) -> Answer {
    it.ask("/v1/auth/otp/request", &json!({ "email": email })).await
}

async fn show(it: &Acme, email: &str, code: &str) -> Answer {
    it.ask("/v1/auth/otp/verify", &json!({ "email": email, "code": code })).await
}

fn amr(tokens: &Answer) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let token = tokens.text("access_token");
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["amr"].clone()
}

#[tokio::test]
async fn a_code_signs_in_once() {
    let it = Acme::new().await;
    it.proven("ada").await;
    let asked = request(&it, ADA).await.expect(202);
    assert_eq!(asked.body, json!({ "status": "accepted" }));
    let code = it.code(ADA).await;
    let tokens = show(&it, " ADA@acme.example", &code).await.expect(200);
    assert_eq!(
        (tokens.body["token_type"].as_str(), &tokens.headers["cache-control"]),
        (Some("Bearer"), &"no-store".parse().unwrap())
    );
    assert!(amr(&tokens).as_array().is_none_or(Vec::is_empty), "an emailed code is no authenticator's");
    show(&it, ADA, &code).await.refused(401, "credentials_invalid");
    get("/v1/me").bearer(&tokens.text("access_token")).send(&it.world.admin).await.expect(200);
    it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    assert_eq!(it.events("login_code_requested").await.len(), 1);
}

#[tokio::test]
async fn a_code_is_good_for_five_minutes_and_the_next_not_before_a_minute() {
    let it = Acme::new().await;
    it.proven("ada").await;
    request(&it, ADA).await.expect(202);
    let first = it.code(ADA).await;
    assert_eq!(request(&it, ADA).await.refused(429, "send_cooldown").headers["retry-after"], "60");
    it.world.clock.advance(Duration::from_secs(60));
    request(&it, ADA).await.expect(202);
    let second = it.code(ADA).await;
    if first != second {
        show(&it, ADA, &first).await.refused(401, "credentials_invalid");
    }
    it.world.clock.advance(Duration::from_secs(300));
    show(&it, ADA, &second).await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn who_exists_is_not_told_by_answers_locks_or_pace() {
    let it = Acme::new().await;
    it.proven("ada").await;
    for email in [ADA, "nobody@acme.example"] {
        assert_eq!(request(&it, email).await.expect(202).body, json!({ "status": "accepted" }));
        request(&it, email).await.refused(429, "send_cooldown");
        for _ in 0..5 {
            show(&it, email, "000000").await.refused(401, "credentials_invalid");
        }
        assert_eq!(show(&it, email, "000000").await.refused(429, "login_locked").headers["retry-after"], "900");
    }
    assert!(it.letters("nobody@acme.example").await.is_empty(), "nothing is sent to who has no account");
    assert_eq!(it.letters(ADA).await.len(), 1);
}

#[tokio::test]
async fn the_first_code_makes_an_account_where_the_project_lets_people_in() {
    let it = Acme::open().await;
    request(&it, EVE).await.expect(202);
    let code = it.code(EVE).await;
    let users = format!("/v1/tenants/{}/users?email={EVE}", it.tenant);
    let found = async || {
        get(&users).bearer(&it.staff).send(&it.world.admin).await.expect(200).body["items"].as_array().unwrap().len()
    };
    assert_eq!(found().await, 0, "asking makes nothing");
    let tokens = show(&it, EVE, &code).await.expect(200);
    assert_eq!(found().await, 1);
    let me =
        get("/api/v1/tenant/auth/info").bearer(&tokens.text("access_token")).send(&it.world.admin).await.expect(200);
    assert_eq!(me.body["roles"][0]["name"], "member");
}

#[tokio::test]
async fn of_fifty_that_show_one_code_one_signs_in() {
    on_postgres(async |world| fifty(world).await).await;
    fifty(World::new().await).await;
}

async fn fifty(world: World) {
    let it = Acme::in_world(world).await;
    it.proven("ada").await;
    request(&it, ADA).await.expect(202);
    let code = it.code(ADA).await;
    let answers = futures::future::join_all((0..50).map(|_| show(&it, ADA, &code))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status.as_u16(), 200 | 401 | 429)), "{answers:?}");
    it.world.clock.advance(Duration::from_secs(901));
    it.ask("/v1/auth/magic-link/request", &json!({ "email": ADA })).await.expect(202);
    let link = json!({ "token": it.link(ADA).await });
    let answers = futures::future::join_all((0..50).map(|_| it.ask("/v1/auth/magic-link/redeem", &link))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.code() == "link_invalid"), "{answers:?}");
}

#[tokio::test]
async fn a_link_signs_in_by_post_only_and_in_its_own_place() {
    let it = Acme::new().await;
    it.proven("ada").await;
    it.world.tenant(&it.staff, "globex").await;
    it.ask("/v1/auth/magic-link/request", &json!({ "email": ADA })).await.expect(202);
    let token = it.link(ADA).await;
    // A scanner opens the link, and the one below it.
    call("GET", &format!("/v1/auth/magic-link/redeem?token={token}"))
        .host("acme.localhost")
        .send(&it.world.admin)
        .await
        .refused(405, "method_not_allowed");
    let body = json!({ "token": token });
    post("/v1/auth/magic-link/redeem", &body)
        .host("globex.localhost")
        .send(&it.world.admin)
        .await
        .refused(401, "link_invalid");
    for wrong in [&token[..token.len() - 1], &format!("{token}A"), "", "x"] {
        it.ask("/v1/auth/magic-link/redeem", &json!({ "token": wrong })).await.refused(401, "link_invalid");
    }
    // A link for one thing is none for another (L8).
    it.ask("/v1/auth/password/reset/confirm", &json!({ "token": token, "new_password": "Better-horse-2" }))
        .await
        .refused(401, "link_invalid");
    it.ask("/v1/auth/email/verify", &body).await.refused(401, "link_invalid");
    it.ask("/v1/auth/magic-link/redeem", &body).await.expect(200);
    it.ask("/v1/auth/magic-link/redeem", &body).await.refused(401, "link_invalid");
}

#[tokio::test]
async fn a_first_sign_in_by_email_voids_a_password_that_was_set_before() {
    let it = Acme::new().await;
    let id = it.member("ada").await;
    let planted = it.world.login("acme", "ada").await;
    request(&it, ADA).await.expect(202);
    let code = it.code(ADA).await;
    let tokens = show(&it, ADA, &code).await.expect(200);
    get("/v1/me").bearer(&planted).send(&it.world.admin).await.refused(401, "token_revoked");
    get("/v1/me").bearer(&tokens.text("access_token")).send(&it.world.admin).await.expect(200);
    it.world.try_login("acme", "ada", PASSWORD).await.refused(401, "credentials_invalid");
    assert!(it.world.app.store.user(id.parse().unwrap()).await.unwrap().unwrap().password_hash.is_none());
}

#[tokio::test]
async fn who_is_switched_off_is_sent_nothing_and_signs_in_with_nothing() {
    let it = Acme::new().await;
    let id = it.proven("ada").await;
    request(&it, ADA).await.expect(202);
    let code = it.code(ADA).await;
    call("POST", &format!("/v1/tenants/{}/users/{id}/disable", it.tenant))
        .bearer(&it.staff)
        .send(&it.world.admin)
        .await
        .expect(200);
    show(&it, ADA, &code).await.refused(401, "principal_inactive");
    it.world.clock.advance(Duration::from_secs(61));
    request(&it, ADA).await.expect(202);
    assert_eq!(it.letters(ADA).await.len(), 1, "the one from before");
}

#[tokio::test]
async fn a_way_that_the_tenant_does_not_allow_is_told_to_everybody_alike() {
    let it = Acme::new().await;
    it.proven("ada").await;
    let policy =
        call("PUT", &format!("/v1/tenants/{}/login-policy", it.tenant)).json(&json!({ "methods": ["password"] }));
    policy.bearer(&it.staff).send(&it.world.admin).await.expect(200);
    for email in [ADA, "nobody@acme.example"] {
        request(&it, email).await.refused(403, "login_method_refused");
        it.ask("/v1/auth/magic-link/request", &json!({ "email": email })).await.refused(403, "login_method_refused");
    }
    it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    let policy =
        call("PUT", &format!("/v1/tenants/{}/login-policy", it.tenant)).json(&json!({ "methods": ["magic_link"] }));
    policy.bearer(&it.staff).send(&it.world.admin).await.expect(200);
    it.world.try_login("acme", "ada", PASSWORD).await.refused(403, "login_method_refused");
    it.world.try_login("acme", "ada", "wrong").await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn without_a_way_to_send_mail_nobody_is_told_anything_else() {
    use control_api::{Config, config::Environment};
    let world = World::with(Config { environment: Environment::Stage, ..Config::default() }).await;
    let it = Acme::in_world(world).await;
    for email in [ADA, "nobody@acme.example"] {
        request(&it, email).await.refused(409, "mail_unavailable");
        it.ask("/v1/auth/password/reset/request", &json!({ "email": email })).await.refused(409, "mail_unavailable");
    }
}

#[tokio::test]
async fn a_letter_about_an_account_of_several_tenants_leads_to_none_of_their_names() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenants = world.shared_tenants(&staff, &["north", "south"]).await;
    let eve = world.user(&staff, &tenants["north"], "eve", &["member"]).await;
    world.join(&staff, &tenants["south"], &eve).await;
    let email = format!("eve@{}.example", tenants["north"]);
    for path in ["/v1/auth/magic-link/request", "/v1/auth/otp/request"] {
        post(path, &json!({ "email": email })).host("north.localhost").send(&world.admin).await.expect(202);
    }
    crate::mail::post_office(&world.app).await;
    let kept = get(&format!("/dev/mailbox?to={email}")).send(&world.admin).await.expect(200);
    let texts: Vec<&str> =
        kept.body["items"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts.iter().all(|text| !text.contains("north.localhost")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("https://cloud.localhost/auth/magic-link#token=")), "{texts:?}");
}

#[tokio::test]
async fn a_code_that_needs_a_tenant_named_is_not_used_up_by_being_told_so() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenants = world.shared_tenants(&staff, &["north", "south"]).await;
    let eve = world.user(&staff, &tenants["north"], "eve", &["member"]).await;
    world.join(&staff, &tenants["south"], &eve).await;
    let email = format!("eve@{}.example", tenants["north"]);
    let ask =
        async |path: &str, body: &Value| post(path, body).header("x-project-key", "cloud").send(&world.admin).await;
    ask("/v1/auth/otp/request", &json!({ "email": email })).await.expect(202);
    crate::mail::post_office(&world.app).await;
    let kept = get(&format!("/dev/mailbox?to={email}")).send(&world.admin).await.expect(200);
    let code = kept.body["items"][0]["subject"].as_str().unwrap()[..6].to_owned();
    ask("/v1/auth/otp/verify", &json!({ "email": email, "code": code })).await.refused(409, "tenant_required");
    ask("/v1/auth/otp/verify", &json!({ "email": email, "code": code, "tenant": "south" })).await.expect(200);
    ask("/v1/auth/otp/verify", &json!({ "email": email, "code": code, "tenant": "south" }))
        .await
        .refused(401, "credentials_invalid");
}

#[tokio::test]
async fn the_platforms_staff_does_not_sign_in_by_mail() {
    let world = World::new().await;
    let ask = async |path: &str| {
        post(path, &json!({ "email": "staff@root.example" })).header("x-project-key", "root").send(&world.admin).await
    };
    for path in ["/v1/auth/otp/request", "/v1/auth/magic-link/request", "/v1/auth/password/reset/request"] {
        ask(path).await.refused(403, "login_method_refused");
    }
}
