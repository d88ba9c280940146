//! Accounts that people make themselves, and addresses that are proven.

use std::time::Duration;

use serde_json::json;
use store::read::*;

use crate::{
    letters::Acme,
    support::{PASSWORD, World, call, on_postgres},
};

const EVE: &str = "eve@mail.example";

fn wanted(email: &str) -> serde_json::Value {
    json!({ "email": email, "password": PASSWORD, "first_name": "Eve", "last_name": "Adams" })
}

#[tokio::test]
async fn an_account_is_made_when_its_address_is_proven_and_not_before() {
    let it = Acme::open().await;
    let asked = it.ask("/v1/auth/signup", &wanted(EVE)).await.expect(202);
    assert_eq!(asked.body, json!({ "status": "accepted" }));
    it.world.try_login("acme", EVE, PASSWORD).await.refused(401, "credentials_invalid");
    let token = it.link(EVE).await;
    // Who reads the address says the password that was chosen: they are one.
    it.ask("/v1/auth/email/verify", &json!({ "token": token, "password": "Another-horse-1" }))
        .await
        .refused(401, "credentials_invalid");
    it.ask("/v1/auth/email/verify", &json!({ "token": token, "password": PASSWORD })).await.expect(204);
    it.ask("/v1/auth/email/verify", &json!({ "token": token })).await.refused(401, "link_invalid");
    let tokens = it.ask("/v1/auth/login", &json!({ "username": EVE, "password": PASSWORD })).await.expect(200);
    let me = call("GET", "/api/v1/tenant/auth/info")
        .bearer(&tokens.text("access_token"))
        .send(&it.world.admin)
        .await
        .expect(200);
    assert_eq!(
        (me.body["user"]["first_name"].as_str(), me.body["roles"][0]["name"].as_str()),
        (Some("Eve"), Some("member"))
    );
    assert_eq!(it.events("signup").await.len(), 1);
    assert_eq!(it.events("user.email_verified").await.len(), 1);
}

#[tokio::test]
async fn an_account_that_somebody_else_asked_for_has_no_password() {
    let it = Acme::open().await;
    it.ask("/v1/auth/signup", &wanted(EVE)).await.expect(202);
    let token = it.link(EVE).await;
    it.ask("/v1/auth/email/verify", &json!({ "token": token })).await.expect(204);
    it.ask("/v1/auth/login", &json!({ "username": EVE, "password": PASSWORD }))
        .await
        .refused(401, "credentials_invalid");
    it.world.clock.advance(Duration::from_secs(61));
    it.ask("/v1/auth/otp/request", &json!({ "email": EVE })).await.expect(202);
    let code = it.code(EVE).await;
    it.ask("/v1/auth/otp/verify", &json!({ "email": EVE, "code": code })).await.expect(200);
}

#[tokio::test]
async fn who_has_an_account_gets_a_notice_and_the_stranger_the_same_answer_after_the_same_work() {
    let it = Acme::open().await;
    it.member("ada").await;
    let (before, unknown) = (it.world.app.passwords.done(), it.ask("/v1/auth/signup", &wanted(EVE)).await.expect(202));
    let between = it.world.app.passwords.done();
    let known = it.ask("/v1/auth/signup", &wanted(" ADA@acme.example")).await.expect(202);
    let after = it.world.app.passwords.done();
    assert_eq!((known.body, after - between), (unknown.body, between - before));
    let letters = it.letters("ada@acme.example").await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0]["subject"].as_str().unwrap().starts_with("You have an account"), "{letters:?}");
    assert!(!letters[0]["text"].as_str().unwrap().contains("#token="));
    it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    // Another letter so soon is refused alike.
    for email in [EVE, "ada@acme.example"] {
        let refused = it.ask("/v1/auth/signup", &wanted(email)).await.refused(429, "send_cooldown");
        assert_eq!(refused.headers["retry-after"], "60");
    }
}

#[tokio::test]
async fn a_project_says_who_may_get_an_account_and_one_that_says_nothing_lets_nobody_in() {
    let it = Acme::new().await;
    it.ask("/v1/auth/signup", &wanted(EVE)).await.refused(403, "signup_closed");
    it.admit(&json!({ "mode": "sometimes" })).await.refused(422, "validation_failed");
    it.admit(&json!({ "mode": "invite" })).await.expect(200);
    it.ask("/v1/auth/signup", &wanted(EVE)).await.refused(403, "signup_by_invitation");
    it.admit(&json!({ "mode": "allowlist", "domains": ["acme.example"] })).await.expect(200);
    // The address's domain, exactly (threats L2, M4).
    for email in
        [EVE, "eve@sub.acme.example", "eve@evilacme.example", "eve@mail.example@acme.example", "\"eve@x\"@acme.example"]
    {
        let refused = it.ask("/v1/auth/signup", &wanted(email)).await;
        assert!(matches!(refused.code(), "address_not_admitted" | "validation_failed"), "{email}: {refused:?}");
    }
    it.ask("/v1/auth/signup", &wanted("eve@ACME.example")).await.expect(202);
    it.admit(&json!({ "mode": "open", "denied_domains": ["mail.example"] })).await.expect(200);
    it.ask("/v1/auth/signup", &wanted(EVE)).await.refused(403, "address_not_admitted");
    // Who was let in when they asked is not when the link comes too late.
    it.admit(&json!({ "mode": "closed" })).await.expect(200);
    let token = it.link("eve@ACME.example").await;
    it.ask("/v1/auth/email/verify", &json!({ "token": token, "password": PASSWORD }))
        .await
        .refused(401, "link_invalid");
}

#[tokio::test]
async fn the_shared_project_and_the_platforms_own_make_no_accounts() {
    let world = World::new().await;
    let staff = world.staff().await;
    world.shared_tenants(&staff, &["north"]).await;
    let asked = crate::support::post("/v1/auth/signup", &wanted(EVE)).host("north.localhost").send(&world.admin).await;
    asked.refused(403, "signup_by_invitation");
    let asked =
        crate::support::post("/v1/auth/signup", &wanted(EVE)).header("x-project-key", "root").send(&world.admin).await;
    assert_eq!(asked.status, 403, "{asked:?}");
}

#[tokio::test]
async fn what_is_no_address_name_or_password_is_named() {
    let it = Acme::open().await;
    for (field, value) in [
        ("email", json!("eve")),
        ("email", json!("eve@")),
        ("email", json!("eve\u{0}@mail.example")),
        ("email", json!("eve@mail.example\r\nBcc: x@y.example")),
        ("email", json!(format!("{}@mail.example", "e".repeat(300)))),
        ("first_name", json!("E\u{0}ve")),
        ("password", json!("short")),
        ("password", json!("Password-1")),
    ] {
        let mut body = wanted(EVE);
        body[field] = value.clone();
        let refused = it.ask("/v1/auth/signup", &body).await.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], format!("/{field}"), "{value}");
    }
    assert!(it.letters(EVE).await.is_empty());
}

#[tokio::test]
async fn a_link_to_make_an_account_is_used_once_and_by_one_of_many() {
    on_postgres(async |world| {
        let it = Acme::in_world(world).await;
        it.admit(&json!({ "mode": "open" })).await.expect(200);
        it.ask("/v1/auth/signup", &wanted(EVE)).await.expect(202);
        let body = json!({ "token": it.link(EVE).await });
        let answers = futures::future::join_all((0..50).map(|_| it.ask("/v1/auth/email/verify", &body))).await;
        // One address asks so often, whoever it is; here nobody's is known.
        let made = answers.iter().filter(|answer| answer.status == 204).count();
        assert_eq!(made, 1, "{answers:?}");
        assert!(answers.iter().all(|answer| answer.status == 204 || answer.code() == "link_invalid"), "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn the_first_proof_of_an_address_voids_what_was_planted() {
    let it = Acme::new().await;
    // Somebody else made the account, knows its password and is signed in.
    let id = it.member("ada").await;
    let planted = it.world.login("acme", "ada").await;
    it.ask_as(&planted, "/v1/auth/email/verify/send", &json!({})).await.expect(202);
    let token = it.link("ada@acme.example").await;
    it.ask("/v1/auth/email/verify", &json!({ "token": token })).await.expect(204);
    call("GET", "/v1/me").bearer(&planted).send(&it.world.admin).await.refused(401, "token_revoked");
    it.world.try_login("acme", "ada", PASSWORD).await.refused(401, "credentials_invalid");
    let user = it.world.app.store.user(id.parse().unwrap()).await.unwrap().unwrap();
    assert!(user.password_hash.is_none() && user.email_verified_at.is_some());
    let events = it.events("email_verified").await;
    assert_eq!((events.len(), &events[0]["fields"]["voided"]), (1, &json!(true)));
}

#[tokio::test]
async fn who_shows_the_password_beside_keeps_it() {
    let it = Acme::new().await;
    it.member("ada").await;
    let token = it.world.login("acme", "ada").await;
    it.ask_as(&token, "/v1/auth/email/verify/send", &json!({})).await.expect(202);
    it.ask_as(&token, "/v1/auth/email/verify/send", &json!({})).await.refused(429, "send_cooldown");
    let link = it.link("ada@acme.example").await;
    it.ask("/v1/auth/email/verify", &json!({ "token": link, "password": "wrong" }))
        .await
        .refused(401, "credentials_invalid");
    it.ask("/v1/auth/email/verify", &json!({ "token": link, "password": PASSWORD })).await.expect(204);
    call("GET", "/v1/me").bearer(&token).send(&it.world.admin).await.expect(200);
    it.ask_as(&token, "/v1/auth/email/verify/send", &json!({})).await.refused(409, "email_verified");
}

#[tokio::test]
async fn an_address_changes_with_the_password_a_notice_and_a_proof() {
    let it = Acme::new().await;
    it.proven("ada").await;
    it.proven("bob").await;
    let token = it.world.login("acme", "ada").await;
    let change = |email: &str, password: &str| json!({ "email": email, "password": password });
    let path = "/v1/auth/email/change/request";
    it.ask_as(&token, path, &change("ada@new.example", "wrong")).await.refused(401, "credentials_invalid");
    // Whether somebody has it is not told.
    it.ask_as(&token, path, &change("bob@acme.example", PASSWORD)).await.expect(202);
    assert!(it.letters("bob@acme.example").await.is_empty());
    it.ask_as(&token, path, &change("ada@new.example", PASSWORD)).await.expect(202);
    assert_eq!(it.letters("ada@acme.example").await.len(), 2, "the old address is told each time");
    it.world.try_login("acme", "ada@new.example", PASSWORD).await.refused(401, "credentials_invalid");
    let link = it.link("ada@new.example").await;
    it.ask("/v1/auth/email/change/confirm", &json!({ "token": link })).await.expect(204);
    it.ask("/v1/auth/email/change/confirm", &json!({ "token": link })).await.refused(401, "link_invalid");
    call("GET", "/v1/me").bearer(&token).send(&it.world.admin).await.refused(401, "token_revoked");
    it.world.try_login("acme", "ada@new.example", PASSWORD).await.expect(200);
    it.world.try_login("acme", "ada@acme.example", PASSWORD).await.refused(401, "credentials_invalid");
    assert!(it.letters("ada@acme.example").await[0]["subject"].as_str().unwrap().contains("was changed"));
    assert_eq!((it.events("email_change_requested").await.len(), it.events("email_changed").await.len()), (2, 1));
}

#[tokio::test]
async fn a_link_of_one_tenants_hostname_is_worth_nothing_at_anothers() {
    let it = Acme::open().await;
    it.world.tenant(&it.staff, "globex").await;
    it.ask("/v1/auth/signup", &wanted(EVE)).await.expect(202);
    let body = json!({ "token": it.link(EVE).await, "password": PASSWORD });
    let elsewhere =
        crate::support::post("/v1/auth/email/verify", &body).host("globex.localhost").send(&it.world.admin).await;
    elsewhere.refused(401, "link_invalid");
    it.ask("/v1/auth/email/verify", &body).await.expect(204);
}

#[tokio::test]
async fn one_client_asks_for_so_many_accounts_a_minute() {
    let it = Acme::open().await;
    let path = "/v1/auth/signup";
    let ask = async |n: usize| {
        let token = it.world.assertion("POST", path, "acme.localhost", Some(&it.tenant)).await;
        let call = crate::support::post(path, &wanted(&format!("eve{n}@mail.example")));
        call.header("x-md-global-assertion", &token).send(&it.world.public).await
    };
    for n in 0..10 {
        ask(n).await.expect(202);
    }
    let refused = ask(10).await.refused(429, "rate_limited");
    assert_eq!(refused.headers["retry-after"], "60");
    it.world.clock.advance(Duration::from_secs(60));
    ask(10).await.expect(202);
}

#[tokio::test]
async fn who_takes_an_account_back_takes_back_the_change_of_its_address() {
    for recovery in ["change", "reset", "everywhere", "administrator"] {
        let it = Acme::new().await;
        let id = it.proven("ada").await;
        // A thief who knows the password asks for their own address.
        let thief = it.world.login("acme", "ada").await;
        let body = json!({ "email": "thief@mail.example", "password": PASSWORD });
        it.ask_as(&thief, "/v1/auth/email/change/request", &body).await.expect(202);
        let link = it.link("thief@mail.example").await;
        let owner = it.world.login("acme", "ada").await;
        let next = "Better-horse-2";
        match recovery {
            "change" => {
                let body = json!({ "current_password": PASSWORD, "new_password": next });
                it.ask_as(&owner, "/v1/auth/password/change", &body).await.expect(204);
            }
            "reset" => {
                it.ask("/v1/auth/password/reset/request", &json!({ "email": "ada@acme.example" })).await.expect(202);
                let token = it.link("ada@acme.example").await;
                it.ask("/v1/auth/password/reset/confirm", &json!({ "token": token, "new_password": next }))
                    .await
                    .expect(204);
            }
            "everywhere" => {
                it.ask_as(&owner, "/v1/me/sign-out-everywhere", &json!({ "password": PASSWORD })).await.expect(200);
            }
            _ => {
                let path = format!("/v1/tenants/{}/users/{id}/disable", it.tenant);
                call("POST", &path).bearer(&it.staff).send(&it.world.admin).await.expect(200);
                let path = format!("/v1/tenants/{}/users/{id}/enable", it.tenant);
                call("POST", &path).bearer(&it.staff).send(&it.world.admin).await.expect(200);
            }
        }
        it.ask("/v1/auth/email/change/confirm", &json!({ "token": link })).await.refused(401, "link_invalid");
    }
}
