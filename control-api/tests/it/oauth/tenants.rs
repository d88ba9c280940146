//! What a tenant's provider is good for: that tenant.

use std::time::Duration;

use control_api::totp::Codes;
use domain::Clock;
use serde_json::json;
use store::read::*;

use super::{APP, Oauth, trusting};
use crate::{
    oauth::provider::Fake,
    support::{Answer, World, call, get, on_postgres_with, post},
};

impl Oauth {
    /// Another tenant of acme's project.
    pub(super) async fn sibling(&self, slug: &str) -> String {
        let (app, staff, admin) = (&self.acme.world.app, &self.acme.staff, &self.acme.world.admin);
        let acme = app.store.tenant(self.acme.tenant.parse().unwrap()).await.unwrap().unwrap();
        let body = json!({
            "slug": slug, "name": slug, "customer_id": acme.customer_id, "project_id": acme.project_id, "status": "active",
        });
        let tenant = post("/v1/tenants", &body).bearer(staff).send(admin).await.expect(201).id();
        let body = json!({ "hostname": format!("{slug}.localhost"), "tenant_id": tenant });
        post("/v1/hostnames", &body).bearer(staff).send(admin).await.expect(201);
        tenant
    }
}

/// The tenants `acme` and `globex` of one project, with staff's provider `corp` for acme and `all` for both.
async fn two() -> (Oauth, String) {
    let fake = Fake::start().await;
    let world = World::with(trusting(&fake)).await;
    let it = Oauth::over(world, fake).await;
    let project = it.project().await;
    let globex = it.sibling("globex").await;
    let options = json!({ "issuer": it.fake.issuer });
    it.provider("corp", "oidc", &json!({ "options": options })).await.expect(201);
    it.provider("all", "oidc", &json!({ "project_id": project, "options": options })).await.expect(201);
    (it, globex)
}

#[tokio::test]
async fn a_sign_in_through_a_tenants_provider_reaches_no_other_tenant() {
    let (it, globex) = two().await;
    let admin = &it.acme.world.admin;
    for (key, reaches) in [("corp", false), ("all", true)] {
        it.fake.is_used_by(key, json!({ "email": format!("{key}@mail.example"), "email_verified": true }));
        let pair = it.sign_in(key).await.expect(200);
        let token = pair.text("access_token");
        let user = crate::second_factor::claims(&token)["sub"].as_str().unwrap().to_owned();
        it.acme.world.join(&it.acme.staff, &globex, &user).await;
        let body = json!({ "tenant": "globex", "refresh_token": pair.text("refresh_token") });
        let switched = post("/api/v1/tenant/auth/switch", &body).bearer(&token).send(admin).await;
        if reaches {
            switched.expect(200);
        } else {
            switched.refused(403, "login_method_refused");
            // Nor does it speak for the account that is globex' too.
            get("/v1/me/export").bearer(&token).send(admin).await.refused(401, "insufficient_user_authentication");
            let gone = post("/v1/me/deletion", &json!({})).bearer(&token).send(admin).await;
            gone.refused(401, "insufficient_user_authentication");
            let link = json!({ "provider": "all", "redirect_uri": APP, "link": true });
            let link = it.acme.ask_as(&token, "/v1/auth/oauth/begin", &link).await;
            link.refused(401, "insufficient_user_authentication");
        }
    }
}

#[tokio::test]
async fn what_was_begun_at_one_tenants_hostname_ends_at_no_other() {
    let (it, _) = two().await;
    let browser = it.browser("all").await;
    let code = it.fake.signs_in(&browser.url);
    let path = format!("/oauth/callback/all?state={}&code={code}", browser.parameter("state"));
    let there = get(&path).host("globex.localhost").header("cookie", &browser.cookie);
    there.send(&it.acme.world.admin).await.refused(401, "oauth_state_invalid");
    let (browser, onward) = it.onward("all").await;
    let body = json!({ "code": onward.strip_prefix("oauth_code=").unwrap() });
    let redeem = post("/v1/auth/oauth/redeem", &body).host("globex.localhost").header("cookie", &browser.cookie);
    redeem.send(&it.acme.world.admin).await.refused(401, "oauth_code_invalid");
    // A provider of acme's is nobody's at globex.
    let start = format!("/oauth/start/corp?return_to={APP}");
    get(&start).host("globex.localhost").send(&it.acme.world.admin).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_tenant_says_whether_its_people_sign_in_through_providers_and_hides_its_projects() {
    let (it, _) = two().await;
    let admin = &it.acme.world.admin;
    let pair = it.sign_in("all").await.expect(200);
    it.provider("all", "oidc", &json!({ "enabled": false, "options": { "issuer": it.fake.issuer } })).await.expect(201);
    it.start("all", APP, None).await.refused(404, "not_found");
    let policy = format!("/v1/tenants/{}/login-policy", it.acme.tenant);
    let put = call("PUT", &policy).json(&json!({ "methods": ["password"] })).bearer(&it.acme.staff);
    put.send(admin).await.expect(200);
    it.start("corp", APP, None).await.refused(403, "login_method_refused");
    // A provider that is gone takes its sessions along when they are refreshed.
    let project = it.project().await;
    let path = format!("/v1/identity-providers/all?project_id={project}");
    call("DELETE", &path).bearer(&it.acme.staff).send(admin).await.expect(204);
    let refresh = post("/api/v1/tenant/auth/refresh", &json!({ "refresh_token": pair.text("refresh_token") }));
    refresh.host("acme.localhost").send(admin).await.refused(401, "refresh_invalid");
    get("/v1/me").bearer(&pair.text("access_token")).send(admin).await.refused(401, "token_revoked");
}

/// By each way on: a session, a second factor, another device. A provider is held while a session is opened, and a tenant's scope holds
/// nothing that is its project's.
async fn a_projects_provider_signs_people_in(world: World, fake: Fake) {
    let it = Oauth::over(world, fake).await;
    let options = json!({ "issuer": it.fake.issuer });
    it.provider("all", "oidc", &json!({ "project_id": it.project().await, "options": options })).await.expect(201);
    let token = it.sign_in("all").await.expect(200).text("access_token");
    let qr = async |token: &str| {
        let asked = it.acme.ask("/v1/auth/qr", &json!({})).await.expect(200);
        let approve = json!({ "approve": true, "code": asked.text("code") });
        it.acme.ask_as(token, &format!("/v1/auth/qr/{}/approve", asked.id()), &approve).await.expect(204);
        let poll = json!({ "poll_secret": asked.text("poll_secret") });
        it.acme.ask(&format!("/v1/auth/qr/{}/poll", asked.id()), &poll).await.expect(200)
    };
    let lent = qr(&token).await.text("access_token");
    get("/v1/me").bearer(&lent).send(&it.acme.world.admin).await.expect(200);

    let setup = it.acme.ask_as(&token, "/v1/auth/totp/setup", &json!({})).await.expect(200);
    let codes = Codes::of(&crate::second_factor::read_secret(&setup.text("secret"))).unwrap();
    let code = || codes.code(it.acme.world.clock.unix_now().secs() / 30).unwrap();
    it.acme.ask_as(&token, "/v1/auth/totp/confirm", &json!({ "code": code() })).await.expect(200);
    let second = async |asked: Answer| {
        it.acme.world.clock.advance(Duration::from_secs(30));
        let id = asked.body["second_factor"]["login_challenge_id"].clone();
        let body = json!({ "login_challenge_id": id, "code": code() });
        it.acme.ask("/v1/auth/totp/verify", &body).await.expect(200).text("access_token")
    };
    let sure = second(it.sign_in("all").await.expect(200)).await;
    assert_eq!(crate::second_factor::claims(&sure)["acr"], "aal2");
    let lent = second(qr(&sure).await).await;
    for token in [sure, lent] {
        let sid = crate::second_factor::claims(&token)["sid"].as_str().unwrap().parse().unwrap();
        let session = it.acme.world.app.store.session(sid).await.unwrap().unwrap();
        assert!(session.provider_id.is_some(), "{:?}", session.method);
    }
}

#[tokio::test]
async fn a_projects_provider_signs_people_in_on_sqlite() {
    let fake = Fake::start().await;
    a_projects_provider_signs_people_in(World::with(trusting(&fake)).await, fake).await;
}

#[tokio::test]
async fn a_projects_provider_signs_people_in_on_postgres() {
    let fake = Fake::start().await;
    on_postgres_with(trusting(&fake), async |world| a_projects_provider_signs_people_in(world, fake).await).await;
}

#[tokio::test]
async fn a_session_that_a_tenants_provider_stands_behind_speaks_for_no_account_by_any_way() {
    let (it, globex) = two().await;
    let token = it.sign_in("corp").await.expect(200).text("access_token");
    let asked = it.acme.ask("/v1/auth/qr", &json!({})).await.expect(200);
    let approve = json!({ "approve": true, "code": asked.text("code") });
    it.acme.ask_as(&token, &format!("/v1/auth/qr/{}/approve", asked.id()), &approve).await.expect(204);
    let poll = json!({ "poll_secret": asked.text("poll_secret") });
    let lent = it.acme.ask(&format!("/v1/auth/qr/{}/poll", asked.id()), &poll).await.expect(200);
    let user = crate::second_factor::claims(&token)["sub"].as_str().unwrap().to_owned();
    it.acme.world.join(&it.acme.staff, &globex, &user).await;
    let admin = &it.acme.world.admin;
    for token in [&token, &lent.text("access_token")] {
        get("/v1/me/export").bearer(token).send(admin).await.refused(401, "insufficient_user_authentication");
        let gone = post("/v1/me/deletion", &json!({})).bearer(token).send(admin).await;
        gone.refused(401, "insufficient_user_authentication");
    }
    let switch = json!({ "tenant": "globex", "refresh_token": lent.text("refresh_token") });
    let switched = post("/api/v1/tenant/auth/switch", &switch).bearer(&lent.text("access_token")).send(admin).await;
    switched.refused(403, "login_method_refused");
}
