//! How long what a provider said lasts: its sign-in is as fresh as it was there, the session as old as it is here, and neither outlives
//! what the provider is.

use std::time::Duration;

use control_api::{app::account::sweep, totp::Codes};
use domain::Clock;
use serde_json::{Value, json};
use store::read::*;

use super::{APP, Oauth, under_way};
use crate::{
    second_factor::{claims, read_secret},
    support::{Answer, PASSWORD, call, get, post},
};

const HOUR: Duration = Duration::from_secs(3600);

impl Oauth {
    fn now(&self) -> i64 {
        self.acme.world.clock.unix_now().secs()
    }

    /// Ada signed in at the provider then.
    fn signed_in_there(&self, auth_time: i64) {
        self.fake.is_used_by("1", json!({ "email": super::ADA, "email_verified": true, "auth_time": auth_time }));
    }

    async fn refresh(&self, pair: &Answer) -> Answer {
        let body = json!({ "refresh_token": pair.text("refresh_token") });
        post("/api/v1/tenant/auth/refresh", &body).host("acme.localhost").send(&self.acme.world.admin).await
    }

    async fn policy(&self, tenant: &str, policy: &Value) {
        let staff = self.acme.world.staff().await;
        let put = call("PUT", &format!("/v1/tenants/{tenant}/login-policy")).json(policy).bearer(&staff);
        put.send(&self.acme.world.admin).await.expect(200);
    }

    /// Changes the tenant's provider.
    async fn changes(&self, more: &Value) {
        let mut body = json!({
            "type": "oidc", "name": "Corp", "client_id": "us", "options": { "issuer": self.fake.issuer },
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let path = format!("/v1/identity-providers/corp?tenant_id={}", self.acme.tenant);
        let put = call("PUT", &path).json(&body).header("if-match", "*").bearer(&self.acme.staff);
        put.send(&self.acme.world.admin).await.expect(200);
    }

    async fn me(&self, token: &str) -> Answer {
        get("/v1/me").bearer(token).send(&self.acme.world.admin).await
    }
}

#[tokio::test]
async fn a_session_lives_from_when_it_was_opened_and_is_as_fresh_as_the_sign_in_there() {
    let it = Oauth::new().await;
    let globex = it.sibling("globex").await;
    it.policy(&it.acme.tenant, &json!({ "absolute_s": 10 * 3600 })).await;
    let options = json!({ "issuer": it.fake.issuer });
    it.provider("all", "oidc", &json!({ "project_id": it.project().await, "options": options })).await.expect(201);
    let there = it.now() - 3 * 86_400;
    it.signed_in_there(there);
    let pair = it.sign_in("all").await.expect(200);
    let said = claims(&pair.text("access_token"));
    assert_eq!(said["auth_time"], there);
    let begin = json!({ "provider": "corp", "redirect_uri": APP, "link": true });
    let stale = it.acme.ask_as(&pair.text("access_token"), "/v1/auth/oauth/begin", &begin).await;
    stale.refused(401, "insufficient_user_authentication");

    it.acme.world.clock.advance(7 * HOUR);
    let pair = it.refresh(&pair).await.expect(200);
    assert_eq!(claims(&pair.text("access_token"))["auth_time"], there);
    // It is no younger in another tenant, which lets sessions be six hours old.
    it.acme.world.join(&it.acme.world.staff().await, &globex, said["sub"].as_str().unwrap()).await;
    let switch = json!({ "tenant": "globex", "refresh_token": pair.text("refresh_token") });
    let switch = async || {
        let request = post("/api/v1/tenant/auth/switch", &switch).bearer(&pair.text("access_token"));
        request.send(&it.acme.world.admin).await
    };
    it.policy(&globex, &json!({ "absolute_s": 6 * 3600 })).await;
    switch().await.refused(403, "login_method_refused");
    it.policy(&globex, &json!({ "absolute_s": 9 * 3600 })).await;
    let switched = switch().await.expect(200);
    it.acme.world.clock.advance(HOUR);
    let body = json!({ "refresh_token": switched.text("refresh_token") });
    let refresh = async |body: &Value| {
        post("/api/v1/tenant/auth/refresh", body).host("globex.localhost").send(&it.acme.world.admin).await
    };
    let switched = refresh(&body).await.expect(200);
    it.acme.world.clock.advance(HOUR);
    refresh(&json!({ "refresh_token": switched.text("refresh_token") })).await.refused(401, "refresh_invalid");
}

#[tokio::test]
async fn a_sign_in_that_was_to_be_anew_is_one_by_what_the_provider_says() {
    let it = Oauth::new().await;
    it.acme.world.clock.advance(Duration::from_secs(600));
    let begin = json!({ "provider": "corp", "redirect_uri": APP, "anew": true });
    let signs_in = async || {
        let begun = it.acme.ask("/v1/auth/oauth/begin", &begin).await.expect(200);
        let url: reqwest::Url = begun.text("authorization_url").parse().unwrap();
        let asked = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        assert_eq!((asked("prompt").as_deref(), asked("max_age").as_deref()), (Some("login"), Some("0")));
        let code = it.fake.signs_in(&url);
        let body = json!({ "state": begun.text("state"), "state_token": begun.text("state_token"), "code": code });
        it.acme.ask("/v1/auth/oauth/login", &body).await
    };
    signs_in().await.refused(401, "oauth_refused");
    it.signed_in_there(it.now() - 31);
    signs_in().await.refused(401, "oauth_refused");
    assert_eq!(it.acme.events("oauth_login").await.len(), 0);
    it.signed_in_there(it.now());
    let token = signs_in().await.expect(200).text("access_token");
    assert_eq!(claims(&token)["auth_time"], it.now());

    // A browser's, too.
    it.signed_in_there(it.now() - 31);
    let start = get(&format!("/oauth/start/corp?anew=true&return_to={APP}")).host("acme.localhost");
    let browser = under_way(start.send(&it.acme.world.admin).await);
    let code = it.fake.signs_in(&browser.url);
    let back = it.come_back("corp", &browser.cookie, &[("state", &browser.parameter("state")), ("code", &code)]).await;
    assert_eq!(super::went_on(&back), "error=oauth_refused");

    // Who never says when is not asked.
    it.provider("github", "github", &json!({})).await.expect(201);
    let start = get(&format!("/oauth/start/github?anew=true&return_to={APP}")).host("acme.localhost");
    start.send(&it.acme.world.admin).await.refused(400, "parameter_invalid");
    let begin = json!({ "provider": "github", "redirect_uri": APP, "anew": true });
    let refused = it.acme.ask("/v1/auth/oauth/begin", &begin).await.refused(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["pointer"], "/anew");
}

/// A session, a browser with a code, one on its way, and a sign-in that waits for a second factor, all by one provider.
struct Alive {
    pair: Answer,
    browser: (super::Browser, String),
    on_its_way: super::Browser,
    waits: String,
    codes: Codes,
}

impl Oauth {
    async fn alive(&self) -> Alive {
        self.signed_in_there(self.now());
        let token = self.sign_in("corp").await.expect(200).text("access_token");
        let setup = self.acme.ask_as(&token, "/v1/auth/totp/setup", &json!({})).await.expect(200);
        let codes = Codes::of(&read_secret(&setup.text("secret"))).unwrap();
        let code = codes.code(self.now() / 30).unwrap();
        self.acme.ask_as(&token, "/v1/auth/totp/confirm", &json!({ "code": code })).await.expect(200);
        let asked = self.sign_in("corp").await.expect(200);
        let waits = asked.body["second_factor"]["login_challenge_id"].as_str().unwrap().to_owned();
        self.fake.is_used_by("2", json!({ "email": "bob@acme.example", "email_verified": true }));
        let pair = self.sign_in("corp").await.expect(200);
        let (browser, onward) = self.onward("corp").await;
        let browser = (browser, onward.strip_prefix("oauth_code=").unwrap().to_owned());
        Alive { pair, browser, on_its_way: self.browser("corp").await, waits, codes }
    }

    /// Nothing of it is good any more.
    async fn all_is_over(&self, alive: &Alive) {
        self.me(&alive.pair.text("access_token")).await.refused(401, "token_revoked");
        self.refresh(&alive.pair).await.refused(401, "refresh_invalid");
        let (browser, code) = &alive.browser;
        self.redeem(browser, code).await.refused(401, "oauth_code_invalid");
        let (state, code) = (alive.on_its_way.parameter("state"), self.fake.signs_in(&alive.on_its_way.url));
        let back = self.come_back("corp", &alive.on_its_way.cookie, &[("state", &state), ("code", &code)]).await;
        back.refused(401, "oauth_state_invalid");
        let body = json!({ "login_challenge_id": alive.waits, "code": alive.codes.code(self.now() / 30).unwrap() });
        self.acme.ask("/v1/auth/totp/verify", &body).await.refused(401, "login_challenge_invalid");
    }
}

#[tokio::test]
async fn what_a_provider_said_ends_when_it_is_switched_off_or_serves_others() {
    for change in [json!({ "enabled": false }), json!({ "client_id": "others" })] {
        let it = Oauth::new().await;
        let alive = it.alive().await;
        it.acme.world.clock.advance(Duration::from_secs(30));
        it.changes(&change).await;
        it.all_is_over(&alive).await;
        // It serves from then on whom it serves.
        it.changes(&json!({ "client_id": "others" })).await;
        it.acme.world.clock.advance(Duration::from_secs(6));
        let pair = it.sign_in("corp").await.expect(200);
        sweep(&it.acme.world.app).await.unwrap();
        it.me(&pair.text("access_token")).await.expect(200);
        // What is only called otherwise ends nothing.
        it.changes(&json!({ "client_id": "others", "name": "Corporation" })).await;
        it.refresh(&pair).await.expect(200);
    }
}

#[tokio::test]
async fn a_change_of_a_provider_that_was_cut_short_is_in_force_and_is_ended_by_the_sweep() {
    let it = Oauth::new().await;
    let alive = it.alive().await;
    let app = &it.acme.world.app;
    it.acme.world.clock.advance(Duration::from_secs(30));
    // As a process leaves it that stops after the transaction.
    let by = &authz::Authorized::<authz::action::ManageIdentityProviders>::system("test");
    let changed = &domain::model::IdentityProvider { client_id: "others".into(), ..it.of_acme("corp").await };
    let cut = app.store.write(by, app.now(), |tx| async move {
        tx.updated(tx.update_identity_provider(by, changed.clone(), None).await?).await
    });
    cut.await.unwrap();
    let token = alive.pair.text("access_token");
    let step_up = json!({ "password": PASSWORD, "refresh_token": alive.pair.text("refresh_token") });
    let stepped = it.acme.ask_as(&token, "/v1/auth/step-up", &step_up).await;
    assert!(matches!(stepped.status.as_u16(), 401 | 403), "{stepped:?}");
    let sid = claims(&token)["sid"].as_str().unwrap().parse().unwrap();
    assert!(app.store.session(sid).await.unwrap().unwrap().ended_at.is_none());
    sweep(app).await.unwrap();
    assert_eq!(app.store.session(sid).await.unwrap().unwrap().end_reason.as_deref(), Some("identity_provider_changed"));
    it.all_is_over(&alive).await;
}

#[tokio::test]
async fn a_refresh_after_a_change_that_was_cut_short_ends_the_session() {
    let it = Oauth::new().await;
    let pair = it.sign_in("corp").await.expect(200);
    let app = &it.acme.world.app;
    it.acme.world.clock.advance(Duration::from_secs(1));
    let by = &authz::Authorized::<authz::action::ManageIdentityProviders>::system("test");
    let changed = &domain::model::IdentityProvider { client_id: "others".into(), ..it.of_acme("corp").await };
    let cut = app.store.write(by, app.now(), |tx| async move {
        tx.updated(tx.update_identity_provider(by, changed.clone(), None).await?).await
    });
    cut.await.unwrap();
    it.refresh(&pair).await.refused(401, "refresh_invalid");
    it.me(&pair.text("access_token")).await.refused(401, "token_revoked");
}
