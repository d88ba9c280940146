//! What services ask on the `internal` listener: the same over REST and over gRPC.

use std::sync::Arc;

use control_api::{
    App, Config,
    config::{ServiceKey, ServiceMethod},
};
use domain::{Clock, Secret, TokenId};
use link::{
    file::SecretRef,
    log::MemoryCarrier,
    rpc::{AuthClient, CallError, Routes, serve},
};
use serde_json::{Value, json};
use store::Store;
use tokio::net::TcpListener;

use crate::{
    matrix::golden,
    support::{Answer, PASSWORD, World, call, get, on_postgres_with, post},
};

/// Good for everything.
const KEY: &str = "test-service-key-that-is-good-for-everything";
/// Good for one method.
const CHECKER: &str = "test-service-key-that-only-checks-permissions";

const VERIFY: &str = "/v1/internal/tokens/verify";
const REFRESH: &str = "/v1/internal/tokens/refresh";
const INVALIDATE: &str = "/v1/internal/tokens/invalidate";
const CHECK: &str = "/v1/internal/permissions/check";
const INFO: &str = "/api/v1/tenant/auth/info";

/// Two tenants, each with a user: acme's is an administrator.
struct Two {
    world: World,
    staff: String,
    acme: String,
    globex: String,
    /// acme's user and its tokens.
    ada: String,
    access: String,
    refresh: String,
    /// Holds the keys' files until the test ends.
    _folder: tempfile::TempDir,
}

async fn two() -> Two {
    let (config, folder) = served();
    two_in(World::with(config).await, folder).await
}

/// A configuration with both keys, and the folder that they lie in.
fn served() -> (Config, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str, text: &str, methods: &[ServiceMethod]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        ServiceKey { name: name.into(), key: SecretRef::File(path), methods: methods.to_vec(), tenants: Vec::new() }
    };
    let mut config = Config::default();
    config.internal.service_keys =
        vec![key("orders", KEY, &ServiceMethod::ALL), key("checker", CHECKER, &[ServiceMethod::CheckPermission])];
    (config, folder)
}

async fn two_in(world: World, folder: tempfile::TempDir) -> Two {
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    let ada = world.user(&staff, &acme, "ada", &["admin"]).await;
    world.user(&staff, &globex, "bob", &["member"]).await;
    let pair = world.try_login("acme", "ada", PASSWORD).await.expect(200);
    let (access, refresh) = (pair.text("access_token"), pair.text("refresh_token"));
    Two { world, staff, acme, globex, ada, access, refresh, _folder: folder }
}

impl Two {
    /// Statements of what is asked most, asked once each.
    async fn costs(&self, key: &str) -> Vec<(&'static str, u64)> {
        let (at, world) = (json!({ "tenant_id": self.acme }), &self.world);
        let with = |name: &str, value: &str| {
            let mut body = at.clone();
            body[name] = json!(value);
            body
        };
        let mut costs = Vec::new();
        let mut before = world.app.store.statements();
        let mut note = |what, store: &Store| {
            costs.push((what, store.statements() - before));
            before = store.statements();
        };
        let pair = world.try_login("acme", "ada", PASSWORD).await.expect(200);
        note("sign-in", &world.app.store);
        let pair = self.ask(REFRESH, &with("refresh_token", &pair.text("refresh_token"))).await.expect(200);
        note("refresh", &world.app.store);
        self.ask(VERIFY, &with("token", &pair.text("access_token"))).await.expect(200);
        note("token verified", &world.app.store);
        let path = format!("/v1/internal/users/{}/permissions?tenant_id={}", self.ada, self.acme);
        get(&path).bearer(KEY).send(&world.internal).await.expect(200);
        note("permission look-up", &world.app.store);
        let one = json!({ "tenant_id": self.acme, "user_id": self.ada, "permission": "tenant:user:list" });
        self.ask(CHECK, &json!({ "checks": vec![one; 20] })).await.expect(200);
        note("20 permissions checked of one user", &world.app.store);
        self.ask("/v1/internal/api-keys/verify", &with("key", key)).await.expect(200);
        note("API key verified", &world.app.store);
        self.still_works(&pair.text("access_token")).await;
        note("a call of whoever is signed in", &world.app.store);
        costs
    }

    async fn ask(&self, path: &str, body: &Value) -> Answer {
        post(path, body).bearer(KEY).send(&self.world.internal).await
    }

    async fn still_works(&self, token: &str) -> bool {
        get(INFO).bearer(token).send(&self.world.admin).await.status == 200
    }

    /// The same router behind a socket, and a gRPC client of it.
    async fn grpc(&self, key: &str) -> AuthClient {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Routes::from(self.world.internal.clone());
        tokio::spawn(async move { serve(listener, None, routes, std::future::pending()).await });
        AuthClient::new(&url, None, &Secret::new(key.into())).unwrap()
    }
}

fn code(answer: Result<Value, CallError>) -> (String, String) {
    match answer.unwrap_err() {
        CallError::Refused { status, code, .. } => (status, code),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_is_verified_at_its_own_tenant_and_hostname_and_nowhere_else() {
    let two = two().await;
    for place in [json!({ "tenant_id": two.acme }), json!({ "hostname": "acme.localhost" })] {
        let mut asked = place.clone();
        asked["token"] = json!(two.access);
        let said = two.ask(VERIFY, &asked).await.expect(200);
        assert_eq!((said.text("user_id"), said.text("tenant_id")), (two.ada.clone(), two.acme.clone()));
        assert_eq!((&said.body["roles"], &said.body["context"]), (&json!(["admin"]), &json!("tenant")));
        assert_eq!((&said.body["is_admin"], &said.body["tenant_status"]), (&json!(true), &json!("active")));
    }
    let token = &two.access;
    for (asked, status, code) in [
        (json!({ "token": token, "tenant_id": two.globex }), 401, "issuer_unknown"),
        (json!({ "token": token, "hostname": "globex.localhost" }), 401, "issuer_unknown"),
        (json!({ "token": token, "hostname": "acme.localhost", "audience": "https://other" }), 401, "token_audience"),
        (json!({ "token": token, "hostname": "nobody.localhost" }), 404, "not_found"),
        (json!({ "token": token }), 422, "validation_failed"),
        (json!({ "token": token, "tenant_id": two.acme, "hostname": "acme.localhost" }), 422, "validation_failed"),
        (json!({ "token": "garbage", "tenant_id": two.acme }), 401, "token_malformed"),
        (json!({ "token": format!("{token}AAAA"), "tenant_id": two.acme }), 401, "token_signature"),
        (json!({ "token": two.refresh, "tenant_id": two.acme }), 401, "token_malformed"),
    ] {
        two.ask(VERIFY, &asked).await.refused(status, code);
    }
    let asked = json!({ "token": token, "hostname": "acme.localhost", "audience": "https://acme.localhost" });
    two.ask(VERIFY, &asked).await.expect(200);
}

/// J8: a user's token is no service key, a service key is no user's token, and being near is no credential.
#[tokio::test]
async fn j8_every_kind_of_credential_is_good_at_its_own_door_only() {
    let two = two().await;
    let asked = json!({ "token": two.access, "tenant_id": two.acme });
    post(VERIFY, &asked).send(&two.world.internal).await.refused(401, "credential_missing");
    for key in [two.access.as_str(), two.staff.as_str(), two.refresh.as_str(), &KEY[1..], "x"] {
        post(VERIFY, &asked).bearer(key).send(&two.world.internal).await.refused(401, "service_key_invalid");
    }
    let twice = post(VERIFY, &asked).bearer(KEY).bearer(KEY);
    twice.send(&two.world.internal).await.refused(401, "credential_missing");
    let assertion = two.world.assertion("POST", VERIFY, "acme.localhost", Some(&two.acme)).await;
    let forged = post(VERIFY, &asked).header("x-md-global-assertion", &assertion);
    forged.send(&two.world.internal).await.refused(401, "credential_missing");
    for path in [INFO, "/v1/tenants"] {
        get(path).bearer(KEY).send(&two.world.admin).await.refused(401, "token_malformed");
    }
    // Nothing of the internal listener is served elsewhere, and nothing else there.
    post(VERIFY, &asked).bearer(KEY).send(&two.world.admin).await.refused(404, "route_not_found");
    get("/v1/tenants").bearer(&two.staff).send(&two.world.internal).await.refused(404, "route_not_found");
}

#[tokio::test]
async fn a_key_is_good_for_the_methods_it_names() {
    let two = two().await;
    let check = json!({ "tenant_id": two.acme, "user_id": two.ada, "permission": "tenant:user:list" });
    let ask = async |path: &str, body: &Value| post(path, body).bearer(CHECKER).send(&two.world.internal).await;
    ask(CHECK, &check).await.expect(200);
    let token = json!({ "token": two.access, "tenant_id": two.acme });
    ask(VERIFY, &token).await.refused(403, "service_key_scope");
    ask(INVALIDATE, &token).await.refused(403, "service_key_scope");
    let refresh = json!({ "refresh_token": two.refresh, "tenant_id": two.acme });
    ask(REFRESH, &refresh).await.refused(403, "service_key_scope");
    let path = format!("/v1/internal/users/{}/permissions?tenant_id={}", two.ada, two.acme);
    get(&path).bearer(CHECKER).send(&two.world.internal).await.refused(403, "service_key_scope");
    assert!(two.still_works(&two.access).await);
    let grpc = two.grpc(CHECKER).await;
    assert_eq!(code(grpc.call("verify-token", token).await), ("PermissionDenied".into(), "service_key_scope".into()));
    grpc.call("check-permission", check).await.unwrap();
}

#[tokio::test]
async fn what_was_revoked_since_is_refused_by_the_edges_own_code() {
    let two = two().await;
    let verify = async |token: &str| two.ask(VERIFY, &json!({ "token": token, "tenant_id": two.acme })).await;
    call("POST", "/api/v1/tenant/auth/logout").bearer(&two.access).send(&two.world.admin).await.expect(200);
    verify(&two.access).await.refused(401, "token_revoked");

    let again = two.world.login("acme", "ada").await;
    verify(&again).await.expect(200);
    let path = format!("/v1/tenants/{}/suspend", two.acme);
    call("POST", &path).bearer(&two.staff).send(&two.world.admin).await.expect(200);
    let refused = verify(&again).await;
    assert!(matches!(refused.code(), "tenant_suspended" | "token_revoked"), "{refused:?}");
}

/// As other services refuse single tokens: by a fact, while the session goes on.
#[tokio::test]
async fn a_token_that_a_fact_refuses_is_refused_everywhere_and_its_session_is_not() {
    let two = two().await;
    let asked = json!({ "token": two.access, "tenant_id": two.acme });
    let jti: TokenId = two.ask(VERIFY, &asked).await.expect(200).text("token_id").parse().unwrap();
    let now = two.world.clock.unix_now();
    let exp = now + std::time::Duration::from_secs(900);
    let store = &two.world.app.store;
    let refused = store.write_session(authz::Scope::Platform, now, |tx| async move { tx.refuse_token(jti, exp).await });
    refused.await.map_err(|error: store::StoreError| error).unwrap();
    two.ask(VERIFY, &asked).await.refused(401, "token_revoked");
    get(INFO).bearer(&two.access).send(&two.world.admin).await.refused(401, "token_revoked");
    let refresh = json!({ "refresh_token": two.refresh, "tenant_id": two.acme });
    let next = two.ask(REFRESH, &refresh).await.expect(200).text("access_token");
    assert!(two.still_works(&next).await);
}

#[tokio::test]
async fn an_invalidated_token_and_its_session_have_ended() {
    let two = two().await;
    let asked = json!({ "token": two.access, "tenant_id": two.acme });
    let other = json!({ "token": two.access, "tenant_id": two.globex });
    two.ask(INVALIDATE, &other).await.refused(401, "issuer_unknown");
    assert!(two.still_works(&two.access).await, "another tenant's question ends nothing");

    assert_eq!(two.ask(INVALIDATE, &asked).await.expect(200).text("status"), "invalidated");
    get(INFO).bearer(&two.access).send(&two.world.admin).await.refused(401, "token_revoked");
    let refresh = json!({ "refresh_token": two.refresh, "tenant_id": two.acme });
    two.ask(REFRESH, &refresh).await.refused(401, "refresh_invalid");
    two.ask(INVALIDATE, &asked).await.expect(200);
    two.ask(INVALIDATE, &json!({ "token": "garbage", "tenant_id": two.acme })).await.refused(401, "token_malformed");

    let path = format!("/v1/audit?tenant_id={}", two.acme);
    let audit = get(&path).bearer(&two.staff).send(&two.world.admin).await.expect(200);
    let entry = audit.body["items"].as_array().unwrap().iter().find(|it| it["action"] == "logout").unwrap().clone();
    assert_eq!((&entry["actor"]["type"], &entry["actor"]["name"]), (&json!("service"), &json!("orders")));
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_at_its_own_tenant() {
    let two = two().await;
    let at = |tenant: &str| json!({ "refresh_token": two.refresh, "tenant_id": tenant });
    two.ask(REFRESH, &at(&two.globex)).await.refused(401, "refresh_invalid");
    let pair = two.ask(REFRESH, &at(&two.acme)).await.expect(200);
    assert_eq!(pair.headers["cache-control"], "no-store");
    assert!(two.still_works(&pair.text("access_token")).await);
    two.ask(REFRESH, &at(&two.acme)).await.refused(401, "refresh_superseded");
    let next = json!({ "refresh_token": pair.text("refresh_token"), "hostname": "acme.localhost" });
    two.ask(REFRESH, &next).await.expect(200);
}

#[tokio::test]
async fn of_many_that_refresh_at_once_over_both_protocols_one_succeeds() {
    let two = two().await;
    let grpc = two.grpc(KEY).await;
    let asked = json!({ "refresh_token": two.refresh, "tenant_id": two.acme });
    let rest = (0..4).map(|_| async { two.ask(REFRESH, &asked).await.status == 200 });
    let calls = (0..4).map(|_| async { grpc.call("refresh-token", asked.clone()).await.is_ok() });
    let (rest, calls) = futures::future::join(futures::future::join_all(rest), futures::future::join_all(calls)).await;
    assert_eq!(rest.into_iter().chain(calls).filter(|won| *won).count(), 1);
}

#[tokio::test]
async fn permissions_are_those_of_now_and_of_the_tenant_that_is_named() {
    let two = two().await;
    let rights = async |user: &str, tenant: &str| {
        let path = format!("/v1/internal/users/{user}/permissions?tenant_id={tenant}");
        get(&path).bearer(KEY).send(&two.world.internal).await
    };
    let here = rights(&two.ada, &two.acme).await.expect(200);
    assert_eq!((&here.body["active"], &here.body["roles"]), (&json!(true), &json!(["admin"])));
    assert_eq!(here.body["is_admin"], json!(true));
    let there = rights(&two.ada, &two.globex).await.expect(200);
    assert_eq!((&there.body["active"], &there.body["roles"]), (&json!(false), &json!([])));
    assert_eq!((&there.body["permissions"], &there.body["is_admin"]), (&json!([]), &json!(false)));
    rights(&two.ada, "00000000-0000-0000-0000-00000000dead").await.refused(404, "not_found");

    let question = |user: &str, tenant: &str, permission: &str| json!({ "user_id": user, "tenant_id": tenant, "permission": permission });
    let checks = json!({ "checks": [
        question(&two.ada, &two.acme, "tenant:user:delete"),
        question(&two.ada, &two.globex, "tenant:user:delete"),
        question(&two.ada, &two.acme, "orders:order:delete"),
        question(&two.ada, &two.acme, "platform:tenant:delete"),
    ]});
    let answers = two.ask(CHECK, &checks).await.expect(200);
    let allowed: Vec<bool> =
        answers.body["results"].as_array().unwrap().iter().map(|it| it["allowed"].as_bool().unwrap()).collect();
    assert_eq!(allowed, [true, false, false, false]);

    let before = two.ask(CHECK, &question(&two.ada, &two.acme, "tenant:user:delete")).await.expect(200);
    let path = format!("/v1/tenants/{}/users/{}/disable", two.acme, two.ada);
    call("POST", &path).bearer(&two.staff).send(&two.world.admin).await.expect(200);
    let after = two.ask(CHECK, &question(&two.ada, &two.acme, "tenant:user:delete")).await.expect(200);
    assert_eq!((&before.body["allowed"], &after.body["allowed"]), (&json!(true), &json!(false)));
    let seq = |answer: &Answer| answer.body["as_of_seq"].as_u64().unwrap();
    assert!(seq(&after) > seq(&before), "{after:?}");
}

#[tokio::test]
async fn a_check_names_its_question() {
    let two = two().await;
    let one = json!({ "tenant_id": two.acme, "user_id": two.ada, "permission": "tenant:user:list" });
    let many: Vec<&Value> = vec![&one; 101];
    for (asked, pointer) in [
        (json!({ "tenant_id": two.acme, "user_id": two.ada }), "/permission"),
        (json!({ "checks": [], "user_id": two.ada }), "/checks"),
        (json!({ "checks": [] }), "/checks"),
        (json!({ "checks": many }), "/checks"),
        (json!({ "checks": [{ "tenant_id": two.acme }] }), "/checks/0"),
        (json!({ "tenant_id": two.acme, "user_id": two.ada, "permission": "list" }), "/permission"),
    ] {
        let refused = two.ask(CHECK, &asked).await.refused(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{asked}");
    }
}

#[tokio::test]
async fn grpc_says_what_rest_says_by_the_same_codes() {
    let two = two().await;
    let grpc = two.grpc(KEY).await;
    let good = json!({ "token": two.access, "tenant_id": two.acme });
    let said = grpc.call("verify-token", good.clone()).await.unwrap();
    assert_eq!((&said["user_id"], &said["roles"]), (&json!(two.ada), &json!(["admin"])));
    for (asked, status) in [
        (json!({ "token": two.access, "tenant_id": two.globex }), "Unauthenticated"),
        (json!({ "token": "garbage", "tenant_id": two.acme }), "Unauthenticated"),
        (json!({ "token": two.access, "hostname": "nobody.localhost" }), "NotFound"),
        (json!({ "token": two.access }), "InvalidArgument"),
        (json!({ "token": two.access, "tenant_id": "acme" }), "InvalidArgument"),
    ] {
        let rest = two.ask(VERIFY, &asked).await;
        let expected = (status.to_owned(), rest.code().to_owned());
        assert_eq!(code(grpc.call("verify-token", asked.clone()).await), expected, "{asked}");
    }
    let person = json!({ "tenant_id": two.acme, "user_id": two.ada });
    let rights = grpc.call("get-user-permissions", person.clone()).await.unwrap();
    let path = format!("/v1/internal/users/{}/permissions?tenant_id={}", two.ada, two.acme);
    assert_eq!(rights, get(&path).bearer(KEY).send(&two.world.internal).await.expect(200).body);
    let mut check = person;
    check["permission"] = json!("tenant:user:list");
    assert_eq!(grpc.call("check-permission", check.clone()).await.unwrap()["allowed"], json!(true));
    let batch = grpc.call("batch-check-permission", json!({ "checks": [check] })).await.unwrap();
    assert_eq!(batch["results"][0]["allowed"], json!(true));

    let ended = grpc.call("invalidate-token", good.clone()).await.unwrap();
    assert_eq!(ended, json!({ "applied": true, "waiting_for": [], "until": null }));
    let refused = ("Unauthenticated".to_owned(), "token_revoked".to_owned());
    assert_eq!(code(grpc.call("verify-token", good.clone()).await), refused);

    let nobody = two.grpc("another-key-that-nobody-has-been-given").await;
    let refused = ("Unauthenticated".to_owned(), "service_key_invalid".to_owned());
    assert_eq!(code(nobody.call("verify-token", good).await), refused);
}

#[tokio::test]
async fn probes_and_the_description_need_no_key() {
    let two = two().await;
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        get(path).send(&two.world.internal).await.expect(200);
    }
}

/// Who holds a connection and waits for another waits for those who do the same. Of a control API with one connection, everybody would.
#[tokio::test]
async fn what_is_asked_most_takes_one_connection_at_a_time() {
    let (config, folder) = served();
    on_postgres_with(config.clone(), async |world| {
        let mut two = two_in(world, folder).await;
        let body = json!({ "name": "k", "scopes": ["tenant:user:list"] });
        let key =
            post("/v1/api-keys", &body).bearer(&two.access).send(&two.world.admin).await.expect(201).text("secret");
        let World { app, clock, staff_password, .. } = two.world;
        let one = app.store.separate(1).unwrap();
        let carrier = Arc::new(MemoryCarrier::default());
        let app = App::new(config, one, carrier, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        two.world = World::over(app, clock, &staff_password);
        two.costs(&key).await;
        // And at the edge's door, where the hostname is looked up, too.
        let world = &two.world;
        let pair = world.try_login("acme", "ada", PASSWORD).await.expect(200);
        let (access, shown) = (pair.text("access_token"), json!({ "refresh_token": pair.text("refresh_token") }));
        for (call, method, path) in [
            (get(INFO).bearer(&access), "GET", INFO),
            (post("/api/v1/tenant/auth/refresh", &shown), "POST", "/api/v1/tenant/auth/refresh"),
        ] {
            let assertion = world.assertion(method, path, "acme.localhost", Some(&two.acme)).await;
            let call = call.host("acme.localhost").header("x-md-global-assertion", &assertion);
            call.send(&world.public).await.expect(200);
        }
        two.ask(INVALIDATE, &json!({ "token": access, "tenant_id": two.acme })).await.expect(200);
        assert!(!two.still_works(&access).await);
    })
    .await;
}

/// What many ask all the time costs no more statements the more a user holds; how many is in the report.
#[tokio::test]
async fn what_is_asked_most_costs_the_same_statements_however_much_a_user_holds() {
    let two = two().await;
    let make =
        async |path: &str, body: Value| post(path, &body).bearer(&two.access).send(&two.world.admin).await.expect(201);
    let key = make("/v1/api-keys", json!({ "name": "k", "scopes": ["tenant:user:list"] })).await.text("secret");
    let hold = async |n: usize| {
        let role = json!({ "name": format!("r-{n}"), "permissions": ["orders:order:list"] });
        let role = make("/v1/roles", role).await.id();
        make("/v1/role-bindings", json!({ "role_id": role, "user_id": two.ada })).await;
        let group = make("/v1/groups", json!({ "name": format!("g-{n}") })).await.id();
        make("/v1/role-bindings", json!({ "role_id": role, "group_id": group })).await;
        make(&format!("/v1/groups/{group}/members"), json!({ "user_id": two.ada })).await;
        let unit = make("/v1/org-units", json!({ "name": format!("u-{n}") })).await.id();
        let member = json!({ "user_id": two.ada, "role": "ou_default" });
        make(&format!("/v1/org-units/{unit}/members"), member).await;
        two.world.try_login("acme", "ada", PASSWORD).await.expect(200);
    };
    // What is done once for all, as with a key's first use, is done.
    hold(0).await;
    two.costs(&key).await;
    let short = two.costs(&key).await;
    for n in 1..20 {
        hold(n).await;
    }
    assert_eq!(two.costs(&key).await, short);
    let mut text = "# Statements of what is asked most, however many roles, groups and units a user has.\n".to_owned();
    for (what, statements) in short {
        text.push_str(&format!("{what:<60} {statements}\n"));
    }
    golden("statements-asked-most.txt", &text);
}
