//! One's own password: changed, reset, and what is asked of it. And the end of one's own account.

use std::time::Duration;

use serde_json::{Value, json};
use store::read::*;

use crate::{
    letters::Acme,
    support::{Answer, PASSWORD, call, get, on_postgres, post},
};

const ADA: &str = "ada@acme.example";
const NEXT: &str = "Better-horse-2";

async fn change(it: &Acme, token: &str, current: &str, new: &str) -> Answer {
    it.ask_as(token, "/v1/auth/password/change", &json!({ "current_password": current, "new_password": new })).await
}

async fn put(it: &Acme, document: &str, body: &Value) -> Answer {
    let put = call("PUT", &format!("/v1/tenants/{}/{document}", it.tenant)).json(body);
    put.bearer(&it.staff).send(&it.world.admin).await
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it_and_every_session_ends() {
    let it = Acme::new().await;
    it.proven("ada").await;
    let (one, other) = (it.world.login("acme", "ada").await, it.world.login("acme", "ada").await);
    change(&it, &one, "wrong", NEXT).await.refused(401, "credentials_invalid");
    for (new, code) in [
        (PASSWORD, "password_same"),
        ("short", "password_length"),
        ("Password-1", "password_known"),
        ("Acme-1-ada@acme.example", "password_name"),
    ] {
        let refused = change(&it, &one, PASSWORD, new).await.refused(422, "validation_failed");
        assert_eq!(
            (refused.body["errors"][0]["pointer"].as_str(), refused.body["errors"][0]["code"].as_str()),
            (Some("/new_password"), Some(code))
        );
    }
    change(&it, &one, PASSWORD, NEXT).await.expect(204);
    for token in [&one, &other] {
        get("/v1/me").bearer(token).send(&it.world.admin).await.refused(401, "token_revoked");
    }
    it.world.try_login("acme", "ada", PASSWORD).await.refused(401, "credentials_invalid");
    it.world.try_login("acme", "ada", NEXT).await.expect(200);
    assert!(it.letters(ADA).await[0]["subject"].as_str().unwrap().contains("was changed"));
    assert_eq!(it.events("password_changed").await.len(), 1);
}

#[tokio::test]
async fn guesses_at_the_present_password_lock_as_at_signing_in() {
    let it = Acme::new().await;
    it.member("ada").await;
    let token = it.world.login("acme", "ada").await;
    for _ in 0..5 {
        change(&it, &token, "wrong", NEXT).await.refused(401, "credentials_invalid");
    }
    change(&it, &token, PASSWORD, NEXT).await.refused(429, "login_locked");
    it.world.try_login("acme", "ada", PASSWORD).await.refused(429, "login_locked");
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_by_who_reads_the_proven_address() {
    let it = Acme::new().await;
    it.proven("ada").await;
    it.member("bob").await;
    let session = it.world.login("acme", "ada").await;
    for email in [ADA, "bob@acme.example", "nobody@acme.example"] {
        let asked = it.ask("/v1/auth/password/reset/request", &json!({ "email": email })).await.expect(202);
        assert_eq!(asked.body, json!({ "status": "accepted" }));
        it.ask("/v1/auth/password/reset/request", &json!({ "email": email })).await.refused(429, "send_cooldown");
    }
    assert!(it.letters("bob@acme.example").await.is_empty(), "nobody has shown that they read it");
    let token = it.link(ADA).await;
    let confirm = |new: &str| json!({ "token": token, "new_password": new });
    it.ask("/v1/auth/password/reset/confirm", &confirm("short")).await.refused(422, "validation_failed");
    it.ask("/v1/auth/password/reset/confirm", &confirm(NEXT)).await.expect(204);
    it.ask("/v1/auth/password/reset/confirm", &confirm("Best-horse-3")).await.refused(401, "link_invalid");
    get("/v1/me").bearer(&session).send(&it.world.admin).await.refused(401, "token_revoked");
    it.world.try_login("acme", "ada", NEXT).await.expect(200);
    assert_eq!((it.events("password_reset_requested").await.len(), it.events("password_reset").await.len()), (1, 1));
}

#[tokio::test]
async fn a_reset_link_is_good_for_fifteen_minutes_and_not_after_the_address_changed() {
    let it = Acme::new().await;
    let id = it.proven("ada").await;
    let ask = async || it.ask("/v1/auth/password/reset/request", &json!({ "email": ADA })).await.expect(202);
    ask().await;
    let token = it.link(ADA).await;
    it.world.clock.advance(Duration::from_secs(900));
    it.ask("/v1/auth/password/reset/confirm", &json!({ "token": token, "new_password": NEXT }))
        .await
        .refused(401, "link_invalid");
    ask().await;
    let token = it.link(ADA).await;
    let patch =
        call("PATCH", &format!("/v1/tenants/{}/users/{id}", it.tenant)).json(&json!({ "email": "ada@other.example" }));
    patch.bearer(&it.staff).send(&it.world.admin).await.expect(200);
    it.ask("/v1/auth/password/reset/confirm", &json!({ "token": token, "new_password": NEXT }))
        .await
        .refused(401, "link_invalid");
    it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn of_many_that_show_one_reset_link_one_sets_the_password() {
    on_postgres(async |world| {
        let it = Acme::in_world(world).await;
        it.proven("ada").await;
        it.ask("/v1/auth/password/reset/request", &json!({ "email": ADA })).await.expect(202);
        let token = it.link(ADA).await;
        let bodies: Vec<Value> =
            (0..8).map(|n| json!({ "token": token, "new_password": format!("Horse-number-{n}") })).collect();
        let answers =
            futures::future::join_all(bodies.iter().map(|body| it.ask("/v1/auth/password/reset/confirm", body))).await;
        let won: Vec<usize> = (0..8).filter(|n| answers[*n].status == 204).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|answer| answer.status == 204 || answer.code() == "link_invalid"), "{answers:?}");
        it.world.try_login("acme", "ada", &format!("Horse-number-{}", won[0])).await.expect(200);
    })
    .await;
}

#[tokio::test]
async fn a_tenants_policy_asks_for_more_and_is_held_to_wherever_a_password_is_chosen() {
    let it = Acme::open().await;
    it.proven("ada").await;
    let weak = put(&it, "password-policy", &json!({ "min_length": 6 })).await.refused(422, "validation_failed");
    assert_eq!(weak.body["errors"][0]["pointer"], "/password/min_length");
    put(&it, "password-policy", &json!({ "min_length": 16, "history": 3, "min_age_days": 1, "max_age_days": 30 }))
        .await
        .expect(200);
    let read = get(&format!("/v1/tenants/{}/password-policy", it.tenant))
        .bearer(&it.staff)
        .send(&it.world.admin)
        .await
        .expect(200);
    assert_eq!((read.body["min_length"].as_u64(), read.body["digits"].as_u64()), (Some(16), Some(1)));
    let etag = read.headers["etag"].to_str().unwrap().to_owned();
    let stale = call("PUT", &format!("/v1/tenants/{}/password-policy", it.tenant)).json(&json!({ "min_length": 20 }));
    stale.header("if-match", "\"99\"").bearer(&it.staff).send(&it.world.admin).await.refused(412, "version_mismatch");
    assert_eq!(etag, "\"1\"");
    // Made by an administrator, asked for by oneself, changed.
    let body = json!({ "username": "cat", "password": PASSWORD });
    post(&format!("/v1/tenants/{}/users", it.tenant), &body)
        .bearer(&it.staff)
        .send(&it.world.admin)
        .await
        .refused(422, "validation_failed");
    it.ask("/v1/auth/signup", &json!({ "email": "eve@mail.example", "password": PASSWORD }))
        .await
        .refused(422, "validation_failed");
    let token = it.world.login("acme", "ada").await;
    let long = |n: u32| format!("Correct-battery-{n}");
    change(&it, &token, PASSWORD, &long(1)).await.refused(409, "password_too_young");
    for n in 1..4 {
        it.world.clock.advance(Duration::from_secs(86_400));
        let last = if n == 1 { PASSWORD.to_owned() } else { long(n - 1) };
        let token = it.world.try_login("acme", "ada", &last).await.expect(200).text("access_token");
        change(&it, &token, &last, &long(n)).await.expect(204);
    }
    it.world.clock.advance(Duration::from_secs(86_400));
    let token = it.world.try_login("acme", "ada", &long(3)).await.expect(200).text("access_token");
    for had in [1, 2, 3] {
        let refused = change(&it, &token, &long(3), &long(had)).await.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["code"], "password_same", "{had}");
    }
    change(&it, &token, &long(3), &long(4)).await.expect(204);
    // Too old a password opens nothing until it is replaced.
    it.world.clock.advance(Duration::from_secs(30 * 86_400));
    it.world.try_login("acme", "ada", &long(4)).await.refused(403, "password_change_required");
    let complete = json!({ "username": "ada", "password": long(4), "new_password": long(5) });
    it.ask("/v1/auth/password/complete", &complete).await.expect(204);
    it.world.try_login("acme", "ada", &long(5)).await.expect(200);
}

#[tokio::test]
async fn a_login_policy_tightens_and_never_loosens() {
    let it = Acme::new().await;
    it.member("ada").await;
    for (body, pointer) in [
        (json!({ "methods": [] }), "/methods"),
        (json!({ "lock_after": 6 }), "/lock_after"),
        (json!({ "lock_after": 2 }), "/lock_after"),
        (json!({ "lock_s": 3601 }), "/lock_s"),
        (json!({ "lock_s": 899 }), "/lock_s"),
        (json!({ "idle_s": 59 }), "/idle_s"),
        (json!({ "absolute_s": 30 * 86_400 + 1 }), "/absolute_s"),
    ] {
        let refused = put(&it, "login-policy", &body).await.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer);
    }
    put(&it, "login-policy", &json!({ "lock_after": 3, "lock_s": 1800, "idle_s": 3600, "absolute_s": 7200 }))
        .await
        .expect(200);
    // The same for names that nobody has.
    for name in ["ada", "nobody"] {
        for _ in 0..3 {
            it.world.try_login("acme", name, "wrong").await.refused(401, "credentials_invalid");
        }
        assert_eq!(
            it.world.try_login("acme", name, PASSWORD).await.refused(429, "login_locked").headers["retry-after"],
            "1800"
        );
    }
    it.world.clock.advance(Duration::from_secs(1801));
    let mut pair = it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    let refresh = async |pair: &Answer| {
        it.ask("/api/v1/tenant/auth/refresh", &json!({ "refresh_token": pair.text("refresh_token") })).await
    };
    it.world.clock.advance(Duration::from_secs(3599));
    pair = refresh(&pair).await.expect(200);
    it.world.clock.advance(Duration::from_secs(3599));
    pair = refresh(&pair).await.expect(200);
    it.world.clock.advance(Duration::from_secs(3));
    refresh(&pair).await.refused(401, "refresh_invalid");
    let idle = it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    it.world.clock.advance(Duration::from_secs(3600));
    refresh(&idle).await.refused(401, "refresh_invalid");
    assert_eq!(it.events("login-policy.updated").await.len(), 1);
    let path = format!("/v1/tenants/{}/login-policy", it.tenant);
    let staff = it.world.staff().await;
    call("DELETE", &path).bearer(&staff).send(&it.world.admin).await.expect(204);
    let unset = get(&path).bearer(&staff).send(&it.world.admin).await.expect(200);
    let all = domain::model::LoginMethod::UNSAID.len();
    assert_eq!((&unset.body["updated_at"], unset.body["methods"].as_array().unwrap().len()), (&Value::Null, all));
}

#[tokio::test]
async fn a_hash_that_was_brought_along_is_renewed_by_who_shows_its_password() {
    let it = Acme::new().await;
    let id: domain::UserId = it.member("ada").await.parse().unwrap();
    let user = it.world.app.store.user(id).await.unwrap().unwrap();
    let (old, brought) = (user.password_hash.unwrap(), domain::Secret::new(bcrypt::hash(PASSWORD, 4).unwrap()));
    let (old, new) = (&old, &brought);
    let put = it.world.app.store.write_session(authz::Scope::Platform, it.world.app.now(), |tx| async move {
        tx.upgrade_password_hash(id, old, new).await
    });
    put.await.map_err(|error: store::StoreError| error).unwrap();
    it.world.try_login("acme", "ada", "wrong").await.refused(401, "credentials_invalid");
    it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    let renewed = it.world.app.store.user(id).await.unwrap().unwrap().password_hash.unwrap();
    assert!(renewed.expose().starts_with("$argon2id$"));
    it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn an_account_goes_when_its_grace_is_over_unless_its_holder_signs_in() {
    let it = Acme::new().await;
    let id = it.proven("ada").await;
    it.world.user(&it.staff, &it.tenant, "boss", &["owner"]).await;
    let token = it.world.login("acme", "ada").await;
    it.ask_as(&token, "/v1/me/deletion", &json!({})).await.refused(422, "validation_failed");
    it.ask_as(&token, "/v1/me/deletion", &json!({ "password": "wrong" })).await.refused(401, "credentials_invalid");
    it.ask_as(&token, "/v1/me/deletion", &json!({ "password": PASSWORD })).await.expect(202);
    get("/v1/me").bearer(&token).send(&it.world.admin).await.refused(401, "token_revoked");
    assert!(it.letters(ADA).await[0]["text"].as_str().unwrap().contains("signing in cancels it"));
    it.world.clock.advance(Duration::from_secs(29 * 86_400));
    assert_eq!(control_api::app::account::delete_due(&it.world.app).await.unwrap(), 0);
    it.world.try_login("acme", "ada", "wrong").await.refused(401, "credentials_invalid");
    let token = it.world.login("acme", "ada").await;
    assert_eq!(it.events("account_deletion_requested").await.len(), 1);
    it.ask_as(&token, "/v1/me/deletion", &json!({ "password": PASSWORD })).await.expect(202);
    it.world.clock.advance(Duration::from_secs(30 * 86_400));
    it.world.try_login("acme", "ada", PASSWORD).await.refused(401, "principal_inactive");
    assert_eq!(control_api::app::account::delete_due(&it.world.app).await.unwrap(), 1);
    assert!(it.world.app.store.user(id.parse().unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_tenants_last_administrator_does_not_go() {
    let it = Acme::new().await;
    it.world.user(&it.staff, &it.tenant, "boss", &["owner"]).await;
    let token = it.world.login("acme", "boss").await;
    it.ask_as(&token, "/v1/me/deletion", &json!({ "password": PASSWORD })).await.refused(409, "last_admin");
    get("/v1/me").bearer(&token).send(&it.world.admin).await.expect(200);
}

#[tokio::test]
async fn what_has_expired_is_swept() {
    let it = Acme::new().await;
    it.proven("ada").await;
    it.ask("/v1/auth/password/reset/request", &json!({ "email": ADA })).await.expect(202);
    it.ask("/v1/auth/otp/request", &json!({ "email": ADA })).await.expect(202);
    it.world.clock.advance(Duration::from_secs(900 + 59));
    assert_eq!(
        control_api::app::account::sweep(&it.world.app).await.unwrap(),
        1,
        "the code; the link within its grace is kept"
    );
    it.world.clock.advance(Duration::from_secs(2));
    assert_eq!(control_api::app::account::sweep(&it.world.app).await.unwrap(), 1);
    it.world.clock.advance(Duration::from_secs(86_400));
    assert_eq!(control_api::app::account::sweep(&it.world.app).await.unwrap(), 2, "how often was asked");
}

#[tokio::test]
async fn who_found_a_session_open_does_not_sign_its_holder_out_everywhere() {
    let it = Acme::new().await;
    it.member("ada").await;
    let token = it.world.login("acme", "ada").await;
    it.ask_as(&token, "/v1/me/sign-out-everywhere", &json!({})).await.refused(422, "validation_failed");
    it.ask_as(&token, "/v1/me/sign-out-everywhere", &json!({ "password": "wrong" }))
        .await
        .refused(401, "credentials_invalid");
    get("/v1/me").bearer(&token).send(&it.world.admin).await.expect(200);
    it.ask_as(&token, "/v1/me/sign-out-everywhere", &json!({ "password": PASSWORD })).await.expect(200);
    get("/v1/me").bearer(&token).send(&it.world.admin).await.refused(401, "token_revoked");
}
