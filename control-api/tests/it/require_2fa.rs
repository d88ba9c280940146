//! A tenant that demands two factors: at every way in, in a switch, and of sessions that were there before.

use std::time::Duration;

use control_api::totp::Codes;
use domain::Clock;
use serde_json::{Value, json};
use store::read::*;
use testkit::SoftPasskey;

use crate::{
    letters::Acme,
    passkeys,
    second_factor::{claims, read_secret, texts},
    support::{Answer, PASSWORD, World, call, get, post},
};

/// Says what is asked of a tenant's people.
pub(crate) async fn demand(world: &World, staff: &str, tenant: &str, policy: &Value) {
    let put = call("PUT", &format!("/v1/tenants/{tenant}/login-policy")).json(policy);
    put.bearer(staff).send(&world.admin).await.expect(200);
}

async fn strict() -> Acme {
    let it = Acme::new().await;
    demand(&it.world, &it.staff, &it.tenant, &json!({ "require_2fa": true })).await;
    it
}

/// That a sign-in waits for an authenticator to be set up, and what it is known by.
#[track_caller]
fn enrols(answer: &Answer) -> String {
    assert!(answer.body.get("access_token").is_none() && answer.body.get("refresh_token").is_none(), "{answer:?}");
    assert_eq!(answer.body["second_factor"]["methods"], json!(["totp_setup"]), "{answer:?}");
    answer.body["second_factor"]["login_challenge_id"].as_str().unwrap().to_owned()
}

/// Sets an authenticator up for a sign-in that waits; answers the tokens.
async fn enrol(it: &Acme, challenge: &str) -> (Codes, Answer) {
    let body = json!({ "login_challenge_id": challenge });
    let set_up = it.ask("/v1/auth/totp/setup", &body).await.expect(200);
    let codes = Codes::of(&read_secret(&set_up.text("secret"))).unwrap();
    let code = codes.code(it.world.clock.unix_now().secs() / 30).unwrap();
    let body = json!({ "login_challenge_id": challenge, "code": code });
    (codes, it.ask("/v1/auth/totp/confirm", &body).await)
}

#[tokio::test]
async fn who_has_no_factor_sets_one_up_before_anything_else() {
    let it = strict().await;
    it.proven("ada").await;
    let challenge = enrols(&it.world.try_login("acme", "ada", PASSWORD).await.expect(200));
    // It is no sign-in that a code goes on with, and no session.
    let body = json!({ "login_challenge_id": challenge, "code": "123456" });
    it.ask("/v1/auth/totp/verify", &body).await.refused(401, "login_challenge_invalid");
    it.ask("/v1/auth/totp/confirm", &body).await.refused(409, "totp_not_set_up");
    let (codes, confirmed) = enrol(&it, &challenge).await;
    let confirmed = confirmed.expect(200);
    assert_eq!(texts(&confirmed, "recovery_codes").len(), 10);
    let token = confirmed.text("access_token");
    assert_eq!((&claims(&token)["acr"], &claims(&token)["amr"]), (&json!("aal2"), &json!(["pwd", "otp", "mfa"])));
    get("/v1/me").bearer(&token).send(&it.world.admin).await.expect(200);
    // Once, and from now on the code is asked for.
    it.ask("/v1/auth/totp/setup", &json!({ "login_challenge_id": challenge }))
        .await
        .refused(401, "login_challenge_invalid");
    it.world.clock.advance(Duration::from_secs(30));
    let asked = it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    assert_eq!(asked.body["second_factor"]["methods"], json!(["totp", "recovery_code"]));
    let id = asked.body["second_factor"]["login_challenge_id"].clone();
    let code = codes.code(it.world.clock.unix_now().secs() / 30).unwrap();
    it.ask("/v1/auth/totp/verify", &json!({ "login_challenge_id": id, "code": code })).await.expect(200);
    let letters = it.letters("ada@acme.example").await;
    assert!(letters[0]["text"].as_str().unwrap().contains("An authenticator was added"), "{letters:?}");
    for event in ["login_second_factor_asked", "totp_enabled", "login_success"] {
        assert!(!it.events(event).await.is_empty(), "{event}");
    }
}

#[tokio::test]
async fn every_way_in_asks_for_it() {
    let it = strict().await;
    it.admit(&json!({ "mode": "open" })).await.expect(200);
    it.proven("ada").await;
    it.ask("/v1/auth/otp/request", &json!({ "email": "ada@acme.example" })).await.expect(202);
    let code = it.code("ada@acme.example").await;
    enrols(&it.ask("/v1/auth/otp/verify", &json!({ "email": "ada@acme.example", "code": code })).await.expect(200));
    it.ask("/v1/auth/magic-link/request", &json!({ "email": "ada@acme.example" })).await.expect(202);
    let link = it.link("ada@acme.example").await;
    enrols(&it.ask("/v1/auth/magic-link/redeem", &json!({ "token": link })).await.expect(200));
    // An account that is made by its first code has none either.
    it.ask("/v1/auth/otp/request", &json!({ "email": "eve@mail.example" })).await.expect(202);
    let code = it.code("eve@mail.example").await;
    let challenge =
        enrols(&it.ask("/v1/auth/otp/verify", &json!({ "email": "eve@mail.example", "code": code })).await.expect(200));
    let token = enrol(&it, &challenge).await.1.expect(200).text("access_token");
    assert_eq!(claims(&token)["acr"], "aal2");
}

#[tokio::test]
async fn who_is_invited_sets_one_up_at_the_first_sign_in() {
    let it = strict().await;
    let invitation = post(&format!("/v1/tenants/{}/invitations", it.tenant), &json!({ "email": "bob@new.example" }));
    let url = invitation.bearer(&it.staff).send(&it.world.admin).await.expect(201).text("invite_url");
    let token = url.split_once("#token=").unwrap().1;
    let accepted = it.ask("/v1/invitations/accept", &json!({ "token": token, "password": PASSWORD })).await.expect(200);
    assert!(accepted.body.get("access_token").is_none(), "joining opens no session");
    enrols(&it.world.try_login("acme", "bob@new.example", PASSWORD).await.expect(200));
}

/// A passkey that knew its user is two factors; who knows the password alone puts no factor of their own beside it.
#[tokio::test]
async fn a_passkey_is_two_factors_and_is_not_gone_around() {
    let it = Acme::new().await;
    it.member("ada").await;
    let token = it.world.login("acme", "ada").await;
    let mut passkey = SoftPasskey::new("https://acme.localhost");
    passkeys::registered(&it.world, &token, &mut passkey).await.expect(201);
    demand(&it.world, &it.staff, &it.tenant, &json!({ "require_2fa": true })).await;
    it.world.try_login("acme", "ada", PASSWORD).await.refused(403, "passkey_required");
    let pair = passkeys::signed_in(&it.world, "", &mut passkey).await.expect(200);
    assert_eq!(claims(&pair.text("access_token"))["acr"], "aal2");
    // A password alone is no step up to two factors, and no step down from them.
    let body = json!({ "password": PASSWORD, "refresh_token": pair.text("refresh_token") });
    let refused = it.ask_as(&pair.text("access_token"), "/v1/auth/step-up", &body).await;
    refused.refused(401, "insufficient_user_authentication");
    let body = json!({ "refresh_token": pair.text("refresh_token") });
    it.ask("/api/v1/tenant/auth/refresh", &body).await.expect(200);
}

/// A session of before goes on once its user has shown a second factor in it.
#[tokio::test]
async fn a_session_of_before_shows_a_second_factor_before_it_is_refreshed() {
    let it = Acme::new().await;
    it.member("ada").await;
    let pair = it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    demand(&it.world, &it.staff, &it.tenant, &json!({ "require_2fa": true })).await;
    let body = json!({ "refresh_token": pair.text("refresh_token") });
    let refused = it.ask("/api/v1/tenant/auth/refresh", &body).await.refused(401, "insufficient_user_authentication");
    assert!(refused.headers["www-authenticate"].to_str().unwrap().ends_with(r#"acr_values="aal2""#), "{refused:?}");
    let token = pair.text("access_token");
    let set_up = it.ask_as(&token, "/v1/auth/totp/setup", &json!({})).await.expect(200);
    let codes = Codes::of(&read_secret(&set_up.text("secret"))).unwrap();
    let code = codes.code(it.world.clock.unix_now().secs() / 30).unwrap();
    it.ask_as(&token, "/v1/auth/totp/confirm", &json!({ "code": code, "password": PASSWORD })).await.expect(200);
    let renewed = it.ask("/api/v1/tenant/auth/refresh", &body).await.expect(200);
    assert_eq!(claims(&renewed.text("access_token"))["acr"], "aal2");
}

/// Issue 6 item 8: what the tenant does not allow any more, or not for so long, is over at the latest when it is refreshed.
#[tokio::test]
async fn a_session_ends_that_its_tenant_would_not_open_any_more() {
    for policy in [json!({ "methods": ["magic_link"] }), json!({ "absolute_s": 600 }), json!({ "idle_s": 600 })] {
        let it = Acme::new().await;
        it.member("ada").await;
        let pair = it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
        it.world.clock.advance(Duration::from_secs(601));
        demand(&it.world, &it.world.staff().await, &it.tenant, &policy).await;
        let body = json!({ "refresh_token": pair.text("refresh_token") });
        it.ask("/api/v1/tenant/auth/refresh", &body).await.refused(401, "refresh_invalid");
        let sid = claims(&pair.text("access_token"))["sid"].as_str().unwrap().parse().unwrap();
        let session = it.world.app.store.session(sid).await.unwrap().unwrap();
        assert_eq!(session.end_reason.as_deref(), Some("login_policy"), "{policy}");
        assert_eq!(it.events("session_revoked").await.len(), 1, "{policy}");
        // Nothing brings it back.
        let staff = it.world.staff().await;
        let path = format!("/v1/tenants/{}/login-policy", it.tenant);
        call("DELETE", &path).bearer(&staff).send(&it.world.admin).await.expect(204);
        assert_eq!(it.ask("/api/v1/tenant/auth/refresh", &body).await.status, 401);
    }
}

/// How long a session lives is cut when the tenant says so, before it is over.
#[tokio::test]
async fn a_shorter_life_counts_for_sessions_of_before() {
    let it = Acme::new().await;
    it.member("ada").await;
    let pair = it.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    demand(&it.world, &it.staff, &it.tenant, &json!({ "absolute_s": 120 })).await;
    it.world.clock.advance(Duration::from_secs(60));
    let body = json!({ "refresh_token": pair.text("refresh_token") });
    let renewed = it.ask("/api/v1/tenant/auth/refresh", &body).await.expect(200);
    assert_eq!(renewed.body["expires_in"], 60);
}

#[tokio::test]
async fn a_session_of_one_factor_does_not_switch_into_it() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenants = world.shared_tenants(&staff, &["north", "south"]).await;
    let ada = world.user(&staff, &tenants["north"], "ada", &["member"]).await;
    world.join(&staff, &tenants["south"], &ada).await;
    demand(&world, &staff, &tenants["south"], &json!({ "require_2fa": true })).await;
    let pair = world.try_login("north", "ada", PASSWORD).await.expect(200);
    let (token, refresh) = (pair.text("access_token"), pair.text("refresh_token"));
    let switch = async || {
        let body = json!({ "tenant": "south", "refresh_token": refresh });
        post("/api/v1/tenant/auth/switch", &body).bearer(&token).send(&world.admin).await
    };
    switch().await.refused(401, "insufficient_user_authentication");
    // What was refused used nothing up.
    let set_up = post("/v1/auth/totp/setup", &json!({})).bearer(&token).send(&world.admin).await.expect(200);
    let codes = Codes::of(&read_secret(&set_up.text("secret"))).unwrap();
    let code = codes.code(world.clock.unix_now().secs() / 30).unwrap();
    let body = json!({ "code": code, "password": PASSWORD });
    post("/v1/auth/totp/confirm", &body).bearer(&token).send(&world.admin).await.expect(200);
    let switched = switch().await.expect(200);
    assert_eq!(claims(&switched.text("access_token"))["acr"], "aal2");
    // A way of signing in that the other tenant does not allow does not lead there either.
    let back = switched.text("refresh_token");
    demand(&world, &staff, &tenants["north"], &json!({ "methods": ["passkey"] })).await;
    let body = json!({ "tenant": "north", "refresh_token": back });
    let refused = post("/api/v1/tenant/auth/switch", &body).bearer(&switched.text("access_token"));
    refused.send(&world.admin).await.refused(403, "login_method_refused");
}
