//! Stepping up with a passkey.

use std::time::Duration;

use domain::Clock;
use futures::future::join_all;
use serde_json::{Value, json};
use testkit::SoftPasskey;

use crate::{
    letters::Acme,
    passkeys,
    require_2fa::demand,
    second_factor::claims,
    support::{Answer, PASSWORD, World, get, on_postgres},
};

const ORIGIN: &str = "https://acme.localhost";

/// Acme with `ann`, who has a passkey and signed in with her password, a while ago.
struct Ann {
    it: Acme,
    passkey: SoftPasskey,
    pair: Answer,
}

impl Ann {
    async fn new(world: World) -> Self {
        let it = Acme::in_world(world).await;
        for name in ["ann", "bob"] {
            it.world.user(&it.staff, &it.tenant, name, &["member"]).await;
        }
        let mut passkey = SoftPasskey::new(ORIGIN);
        let token = it.world.login("acme", "ann").await;
        passkeys::registered(&it.world, &token, &mut passkey).await.expect(201);
        let pair = it.world.try_login("acme", "ann", PASSWORD).await.expect(200);
        it.world.clock.advance(Duration::from_secs(30));
        Self { it, passkey, pair }
    }

    fn token(&self) -> String {
        self.pair.text("access_token")
    }

    async fn begin(&self) -> Answer {
        self.it.ask_as(&self.token(), "/v1/auth/passkeys/step-up/begin", &json!({})).await.expect(200)
    }

    /// What answers a challenge of hers.
    fn answered(&mut self, begun: &Answer) -> Value {
        let signed = self.passkey.get(&begun.body["options"]);
        let id = begun.text("challenge_id");
        json!({ "challenge_id": id, "credential": signed, "refresh_token": self.pair.text("refresh_token") })
    }

    async fn complete(&self, body: &Value) -> Answer {
        self.it.ask_as(&self.token(), "/v1/auth/passkeys/step-up/complete", body).await
    }
}

async fn a_session_steps_up_by_a_passkey(world: World) {
    let mut ann = Ann::new(world).await;
    let before = claims(&ann.token());
    assert_eq!((&before["acr"], &before["amr"]), (&json!("aal1"), &json!(["pwd"])));
    let other = ann.it.world.try_login("acme", "ann", PASSWORD).await.expect(200);
    let begun = ann.begin().await;
    assert_eq!(begun.headers["cache-control"], "no-store");
    assert_eq!((&begun.body["options"]["rpId"], &begun.body["expires_in"]), (&json!("acme.localhost"), &json!(300)));
    let body = ann.answered(&begun);
    let new = ann.complete(&body).await.expect(200);
    assert_eq!(new.headers["cache-control"], "no-store");
    let after = claims(&new.text("access_token"));
    assert_eq!((&after["sid"], &after["sub"]), (&before["sid"], &before["sub"]));
    assert_eq!((&after["acr"], &after["amr"]), (&json!("aal2"), &json!(["hwk", "user", "mfa"])));
    assert_eq!(after["auth_time"], ann.it.world.clock.unix_now().secs());
    // The old pair is gone, the new one works and goes on saying so.
    get("/v1/me").bearer(&ann.token()).send(&ann.it.world.admin).await.refused(401, "token_revoked");
    let refresh = async |pair: &Answer| {
        let body = json!({ "refresh_token": pair.text("refresh_token") });
        claims(&ann.it.ask("/api/v1/tenant/auth/refresh", &body).await.expect(200).text("access_token"))
    };
    assert_eq!(refresh(&new).await["amr"], after["amr"]);
    // It raised this session and no other of hers.
    assert_eq!(refresh(&other).await["amr"], json!(["pwd"]));
    let events = ann.it.events("session_stepped_up").await;
    assert_eq!((events.len(), &events[0]["fields"]["amr"]), (1, &after["amr"]));
    let used = ann.it.events("passkey_used").await;
    assert_eq!((used.len(), &used[0]["fields"]["rp_id"]), (1, &json!("acme.localhost")));
}

#[tokio::test]
async fn a_session_steps_up_by_a_passkey_on_sqlite() {
    a_session_steps_up_by_a_passkey(World::new().await).await;
}

#[tokio::test]
async fn a_session_steps_up_by_a_passkey_on_postgres() {
    on_postgres(a_session_steps_up_by_a_passkey).await;
}

async fn of_many_that_step_up_by_one_challenge_one_does(world: World) {
    let mut ann = Ann::new(world).await;
    let begun = ann.begin().await;
    let body = &ann.answered(&begun);
    let ann = &ann;
    let all = join_all((0..50).map(|_| ann.complete(body))).await;
    assert_eq!(all.iter().filter(|answer| answer.status == 200).count(), 1, "{all:?}");
    assert!(all.iter().all(|answer| [200, 401, 409].contains(&answer.status.as_u16())), "{all:?}");
    assert_eq!(ann.it.events("session_stepped_up").await.len(), 1);
}

#[tokio::test]
async fn of_many_that_step_up_by_one_challenge_one_does_on_sqlite() {
    of_many_that_step_up_by_one_challenge_one_does(World::new().await).await;
}

#[tokio::test]
async fn of_many_that_step_up_by_one_challenge_one_does_on_postgres() {
    on_postgres(of_many_that_step_up_by_one_challenge_one_does).await;
}

/// L8: a challenge is the session's it was given in, for stepping up, once and in time.
#[tokio::test]
async fn l8_a_step_up_is_for_its_own_session_purpose_and_time() {
    let mut ann = Ann::new(World::new().await).await;
    let begun = ann.begin().await;
    let good = ann.answered(&begun);
    let complete =
        async |token: &str, body: &Value| ann.it.ask_as(token, "/v1/auth/passkeys/step-up/complete", body).await;
    // Another session's, of hers and of somebody else.
    let other = ann.it.world.try_login("acme", "ann", PASSWORD).await.expect(200);
    let mut theirs = good.clone();
    theirs["refresh_token"] = json!(other.text("refresh_token"));
    complete(&other.text("access_token"), &theirs).await.refused(401, "login_challenge_invalid");
    let bob = ann.it.world.try_login("acme", "bob", PASSWORD).await.expect(200);
    theirs["refresh_token"] = json!(bob.text("refresh_token"));
    complete(&bob.text("access_token"), &theirs).await.refused(401, "login_challenge_invalid");
    // Hers, in bob's own ceremony: somebody else's passkey is none of his.
    let mine =
        ann.it.ask_as(&bob.text("access_token"), "/v1/auth/passkeys/step-up/begin", &json!({})).await.expect(200);
    let mut passkey = SoftPasskey::new(ORIGIN);
    passkeys::registered(&ann.it.world, &bob.text("access_token"), &mut passkey).await.expect(201);
    let body = json!({ "challenge_id": mine.text("challenge_id"), "credential": good["credential"],
        "refresh_token": bob.text("refresh_token") });
    complete(&bob.text("access_token"), &body).await.refused(401, "credentials_invalid");
    // Of another purpose: to sign in, and what is to step up signs nobody in.
    let sign_in = ann.it.ask("/v1/auth/passkeys/login/begin", &json!({})).await.expect(200);
    let mut crossed = good.clone();
    crossed["challenge_id"] = json!(sign_in.text("challenge_id"));
    complete(&ann.pair.text("access_token"), &crossed).await.refused(401, "login_challenge_invalid");
    let body = json!({ "challenge_id": begun.text("challenge_id"), "credential": good["credential"] });
    ann.it.ask("/v1/auth/passkeys/login/complete", &body).await.refused(401, "login_challenge_invalid");
    // Another session's refresh token.
    let mut crossed = good.clone();
    crossed["refresh_token"] = json!(other.text("refresh_token"));
    complete(&ann.pair.text("access_token"), &crossed).await.refused(401, "refresh_invalid");
    // Too late. What was refused before used nothing up: the pair is good still.
    ann.it.world.clock.advance(Duration::from_secs(300));
    complete(&ann.pair.text("access_token"), &good).await.refused(401, "login_challenge_invalid");
    let begun = ann.begin().await;
    let body = ann.answered(&begun);
    ann.complete(&body).await.expect(200);
}

/// L12, and an authenticator that does not know its user.
#[tokio::test]
async fn l12_a_step_up_takes_the_hostnames_own_origin_and_a_user_that_is_known() {
    let mut ann = Ann::new(World::new().await).await;
    for origin in ["https://globex.localhost", "https://acme.localhost:8443", "http://acme.localhost"] {
        ann.passkey.origin = origin.into();
        let begun = ann.begin().await;
        let body = ann.answered(&begun);
        ann.complete(&body).await.refused(401, "credentials_invalid");
    }
    ann.passkey.origin = ORIGIN.into();
    ann.passkey.verifies = false;
    let begun = ann.begin().await;
    let body = ann.answered(&begun);
    ann.complete(&body).await.refused(401, "credentials_invalid");
    ann.passkey.verifies = true;
    assert_eq!(claims(&ann.token())["acr"], "aal1");
    let failures = ann.it.events("login_failure").await;
    assert!(failures.iter().all(|event| event["fields"]["factor"] == "passkey"), "{failures:?}");
    // At a hostname that is not hers there is nothing to step up.
    ann.it.world.tenant(&ann.it.staff, "globex").await;
    let elsewhere = crate::support::post("/v1/auth/passkeys/step-up/begin", &json!({})).host("globex.localhost");
    elsewhere.bearer(&ann.token()).send(&ann.it.world.admin).await.refused(403, "tenant_mismatch");
}

/// Where two factors are demanded, who has a passkey and an older session shows it in that session.
#[tokio::test]
async fn a_passkey_is_what_a_tenant_demands_of_a_session_from_before() {
    let mut ann = Ann::new(World::new().await).await;
    let policy = async |it: &Acme, said: Value| demand(&it.world, &it.staff, &it.tenant, &said).await;
    policy(&ann.it, json!({ "require_2fa": true })).await;
    let body = json!({ "refresh_token": ann.pair.text("refresh_token") });
    let refused = ann.it.ask("/api/v1/tenant/auth/refresh", &body).await;
    refused.refused(401, "insufficient_user_authentication");
    // Only where passkeys are accepted.
    policy(&ann.it, json!({ "require_2fa": true, "methods": ["password"] })).await;
    let begun = ann.begin().await;
    let body = ann.answered(&begun);
    ann.complete(&body).await.refused(403, "login_method_refused");
    policy(&ann.it, json!({ "require_2fa": true, "methods": ["password", "passkey"] })).await;
    let pair = ann.complete(&body).await.expect(200);
    let body = json!({ "refresh_token": pair.text("refresh_token") });
    ann.it.ask("/api/v1/tenant/auth/refresh", &body).await.expect(200);
}
