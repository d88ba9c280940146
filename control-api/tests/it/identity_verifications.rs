//! Verifications of people's identities, and tenants that demand one.

use std::{sync::Arc, time::Duration};

use control_api::{Config, app::identity_verifications, internal::Plane, webhooks::sign};
use domain::{Clock, Secret, Timestamp};
use link::log::ControlPlane;
use serde_json::{Value, json};

use crate::{
    letters::Acme,
    require_2fa::demand,
    support::{Answer, PASSWORD, World, call, get, on_postgres, on_postgres_with, post},
};

const KEY: &str = "a key of whoever verifies, shared";

fn config(folder: &std::path::Path) -> Config {
    let path = folder.join("key");
    std::fs::write(&path, KEY).unwrap();
    let mut config = Config::default();
    config.identity_verifications.keys = vec![link::file::SecretRef::File(path)];
    config
}

/// Acme, with an administrator `root` and a member `ada`, and whoever verifies.
struct Verified {
    it: Acme,
    root: String,
    ada: String,
}

impl Verified {
    async fn new(world: World) -> Self {
        let it = Acme::in_world(world).await;
        it.world.user(&it.staff, &it.tenant, "root", &["admin"]).await;
        it.proven("ada").await;
        let root = it.world.login("acme", "root").await;
        let ada = it.world.login("acme", "ada").await;
        Self { it, root, ada }
    }

    async fn begin(&self, token: &str, body: Value) -> Answer {
        post("/v1/identity-verifications", &body).bearer(token).send(&self.it.world.admin).await
    }

    async fn set(&self, token: &str, id: &str, state: &str) -> Answer {
        let body = json!({ "state": state, "reason": "seen in person" });
        call("PATCH", &format!("/v1/identity-verifications/{id}"))
            .json(&body)
            .bearer(token)
            .send(&self.it.world.admin)
            .await
    }

    async fn read(&self, token: &str, id: &str) -> Answer {
        get(&format!("/v1/identity-verifications/{id}")).bearer(token).send(&self.it.world.admin).await
    }

    fn now(&self) -> Timestamp {
        self.it.world.clock.unix_now()
    }

    async fn tell(&self, event: &str, body: &Value) -> Answer {
        self.tell_signed((event, self.now()), KEY, body).await
    }

    async fn tell_signed(&self, (event, at): (&str, Timestamp), key: &str, body: &Value) -> Answer {
        let key = Secret::new(key.as_bytes().to_vec());
        let signature = sign::signature(&[key], event, at, body.to_string().as_bytes());
        let told = call("POST", "/v1/identity-verifications/events").raw(&body.to_string());
        let told = told.header("webhook-id", event).header("webhook-timestamp", &at.secs().to_string());
        told.header("webhook-signature", &signature).send(&self.it.world.admin).await
    }
}

async fn an_administrator_and_whoever_verifies_say_who_somebody_is(world: World) {
    let they = Verified::new(world).await;
    let begun = they.begin(&they.ada, json!({})).await.expect(201);
    let id = begun.id();
    assert_eq!(
        (&begun.body["state"], begun.headers["location"].to_str().unwrap()),
        (&json!("pending"), format!("/v1/identity-verifications/{id}").as_str())
    );
    assert_eq!(they.begin(&they.ada, json!({})).await.expect(201).id(), id, "one is under way");
    // Who may what.
    they.set(&they.ada, &id, "approved").await.refused(403, "permission_denied");
    get("/v1/identity-verifications")
        .bearer(&they.ada)
        .send(&they.it.world.admin)
        .await
        .refused(403, "permission_denied");
    they.it.member("bob").await;
    let bob = they.it.world.login("acme", "bob").await;
    they.read(&bob, &id).await.refused(403, "permission_denied");
    let own = they.begin(&they.root, json!({})).await.expect(201).id();
    they.set(&they.root, &own, "approved").await.refused(403, "own_identity");
    // Events: once, in order, and nothing of where it is from the body.
    let event =
        json!({ "verification_id": id, "state": "in_review", "tenant_id": "00000000-0000-0000-0000-000000000000" });
    let answers = futures::future::join_all((0..10).map(|_| they.tell("evt-1", &event))).await;
    assert!(answers.iter().all(|answer| answer.status == 204), "{answers:?}");
    they.tell("evt-1", &json!({ "verification_id": id, "state": "rejected" })).await.expect(204);
    they.tell("evt-2", &json!({ "verification_id": id, "state": "pending" })).await.refused(409, "identity_state");
    assert_eq!(they.it.events("identity-verification.in_review").await.len(), 1);
    let changed = they.set(&they.root, &id, "approved").await.expect(200);
    assert_eq!((&changed.body["state"], &changed.body["reason"]), (&json!("approved"), &json!("seen in person")));
    let read = they.read(&they.ada, &id).await.expect(200);
    let steps: Vec<(Value, Value)> =
        read.body["history"].as_array().unwrap().iter().map(|it| (it["to"].clone(), it["by"].clone())).collect();
    let expected = [("pending", "user"), ("in_review", "system"), ("approved", "user")];
    assert_eq!(steps, expected.map(|(to, by)| (json!(to), json!(by))));
    let list = get("/v1/identity-verifications?state=approved").bearer(&they.root).send(&they.it.world.admin).await;
    assert_eq!(list.expect(200).body["items"].as_array().unwrap().len(), 1);
    // An older copy is not acted upon.
    let stale = call("PATCH", &format!("/v1/identity-verifications/{id}")).json(&json!({ "state": "rejected" }));
    let stale = stale.header("if-match", "\"1\"").bearer(&they.root).send(&they.it.world.admin).await;
    stale.refused(412, "version_mismatch");
    // Another tenant's do not exist.
    let globex = they.it.world.tenant(&they.it.staff, "globex").await;
    they.it.world.user(&they.it.staff, &globex, "gus", &["admin"]).await;
    let gus = they.it.world.login("globex", "gus").await;
    they.read(&gus, &id).await.refused(404, "not_found");
    they.set(&gus, &id, "rejected").await.refused(404, "not_found");
    // What is over is noted, and counts no more before that.
    they.it.world.clock.advance(Duration::from_secs(366 * 86_400));
    let ada = they.it.world.login("acme", "ada").await;
    assert_eq!(they.read(&ada, &id).await.expect(200).body["state"], "expired");
    assert_eq!(identity_verifications::note_ended(&they.it.world.app).await.unwrap(), 2);
    assert_eq!(they.it.events("identity-verification.expired").await.len(), 2);
}

#[tokio::test]
async fn an_administrator_and_whoever_verifies_say_who_somebody_is_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    an_administrator_and_whoever_verifies_say_who_somebody_is(World::with(config(folder.path())).await).await;
}

#[tokio::test]
async fn an_administrator_and_whoever_verifies_say_who_somebody_is_on_postgres() {
    let folder = tempfile::tempdir().unwrap();
    on_postgres_with(config(folder.path()), an_administrator_and_whoever_verifies_say_who_somebody_is).await;
}

#[tokio::test]
async fn an_event_that_is_not_signed_now_by_who_verifies_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let they = Verified::new(World::with(config(folder.path())).await).await;
    let id = they.begin(&they.ada, json!({})).await.expect(201).id();
    let event = json!({ "verification_id": id, "state": "approved" });
    let now = they.now();
    they.tell_signed(("evt", now), "another key that is long enough", &event).await.refused(401, "credentials_invalid");
    let old = now - Duration::from_secs(301);
    they.tell_signed(("evt", old), KEY, &event).await.refused(401, "credentials_invalid");
    let bare = call("POST", "/v1/identity-verifications/events").raw(&event.to_string());
    bare.send(&they.it.world.admin).await.refused(401, "credentials_invalid");
    // Signed for one, and shown as another.
    let signature = sign::signature(&[Secret::new(KEY.as_bytes().to_vec())], "evt", now, event.to_string().as_bytes());
    let told = call("POST", "/v1/identity-verifications/events").raw(&event.to_string()).header("webhook-id", "evt-2");
    let told = told.header("webhook-timestamp", &now.secs().to_string()).header("webhook-signature", &signature);
    told.send(&they.it.world.admin).await.refused(401, "credentials_invalid");
    they.tell("evt", &json!({ "verification_id": "00000000-0000-0000-0000-000000000000", "state": "approved" }))
        .await
        .refused(404, "not_found");
    they.tell("evt", &json!({ "verification_id": id })).await.refused(400, "body_malformed");
    let odd = json!({ "verification_id": id, "state": "rejected", "reason": "a\u{202e}b" });
    they.tell("evt", &odd).await.refused(422, "validation_failed");
    assert_eq!(they.read(&they.ada, &id).await.expect(200).body["state"], "pending");
    // Without a key there is no such door.
    let closed = Verified::new(World::new().await).await;
    closed.tell("evt", &event).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_tenant_that_demands_a_verified_identity_lets_nobody_else_in_and_none_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let they = Verified::new(World::with(config(folder.path())).await).await;
    let world = &they.it.world;
    let signed_in = world.try_login("acme", "ada", PASSWORD).await.expect(200);
    let policy = json!({ "require_verified_identity": true });
    // Who demands it shows it first.
    let put = call("PUT", &format!("/v1/tenants/{}/login-policy", they.it.tenant)).json(&policy);
    put.bearer(&they.root).send(&world.admin).await.refused(409, "identity_unverified");
    demand(world, &they.it.staff, &they.it.tenant, &policy).await;
    world.try_login("acme", "ada", PASSWORD).await.refused(403, "identity_unverified");
    world.try_login("acme", "ada", "wrong").await.refused(401, "credentials_invalid");
    let refresh =
        async |token: &str| they.it.ask("/api/v1/tenant/auth/refresh", &json!({ "refresh_token": token })).await;
    let token = signed_in.text("refresh_token");
    refresh(&token).await.refused(403, "identity_unverified");
    // Approved, the session that waited goes on.
    let id = they.begin(&they.ada, json!({})).await.expect(201).id();
    they.tell("evt", &json!({ "verification_id": id, "state": "approved" })).await.expect(204);
    let again = refresh(&token).await.expect(200);
    let token = world.login("acme", "ada").await;
    // Taken back, tokens and sessions end.
    they.tell("evt-2", &json!({ "verification_id": id, "state": "rejected" })).await.expect(204);
    get("/v1/me").bearer(&token).send(&world.admin).await.refused(401, "token_revoked");
    refresh(&again.text("refresh_token")).await.refused(401, "refresh_invalid");
    world.try_login("acme", "ada", PASSWORD).await.refused(403, "identity_unverified");
}

async fn an_approval_ends_with_the_membership_and_with_what_they_prove_who_they_are_by(world: World) {
    let they = Verified::new(world).await;
    let world = &they.it.world;
    let state = async |id: &str| {
        let read = they.read(&they.root, id).await.expect(200).body;
        let last = read["history"].as_array().unwrap().last().unwrap().clone();
        (read["state"].clone(), last["reason"].clone(), last["by"].clone())
    };
    let me = get("/v1/me").bearer(&they.ada).send(&world.admin).await.expect(200).id();
    let approved = async || {
        let id = they.begin(&they.root, json!({ "user_id": me })).await.expect(201).id();
        they.set(&they.root, &id, "approved").await.expect(200);
        id
    };
    // A reset of factors.
    let first = approved().await;
    let reset = call("POST", &format!("/api/v1/tenant/users/{me}/reset-factors"));
    reset.bearer(&they.root).send(&world.admin).await.expect(200);
    let gone = (json!("rejected"), json!("what they prove who they are with was taken away"), json!("user"));
    assert_eq!(state(&first).await, gone);
    assert_eq!(they.it.events("identity-verification.rejected").await.len(), 1);
    // One that is under way goes as well.
    let second = they.begin(&they.root, json!({ "user_id": me })).await.expect(201).id();
    assert_ne!(first, second);
    call("POST", &format!("/api/v1/tenant/users/{me}/reset-factors"))
        .bearer(&they.root)
        .send(&world.admin)
        .await
        .expect(200);
    assert_eq!(state(&second).await, gone);
    // The end of the membership: who comes back shows it again.
    world.clock.advance(Duration::from_secs(86_401));
    let root = world.login("acme", "root").await;
    let third = they.begin(&root, json!({ "user_id": me })).await.expect(201).id();
    they.set(&root, &third, "approved").await.expect(200);
    let member = format!("/v1/tenants/{}/members/{me}", they.it.tenant);
    let staff = world.staff().await;
    call("DELETE", &member).bearer(&staff).send(&world.admin).await.expect(204);
    world.join(&staff, &they.it.tenant, &me).await;
    let read = they.read(&root, &third).await.expect(200).body;
    assert_eq!((&read["state"], &read["reason"]), (&json!("rejected"), &json!("they left the tenant")));
    assert_eq!(they.it.events("identity-verification.rejected").await.len(), 3);
    demand(world, &staff, &they.it.tenant, &json!({ "require_verified_identity": true })).await;
    world.try_login("acme", "ada", PASSWORD).await.refused(403, "identity_unverified");
}

#[tokio::test]
async fn an_approval_ends_with_the_membership_and_a_reset_on_sqlite() {
    an_approval_ends_with_the_membership_and_with_what_they_prove_who_they_are_by(World::new().await).await;
}

#[tokio::test]
async fn an_approval_ends_with_the_membership_and_a_reset_on_postgres() {
    on_postgres(an_approval_ends_with_the_membership_and_with_what_they_prove_who_they_are_by).await;
}

/// Keys, certificates and tokens count at the edge by what it is told of their user.
#[tokio::test]
async fn the_edge_is_told_of_nobody_whose_identity_a_tenant_demands_and_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let they = Verified::new(World::with(config(folder.path())).await).await;
    let world = &they.it.world;
    let plane = Plane::new(Arc::clone(&world.app.hub));
    let user = |token: &str| get("/v1/me").bearer(token);
    let ada = user(&they.ada).send(&world.admin).await.expect(200).id().parse().unwrap();
    let tenant = they.it.tenant.parse().unwrap();
    let counts = async || plane.bindings(tenant, ada).await.unwrap().active;
    assert!(counts().await);
    demand(world, &they.it.staff, &they.it.tenant, &json!({ "require_verified_identity": true })).await;
    assert!(!counts().await);
    let id = they.begin(&they.ada, json!({})).await.expect(201).id();
    they.tell("evt", &json!({ "verification_id": id, "state": "approved" })).await.expect(204);
    assert!(counts().await);
    they.tell("evt-2", &json!({ "verification_id": id, "state": "rejected" })).await.expect(204);
    assert!(!counts().await);
    let delete = call("DELETE", &format!("/v1/tenants/{tenant}/login-policy")).bearer(&they.it.staff);
    delete.send(&world.admin).await.expect(204);
    assert!(counts().await);
}

#[tokio::test]
async fn events_that_are_not_signed_lock_out_no_program() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.identity.rates.identity_event = 3;
    let they = Verified::new(World::with(config).await).await;
    let world = &they.it.world;
    let (path, from) = ("/v1/identity-verifications/events", "203.0.113.7");
    let tell = async || {
        let token = world.assertion_for(from, ("POST", path), "acme.localhost", Some(&they.it.tenant)).await;
        post(path, &json!({})).header("x-md-global-assertion", &token).send(&world.public).await
    };
    for _ in 0..3 {
        tell().await.refused(401, "credentials_invalid");
    }
    tell().await.refused(429, "rate_limited");
    let token = "/oauth/token";
    let assertion = world.assertion_for(from, ("POST", token), "acme.localhost", Some(&they.it.tenant)).await;
    let wrong = call("POST", token).raw("grant_type=client_credentials&client_id=x&client_secret=y");
    let wrong = wrong.header("x-md-global-assertion", &assertion).send(&world.public).await;
    assert_ne!(wrong.status, 429, "{wrong:?}");
}
