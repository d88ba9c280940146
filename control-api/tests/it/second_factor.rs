//! Authenticators, recovery codes, and sign-ins that wait for a second factor.

use std::time::Duration;

use control_api::{Config, totp::Codes};
use domain::{Clock, HumanDuration, Secret};
use futures::future::join_all;
use serde_json::{Value, json};
use store::read::*;

use crate::support::{Answer, PASSWORD, World, call, get, on_postgres, post};

/// Two people of acme; `ann` has an authenticator.
pub(crate) struct Acme {
    pub(crate) world: World,
    pub(crate) staff: String,
    pub(crate) tenant: String,
    pub(crate) ann: String,
    codes: Codes,
    pub(crate) recovery: Vec<String>,
}

pub(crate) fn claims(token: &str) -> Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

pub(crate) fn read_secret(base32: &str) -> Secret<Vec<u8>> {
    let (mut bits, mut buffer, mut bytes) = (0, 0_u32, Vec::new());
    for c in base32.bytes() {
        let value = if c.is_ascii_uppercase() { c - b'A' } else { c - b'2' + 26 };
        (buffer, bits) = (buffer << 5 | u32::from(value), bits + 5);
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(buffer >> bits & 0xff).unwrap());
        }
    }
    Secret::new(bytes)
}

pub(crate) fn texts(answer: &Answer, name: &str) -> Vec<String> {
    answer.body[name].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
}

impl Acme {
    pub(crate) async fn new(world: World) -> Self {
        let staff = world.staff().await;
        let tenant = world.tenant(&staff, "acme").await;
        let ann = world.user(&staff, &tenant, "ann", &["member"]).await;
        world.user(&staff, &tenant, "bob", &["admin"]).await;
        let codes = Codes::of(&Secret::new(vec![0; 20])).unwrap();
        let mut it = Self { world, staff, tenant, ann, codes, recovery: Vec::new() };
        let token = it.world.login("acme", "ann").await;
        it.enrol(&token).await;
        it
    }

    async fn enrol(&mut self, token: &str) {
        let set_up = post("/v1/auth/totp/setup", &json!({})).bearer(token).send(&self.world.admin).await.expect(200);
        self.codes = Codes::of(&read_secret(&set_up.text("secret"))).unwrap();
        let body = json!({ "code": self.code(0) });
        let done = post("/v1/auth/totp/confirm", &body).bearer(token).send(&self.world.admin).await.expect(200);
        assert_eq!(done.headers["cache-control"], "no-store");
        self.recovery = texts(&done, "recovery_codes");
        self.next_code();
    }

    /// The code of so many steps from now.
    pub(crate) fn code(&self, steps: i64) -> String {
        self.codes.code(self.world.clock.unix_now().secs() / 30 + steps).unwrap()
    }

    /// Waits until the authenticator shows another.
    pub(crate) fn next_code(&self) {
        self.world.clock.advance(Duration::from_secs(30));
    }

    /// Signs `ann` in with the password; answers what the sign-in waits for.
    pub(crate) async fn asked(&self) -> String {
        let answer = self.world.try_login("acme", "ann", PASSWORD).await.expect(200);
        assert!(answer.body.get("access_token").is_none() && answer.body.get("refresh_token").is_none(), "{answer:?}");
        assert_eq!(answer.body["second_factor"]["methods"], json!(["totp", "recovery_code"]));
        assert_eq!(answer.body["second_factor"]["expires_in"], 300);
        assert_eq!(answer.headers["cache-control"], "no-store");
        answer.body["second_factor"]["login_challenge_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn verify(&self, challenge: &str, member: &str, code: &str) -> Answer {
        let body = json!({ "login_challenge_id": challenge, member: code });
        post("/v1/auth/totp/verify", &body).host("acme.localhost").send(&self.world.admin).await
    }

    /// Signs `ann` in with both factors.
    pub(crate) async fn sign_in(&self) -> Answer {
        let answer = self.verify(&self.asked().await, "code", &self.code(0)).await.expect(200);
        self.next_code();
        answer
    }

    async fn own(&self, path: &str, token: &str, password: &str) -> Answer {
        post(path, &json!({ "password": password })).bearer(token).send(&self.world.admin).await
    }

    async fn events(&self) -> Vec<String> {
        let path = format!("/v1/audit?tenant_id={}&limit=500", self.tenant);
        let trail = get(&path).bearer(&self.staff).send(&self.world.admin).await.expect(200);
        texts_of(&trail.body["items"], "action")
    }
}

fn texts_of(items: &Value, name: &str) -> Vec<String> {
    items.as_array().unwrap().iter().map(|it| it[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn an_authenticator_is_shown_once_and_counts_once_it_is_confirmed() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ann", &["member"]).await;
    let token = world.login("acme", "ann").await;
    let set_up = async || post("/v1/auth/totp/setup", &json!({})).bearer(&token).send(&world.admin).await;
    let first = set_up().await.expect(200);
    let shown = set_up().await.expect(200);
    let secret = shown.text("secret");
    assert_ne!(first.text("secret"), secret);
    assert!(shown.text("otpauth_url").starts_with("otpauth://totp/acme:ann?secret="), "{shown:?}");
    assert!(shown.text("otpauth_url").contains(&secret) && secret.len() == 32);
    assert!(shown.text("qr_code").starts_with("data:image/svg+xml;base64,"));
    assert_eq!(shown.headers["cache-control"], "no-store");
    // Not yet: signing in asks for nothing.
    world.try_login("acme", "ann", PASSWORD).await.expect(200).text("access_token");

    let confirm = async |code: &str| {
        post("/v1/auth/totp/confirm", &json!({ "code": code })).bearer(&token).send(&world.admin).await
    };
    let codes = |secret: &str| Codes::of(&read_secret(secret)).unwrap();
    let step = world.clock.unix_now().secs() / 30;
    confirm(&codes(&first.text("secret")).code(step).unwrap()).await.refused(401, "credentials_invalid");
    let recovery = texts(&confirm(&codes(&secret).code(step).unwrap()).await.expect(200), "recovery_codes");
    assert_eq!(recovery.len(), 10);
    confirm(&codes(&secret).code(step + 1).unwrap()).await.refused(409, "totp_not_set_up");
    set_up().await.refused(409, "totp_enabled");
    // The session is what it was: who has the token alone has no second factor by it.
    let sid = claims(&token)["sid"].as_str().unwrap().parse().unwrap();
    assert!(!world.app.store.session(sid).await.unwrap().unwrap().is_sure());
}

/// A token that leaked enrols nobody's authenticator: an older sign-in shows the password, too.
#[tokio::test]
async fn an_older_sign_in_confirms_an_authenticator_with_the_password_only() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let ann = world.user(&staff, &tenant, "ann", &["member"]).await;
    let pair = world.try_login("acme", "ann", PASSWORD).await.expect(200);
    let token = pair.text("access_token");
    world.clock.advance(Duration::from_secs(301));
    let set_up = post("/v1/auth/totp/setup", &json!({})).bearer(&token).send(&world.admin).await.expect(200);
    let codes = Codes::of(&read_secret(&set_up.text("secret"))).unwrap();
    let code = codes.code(world.clock.unix_now().secs() / 30).unwrap();
    let confirm = async |body: Value| post("/v1/auth/totp/confirm", &body).bearer(&token).send(&world.admin).await;
    let refused = confirm(json!({ "code": code })).await.refused(401, "insufficient_user_authentication");
    assert!(refused.headers["www-authenticate"].to_str().unwrap().ends_with(r#"max_age="300""#));
    confirm(json!({ "code": code, "password": "wrong" })).await.refused(401, "credentials_invalid");
    assert_eq!(world.app.store.totp_since(ann.parse().unwrap()).await.unwrap(), None);
    confirm(json!({ "code": code, "password": PASSWORD })).await.expect(200);
    // Both were shown now, and the session says so from its next token on.
    let renewed = post("/api/v1/tenant/auth/refresh", &json!({ "refresh_token": pair.text("refresh_token") }));
    let said = claims(&renewed.send(&world.admin).await.expect(200).text("access_token"));
    assert_eq!((&said["acr"], &said["auth_time"]), (&json!("aal2"), &json!(world.clock.unix_now().secs())));
}

async fn a_sign_in_waits_for_a_code_and_no_code_is_good_twice(world: World) {
    let it = Acme::new(world).await;
    let (one, two) = (it.asked().await, it.asked().await);
    it.verify(&one, "code", "000000").await.refused(401, "credentials_invalid");
    let code = it.code(0);
    let pair = it.verify(&one, "code", &code).await.expect(200);
    let claims = claims(&pair.text("access_token"));
    assert_eq!((&claims["acr"], &claims["amr"]), (&json!("aal2"), &json!(["pwd", "otp", "mfa"])));
    assert_eq!(claims["auth_time"], it.world.clock.unix_now().secs());
    // J11: neither the sign-in nor the code again.
    it.verify(&one, "code", &code).await.refused(401, "login_challenge_invalid");
    it.verify(&two, "code", &code).await.refused(401, "credentials_invalid");
    it.verify(&two, "code", &it.code(-1)).await.refused(401, "credentials_invalid");
    it.verify(&two, "code", &it.code(1)).await.expect(200);
    it.world.try_login("acme", "bob", PASSWORD).await.expect(200).text("access_token");

    // What it says stays through a refresh, and so does when it was.
    it.world.clock.advance(Duration::from_secs(60));
    let renewed = post("/api/v1/tenant/auth/refresh", &json!({ "refresh_token": pair.text("refresh_token") }));
    let renewed = renewed.send(&it.world.admin).await.expect(200).text("access_token");
    assert_eq!(self::claims(&renewed)["auth_time"], claims["auth_time"]);
    assert_eq!(self::claims(&renewed)["amr"], claims["amr"]);
    let events = it.events().await;
    for event in ["totp_setup", "totp_enabled", "login_second_factor_asked", "totp_verified", "login_success"] {
        assert!(events.iter().any(|it| it == event), "{event} in {events:?}");
    }
}

#[tokio::test]
async fn a_sign_in_waits_for_a_code_and_no_code_is_good_twice_on_sqlite() {
    a_sign_in_waits_for_a_code_and_no_code_is_good_twice(World::new().await).await;
}

#[tokio::test]
async fn a_sign_in_waits_for_a_code_and_no_code_is_good_twice_on_postgres() {
    on_postgres(a_sign_in_waits_for_a_code_and_no_code_is_good_twice).await;
}

async fn of_many_that_show_one_code_one_signs_in(world: World) {
    let it = Acme::new(world).await;
    let waiting = [it.asked().await, it.asked().await];
    let code = it.code(0);
    let all = join_all((0..50).map(|n| it.verify(&waiting[n % 2], "code", &code))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(all.iter().all(|answer| [200, 401, 429].contains(&answer.status.as_u16())), "{all:?}");
    let (tenant, ann, now) = (it.tenant.parse().unwrap(), it.ann.parse().unwrap(), it.world.clock.unix_now());
    let sessions = it.world.app.store.open_sessions(tenant, ann, now, store::Page::WIDEST).await.unwrap();
    assert_eq!(sessions.iter().filter(|session| session.amr.contains(domain::Amr::Otp)).count(), 1);
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
async fn a_recovery_code_is_good_once_and_all_are_replaced_at_once() {
    let it = Acme::new(World::new().await).await;
    let typed = it.recovery[0].to_uppercase().replace('-', " ");
    let pair = it.verify(&it.asked().await, "recovery_code", &typed).await.expect(200);
    assert_eq!(claims(&pair.text("access_token"))["acr"], "aal2");
    it.verify(&it.asked().await, "recovery_code", &it.recovery[0]).await.refused(401, "credentials_invalid");
    let token = pair.text("access_token");
    it.own("/v1/auth/totp/recovery-codes", &token, "wrong").await.refused(401, "credentials_invalid");
    let new = texts(&it.own("/v1/auth/totp/recovery-codes", &token, PASSWORD).await.expect(200), "recovery_codes");
    assert_eq!(new.len(), 10);
    it.verify(&it.asked().await, "recovery_code", &it.recovery[1]).await.refused(401, "credentials_invalid");
    it.verify(&it.asked().await, "recovery_code", &new[9]).await.expect(200);
    assert!(it.events().await.iter().any(|event| event == "totp_recovery_codes_replaced"));
}

/// L9: each sign-in takes a few attempts, and a user's wrong codes lock over all of them.
#[tokio::test]
async fn l9_a_second_factor_is_not_guessed() {
    let mut config = Config::default();
    config.second_factor.attempts = 2;
    let it = Acme::new(World::with(config).await).await;
    let one = it.asked().await;
    for _ in 0..2 {
        it.verify(&one, "code", "000000").await.refused(401, "credentials_invalid");
    }
    it.verify(&one, "code", &it.code(0)).await.refused(401, "login_challenge_invalid");
    for _ in 0..3 {
        it.verify(&it.asked().await, "recovery_code", "00000-00000").await.refused(401, "credentials_invalid");
    }
    let locked = it.verify(&it.asked().await, "code", &it.code(0)).await.refused(429, "login_locked");
    assert_eq!(locked.headers["retry-after"], "900");
    it.world.clock.advance(Duration::from_secs(901));
    it.sign_in().await;
    let (tenant, factor) = (it.tenant.parse().unwrap(), store::LoginSubject::DirectFactor(it.ann.parse().unwrap()));
    let project = it.world.app.store.tenant(tenant).await.unwrap().unwrap().project_id;
    let failures = it.world.app.store.login_failures(project, &factor);
    assert_eq!(failures.await.unwrap().failures, 0, "a success forgets them");
}

/// L8, L10: steps out of order, later than what ended them, at another's hostname, or by who is locked meanwhile.
#[tokio::test]
async fn l8_a_sign_in_that_waits_ends_with_what_ends_sessions() {
    let it = Acme::new(World::new().await).await;
    it.verify("nobody's", "code", &it.code(0)).await.refused(401, "login_challenge_invalid");
    // Too late.
    let late = it.asked().await;
    it.world.clock.advance(Duration::from_secs(300));
    it.verify(&late, "code", &it.code(0)).await.refused(401, "login_challenge_invalid");
    // At another tenant's hostname.
    it.world.tenant(&it.staff, "globex").await;
    let body = json!({ "login_challenge_id": it.asked().await, "code": it.code(0) });
    let elsewhere = post("/v1/auth/totp/verify", &body).host("globex.localhost").send(&it.world.admin).await;
    elsewhere.refused(401, "login_challenge_invalid");
    // Signed out everywhere, as with a new password.
    let waiting = it.asked().await;
    let path = format!("/v1/tenants/{}/users/{}/logout", it.tenant, it.ann);
    call("POST", &path).bearer(&it.staff).send(&it.world.admin).await.expect(204);
    it.verify(&waiting, "code", &it.code(0)).await.refused(401, "login_challenge_invalid");
    // A lock for wrong passwords.
    let waiting = it.asked().await;
    for _ in 0..5 {
        it.world.try_login("acme", "ann", "wrong").await.refused(401, "credentials_invalid");
    }
    it.verify(&waiting, "code", &it.code(0)).await.refused(429, "login_locked");
    it.world.clock.advance(Duration::from_secs(901));
    // Disabled meanwhile.
    let waiting = it.asked().await;
    let path = format!("/v1/tenants/{}/users/{}/disable", it.tenant, it.ann);
    call("POST", &path).bearer(&it.world.staff().await).send(&it.world.admin).await.expect(200);
    let refused = it.verify(&waiting, "code", &it.code(0)).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(refused.body.get("access_token").is_none());
}

#[tokio::test]
async fn it_is_taken_away_with_the_password_in_a_session_that_showed_it() {
    let it = Acme::new(World::new().await).await;
    let sure = it.sign_in().await.text("access_token");
    it.own("/v1/auth/totp/disable", &sure, "wrong").await.refused(401, "credentials_invalid");
    // A session of before there was an authenticator.
    let old = it.sign_in().await.text("access_token");
    let project = it.world.app.store.tenant(it.tenant.parse().unwrap()).await.unwrap().unwrap().project_id;
    let pwd = domain::AmrSet::of(&[domain::Amr::Pwd]);
    let (old_sid, now) = (claims(&old)["sid"].as_str().unwrap().parse().unwrap(), it.world.clock.unix_now());
    let lowered = it.world.app.store.write_session(authz::Scope::Project(project), now, |tx| async move {
        tx.raise_session(old_sid, pwd, now).await
    });
    lowered.await.unwrap();
    for path in ["/v1/auth/totp/disable", "/v1/auth/totp/recovery-codes"] {
        let refused = it.own(path, &old, PASSWORD).await.refused(401, "insufficient_user_authentication");
        let challenge = refused.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains(r#"error="insufficient_user_authentication""#), "{challenge}");
        assert!(challenge.ends_with(r#"acr_values="aal2""#), "{challenge}");
    }
    // Or shown now.
    let shown = json!({ "password": PASSWORD, "recovery_code": it.recovery[3] });
    let fresh = post("/v1/auth/totp/recovery-codes", &shown).bearer(&old).send(&it.world.admin).await.expect(200);
    assert_eq!(texts(&fresh, "recovery_codes").len(), 10);
    let wrong = json!({ "password": PASSWORD, "code": "000000" });
    let refused = post("/v1/auth/totp/disable", &wrong).bearer(&old).send(&it.world.admin).await;
    refused.refused(401, "credentials_invalid");
    it.own("/v1/auth/totp/disable", &sure, PASSWORD).await.expect(204);
    it.own("/v1/auth/totp/disable", &sure, PASSWORD).await.refused(409, "totp_not_enabled");
    it.world.try_login("acme", "ann", PASSWORD).await.expect(200).text("access_token");
    assert!(it.events().await.iter().any(|event| event == "totp_disabled"));
}

#[tokio::test]
async fn an_administrator_takes_a_lost_authenticator_away_and_nobody_their_own() {
    let it = Acme::new(World::new().await).await;
    let old = it.sign_in().await.text("access_token");
    let reset = async |path: &str, token: &str| call("POST", path).bearer(token).send(&it.world.admin).await;
    let path = format!("/api/v1/tenant/users/{}/reset-factors", it.ann);
    reset(&path, &old).await.refused(403, "permission_denied");
    let bob = it.world.login("acme", "bob").await;
    reset(&path, &bob).await.expect(200);
    get("/v1/me").bearer(&old).send(&it.world.admin).await.refused(401, "token_revoked");
    it.world.try_login("acme", "ann", PASSWORD).await.expect(200).text("access_token");
    assert!(it.events().await.iter().any(|event| event == "user.factors_reset"));
    // Who is another tenant's does not exist.
    let globex = it.world.tenant(&it.staff, "globex").await;
    let gus = it.world.user(&it.staff, &globex, "gus", &["admin"]).await;
    reset(&format!("/api/v1/tenant/users/{gus}/reset-factors"), &bob).await.refused(404, "not_found");
    reset(&format!("/v1/tenants/{globex}/users/{gus}/reset-factors"), &it.staff).await.expect(200);
    let gus_token = it.world.login("globex", "gus").await;
    reset(&format!("/api/v1/tenant/users/{gus}/reset-factors"), &gus_token).await.refused(409, "user_is_self");
}

#[tokio::test]
async fn staff_has_second_factors_too() {
    let world = World::new().await;
    let token = world.staff().await;
    let set_up = post("/v1/auth/totp/setup", &json!({})).bearer(&token).send(&world.admin).await.expect(200);
    let codes = Codes::of(&read_secret(&set_up.text("secret"))).unwrap();
    let code = |steps: i64| codes.code(world.clock.unix_now().secs() / 30 + steps).unwrap();
    let confirmed = post("/v1/auth/totp/confirm", &json!({ "code": code(0) })).bearer(&token);
    confirmed.send(&world.admin).await.expect(200);
    let body = json!({ "username": "platform-admin", "password": world.staff_password });
    let asked = post("/api/v1/auth/login", &body).send(&world.admin).await.expect(200);
    let id = asked.body["second_factor"]["login_challenge_id"].as_str().unwrap();
    let body = json!({ "login_challenge_id": id, "code": code(1) });
    let pair = post("/v1/auth/totp/verify", &body).send(&world.admin).await.expect(200);
    let token = pair.text("access_token");
    assert_eq!(claims(&token)["ctx"], "sys");
    get("/api/v1/auth/userinfo").bearer(&token).send(&world.admin).await.expect(200);
}

#[tokio::test]
async fn bodies_say_one_thing() {
    let it = Acme::new(World::new().await).await;
    let send = async |path: &str, body: &Value| post(path, body).host("acme.localhost").send(&it.world.admin).await;
    send("/v1/auth/totp/setup", &json!({})).await.refused(401, "credential_missing");
    send("/v1/auth/totp/confirm", &json!({ "code": "123456" })).await.refused(401, "credential_missing");
    let both = json!({ "login_challenge_id": "x", "code": "1", "recovery_code": "2" });
    let refused = send("/v1/auth/totp/verify", &both).await.refused(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["pointer"], "/recovery_code");
    let refused = send("/v1/auth/totp/verify", &json!({ "login_challenge_id": "x" })).await;
    assert_eq!(refused.refused(422, "validation_failed").body["errors"][0]["pointer"], "/code");
    let token = it.world.login("acme", "bob").await;
    let refused = post("/v1/auth/totp/setup", &json!({ "login_challenge_id": "x" })).bearer(&token);
    let refused = refused.send(&it.world.admin).await.refused(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["pointer"], "/login_challenge_id");
    // A sign-in that waits for a code sets no other authenticator up.
    let waiting = it.asked().await;
    send("/v1/auth/totp/setup", &json!({ "login_challenge_id": waiting }))
        .await
        .refused(401, "login_challenge_invalid");
}

#[tokio::test]
async fn a_session_steps_up_by_a_sign_in_within_it() {
    let mut config = Config::default();
    config.sessions.access_token = HumanDuration::from_secs(900);
    let it = Acme::new(World::with(config).await).await;
    let pair = it.sign_in().await;
    let (old, refresh) = (pair.text("access_token"), pair.text("refresh_token"));
    it.world.clock.advance(Duration::from_secs(600));
    let step_up = async |body: Value| post("/v1/auth/step-up", &body).bearer(&old).send(&it.world.admin).await;
    let body = |code: &str| json!({ "password": PASSWORD, "code": code, "refresh_token": refresh });
    step_up(json!({ "password": "wrong", "code": it.code(0), "refresh_token": refresh }))
        .await
        .refused(401, "credentials_invalid");
    let refused = step_up(json!({ "password": PASSWORD, "refresh_token": refresh })).await;
    assert_eq!(refused.refused(422, "validation_failed").body["errors"][0]["pointer"], "/code");
    step_up(body("000000")).await.refused(401, "credentials_invalid");
    step_up(json!({ "password": PASSWORD, "code": it.code(0), "refresh_token": "x" }))
        .await
        .refused(401, "refresh_invalid");
    let new = step_up(body(&it.code(0))).await.expect(200);
    let (before, after) = (claims(&old), claims(&new.text("access_token")));
    assert_eq!(before["sid"], after["sid"]);
    assert_eq!(after["auth_time"], it.world.clock.unix_now().secs());
    assert_eq!(after["acr"], "aal2");
    // The old token is gone, the new pair works.
    get("/v1/me").bearer(&old).send(&it.world.admin).await.refused(401, "token_revoked");
    get("/v1/me").bearer(&new.text("access_token")).send(&it.world.admin).await.expect(200);
    let renewed = post("/api/v1/tenant/auth/refresh", &json!({ "refresh_token": new.text("refresh_token") }));
    let renewed = renewed.send(&it.world.admin).await.expect(200).text("access_token");
    assert_eq!(claims(&renewed)["auth_time"], after["auth_time"]);
    assert!(it.events().await.iter().any(|event| event == "session_stepped_up"));
}

#[tokio::test]
async fn who_has_no_second_factor_steps_up_with_the_password() {
    let it = Acme::new(World::new().await).await;
    let pair = it.world.try_login("acme", "bob", PASSWORD).await.expect(200);
    it.world.clock.advance(Duration::from_secs(600));
    let body = json!({ "password": PASSWORD, "refresh_token": pair.text("refresh_token") });
    let new =
        post("/v1/auth/step-up", &body).bearer(&pair.text("access_token")).send(&it.world.admin).await.expect(200);
    let after = claims(&new.text("access_token"));
    assert_eq!((&after["acr"], &after["amr"]), (&json!("aal1"), &json!(["pwd"])));
    assert_eq!(after["auth_time"], it.world.clock.unix_now().secs());
}

#[tokio::test]
async fn who_signs_in_by_mail_is_asked_for_the_second_factor_too() {
    let it = Acme::new(World::new().await).await;
    let email = format!("ann@{}.example", it.tenant);
    let (id, project) = {
        use store::read::*;
        let user = it.world.app.store.user(it.ann.parse().unwrap()).await.unwrap().unwrap();
        (user.id, user.project_id)
    };
    let address = &email;
    let proven =
        it.world.app.store.write_session(authz::Scope::Project(project), it.world.app.now(), |tx| async move {
            tx.prove_email(id, address, true).await
        });
    proven.await.map_err(|error: store::StoreError| error).unwrap().unwrap();
    let ask = async |path: &str, body: &Value| post(path, body).host("acme.localhost").send(&it.world.admin).await;
    ask("/v1/auth/otp/request", &json!({ "email": email })).await.expect(202);
    crate::mail::post_office(&it.world.app).await;
    let kept = get(&format!("/dev/mailbox?to={email}")).send(&it.world.admin).await.expect(200);
    let code = kept.body["items"][0]["subject"].as_str().unwrap()[..6].to_owned();
    let asked = ask("/v1/auth/otp/verify", &json!({ "email": email, "code": code })).await.expect(200);
    assert!(asked.body.get("access_token").is_none(), "{asked:?}");
    let challenge = asked.body["second_factor"]["login_challenge_id"].as_str().unwrap().to_owned();
    it.verify(&challenge, "code", &it.code(0)).await.expect(200);
}
