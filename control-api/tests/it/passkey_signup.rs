//! Accounts that are made with a passkey, and factors that somebody else planted.

use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use store::read::*;
use testkit::SoftPasskey;

use crate::{
    letters::Acme,
    passkeys,
    second_factor::claims,
    support::{Answer, World, on_postgres},
};

const EVE: &str = "eve@mail.example";
const ORIGIN: &str = "https://acme.localhost";

async fn begin(it: &Acme, email: &str) -> Answer {
    it.ask("/v1/auth/passkeys/signup/begin", &json!({ "email": email, "first_name": "Eve" })).await
}

fn shown(begun: &Answer, passkey: &mut SoftPasskey, code: &str) -> Value {
    let made = passkey.create(&begun.body["options"]);
    json!({ "challenge_id": begun.text("challenge_id"), "code": code, "credential": made })
}

async fn complete(it: &Acme, body: &Value) -> Answer {
    it.ask("/v1/auth/passkeys/signup/complete", body).await
}

async fn open(world: World) -> Acme {
    let it = Acme::in_world(world).await;
    it.admit(&json!({ "mode": "open" })).await.expect(200);
    it
}

#[tokio::test]
async fn an_account_is_made_with_a_passkey_by_who_reads_the_address() {
    let it = open(World::new().await).await;
    let begun = begin(&it, EVE).await.expect(200);
    assert_eq!(
        (&begun.body["options"]["rp"]["id"], &begun.body["expires_in"]),
        (&json!("acme.localhost"), &json!(300))
    );
    let code = it.code(EVE).await;
    let mut passkey = SoftPasskey::new(ORIGIN);
    let body = shown(&begun, &mut passkey, &code);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    complete(&it, &shown(&begun, &mut passkey, wrong)).await.refused(401, "credentials_invalid");
    let pair = complete(&it, &body).await.expect(200);
    let claims = claims(&pair.text("access_token"));
    assert_eq!((&claims["acr"], &claims["amr"]), (&json!("aal2"), &json!(["hwk", "user", "mfa"])));
    let user = it.world.app.store.user(claims["sub"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((user.email.as_deref(), user.first_name.as_str()), (Some(EVE), "Eve"));
    assert!(user.email_verified_at.is_some() && user.password_hash.is_none());
    // Once; and the passkey signs in from now on, and is what alone does.
    complete(&it, &body).await.refused(401, "credentials_invalid");
    let pair = passkeys::signed_in(&it.world, EVE, &mut passkey).await.expect(200);
    let token = pair.text("access_token");
    let mine = crate::support::get("/v1/auth/passkeys").bearer(&token).send(&it.world.admin).await.expect(200);
    let path = format!("/v1/auth/passkeys/{}", mine.body["items"][0]["id"].as_str().unwrap());
    let gone = crate::support::call("DELETE", &path).bearer(&token).send(&it.world.admin).await;
    gone.refused(409, "last_credential");
    for event in ["signup_requested", "signup", "passkey_added", "passkey_used", "login_success"] {
        assert!(!it.events(event).await.is_empty(), "{event}");
    }
}

/// Nothing tells who has an account: the same answer, the same pace, the same lock; and a notice to who reads the address.
#[tokio::test]
async fn who_exists_is_not_told() {
    let it = open(World::new().await).await;
    it.proven("ada").await;
    let shape = |begun: Answer| {
        let mut body = begun.expect(200).body;
        for place in ["/challenge_id", "/options/challenge", "/options/user"] {
            *body.pointer_mut(place).unwrap() = Value::Null;
        }
        body
    };
    let known = begin(&it, "ada@acme.example").await;
    let wrong = async |begun: &Answer| {
        let mut answers = Vec::new();
        for _ in 0..6 {
            let answer = complete(&it, &shown(begun, &mut SoftPasskey::new(ORIGIN), "000000")).await;
            answers.push((answer.status.as_u16(), answer.code().to_owned()));
        }
        answers
    };
    let unknown = begin(&it, EVE).await;
    assert_eq!(wrong(&known).await, wrong(&unknown).await);
    assert_eq!(shape(known), shape(unknown));
    for email in [EVE, "ada@acme.example"] {
        begin(&it, email).await.refused(429, "send_cooldown");
    }
    let letters = it.letters("ada@acme.example").await;
    assert!(letters[0]["subject"].as_str().unwrap().starts_with("You have an account"), "{letters:?}");
    assert_eq!(letters.len(), 1);
}

#[tokio::test]
async fn it_is_for_who_may_come_in_at_its_hostname_in_time() {
    let it = Acme::new().await;
    begin(&it, EVE).await.refused(403, "signup_closed");
    it.admit(&json!({ "mode": "open" })).await.expect(200);
    let nameless = begin(&it, "eve").await.refused(422, "validation_failed");
    assert_eq!(nameless.body["errors"][0]["pointer"], "/email");
    let begun = begin(&it, EVE).await.expect(200);
    let code = it.code(EVE).await;
    // From a page elsewhere, for another purpose, at another's hostname.
    let refused = complete(&it, &shown(&begun, &mut SoftPasskey::new("https://evil.test"), &code)).await;
    assert_eq!(refused.refused(422, "validation_failed").body["errors"][0]["pointer"], "/credential");
    let mut passkey = SoftPasskey::new(ORIGIN);
    let body = shown(&begun, &mut passkey, &code);
    it.world.tenant(&it.staff, "globex").await;
    let elsewhere = crate::support::post("/v1/auth/passkeys/signup/complete", &body).host("globex.localhost");
    elsewhere.send(&it.world.admin).await.refused(401, "login_challenge_invalid");
    it.world.clock.advance(Duration::from_secs(300));
    complete(&it, &body).await.refused(401, "login_challenge_invalid");
    // Who was let in when they asked is not when it comes too late.
    let begun = begin(&it, EVE).await.expect(200);
    let code = it.code(EVE).await;
    it.admit(&json!({ "mode": "closed" })).await.expect(200);
    complete(&it, &shown(&begun, &mut passkey, &code)).await.refused(401, "credentials_invalid");
    let project = it.world.app.store.tenant(it.tenant.parse().unwrap()).await.unwrap().unwrap().project_id;
    assert!(it.world.app.store.user_by_login(project, EVE).await.unwrap().is_none());
}

async fn of_fifty_that_complete_one_signup_one_has_the_account(world: World) {
    let it = open(world).await;
    let begun = begin(&it, EVE).await.expect(200);
    let code = it.code(EVE).await;
    let body = &shown(&begun, &mut SoftPasskey::new(ORIGIN), &code);
    let all = join_all((0..50).map(|_| complete(&it, body))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1, "{all:?}");
    assert!(all.iter().all(|answer| [200, 401, 429].contains(&answer.status.as_u16())), "{all:?}");
    assert_eq!(it.events("signup").await.len(), 1);
}

#[tokio::test]
async fn of_fifty_that_complete_one_signup_one_has_the_account_on_sqlite() {
    of_fifty_that_complete_one_signup_one_has_the_account(World::new().await).await;
}

#[tokio::test]
async fn of_fifty_that_complete_one_signup_one_has_the_account_on_postgres() {
    on_postgres(of_fifty_that_complete_one_signup_one_has_the_account).await;
}

/// Who first proves the address takes the account: a passkey that was planted before opens nothing.
#[tokio::test]
async fn the_first_proof_of_an_address_drops_planted_passkeys_and_says_that_the_password_went() {
    let it = Acme::new().await;
    it.member("ada").await;
    let planter = it.world.login("acme", "ada").await;
    let mut passkey = SoftPasskey::new(ORIGIN);
    passkeys::registered(&it.world, &planter, &mut passkey).await.expect(201);
    it.ask("/v1/auth/otp/request", &json!({ "email": "ada@acme.example" })).await.expect(202);
    let code = it.code("ada@acme.example").await;
    it.ask("/v1/auth/otp/verify", &json!({ "email": "ada@acme.example", "code": code })).await.expect(200);
    passkeys::signed_in(&it.world, "", &mut passkey).await.refused(401, "credentials_invalid");
    let letters = it.letters("ada@acme.example").await;
    assert!(letters[0]["subject"].as_str().unwrap().starts_with("The password of your account"), "{letters:?}");
}

/// Each change of a factor is told to who reads the proven address.
#[tokio::test]
async fn who_reads_the_address_is_told_of_each_change() {
    let it = Acme::new().await;
    let id = it.proven("ada").await;
    let token = it.world.login("acme", "ada").await;
    let newest = async || it.letters("ada@acme.example").await[0]["text"].as_str().unwrap().to_owned();
    let mut passkey = SoftPasskey::new(ORIGIN);
    let made = passkeys::registered(&it.world, &token, &mut passkey).await.expect(201);
    assert!(newest().await.contains("A passkey was added"));
    let token = passkeys::signed_in(&it.world, "", &mut passkey).await.expect(200).text("access_token");
    it.world.clock.advance(Duration::from_secs(1));
    let path = format!("/v1/auth/passkeys/{}", made.id());
    crate::support::call("DELETE", &path).bearer(&token).send(&it.world.admin).await.expect(204);
    assert!(newest().await.contains("A passkey of your account was deleted"));
    it.world.clock.advance(Duration::from_secs(1));
    let path = format!("/v1/tenants/{}/users/{id}/reset-factors", it.tenant);
    crate::support::call("POST", &path).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    assert!(newest().await.contains("An administrator took"));
}
