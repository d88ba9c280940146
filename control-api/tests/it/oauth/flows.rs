//! The ways of a browser, of an app that owns the way back, and of a program on a device.

use std::time::Duration;

use control_api::totp::Codes;
use domain::Clock;
use futures::future::join_all;
use serde_json::json;

use super::{ADA, APP, Browser, Oauth, provider::Fake, trusting, under_way, went_on};
use crate::{
    second_factor::read_secret,
    support::{Answer, World, get, on_postgres_with, post},
};

#[tokio::test]
async fn a_browser_signs_in_and_its_first_time_makes_the_account() {
    let it = Oauth::new().await;
    it.acme.world.clock.advance(Duration::from_secs(1));
    let (browser, onward) = it.onward("corp").await;
    assert_eq!(browser.parameter("redirect_uri"), "https://acme.localhost/oauth/callback/corp");
    assert_eq!(browser.parameter("scope"), "openid email profile");
    let code = onward.strip_prefix("oauth_code=").unwrap();
    let tokens = it.redeem(&browser, code).await.expect(200);
    assert_eq!(tokens.headers["cache-control"], "no-store");
    let token = tokens.text("access_token");
    let info = get("/api/v1/tenant/auth/info").host("acme.localhost").bearer(&token);
    let info = info.send(&it.acme.world.admin).await.expect(200);
    assert_eq!(
        (info.body["user"]["email"].as_str(), info.body["roles"][0]["name"].as_str()),
        (Some(ADA), Some("member"))
    );
    let claims = crate::second_factor::claims(&token);
    assert!(claims["amr"].as_array().is_none_or(Vec::is_empty), "a provider's means are its own");
    let identities = it.identities(&token).await;
    assert_eq!((identities[0]["provider"].as_str(), identities[0]["email"].as_str()), (Some("corp"), Some(ADA)));

    // By its name and password at the token endpoint, and never in the trail.
    let (form, login) = it.fake.asked().pop().unwrap();
    assert_eq!((login.as_deref(), form.get("client_secret")), (Some("Basic dXM6aHVudGVyMg=="), None));
    for (action, count) in [("signup", 1), ("oauth_login", 1), ("login_failure", 0)] {
        assert_eq!(it.acme.events(action).await.len(), count, "{action}");
    }
    let again = it.sign_in("corp").await.expect(200).text("access_token");
    assert_eq!(crate::second_factor::claims(&again)["sub"], claims["sub"], "by the subject, from then on");
}

#[tokio::test]
async fn l3_an_answer_is_for_the_browser_that_asked() {
    let it = Oauth::new().await;
    let (mine, theirs) = (it.browser("corp").await, it.browser("corp").await);
    assert_ne!(mine.cookie, theirs.cookie);
    let code = it.fake.signs_in(&theirs.url);
    let state = theirs.parameter("state");
    for cookie in [mine.cookie.as_str(), "a=1", &theirs.cookie.replace("oauth=", "oauth-post="), &theirs.cookie[..60]] {
        let back = it.come_back("corp", cookie, &[("state", &state), ("code", &code)]).await;
        back.refused(401, "oauth_state_invalid");
    }
    // It is good for its own yet: another's attempt uses nothing up.
    let back = it.come_back("corp", &theirs.cookie, &[("state", &state), ("code", &code)]).await;
    let onward = went_on(&back);
    let code = onward.strip_prefix("oauth_code=").unwrap();
    it.redeem(&mine, code).await.refused(401, "oauth_code_invalid");
    it.redeem(&theirs, code).await.expect(200);
    it.redeem(&theirs, code).await.refused(401, "oauth_code_invalid");
    let back = it.come_back("corp", &theirs.cookie, &[("state", &state), ("code", code)]).await;
    back.refused(401, "oauth_state_invalid");
}

#[tokio::test]
async fn several_tabs_of_a_browser_sign_in_at_once() {
    let it = Oauth::new().await;
    let first = it.browser("corp").await;
    let second = under_way(it.start("corp", APP, Some(&first.cookie)).await);
    assert_eq!(first.cookie, second.cookie, "one browser");
    assert_ne!(first.parameter("state"), second.parameter("state"));
    assert_ne!(first.parameter("nonce"), second.parameter("nonce"));
    let codes = [&first, &second].map(|tab| it.fake.signs_in(&tab.url));
    let mut redeemed = Vec::new();
    for (tab, code) in [(&second, &codes[1]), (&first, &codes[0])] {
        let back = it.come_back("corp", &tab.cookie, &[("state", &tab.parameter("state")), ("code", code)]).await;
        redeemed.push(went_on(&back).strip_prefix("oauth_code=").unwrap().to_owned());
    }
    for code in redeemed {
        it.redeem(&first, &code).await.expect(200);
    }
    // A code of one tab is no code of the other's sign-in: its verifier is another.
    let (third, fourth) = (it.browser("corp").await, it.browser("corp").await);
    let code = it.fake.signs_in(&third.url);
    let back = it.come_back("corp", &fourth.cookie, &[("state", &fourth.parameter("state")), ("code", &code)]).await;
    assert_eq!(went_on(&back), "error=oauth_refused");
}

#[tokio::test]
async fn what_was_begun_ends_with_its_time_and_what_it_ends_in_too() {
    let it = Oauth::new().await;
    let browser = it.browser("corp").await;
    let code = it.fake.signs_in(&browser.url);
    it.acme.world.clock.advance(Duration::from_secs(300));
    let answer = [("state", browser.parameter("state")), ("code", code)];
    let answer = answer.each_ref().map(|(name, value)| (*name, value.as_str()));
    it.come_back("corp", &browser.cookie, &answer).await.refused(401, "oauth_state_invalid");
    let (browser, onward) = it.onward("corp").await;
    it.acme.world.clock.advance(Duration::from_secs(60));
    it.redeem(&browser, onward.strip_prefix("oauth_code=").unwrap()).await.refused(401, "oauth_code_invalid");
}

#[tokio::test]
async fn l1_nobody_is_sent_where_the_project_does_not_say() {
    let it = Oauth::new().await;
    for wanted in ["https://evil.example/", "https://app.acme.example.evil.example/", "//evil.example", "/in", ""] {
        it.start("corp", wanted, None).await.refused(400, "parameter_invalid");
    }
    get("/oauth/start/corp").host("acme.localhost").send(&it.acme.world.admin).await.refused(400, "parameter_invalid");
    it.configure(&json!({ "access": { "mode": "open" } })).await;
    it.start("corp", APP, None).await.refused(400, "parameter_invalid");
    let begin = json!({ "provider": "corp", "redirect_uri": "https://app.acme.example/back" });
    it.acme.ask("/v1/auth/oauth/begin", &begin).await.refused(422, "validation_failed");
}

#[tokio::test]
async fn a_provider_that_says_no_sends_the_browser_on_with_our_code_and_nothing_of_its_own() {
    let it = Oauth::new().await;
    let browser = it.browser("corp").await;
    let state = browser.parameter("state");
    let no = [("state", &*state), ("error", "access_denied"), ("error_description", "<script>alert(1)</script>")];
    assert_eq!(went_on(&it.come_back("corp", &browser.cookie, &no).await), "error=oauth_refused");
    it.come_back("corp", &browser.cookie, &no).await.refused(401, "oauth_state_invalid");
    assert_eq!(it.acme.events("login_failure").await.len(), 1);
    let browser = it.browser("corp").await;
    let nothing = [("state", &*browser.parameter("state"))];
    assert_eq!(went_on(&it.come_back("corp", &browser.cookie, &nothing).await), "error=oauth_refused");
}

/// Begins for an app that owns the way back.
async fn begin(it: &Oauth, provider: &str) -> (Answer, Browser) {
    let body = json!({ "provider": provider, "redirect_uri": "https://app.acme.example/back" });
    let begun = it.acme.ask("/v1/auth/oauth/begin", &body).await.expect(200);
    assert_eq!(
        (begun.body["expires_in"].as_u64(), &begun.headers["cache-control"]),
        (Some(300), &"no-store".parse().unwrap())
    );
    let url = begun.text("authorization_url").parse().unwrap();
    (begun, Browser { cookie: String::new(), url })
}

#[tokio::test]
async fn an_app_that_owns_the_way_back_shows_what_it_began_with() {
    let it = Oauth::new().await;
    let (begun, browser) = begin(&it, "corp").await;
    assert_eq!(browser.parameter("redirect_uri"), "https://app.acme.example/back");
    assert_eq!(browser.parameter("state"), begun.text("state"));
    let (_, other) = begin(&it, "corp").await;
    let code = it.fake.signs_in(&browser.url);
    let shown = |state: &str, token: &str| json!({ "state": state, "state_token": token, "code": code });
    let (state, token) = (begun.text("state"), begun.text("state_token"));
    for body in [shown(&other.parameter("state"), &token), shown(&state, &state), shown("x", &token)] {
        it.acme.ask("/v1/auth/oauth/login", &body).await.refused(401, "oauth_state_invalid");
    }
    let body = json!({ "state": state, "state_token": token });
    it.acme.ask("/v1/auth/oauth/login", &body).await.refused(422, "validation_failed");
    // It is for an app: no browser comes back to us with it, and nobody links with it.
    let cookie = format!("__Host-portcullis-oauth={token}");
    it.come_back("corp", &cookie, &[("state", &state), ("code", &code)]).await.refused(401, "oauth_state_invalid");

    let (begun, browser) = begin(&it, "corp").await;
    let code = it.fake.signs_in(&browser.url);
    let body = json!({ "state": begun.text("state"), "state_token": begun.text("state_token"), "code": code });
    it.acme.ask("/v1/auth/oauth/login", &body).await.expect(200).text("access_token");
    it.acme.ask("/v1/auth/oauth/login", &body).await.refused(401, "oauth_state_invalid");
}

#[tokio::test]
async fn an_id_token_of_a_device_is_taken_once_and_for_its_nonce() {
    let it = Oauth::bare().await;
    let options = json!({ "issuer": it.fake.issuer, "native_client_ids": ["ios"] });
    it.provider("corp", "oidc", &json!({ "options": options })).await.expect(201);
    let begin = async || it.acme.ask("/v1/auth/oauth/begin", &json!({ "provider": "corp" })).await.expect(200);
    let login = async |begun: &Answer, token: &str| {
        let body = json!({ "state": begun.text("state"), "state_token": begun.text("state_token"), "id_token": token });
        it.acme.ask("/v1/auth/oauth/login", &body).await
    };
    let begun = begin().await;
    let token = it.fake.id_token("ios", &begun.text("nonce"));
    login(&begun, &token).await.expect(200);
    login(&begun, &token).await.refused(401, "oauth_state_invalid");
    login(&begin().await, &token).await.refused(401, "oauth_refused");
    let begun = begin().await;
    login(&begun, &it.fake.id_token("us", &begun.text("nonce"))).await.refused(401, "oauth_refused");
    // One that gives no ID tokens to programs is not begun with for them.
    it.provider("web", "oidc", &json!({ "options": { "issuer": it.fake.issuer } })).await.expect(201);
    it.acme.ask("/v1/auth/oauth/begin", &json!({ "provider": "web" })).await.refused(422, "validation_failed");
}

#[tokio::test]
async fn of_fifty_that_show_one_answer_or_code_one_signs_in() {
    let fake = Fake::start().await;
    let config = trusting(&fake);
    fifty(Oauth::over(World::with(config.clone()).await, Fake::start().await).await).await;
    on_postgres_with(config, async |world| fifty(Oauth::over(world, fake).await).await).await;
}

async fn fifty(it: Oauth) {
    it.provider("corp", "oidc", &json!({ "options": { "issuer": it.fake.issuer } })).await.expect(201);
    let browser = it.browser("corp").await;
    let (state, code) = (browser.parameter("state"), it.fake.signs_in(&browser.url));
    let answer = [("state", state.as_str()), ("code", code.as_str())];
    let answers = join_all((0..50).map(|_| it.come_back("corp", &browser.cookie, &answer))).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 303);
    assert_eq!(won.len(), 1, "{won:?}");
    assert!(lost.iter().all(|answer| answer.code() == "oauth_state_invalid"), "{lost:?}");
    let onward = went_on(&won[0]);
    let code = onward.strip_prefix("oauth_code=").unwrap();
    let answers = join_all((0..50).map(|_| it.redeem(&browser, code))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer.status == 200 || answer.code() == "oauth_code_invalid"), "{answers:?}");
}

#[tokio::test]
async fn as_many_wait_in_a_project_as_may_and_no_more() {
    let fake = Fake::start().await;
    let mut config = trusting(&fake);
    config.oauth.waiting_per_project = 3;
    bounded(Oauth::over(World::with(config.clone()).await, Fake::start().await).await).await;
    on_postgres_with(config, async |world| bounded(Oauth::over(world, fake).await).await).await;
}

async fn bounded(it: Oauth) {
    it.provider("corp", "oidc", &json!({ "options": { "issuer": it.fake.issuer } })).await.expect(201);
    let body = json!({ "provider": "corp", "redirect_uri": "https://app.acme.example/back" });
    let started = join_all((0..10).map(|_| it.start("corp", APP, None))).await;
    let (mut kept, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(|answer| answer.status == 303);
    assert_eq!((kept.len(), refused.len()), (3, 7), "{refused:?}");
    for answer in refused {
        assert_eq!(answer.refused(429, "rate_limited").headers["retry-after"], "30");
    }
    it.acme.world.clock.advance(Duration::from_secs(1));
    it.acme.ask("/v1/auth/oauth/begin", &body).await.refused(429, "rate_limited");
    // Who comes back makes room.
    let browser = under_way(kept.remove(0));
    let code = it.fake.signs_in(&browser.url);
    let answer = [("state", &*browser.parameter("state")), ("code", &code)];
    assert!(went_on(&it.come_back("corp", &browser.cookie, &answer).await).starts_with("oauth_code="));
    it.acme.world.clock.advance(Duration::from_secs(1));
    begin(&it, "corp").await;
    it.acme.ask("/v1/auth/oauth/begin", &body).await.refused(429, "rate_limited");
    // So does who never does, after a while.
    it.acme.world.clock.advance(Duration::from_secs(299));
    assert_eq!(it.start("corp", APP, None).await.status, 303);
}

#[tokio::test]
async fn a_second_factor_is_asked_for_after_a_providers_word_too() {
    let it = Oauth::new().await;
    let token = it.sign_in("corp").await.expect(200).text("access_token");
    let setup = it.acme.ask_as(&token, "/v1/auth/totp/setup", &json!({})).await.expect(200);
    let codes = Codes::of(&read_secret(&setup.text("secret"))).unwrap();
    let code = || codes.code(it.acme.world.clock.unix_now().secs() / 30).unwrap();
    it.acme.ask_as(&token, "/v1/auth/totp/confirm", &json!({ "code": code() })).await.expect(200);
    let asked = it.sign_in("corp").await.expect(200);
    let id = asked.body["second_factor"]["login_challenge_id"].as_str().unwrap().to_owned();
    assert!(asked.body.get("access_token").is_none(), "{asked:?}");
    it.acme.world.clock.advance(Duration::from_secs(30));
    let body = json!({ "login_challenge_id": id, "code": code() });
    let tokens =
        post("/v1/auth/totp/verify", &body).host("acme.localhost").send(&it.acme.world.admin).await.expect(200);
    assert_eq!(crate::second_factor::claims(&tokens.text("access_token"))["acr"], "aal2");
}
