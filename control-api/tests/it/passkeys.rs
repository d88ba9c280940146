//! Passkeys, by an authenticator in software.

use futures::future::join_all;
use serde_json::{Value, json};
use store::read::*;
use testkit::SoftPasskey;

use crate::{
    second_factor::{Acme, claims},
    support::{Answer, PASSWORD, World, call, get, on_postgres, post},
};

const HOST: &str = "acme.localhost";
const ORIGIN: &str = "https://acme.localhost";

async fn send(world: &World, path: &str, token: Option<&str>, body: &Value) -> Answer {
    let call = post(&format!("/v1/auth/passkeys/{path}"), body).host(HOST);
    let call = match token {
        Some(token) => call.bearer(token),
        None => call,
    };
    call.send(&world.admin).await
}

/// Acme with `ann`, who has a passkey.
struct Ann {
    world: World,
    staff: String,
    tenant: String,
    id: String,
    token: String,
    passkey: SoftPasskey,
}

pub(crate) async fn registered(world: &World, token: &str, passkey: &mut SoftPasskey) -> Answer {
    let begun = send(world, "register/begin", Some(token), &json!({})).await.expect(200);
    let made = passkey.create(&begun.body["options"]);
    let body = json!({ "challenge_id": begun.text("challenge_id"), "name": "phone", "credential": made });
    send(world, "register/complete", Some(token), &body).await
}

/// Answers a sign-in's challenge; `name` is what was typed.
pub(crate) async fn signed_in(world: &World, name: &str, passkey: &mut SoftPasskey) -> Answer {
    let begun = send(world, "login/begin", None, &json!({ "email": name })).await.expect(200);
    let body = json!({ "challenge_id": begun.text("challenge_id"), "credential": passkey.get(&begun.body["options"]) });
    send(world, "login/complete", None, &body).await
}

impl Ann {
    async fn new(world: World) -> Self {
        let staff = world.staff().await;
        let tenant = world.tenant(&staff, "acme").await;
        let id = world.user(&staff, &tenant, "ann", &["member"]).await;
        world.user(&staff, &tenant, "bob", &["member"]).await;
        let token = world.login("acme", "ann").await;
        let mut passkey = SoftPasskey::new(ORIGIN);
        registered(&world, &token, &mut passkey).await.expect(201);
        // From now on only a session that showed it adds or deletes one.
        let token = signed_in(&world, "", &mut passkey).await.expect(200).text("access_token");
        Self { world, staff, tenant, id, token, passkey }
    }

    async fn sign_in(&mut self, name: &str) -> Answer {
        signed_in(&self.world, name, &mut self.passkey).await
    }

    async fn listed(&self) -> Vec<Value> {
        let list = get("/v1/auth/passkeys").bearer(&self.token).send(&self.world.admin).await.expect(200);
        list.body["items"].as_array().unwrap().clone()
    }
}

async fn a_passkey_signs_in_without_a_password_and_is_two_factors(world: World) {
    let mut ann = Ann::new(world).await;
    for name in ["", "ann", "ANN"] {
        let pair = ann.sign_in(name).await.expect(200);
        assert_eq!(pair.headers["cache-control"], "no-store");
        let claims = claims(&pair.text("access_token"));
        assert_eq!((&claims["acr"], &claims["amr"]), (&json!("aal2"), &json!(["hwk", "user", "mfa"])));
        assert_eq!(claims["sub"], ann.id);
        get("/v1/me").bearer(&pair.text("access_token")).send(&ann.world.admin).await.expect(200);
    }
    let [listed] = &ann.listed().await[..] else { panic!("one passkey") };
    assert_eq!((&listed["name"], &listed["rp_id"]), (&json!("phone"), &json!(HOST)));
    assert!(listed["last_used_at"].is_string());
    let path = format!("/v1/audit?tenant_id={}&limit=500", ann.tenant);
    let trail = get(&path).bearer(&ann.staff).send(&ann.world.admin).await.expect(200);
    let actions: Vec<_> = trail.body["items"].as_array().unwrap().iter().map(|it| it["action"].clone()).collect();
    for action in ["passkey_added", "passkey_used", "login_success"] {
        assert!(actions.contains(&json!(action)), "{action} in {actions:?}");
    }
}

#[tokio::test]
async fn a_passkey_signs_in_without_a_password_and_is_two_factors_on_sqlite() {
    a_passkey_signs_in_without_a_password_and_is_two_factors(World::new().await).await;
}

#[tokio::test]
async fn a_passkey_signs_in_without_a_password_and_is_two_factors_on_postgres() {
    on_postgres(a_passkey_signs_in_without_a_password_and_is_two_factors).await;
}

async fn of_many_that_answer_one_challenge_one_does(world: World) {
    let mut ann = Ann::new(world).await;
    let begun = send(&ann.world, "login/begin", None, &json!({})).await.expect(200);
    let credential = ann.passkey.get(&begun.body["options"]);
    let body = &json!({ "challenge_id": begun.text("challenge_id"), "credential": credential });
    let world = &ann.world;
    let all = join_all((0..50).map(|_| send(world, "login/complete", None, body))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1, "{all:?}");
    assert!(all.iter().all(|answer| [200, 401].contains(&answer.status.as_u16())));

    let begun = send(world, "register/begin", Some(&ann.token), &json!({})).await.expect(200);
    let made = SoftPasskey::new(ORIGIN).create(&begun.body["options"]);
    let body = &json!({ "challenge_id": begun.text("challenge_id"), "credential": made });
    let all = join_all((0..50).map(|_| send(world, "register/complete", Some(&ann.token), body))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(ann.listed().await.len(), 2);
}

#[tokio::test]
async fn of_many_that_answer_one_challenge_one_does_on_sqlite() {
    of_many_that_answer_one_challenge_one_does(World::new().await).await;
}

#[tokio::test]
async fn of_many_that_answer_one_challenge_one_does_on_postgres() {
    on_postgres(of_many_that_answer_one_challenge_one_does).await;
}

/// L8: a challenge is answered once, in time, for what it was given, by whom it was given.
#[tokio::test]
async fn l8_a_challenge_is_for_one_purpose_and_one_answer() {
    let mut ann = Ann::new(World::new().await).await;
    let begin = async |path: &str, token| send(&ann.world, path, token, &json!({})).await.expect(200);
    let (sign_in, register) = (begin("login/begin", None).await, begin("register/begin", Some(&*ann.token)).await);
    let complete = async |path: &str, token, id: &str, credential: &Value| {
        send(&ann.world, path, token, &json!({ "challenge_id": id, "credential": credential })).await
    };
    // Another session of hers.
    let begun = begin("login/begin", None).await;
    let body =
        json!({ "challenge_id": begun.text("challenge_id"), "credential": ann.passkey.get(&begun.body["options"]) });
    let again = send(&ann.world, "login/complete", None, &body).await.expect(200).text("access_token");
    let signed = ann.passkey.get(&sign_in.body["options"]);
    let made = SoftPasskey::new(ORIGIN).create(&register.body["options"]);
    // Of the other purpose, of nobody's, of another challenge.
    let (sign_in_id, register_id) = (sign_in.text("challenge_id"), register.text("challenge_id"));
    complete("login/complete", None, &register_id, &signed).await.refused(401, "login_challenge_invalid");
    complete("register/complete", Some(&*ann.token), &sign_in_id, &made).await.refused(401, "login_challenge_invalid");
    complete("login/complete", None, "x", &signed).await.refused(401, "login_challenge_invalid");
    let mut changed = sign_in_id.clone();
    changed.replace_range(20..21, if &changed[20..21] == "A" { "B" } else { "A" });
    complete("login/complete", None, &changed, &signed).await.refused(401, "login_challenge_invalid");
    let other = begin("login/begin", None).await.text("challenge_id");
    complete("login/complete", None, &other, &signed).await.refused(401, "credentials_invalid");
    // Another user's, and another session's of the same.
    let bob = ann.world.login("acme", "bob").await;
    complete("register/complete", Some(&bob), &register_id, &made).await.refused(401, "login_challenge_invalid");
    complete("register/complete", Some(&again), &register_id, &made).await.refused(401, "login_challenge_invalid");
    // Once, and in time.
    complete("login/complete", None, &sign_in_id, &signed).await.expect(200);
    complete("login/complete", None, &sign_in_id, &signed).await.refused(401, "credentials_invalid");
    ann.world.clock.advance(std::time::Duration::from_secs(300));
    complete("register/complete", Some(&*ann.token), &register_id, &made).await.refused(401, "login_challenge_invalid");
}

/// L12: a passkey of one hostname is none at another, and a page elsewhere gets no signature that is good here.
#[tokio::test]
async fn l12_a_passkey_is_good_at_its_own_hostname_and_origin_alone() {
    let mut ann = Ann::new(World::new().await).await;
    for origin in [
        "https://globex.localhost",
        "https://evil-acme.localhost",
        "https://acme.localhost.evil.test",
        "https://www.acme.localhost",
        "https://localhost",
        "http://acme.localhost",
        "https://acme.localhost:8443",
    ] {
        ann.passkey.origin = origin.into();
        ann.sign_in("").await.refused(401, "credentials_invalid");
        let token = ann.token.clone();
        let refused = registered(&ann.world, &token, &mut SoftPasskey::new(origin)).await;
        assert_eq!(refused.refused(422, "validation_failed").body["errors"][0]["pointer"], "/credential", "{origin}");
    }
    ann.passkey.origin = ORIGIN.into();
    // Asked at another hostname: its challenge is another's.
    ann.world.tenant(&ann.staff, "globex").await;
    let begun = post("/v1/auth/passkeys/login/begin", &json!({})).host("globex.localhost").send(&ann.world.admin).await;
    let body = json!({ "challenge_id": begun.expect(200).text("challenge_id"), "credential": Value::Null });
    let begun = send(&ann.world, "login/begin", None, &json!({})).await.expect(200);
    let signed = ann.passkey.get(&begun.body["options"]);
    let crossed = json!({ "challenge_id": body["challenge_id"], "credential": signed });
    send(&ann.world, "login/complete", None, &crossed).await.refused(401, "login_challenge_invalid");
    let crossed = json!({ "challenge_id": begun.text("challenge_id"), "credential": signed });
    let elsewhere = post("/v1/auth/passkeys/login/complete", &crossed).host("globex.localhost");
    elsewhere.send(&ann.world.admin).await.refused(401, "login_challenge_invalid");
    // Nor does ann of acme register one there.
    let theirs = post("/v1/auth/passkeys/register/begin", &json!({})).host("globex.localhost").bearer(&ann.token);
    theirs.send(&ann.world.admin).await.refused(403, "tenant_mismatch");
    // Without a hostname there is nothing it could be for.
    let nowhere = post("/v1/auth/passkeys/login/begin", &json!({})).send(&ann.world.admin).await;
    nowhere.refused(409, "passkey_hostname");
}

#[tokio::test]
async fn an_authenticator_that_does_not_know_its_user_or_is_a_copy_is_refused() {
    let mut ann = Ann::new(World::new().await).await;
    ann.passkey.verifies = false;
    ann.sign_in("").await.refused(401, "credentials_invalid");
    let token = ann.token.clone();
    let mut lax = SoftPasskey::new(ORIGIN);
    lax.verifies = false;
    registered(&ann.world, &token, &mut lax).await.refused(422, "validation_failed");
    ann.passkey.verifies = true;
    ann.sign_in("").await.expect(200);
    // A copy counts on from where it was made.
    ann.passkey.count -= 2;
    ann.sign_in("").await.refused(401, "credentials_invalid");
    ann.passkey.count += 5;
    ann.sign_in("").await.expect(200);
    // It says whose it is, and that is who was asked for.
    ann.sign_in("bob").await.refused(401, "credentials_invalid");
    ann.sign_in("nobody").await.refused(401, "credentials_invalid");
    ann.passkey.claim_to_be_of(&[7; 16]);
    ann.sign_in("").await.refused(401, "credentials_invalid");
    // One that was never registered.
    let begun = send(&ann.world, "login/begin", None, &json!({})).await.expect(200);
    let mut stranger = SoftPasskey::new(ORIGIN);
    let register = send(&ann.world, "register/begin", Some(&token), &json!({})).await.expect(200);
    stranger.create(&register.body["options"]);
    let body =
        json!({ "challenge_id": begun.text("challenge_id"), "credential": stranger.get(&begun.body["options"]) });
    send(&ann.world, "login/complete", None, &body).await.refused(401, "credentials_invalid");
}

/// M: what is asked for tells nothing of who has an account.
#[tokio::test]
async fn a_challenge_is_the_same_whoever_is_named() {
    let ann = Ann::new(World::new().await).await;
    let shape = async |name: &str| {
        let mut begun = send(&ann.world, "login/begin", None, &json!({ "email": name })).await.expect(200).body;
        assert_eq!(begun["options"]["rpId"], HOST);
        assert_eq!(begun["options"]["userVerification"], "required");
        begun["options"]["challenge"] = Value::Null;
        begun["challenge_id"] = Value::Null;
        begun
    };
    assert_eq!(shape("ann").await, shape("nobody").await);
    assert_eq!(shape("ann").await["options"]["allowCredentials"], json!([]));
    for name in ["a\u{0}b", &"x".repeat(321)] {
        let refused = send(&ann.world, "login/begin", None, &json!({ "email": name })).await;
        assert_eq!(refused.refused(422, "validation_failed").body["errors"][0]["pointer"], "/email");
    }
}

#[tokio::test]
async fn a_passkey_that_is_kept_in_step_says_so() {
    let mut ann = Ann::new(World::new().await).await;
    let mut synced = SoftPasskey::new(ORIGIN);
    (synced.backup_eligible, synced.count) = (true, 0);
    let made = registered(&ann.world, &ann.token.clone(), &mut synced).await.expect(201);
    assert_eq!((&made.body["backup_eligible"], &made.body["backup_state"]), (&json!(true), &json!(false)));
    synced.backed_up = true;
    for _ in 0..2 {
        // It does not count.
        let pair = signed_in(&ann.world, "", &mut synced).await.expect(200);
        assert_eq!(claims(&pair.text("access_token"))["amr"], json!(["swk", "user", "mfa"]));
    }
    let listed = ann.listed().await;
    assert!(listed.iter().any(|it| it["backup_state"] == true));
    // What could not be backed up cannot all of a sudden.
    ann.passkey.backup_eligible = true;
    ann.sign_in("").await.refused(401, "credentials_invalid");
}

#[tokio::test]
async fn passkeys_are_ones_own_named_and_deleted_but_never_the_last_way_in() {
    let mut ann = Ann::new(World::new().await).await;
    let id = ann.listed().await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/auth/passkeys/{id}");
    let bob = ann.world.login("acme", "bob").await;
    call("DELETE", &path).bearer(&bob).send(&ann.world.admin).await.refused(404, "not_found");
    let rename = |name: &str| call("PATCH", &path).json(&json!({ "name": name }));
    rename("mine").bearer(&bob).send(&ann.world.admin).await.refused(404, "not_found");
    let renamed = rename("work phone").bearer(&ann.token).send(&ann.world.admin).await.expect(200);
    assert_eq!((&renamed.body["name"], &renamed.headers["etag"]), (&json!("work phone"), &"\"2\"".parse().unwrap()));
    let stale = rename("other").bearer(&ann.token).header("if-match", "\"1\"").send(&ann.world.admin).await;
    stale.refused(412, "version_mismatch");
    for name in ["", "a\u{0}b", &"x".repeat(65)] {
        let refused = rename(name).bearer(&ann.token).send(&ann.world.admin).await.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], "/name");
    }
    let other =
        claims(&ann.sign_in("").await.expect(200).text("access_token"))["sid"].as_str().unwrap().parse().unwrap();
    call("DELETE", &path).bearer(&ann.token).send(&ann.world.admin).await.expect(204);
    // What it opened on a device that is lost is over.
    let session = ann.world.app.store.session(other).await.unwrap().unwrap();
    assert_eq!(session.end_reason.as_deref(), Some("passkey_removed"));
    call("DELETE", &path).bearer(&ann.token).send(&ann.world.admin).await.refused(404, "not_found");
    ann.sign_in("").await.refused(401, "credentials_invalid");
    assert_eq!(ann.listed().await.len(), 0);
}

/// A password alone puts no factor beside a passkey, and takes none away.
#[tokio::test]
async fn who_knows_the_password_alone_changes_no_factor_beside_a_passkey() {
    let ann = Ann::new(World::new().await).await;
    let thief = ann.world.login("acme", "ann").await;
    assert_eq!(claims(&thief)["acr"], "aal1");
    let id = ann.listed().await[0]["id"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        ("POST", "/v1/auth/passkeys/register/begin".to_owned(), json!({})),
        ("POST", "/v1/auth/totp/setup".to_owned(), json!({})),
        ("POST", "/v1/auth/totp/confirm".to_owned(), json!({ "code": "123456", "password": PASSWORD })),
        ("DELETE", format!("/v1/auth/passkeys/{id}"), Value::Null),
        ("POST", "/v1/auth/phone/verify".to_owned(), json!({ "phone": "+14155550100", "code": "123456" })),
        ("DELETE", "/v1/auth/phone".to_owned(), Value::Null),
    ] {
        let request = call(method, &path).host(HOST).bearer(&thief);
        let request = if body.is_null() { request } else { request.json(&body) };
        request.send(&ann.world.admin).await.refused(401, "insufficient_user_authentication");
    }
    assert_eq!(ann.listed().await.len(), 1);
    // In the session that showed it, an older sign-in deletes nothing either.
    ann.world.clock.advance(std::time::Duration::from_secs(301));
    let late = call("DELETE", &format!("/v1/auth/passkeys/{id}")).bearer(&ann.token).send(&ann.world.admin).await;
    late.refused(401, "insufficient_user_authentication");
}

/// In the shared project a tenant's own hostname is no place for what opens the other tenants, too.
#[tokio::test]
async fn a_tenants_own_hostname_of_the_shared_project_has_no_passkeys() {
    let world = World::new().await;
    let staff = world.staff().await;
    world.shared_tenants(&staff, &["north"]).await;
    let begun = post("/v1/auth/passkeys/login/begin", &json!({})).host("north.localhost").send(&world.admin).await;
    begun.refused(409, "passkey_hostname");
}

#[tokio::test]
async fn one_client_asks_for_so_many_challenges_a_minute() {
    let ann = Ann::new(World::new().await).await;
    let ask = async || {
        let path = "/v1/auth/passkeys/login/begin";
        let token = ann.world.assertion("POST", path, HOST, Some(&ann.tenant)).await;
        post(path, &json!({})).header("x-md-global-assertion", &token).send(&ann.world.public).await
    };
    for _ in 0..60 {
        ask().await.expect(200);
    }
    ask().await.refused(429, "rate_limited");
}

#[tokio::test]
async fn who_has_a_second_factor_shows_it_before_adding_another() {
    let it = Acme::new(World::new().await).await;
    let sure = it.sign_in().await.text("access_token");
    let mut passkey = SoftPasskey::new(ORIGIN);
    registered(&it.world, &sure, &mut passkey).await.expect(201);
    // With the passkey no code is asked for: it is two factors.
    let pair = signed_in(&it.world, "", &mut passkey).await.expect(200);
    assert_eq!(claims(&pair.text("access_token"))["acr"], "aal2");
    let again = it.world.try_login("acme", "ann", PASSWORD).await.expect(200);
    assert!(again.body.get("access_token").is_none(), "the password alone is one");
}

#[tokio::test]
async fn passkeys_are_few() {
    let mut config = control_api::Config::default();
    config.passkeys.most = 2;
    let ann = Ann::new(World::with(config).await).await;
    let (mut one, mut two) = (SoftPasskey::new(ORIGIN), SoftPasskey::new(ORIGIN));
    let first = send(&ann.world, "register/begin", Some(&ann.token), &json!({})).await.expect(200);
    let second = send(&ann.world, "register/begin", Some(&ann.token), &json!({})).await.expect(200);
    assert_eq!(first.body["options"]["excludeCredentials"].as_array().unwrap().len(), 1);
    let complete = async |begun: &Answer, passkey: &mut SoftPasskey| {
        let made = passkey.create(&begun.body["options"]);
        let body = json!({ "challenge_id": begun.text("challenge_id"), "credential": made });
        send(&ann.world, "register/complete", Some(&ann.token), &body).await
    };
    complete(&first, &mut one).await.expect(201);
    complete(&second, &mut two).await.refused(409, "passkeys_full");
    send(&ann.world, "register/begin", Some(&ann.token), &json!({})).await.refused(409, "passkeys_full");
}

/// Nobody has a factor when each is asked; the first that is added is one beside which the others are too little.
async fn of_many_sessions_that_add_the_first_factor_at_once_one_does(world: World) {
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    world.user(&staff, &tenant, "ann", &["member"]).await;
    let mut ready = Vec::new();
    for _ in 0..8 {
        let token = world.login("acme", "ann").await;
        let begun = send(&world, "register/begin", Some(&token), &json!({})).await.expect(200);
        let made = SoftPasskey::new(ORIGIN).create(&begun.body["options"]);
        ready.push((token, json!({ "challenge_id": begun.text("challenge_id"), "credential": made })));
    }
    let token = world.login("acme", "ann").await;
    let set_up = post("/v1/auth/totp/setup", &json!({})).bearer(&token).send(&world.admin).await.expect(200);
    let codes = control_api::totp::Codes::of(&crate::second_factor::read_secret(&set_up.text("secret"))).unwrap();
    let code = codes.code(world.app.now().secs() / 30).unwrap();
    let confirm = post("/v1/auth/totp/confirm", &json!({ "code": code })).bearer(&token);
    let register = ready.iter().map(|(token, body)| send(&world, "register/complete", Some(token), body));
    let (registered, confirmed) = tokio::join!(join_all(register), confirm.send(&world.admin));
    let added = registered.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(added + usize::from(confirmed.status == 200), 1, "{registered:?} {confirmed:?}");
    for refused in registered.into_iter().chain([confirmed]).filter(|answer| answer.status.is_client_error()) {
        refused.refused(401, "insufficient_user_authentication");
    }
}

#[tokio::test]
async fn of_many_sessions_that_add_the_first_factor_at_once_one_does_on_sqlite() {
    of_many_sessions_that_add_the_first_factor_at_once_one_does(World::new().await).await;
}

#[tokio::test]
async fn of_many_sessions_that_add_the_first_factor_at_once_one_does_on_postgres() {
    on_postgres(of_many_sessions_that_add_the_first_factor_at_once_one_does).await;
}
