//! Signing in on one device by approving it on another.

use std::time::Duration;

use domain::{Clock, model::AuthMethod};
use futures::future::join_all;
use serde_json::json;
use store::read::*;
use testkit::SoftPasskey;

use crate::{
    letters::Acme,
    passkeys,
    require_2fa::demand,
    second_factor::claims,
    support::{Answer, PASSWORD, World, call, get, on_postgres, post},
};

const DEVICE: &str = "Television/1.0";

/// Acme with `ann`, who is signed in on her phone.
struct Phone {
    it: Acme,
    ann: String,
    token: String,
}

impl Phone {
    async fn new(world: World) -> Self {
        let it = Acme::in_world(world).await;
        let ann = it.member("ann").await;
        let token = it.world.login("acme", "ann").await;
        Self { it, ann, token }
    }

    /// The same, signed in there with a passkey.
    async fn with_a_passkey(world: World) -> Self {
        let phone = Self::new(world).await;
        let mut passkey = SoftPasskey::new("https://acme.localhost");
        passkeys::registered(&phone.it.world, &phone.token, &mut passkey).await.expect(201);
        let token = passkeys::signed_in(&phone.it.world, "", &mut passkey).await.expect(200).text("access_token");
        Self { token, ..phone }
    }

    /// The session of a token, as it is kept.
    async fn session(&self, token: &str) -> domain::model::Session {
        let sid = claims(token)["sid"].as_str().unwrap().parse().unwrap();
        self.it.world.app.store.session(sid).await.unwrap().unwrap()
    }

    /// Another device asks.
    async fn start(&self) -> Answer {
        let start = post("/v1/auth/qr", &json!({})).host("acme.localhost").header("user-agent", DEVICE);
        start.send(&self.it.world.admin).await.expect(200)
    }

    async fn approve(&self, asked: &Answer, approve: bool) -> Answer {
        let path = format!("/v1/auth/qr/{}/approve", asked.id());
        let body = json!({ "approve": approve, "code": asked.text("code") });
        self.it.ask_as(&self.token, &path, &body).await
    }

    async fn poll_with(&self, id: &str, secret: &str) -> Answer {
        self.it.ask(&format!("/v1/auth/qr/{id}/poll"), &json!({ "poll_secret": secret })).await
    }

    async fn poll(&self, asked: &Answer) -> Answer {
        self.poll_with(&asked.id(), &asked.text("poll_secret")).await
    }

    async fn says(&self, asked: &Answer, status: &str) {
        let answer = self.poll(asked).await.expect(200);
        assert_eq!(answer.body, json!({ "status": status }));
    }
}

async fn another_device_is_signed_in(world: World) {
    let phone = Phone::new(world).await;
    let asked = phone.start().await;
    assert_eq!(asked.headers["cache-control"], "no-store");
    assert_eq!(asked.body["expires_in"], 300);
    // What the phone sees tells where and which, and nothing that signs anybody in.
    assert_eq!(asked.text("url"), format!("https://acme.localhost/auth/qr#id={}", asked.id()));
    assert!(asked.text("qr_code").starts_with("data:image/svg+xml;base64,"));
    phone.says(&asked, "pending").await;
    let path = format!("/v1/auth/qr/{}", asked.id());
    let shown = get(&path).bearer(&phone.token).send(&phone.it.world.admin).await.expect(200);
    assert_eq!(shown.body["user_agent"], DEVICE);
    assert!(!shown.body.to_string().contains(&asked.text("poll_secret")));
    phone.it.world.clock.advance(Duration::from_secs(60));
    phone.approve(&asked, true).await.expect(204);
    let pair = phone.poll(&asked).await.expect(200);
    assert_eq!(
        (&pair.body["status"], &pair.headers["cache-control"]),
        (&json!("approved"), &"no-store".parse().unwrap())
    );
    let (old, new) = (claims(&phone.token), claims(&pair.text("access_token")));
    assert_ne!(old["sid"], new["sid"]);
    for claim in ["sub", "tid", "acr", "amr", "auth_time"] {
        assert_eq!(old[claim], new[claim], "{claim}: it is the same sign-in, elsewhere");
    }
    get("/v1/me").bearer(&pair.text("access_token")).send(&phone.it.world.admin).await.expect(200);
    phone.says(&asked, "expired").await;
    phone.approve(&asked, true).await.refused(404, "not_found");
    let approved = phone.it.events("qr_login_approved").await;
    assert_eq!((approved.len(), &approved[0]["fields"]["qr_login_id"]), (1, &json!(asked.id())));
    assert_eq!(approved[0]["actor"]["id"], phone.ann);
}

#[tokio::test]
async fn another_device_is_signed_in_on_sqlite() {
    another_device_is_signed_in(World::new().await).await;
}

#[tokio::test]
async fn another_device_is_signed_in_on_postgres() {
    on_postgres(another_device_is_signed_in).await;
}

async fn of_many_that_poll_what_was_approved_one_is_signed_in(world: World) {
    let phone = Phone::new(world).await;
    let asked = phone.start().await;
    let approved = join_all((0..50).map(|_| phone.approve(&asked, true))).await;
    assert_eq!(approved.iter().filter(|answer| answer.status == 204).count(), 1);
    let all = join_all((0..50).map(|_| phone.poll(&asked))).await;
    let won = all.iter().filter(|answer| answer.body.get("access_token").is_some()).count();
    assert_eq!(won, 1, "{all:?}");
    assert_eq!(all.iter().filter(|answer| answer.body == json!({ "status": "expired" })).count(), 49, "{all:?}");
    let (tenant, ann, now) =
        (phone.it.tenant.parse().unwrap(), phone.ann.parse().unwrap(), phone.it.world.clock.unix_now());
    let sessions = phone.it.world.app.store.open_sessions(tenant, ann, now, store::Page::WIDEST).await.unwrap();
    assert_eq!(sessions.len(), 2, "the phone's and the other's");
}

#[tokio::test]
async fn of_many_that_poll_what_was_approved_one_is_signed_in_on_sqlite() {
    of_many_that_poll_what_was_approved_one_is_signed_in(World::new().await).await;
}

#[tokio::test]
async fn of_many_that_poll_what_was_approved_one_is_signed_in_on_postgres() {
    on_postgres(of_many_that_poll_what_was_approved_one_is_signed_in).await;
}

/// §3.3: wrong secret, unknown and too old are one answer.
#[tokio::test]
async fn a_wrong_secret_an_unknown_one_and_one_that_is_over_look_alike() {
    let phone = Phone::new(World::new().await).await;
    let (asked, other) = (phone.start().await, phone.start().await);
    phone.approve(&asked, true).await.expect(204);
    let expired = json!({ "status": "expired" });
    let nobody = "00000000-0000-7000-8000-000000000001";
    for (id, secret) in [
        (asked.id(), "wrong".to_owned()),
        (asked.id(), other.text("poll_secret")),
        (other.id(), asked.text("poll_secret")),
        (nobody.to_owned(), asked.text("poll_secret")),
    ] {
        assert_eq!(phone.poll_with(&id, &secret).await.expect(200).body, expired, "{id}");
    }
    // Nor at another tenant's hostname, with the right one.
    phone.it.world.tenant(&phone.it.staff, "globex").await;
    let path = format!("/v1/auth/qr/{}/poll", asked.id());
    let elsewhere = post(&path, &json!({ "poll_secret": asked.text("poll_secret") })).host("globex.localhost");
    assert_eq!(elsewhere.send(&phone.it.world.admin).await.expect(200).body, expired);
    phone.it.world.clock.advance(Duration::from_secs(300));
    phone.says(&asked, "expired").await;
    assert_eq!(phone.it.world.app.store.sweep_qr_logins(phone.it.world.clock.unix_now(), 10).await.unwrap(), 2);
}

#[tokio::test]
async fn it_is_approved_by_a_recent_session_of_the_same_tenant_and_rejected_for_good() {
    let phone = Phone::new(World::new().await).await;
    let asked = phone.start().await;
    let path = format!("/v1/auth/qr/{}", asked.id());
    let globex = phone.it.world.tenant(&phone.it.staff, "globex").await;
    phone.it.world.user(&phone.it.staff, &globex, "gus", &["owner"]).await;
    let gus = phone.it.world.login("globex", "gus").await;
    for stranger in [&gus, &phone.it.staff] {
        get(&path).bearer(stranger).send(&phone.it.world.admin).await.refused(404, "not_found");
        let body = json!({ "approve": true, "code": asked.text("code") });
        let approve = post(&format!("{path}/approve"), &body).bearer(stranger);
        approve.send(&phone.it.world.admin).await.refused(404, "not_found");
    }
    get(&path).send(&phone.it.world.admin).await.refused(401, "credential_missing");
    phone.approve(&asked, false).await.expect(204);
    phone.says(&asked, "rejected").await;
    phone.approve(&asked, true).await.refused(404, "not_found");
    assert_eq!(phone.it.events("qr_login_rejected").await.len(), 1);
    // A sign-in of longer ago approves nothing.
    phone.it.world.clock.advance(Duration::from_secs(301));
    let asked = phone.start().await;
    let refused = phone.approve(&asked, true).await.refused(401, "insufficient_user_authentication");
    assert!(refused.headers["www-authenticate"].to_str().unwrap().ends_with(r#"max_age="300""#), "{refused:?}");
    phone.says(&asked, "pending").await;
}

/// What was approved is judged when it is taken, not when it was approved.
#[tokio::test]
async fn what_was_approved_is_judged_again_when_it_is_taken() {
    // Signed out meanwhile.
    let phone = Phone::new(World::new().await).await;
    let asked = phone.start().await;
    phone.approve(&asked, true).await.expect(204);
    phone.it.ask_as(&phone.token, "/api/v1/tenant/auth/logout", &json!({})).await.expect(200);
    phone.says(&asked, "expired").await;
    // Disabled meanwhile.
    let phone = Phone::new(World::new().await).await;
    let asked = phone.start().await;
    phone.approve(&asked, true).await.expect(204);
    let path = format!("/v1/tenants/{}/users/{}/disable", phone.it.tenant, phone.ann);
    call("POST", &path).bearer(&phone.it.staff).send(&phone.it.world.admin).await.expect(200);
    let refused = phone.poll(&asked).await;
    assert!(refused.body.get("access_token").is_none() && refused.status != 500, "{refused:?}");
    // The tenant does not accept passwords any more.
    let phone = Phone::new(World::new().await).await;
    let asked = phone.start().await;
    phone.approve(&asked, true).await.expect(204);
    demand(&phone.it.world, &phone.it.staff, &phone.it.tenant, &json!({ "methods": ["passkey"] })).await;
    phone.poll(&asked).await.refused(403, "login_method_refused");
    // It demands two factors, and one was shown.
    let phone = Phone::new(World::new().await).await;
    let asked = phone.start().await;
    phone.approve(&asked, true).await.expect(204);
    demand(&phone.it.world, &phone.it.staff, &phone.it.tenant, &json!({ "require_2fa": true })).await;
    // It would be the asking device's to set up.
    phone.poll(&asked).await.refused(403, "second_factor_missing");
}

/// Who sends a code of their own to somebody gets nothing: what the asking device shows is typed on the other, once.
#[tokio::test]
async fn a_wrong_code_rejects_it_for_good() {
    let phone = Phone::new(World::new().await).await;
    let asked = phone.start().await;
    let path = format!("/v1/auth/qr/{}/approve", asked.id());
    let say = async |body: &serde_json::Value| phone.it.ask_as(&phone.token, &path, body).await;
    for body in
        [json!({ "approve": true }), json!({ "approve": true, "code": "1" }), json!({ "approve": true, "code": "12a" })]
    {
        let refused = say(&body).await.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], "/code");
    }
    phone.says(&asked, "pending").await;
    let wrong = if asked.text("code") == "000" { "001" } else { "000" };
    let refused = say(&json!({ "approve": true, "code": wrong })).await.refused(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["pointer"], "/code");
    phone.approve(&asked, true).await.refused(404, "not_found");
    phone.says(&asked, "rejected").await;
    let shown = get(&format!("/v1/auth/qr/{}", phone.start().await.id())).bearer(&phone.token);
    let shown = shown.send(&phone.it.world.admin).await.expect(200);
    assert!(shown.body.get("code").is_none(), "the code is on the other screen alone");
}

#[tokio::test]
async fn who_reads_the_address_is_told_of_it() {
    let it = Acme::new().await;
    it.proven("ann").await;
    let phone = Phone { token: it.world.login("acme", "ann").await, ann: String::new(), it };
    let asked = phone.start().await;
    phone.approve(&asked, true).await.expect(204);
    let letters = phone.it.letters("ann@acme.example").await;
    assert!(letters[0]["subject"].as_str().unwrap().starts_with("You are signed in on another device"), "{letters:?}");
}

/// Who has a second factor approves in a session that showed it, and shows it on the other device, too.
#[tokio::test]
async fn a_second_factor_is_shown_on_both_devices() {
    let acme = crate::second_factor::Acme::new(World::new().await).await;
    let token = acme.sign_in().await.text("access_token");
    let start = post("/v1/auth/qr", &json!({})).host("acme.localhost").send(&acme.world.admin).await.expect(200);
    let body = json!({ "approve": true, "code": start.text("code") });
    let approve = async || {
        let path = format!("/v1/auth/qr/{}/approve", start.id());
        post(&path, &body).host("acme.localhost").bearer(&token).send(&acme.world.admin).await
    };
    // A session of before there was one.
    let project = acme.world.app.store.tenant(acme.tenant.parse().unwrap()).await.unwrap().unwrap().project_id;
    let (sid, now) = (claims(&token)["sid"].as_str().unwrap().parse().unwrap(), acme.world.clock.unix_now());
    let set = async |amr: domain::AmrSet| {
        let set = acme.world.app.store.write_session(authz::Scope::Project(project), now, |tx| async move {
            tx.raise_session(sid, amr, now).await
        });
        set.await.unwrap();
    };
    set(domain::AmrSet::of(&[domain::Amr::Pwd])).await;
    approve().await.refused(401, "insufficient_user_authentication");
    set(domain::AmrSet::of(&[domain::Amr::Pwd, domain::Amr::Otp, domain::Amr::Mfa])).await;
    approve().await.expect(204);
    let secret = json!({ "poll_secret": start.text("poll_secret") });
    let poll = post(&format!("/v1/auth/qr/{}/poll", start.id()), &secret).host("acme.localhost");
    let waits = poll.send(&acme.world.admin).await.expect(200);
    assert!(waits.body.get("access_token").is_none(), "what one device showed, the other did not: {waits:?}");
    assert_eq!(waits.body["second_factor"]["methods"], json!(["totp", "recovery_code"]));
    acme.next_code();
    let body = json!({ "login_challenge_id": waits.body["second_factor"]["login_challenge_id"], "code": acme.code(0) });
    let verify = post("/v1/auth/totp/verify", &body).host("acme.localhost");
    let pair = verify.send(&acme.world.admin).await.expect(200);
    assert_eq!(claims(&pair.text("access_token"))["amr"], json!(["pwd", "otp", "mfa"]));
}

#[tokio::test]
async fn one_client_asks_for_so_many_a_minute() {
    let it = Acme::new().await;
    let ask = async || {
        let token = it.world.assertion("POST", "/v1/auth/qr", "acme.localhost", Some(&it.tenant)).await;
        let call = post("/v1/auth/qr", &json!({})).header("x-md-global-assertion", &token);
        call.send(&it.world.public).await
    };
    for _ in 0..5 {
        ask().await.expect(200);
    }
    ask().await.refused(429, "rate_limited");
}

/// The platform's staff is not signed in by somebody's phone.
#[tokio::test]
async fn the_platforms_own_project_has_none() {
    let world = World::new().await;
    let asked = post("/v1/auth/qr", &json!({})).header("x-project-key", "root").send(&world.admin).await;
    asked.refused(403, "login_method_refused");
    let nowhere = post("/v1/auth/qr", &json!({})).send(&world.admin).await;
    assert_eq!(nowhere.status, 422, "{nowhere:?}");
}

async fn what_a_passkey_approved_is_no_passkeys_session(world: World) {
    let phone = Phone::with_a_passkey(world).await;
    let policy = async |policy: serde_json::Value| {
        demand(&phone.it.world, &phone.it.staff, &phone.it.tenant, &policy).await;
    };
    // Three digits that are typed are no passkey.
    policy(json!({ "methods": ["passkey"] })).await;
    let asked = phone.start().await;
    phone.approve(&asked, true).await.expect(204);
    phone.poll(&asked).await.refused(403, "login_method_refused");
    // Nor is a QR code accepted from who signed in as the tenant does not let them.
    policy(json!({ "methods": ["password", "qr"] })).await;
    phone.poll(&asked).await.refused(403, "login_method_refused");
    // Both are.
    policy(json!({ "methods": ["passkey", "qr"] })).await;
    let pair = phone.poll(&asked).await.expect(200);
    let token = pair.text("access_token");
    assert_eq!((&claims(&token)["amr"], &claims(&token)["acr"]), (&json!(null), &json!("aal1")));
    let session = phone.session(&token).await;
    assert_eq!((session.method, session.approved_by), (AuthMethod::Qr, Some(AuthMethod::Passkey)));
    let listed = get("/v1/me/sessions?method=qr").bearer(&token).send(&phone.it.world.admin).await.expect(200);
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1), "{listed:?}");
    // It goes on while both are accepted.
    let refresh = async |pair: &Answer| {
        let body = json!({ "refresh_token": pair.text("refresh_token") });
        phone.it.ask("/api/v1/tenant/auth/refresh", &body).await
    };
    let pair = refresh(&pair).await.expect(200);
    assert_eq!(claims(&pair.text("access_token"))["amr"], json!(null));
    policy(json!({ "methods": ["passkey"] })).await;
    refresh(&pair).await.refused(401, "refresh_invalid");
    assert_eq!(phone.session(&token).await.end_reason.as_deref(), Some("login_policy"));
}

#[tokio::test]
async fn what_a_passkey_approved_is_no_passkeys_session_on_sqlite() {
    what_a_passkey_approved_is_no_passkeys_session(World::new().await).await;
}

#[tokio::test]
async fn what_a_passkey_approved_is_no_passkeys_session_on_postgres() {
    on_postgres(what_a_passkey_approved_is_no_passkeys_session).await;
}

/// Where a sign-in of a moment ago stands for the password that an account has not, one that was handed on is none.
#[tokio::test]
async fn a_session_that_was_handed_on_takes_no_account_away() {
    let it = Acme::new().await;
    let made = json!({ "username": "eva", "email": "eva@acme.example" });
    let made = post(&format!("/v1/tenants/{}/users", it.tenant), &made).bearer(&it.staff).send(&it.world.admin).await;
    made.expect(201);
    it.ask("/v1/auth/otp/request", &json!({ "email": "eva@acme.example" })).await.expect(202);
    let body = json!({ "email": "eva@acme.example", "code": it.code("eva@acme.example").await });
    let token = it.ask("/v1/auth/otp/verify", &body).await.expect(200).text("access_token");
    let phone = Phone { token, ann: String::new(), it };
    let asked = phone.start().await;
    phone.approve(&asked, true).await.expect(204);
    let handed = phone.poll(&asked).await.expect(200).text("access_token");
    assert!(phone.session(&handed).await.lent && !phone.session(&phone.token).await.lent);
    for path in ["/v1/me/deletion", "/v1/me/sign-out-everywhere"] {
        phone.it.ask_as(&handed, path, &json!({})).await.refused(401, "credentials_invalid");
    }
    get("/v1/me/export")
        .bearer(&handed)
        .send(&phone.it.world.admin)
        .await
        .refused(401, "insufficient_user_authentication");
    phone.it.ask_as(&phone.token, "/v1/me/deletion", &json!({})).await.expect(202);
}

async fn who_was_handed_a_session_hands_none_on(world: World) {
    let phone = Phone::new(world).await;
    let asked = phone.start().await;
    phone.approve(&asked, true).await.expect(204);
    let pair = phone.poll(&asked).await.expect(200);
    let handed = pair.text("access_token");
    assert_eq!(phone.session(&handed).await.approved_by, Some(AuthMethod::Password));
    let next = phone.start().await;
    let approve = async |token: &str| {
        let body = json!({ "approve": true, "code": next.text("code") });
        phone.it.ask_as(token, &format!("/v1/auth/qr/{}/approve", next.id()), &body).await
    };
    // What it knows of its user was shown elsewhere: it is no sign-in of a moment ago here, and puts no way in beside hers.
    approve(&handed).await.refused(401, "insufficient_user_authentication");
    let register = phone.it.ask_as(&handed, "/v1/auth/passkeys/register/begin", &json!({})).await;
    register.refused(401, "insufficient_user_authentication");
    // Nor does signing in within it make a chain of it.
    let body = json!({ "password": PASSWORD, "refresh_token": pair.text("refresh_token") });
    let own = phone.it.ask_as(&handed, "/v1/auth/step-up", &body).await.expect(200).text("access_token");
    phone.it.ask_as(&own, "/v1/auth/passkeys/register/begin", &json!({})).await.expect(200);
    approve(&own).await.refused(403, "qr_login_chained");
    phone.says(&next, "pending").await;
    approve(&phone.token).await.expect(204);
}

#[tokio::test]
async fn who_was_handed_a_session_hands_none_on_on_sqlite() {
    who_was_handed_a_session_hands_none_on(World::new().await).await;
}

#[tokio::test]
async fn who_was_handed_a_session_hands_none_on_on_postgres() {
    on_postgres(who_was_handed_a_session_hands_none_on).await;
}

/// What the waiting sign-in says of its first factor is what was carried over, not what the approving device showed.
async fn a_passkeys_approval_and_a_code_say_what_was_shown_here(world: World) {
    let acme = crate::second_factor::Acme::new(world).await;
    let token = acme.sign_in().await.text("access_token");
    let mut passkey = SoftPasskey::new("https://acme.localhost");
    passkeys::registered(&acme.world, &token, &mut passkey).await.expect(201);
    let token = passkeys::signed_in(&acme.world, "", &mut passkey).await.expect(200).text("access_token");
    let ask = |path: &str, body: &serde_json::Value| post(path, body).host("acme.localhost");
    let start = ask("/v1/auth/qr", &json!({})).send(&acme.world.admin).await.expect(200);
    let body = json!({ "approve": true, "code": start.text("code") });
    let approve = ask(&format!("/v1/auth/qr/{}/approve", start.id()), &body).bearer(&token);
    approve.send(&acme.world.admin).await.expect(204);
    let secret = json!({ "poll_secret": start.text("poll_secret") });
    let poll = ask(&format!("/v1/auth/qr/{}/poll", start.id()), &secret);
    let waits = poll.send(&acme.world.admin).await.expect(200);
    let id = waits.body["second_factor"]["login_challenge_id"].as_str().unwrap();
    // The tenant may say otherwise while it waits.
    demand(&acme.world, &acme.staff, &acme.tenant, &json!({ "methods": ["passkey"] })).await;
    acme.verify(id, "code", &acme.code(0)).await.refused(403, "login_method_refused");
    demand(&acme.world, &acme.staff, &acme.tenant, &json!({ "methods": ["passkey", "qr"] })).await;
    let pair = acme.verify(id, "code", &acme.code(0)).await.expect(200);
    let claims = claims(&pair.text("access_token"));
    assert_eq!((&claims["amr"], &claims["acr"]), (&json!(["otp", "mfa"]), &json!("aal2")));
    let sid = claims["sid"].as_str().unwrap().parse().unwrap();
    let session = acme.world.app.store.session(sid).await.unwrap().unwrap();
    assert_eq!((session.method, session.approved_by), (AuthMethod::Qr, Some(AuthMethod::Passkey)));
}

#[tokio::test]
async fn a_passkeys_approval_and_a_code_say_what_was_shown_here_on_sqlite() {
    a_passkeys_approval_and_a_code_say_what_was_shown_here(World::new().await).await;
}

#[tokio::test]
async fn a_passkeys_approval_and_a_code_say_what_was_shown_here_on_postgres() {
    on_postgres(a_passkeys_approval_and_a_code_say_what_was_shown_here).await;
}
