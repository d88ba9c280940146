//! API keys: who may make and end them, what they may do, and what services are told of them.

use std::time::Duration;

use control_api::{
    Config,
    config::{ServiceKey, ServiceMethod},
};
use domain::Seq;
use link::file::SecretRef;
use serde_json::{Value, json};

use crate::{
    logout::report,
    support::{Answer, World, call, get, post},
};

const SERVICE: &str = "test-service-key-that-verifies-api-keys";
const VERIFY: &str = "/v1/internal/api-keys/verify";

struct Two {
    world: World,
    staff: String,
    acme: String,
    globex: String,
    /// Administrators of `acme` and of `globex`, a member of `acme`.
    ada: String,
    bob: String,
    mia: String,
    mia_id: String,
    _folder: tempfile::TempDir,
}

async fn two() -> Two {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service.key");
    std::fs::write(&path, SERVICE).unwrap();
    let methods = ServiceMethod::ALL.to_vec();
    let key = ServiceKey { name: "orders".into(), key: SecretRef::File(path), methods, tenants: Vec::new() };
    let mut config = Config::default();
    config.internal.service_keys = vec![key];
    let world = World::with(config).await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let mia_id = world.user(&staff, &acme, "mia", &["member"]).await;
    world.user(&staff, &globex, "bob", &["owner"]).await;
    let (ada, mia) = (world.login("acme", "ada").await, world.login("acme", "mia").await);
    let bob = world.login("globex", "bob").await;
    let two = Two { world, staff, acme, globex, ada, bob, mia, mia_id, _folder: folder };
    two.grant(&["orders:order:list", "orders:order:get"]).await;
    two
}

impl Two {
    /// Gives the member a role of these permissions; its binding.
    async fn grant(&self, permissions: &[&str]) -> String {
        let role = json!({ "name": format!("clerk-{}", permissions.len()), "permissions": permissions });
        let path = format!("/v1/roles?tenant_id={}", self.acme);
        let role = post(&path, &role).bearer(&self.staff).send(&self.world.admin).await.expect(201).id();
        let binding = json!({ "role_id": role, "user_id": self.mia_id });
        let path = format!("/v1/role-bindings?tenant_id={}", self.acme);
        post(&path, &binding).bearer(&self.staff).send(&self.world.admin).await.expect(201).id()
    }

    async fn make(&self, token: &str, body: Value) -> Answer {
        post("/v1/api-keys", &body).bearer(token).send(&self.world.admin).await
    }

    async fn act(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = call(method, path).bearer(token);
        if let Some(body) = &body {
            request = request.json(body);
        }
        request.send(&self.world.admin).await
    }

    async fn verify(&self, secret: &str, tenant: &str) -> Answer {
        let body = json!({ "key": secret, "tenant_id": tenant });
        post(VERIFY, &body).bearer(SERVICE).send(&self.world.internal).await
    }
}

fn key(scopes: &[&str]) -> Value {
    json!({ "name": "build", "scopes": scopes })
}

#[tokio::test]
async fn a_key_is_shown_once_and_answers_for_its_owner_within_its_scopes() {
    let two = two().await;
    let made = two.make(&two.mia, key(&["orders:order:list"])).await.expect(201);
    let (id, secret) = (made.id(), made.text("secret"));
    assert!(secret.starts_with(&made.text("prefix")) && secret.starts_with("pck_"), "{made:?}");
    let path = format!("/v1/api-keys/{id}");
    let read = two.act(&two.mia, "GET", &path, None).await.expect(200);
    assert_eq!((read.body["status"].as_str(), read.body.get("secret")), (Some("active"), None));
    let verified = two.verify(&secret, &two.acme).await.expect(200);
    assert_eq!(verified.body["user_id"], json!(two.mia_id));
    assert_eq!(verified.body["permissions"], json!(["orders:order:list"]));
    assert_eq!(verified.body["username"], json!("mia"));
    two.verify(&secret, &two.globex).await.refused(401, "api_key_invalid");
    let by_host = json!({ "key": secret, "hostname": "acme.localhost" });
    post(VERIFY, &by_host).bearer(SERVICE).send(&two.world.internal).await.expect(200);
    post(VERIFY, &by_host).send(&two.world.internal).await.expect(401);
    let audit = get("/v1/audit").bearer(&two.ada).send(&two.world.admin).await.expect(200);
    assert!(audit.body.to_string().contains("api-key.created"), "{audit:?}");
    assert!(!audit.body.to_string().contains(&secret));
}

#[tokio::test]
async fn a_key_that_is_asked_for_twice_is_said_once_and_not_lost_to_a_gateway_that_is_waited_for() {
    let two = two().await;
    let ask = async || {
        let ask = post("/v1/api-keys", &key(&["orders:order:list"])).bearer(&two.mia).header("idempotency-key", "k-1");
        ask.send(&two.world.admin).await
    };
    let made = ask().await.expect(201);
    assert_eq!(made.headers["cache-control"], "no-store");
    ask().await.refused(409, "shown_once");
    let keys = two.act(&two.mia, "GET", "/v1/api-keys", None).await.expect(200);
    assert_eq!(keys.body["items"].as_array().unwrap().len(), 1);

    // A gateway that has not heard: the answer says so, and what is shown once is in it.
    report(&two.world, "gw-1", Seq(0), 0).await;
    let rotated = two.act(&two.mia, "POST", &format!("/v1/api-keys/{}/rotate", made.id()), Some(json!({}))).await;
    let rotated = rotated.expect(200);
    assert_eq!(rotated.body["waiting"]["waiting_for"], json!(["gw-1"]));
    two.verify(&rotated.text("secret"), &two.acme).await.expect(200);
}

#[tokio::test]
async fn a_scope_that_the_owner_does_not_hold_is_refused_and_one_they_lose_is_lost() {
    let two = two().await;
    two.make(&two.mia, key(&["orders:order:create"])).await.refused(422, "validation_failed");
    two.make(&two.mia, key(&["orders:*"])).await.refused(422, "validation_failed");
    let binding = two.grant(&["stock:item:list", "stock:item:get", "stock:item:create"]).await;
    let made = two.make(&two.mia, key(&["stock:item:list", "orders:order:get"])).await.expect(201);
    let secret = made.text("secret");
    let path = format!("/v1/role-bindings/{binding}?tenant_id={}", two.acme);
    two.act(&two.staff, "DELETE", &path, None).await;
    let verified = two.verify(&secret, &two.acme).await.expect(200);
    assert_eq!(verified.body["permissions"], json!(["orders:order:get"]));
    let path = format!("/api/v1/tenant/users/{}/disable", two.mia_id);
    two.act(&two.ada, "POST", &path, None).await;
    two.verify(&secret, &two.acme).await.refused(401, "principal_inactive");
}

#[tokio::test]
async fn everybody_manages_their_own_keys_and_administrators_those_of_the_tenant() {
    let two = two().await;
    let own = two.make(&two.mia, key(&[])).await.expect(201).id();
    let adas = two.make(&two.ada, key(&[])).await.expect(201).id();
    let list = async |token: &str| {
        let list = get("/v1/api-keys").bearer(token).send(&two.world.admin).await.expect(200);
        list.body["items"].as_array().unwrap().len()
    };
    assert_eq!((list(&two.mia).await, list(&two.ada).await, list(&two.bob).await), (1, 2, 0));
    let others = format!("/v1/api-keys/{adas}");
    two.act(&two.mia, "GET", &others, None).await.refused(403, "permission_denied");
    two.act(&two.mia, "DELETE", &others, None).await.refused(403, "permission_denied");
    two.act(&two.ada, "GET", &format!("/v1/api-keys/{own}"), None).await.expect(200);
    let for_mia = json!({ "name": "for mia", "owner_id": two.mia_id, "scopes": ["orders:order:get"] });
    two.make(&two.ada, for_mia.clone()).await.expect(201);
    two.make(&two.mia, json!({ "name": "x", "owner_id": adas })).await.refused(403, "permission_denied");
    two.make(&two.bob, for_mia).await.expect(422);
}

/// M1, M3: every operation on another tenant's key answers as if there were none, and changes nothing.
#[tokio::test]
async fn another_tenants_keys_do_not_exist() {
    let two = two().await;
    let made = two.make(&two.mia, key(&["orders:order:list"])).await.expect(201);
    let (id, secret) = (made.id(), made.text("secret"));
    for (method, path, body) in [
        ("GET", format!("/v1/api-keys/{id}"), None),
        ("DELETE", format!("/v1/api-keys/{id}"), None),
        ("POST", format!("/v1/api-keys/{id}/enable"), None),
        ("POST", format!("/v1/api-keys/{id}/disable"), None),
        ("POST", format!("/v1/api-keys/{id}/rotate"), Some(json!({}))),
        ("GET", format!("/v1/api-keys?tenant_id={}", two.acme), None),
        ("POST", "/v1/api-keys".into(), Some(json!({ "name": "x", "tenant_id": two.acme }))),
    ] {
        two.act(&two.bob, method, &path, body).await.refused(404, "not_found");
    }
    two.verify(&secret, &two.acme).await.expect(200);
}

#[tokio::test]
async fn a_key_is_disabled_enabled_rotated_and_revoked() {
    let two = two().await;
    let made = two.make(&two.mia, key(&["orders:order:list"])).await.expect(201);
    let (id, first) = (made.id(), made.text("secret"));
    let step = async |verb: &str, body: Option<Value>| {
        two.act(&two.mia, "POST", &format!("/v1/api-keys/{id}/{verb}"), body).await
    };
    assert_eq!(step("disable", None).await.body["status"], json!("disabled"));
    two.verify(&first, &two.acme).await.refused(401, "api_key_disabled");
    assert_eq!(step("enable", None).await.body["status"], json!("active"));
    two.verify(&first, &two.acme).await.expect(200);
    step("rotate", Some(json!({ "overlap": "8d" }))).await.refused(422, "validation_failed");
    let second = step("rotate", Some(json!({ "overlap": "1h" }))).await.text("secret");
    assert_ne!(first, second);
    two.verify(&first, &two.acme).await.expect(200);
    two.verify(&second, &two.acme).await.expect(200);
    two.world.clock.advance(Duration::from_secs(3600));
    two.verify(&first, &two.acme).await.refused(401, "api_key_invalid");
    two.verify(&second, &two.acme).await.expect(200);
    let token = two.world.login("acme", "mia").await;
    let gone = two.act(&token, "DELETE", &format!("/v1/api-keys/{id}"), None).await;
    assert!(gone.status.is_success(), "{gone:?}");
    // Unknown, revoked and wrong are one answer.
    let revoked = two.verify(&second, &two.acme).await.refused(401, "api_key_invalid");
    let unknown = "pck_hhhhhhhhhhhhhhhh_hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh_00000000";
    let unknown = two.verify(unknown, &two.acme).await.refused(401, "api_key_invalid");
    assert_eq!(revoked.body["detail"], unknown.body["detail"]);
    two.act(&token, "POST", &format!("/v1/api-keys/{id}/enable"), None).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_key_that_expires_or_has_networks_is_judged_by_them() {
    let two = two().await;
    two.make(&two.mia, json!({ "name": "x", "expires_at": "2001-01-01T00:00:00Z" }))
        .await
        .refused(422, "validation_failed");
    two.make(&two.mia, json!({ "name": "" })).await.refused(422, "validation_failed");
    let made = two.make(&two.mia, json!({ "name": "x", "networks": ["192.0.2.0/24"] })).await.expect(201);
    for (client, expected) in [("192.0.2.7", 200), ("203.0.113.7", 403)] {
        let body = json!({ "key": made.text("secret"), "tenant_id": two.acme, "client": client });
        post(VERIFY, &body).bearer(SERVICE).send(&two.world.internal).await.expect(expected);
    }
}

#[tokio::test]
async fn a_repeated_create_makes_one_key() {
    let two = two().await;
    let create = || post("/v1/api-keys", &key(&[])).bearer(&two.mia).header("idempotency-key", "once");
    let first = create().send(&two.world.admin).await.expect(201);
    assert!(first.text("secret").len() > 20);
    let second = create().send(&two.world.admin).await.refused(409, "shown_once");
    assert!(second.text("detail").contains(&first.id()) && !second.body.to_string().contains(&first.text("secret")));
    let keys = get("/v1/api-keys?search=k").bearer(&two.mia).send(&two.world.admin).await.expect(200);
    assert_eq!(keys.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_of_whom_its_tenant_demands_to_know_and_does_not_is_refused() {
    let two = two().await;
    let made = two.make(&two.mia, key(&["orders:order:list"])).await.expect(201);
    let secret = made.text("secret");
    two.verify(&secret, &two.acme).await.expect(200);
    let policy = json!({ "require_verified_identity": true });
    let path = format!("/v1/tenants/{}/login-policy", two.acme);
    two.act(&two.staff, "PUT", &path, Some(policy)).await.expect(200);
    two.verify(&secret, &two.acme).await.refused(401, "principal_inactive");
    let begun = two.act(&two.ada, "POST", "/v1/identity-verifications", Some(json!({ "user_id": two.mia_id }))).await;
    let verification = format!("/v1/identity-verifications/{}", begun.expect(201).id());
    let set = async |state: &str| {
        two.act(&two.ada, "PATCH", &verification, Some(json!({ "state": state }))).await.expect(200);
    };
    set("approved").await;
    two.verify(&secret, &two.acme).await.expect(200);
    set("rejected").await;
    two.verify(&secret, &two.acme).await.refused(401, "principal_inactive");
    two.act(&two.staff, "DELETE", &path, None).await.expect(204);
    two.verify(&secret, &two.acme).await.expect(200);
}
