//! Machine clients: made, given tokens, asked about and ended.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use control_api::{
    app::token_endpoint::{ClientCredentials, known_client},
    context::{Listener, RequestContext, new_id},
    error::AppError,
};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    second_factor::claims,
    support::{Answer, World, call, get, on_postgres, post},
};

const HOST: &str = "acme.localhost";

/// Acme, whose administrator made the client `billing`.
struct Acme {
    world: World,
    staff: String,
    tenant: String,
    admin: String,
    client: Client,
}

#[derive(Clone)]
struct Client {
    id: String,
    secret: String,
    user: String,
}

impl Client {
    fn of(made: &Answer) -> Self {
        Self { id: made.id(), secret: made.text("secret"), user: made.text("user_id") }
    }

    fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.id, self.secret)))
    }
}

async fn form(world: &World, path: &str, host: &str, authorization: Option<&str>, body: &str) -> Answer {
    let call = call("POST", path).form(body).host(host);
    let call = match authorization {
        Some(field) => call.header("authorization", field),
        None => call,
    };
    call.send(&world.admin).await
}

impl Acme {
    async fn new(world: World) -> Self {
        let staff = world.staff().await;
        let tenant = world.tenant(&staff, "acme").await;
        world.user(&staff, &tenant, "bob", &["admin"]).await;
        world.user(&staff, &tenant, "mia", &["member"]).await;
        let admin = world.login("acme", "bob").await;
        let made = post("/v1/machine-clients", &json!({ "name": "billing" })).bearer(&admin).send(&world.admin).await;
        let made = made.expect(201);
        assert_eq!(made.headers["cache-control"], "no-store");
        Self { client: Client::of(&made), world, staff, tenant, admin }
    }

    async fn token(&self) -> Answer {
        let basic = self.client.basic();
        form(&self.world, "/oauth/token", HOST, Some(&basic), "grant_type=client_credentials").await
    }

    async fn about(&self, token: &str) -> Value {
        let (basic, body) = (self.client.basic(), format!("token={token}"));
        form(&self.world, "/oauth/introspect", HOST, Some(&basic), &body).await.expect(200).body
    }

    async fn of(&self, method: &str, suffix: &str, token: &str) -> Answer {
        let path = format!("/v1/machine-clients/{}{suffix}", self.client.id);
        let call = if method == "POST" { post(&path, &json!({})) } else { call(method, &path) };
        call.bearer(token).send(&self.world.admin).await
    }

    async fn rotate(&self, overlap: &str) -> Answer {
        let path = format!("/v1/machine-clients/{}/rotate", self.client.id);
        post(&path, &json!({ "overlap": overlap })).bearer(&self.admin).send(&self.world.admin).await
    }
}

async fn a_client_gets_tokens_and_may_what_its_user_may(world: World) {
    let it = Acme::new(world).await;
    let answer = it.token().await.expect(200);
    assert_eq!((&answer.body["token_type"], &answer.body["expires_in"]), (&json!("Bearer"), &json!(900)));
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.body.get("refresh_token").is_none());
    let token = answer.text("access_token");
    let said = claims(&token);
    assert_eq!((&said["sub"], &said["acr"]), (&json!(it.client.user), &json!("aal1")));
    assert!(said.get("amr").is_none());
    get("/api/v1/tenant/users").bearer(&token).send(&it.world.admin).await.refused(403, "permission_denied");
    let roles = get("/v1/roles").bearer(&it.admin).send(&it.world.admin).await.expect(200);
    let role = roles.body["items"].as_array().unwrap().iter().find(|it| it["name"] == "admin").unwrap()["id"].clone();
    let body = json!({ "role_id": role, "user_id": it.client.user });
    post("/v1/role-bindings", &body).bearer(&it.admin).send(&it.world.admin).await.expect(201);
    get("/api/v1/tenant/users").bearer(&token).send(&it.world.admin).await.expect(200);
    // However many tokens it gets, they are of one session.
    let again = join_all((0..50).map(|_| it.token())).await;
    let sids: std::collections::BTreeSet<String> =
        again.into_iter().map(|answer| claims(&answer.expect(200).text("access_token"))["sid"].to_string()).collect();
    assert_eq!(sids, [said["sid"].to_string()].into());
}

#[tokio::test]
async fn a_client_gets_tokens_and_may_what_its_user_may_on_sqlite() {
    a_client_gets_tokens_and_may_what_its_user_may(World::new().await).await;
}

#[tokio::test]
async fn a_client_gets_tokens_and_may_what_its_user_may_on_postgres() {
    on_postgres(a_client_gets_tokens_and_may_what_its_user_may).await;
}

/// RFC 6749 §5.2.
#[tokio::test]
async fn what_is_wrong_is_said_in_the_words_of_oauth() {
    let it = Acme::new(World::new().await).await;
    let grant = "grant_type=client_credentials";
    let wrong = Client { secret: "wrong".into(), ..it.client.clone() }.basic();
    let nobody = Client { id: uuid::Uuid::from_u128(9).to_string(), ..it.client.clone() }.basic();
    let (basic, both) = (it.client.basic(), format!("{grant}&client_id={}&client_secret=x", it.client.id));
    for (authorization, body, status, error) in [
        (Some(&*wrong), grant, 401, "invalid_client"),
        (Some(&*nobody), grant, 401, "invalid_client"),
        (Some("Basic x"), grant, 401, "invalid_client"),
        (Some("Bearer x"), grant, 401, "invalid_client"),
        (None, grant, 401, "invalid_client"),
        (Some(&*basic), &*both, 400, "invalid_request"),
        (Some(&*basic), "", 400, "invalid_request"),
        (Some(&*basic), "grant_type=client_credentials&grant_type=client_credentials", 400, "invalid_request"),
        (Some(&*basic), "grant_type=password&username=bob&password=x", 400, "unsupported_grant_type"),
        (Some(&*basic), "grant_type=client_credentials&scope=admin", 400, "invalid_scope"),
    ] {
        let answer = form(&it.world, "/oauth/token", HOST, authorization, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body["error"].as_str()),
            (status, Some(error)),
            "{body}: {answer:?}"
        );
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    let in_form = format!("{grant}&client_id={}&client_secret={}", it.client.id, it.client.secret);
    form(&it.world, "/oauth/token", HOST, None, &in_form).await.expect(200);
    // At another tenant's hostname it is nobody.
    it.world.tenant(&it.staff, "globex").await;
    let elsewhere = form(&it.world, "/oauth/token", "globex.localhost", Some(&basic), grant).await;
    assert_eq!((elsewhere.status.as_u16(), &elsewhere.body["error"]), (401, &json!("invalid_client")));
}

#[tokio::test]
async fn a_token_is_worth_what_it_is_worth_now() {
    let it = Acme::new(World::new().await).await;
    let token = it.token().await.expect(200).text("access_token");
    let about = it.about(&token).await;
    assert_eq!(
        (&about["active"], &about["sub"], &about["tid"]),
        (&json!(true), &json!(it.client.user), &json!(it.tenant))
    );
    assert_eq!(it.about("garbage").await, json!({ "active": false }));
    // People's, too, but no other tenant's.
    let mia = it.world.login("acme", "mia").await;
    assert_eq!(it.about(&mia).await["username"], "mia");
    let globex = it.world.tenant(&it.staff, "globex").await;
    it.world.user(&it.staff, &globex, "gus", &[]).await;
    let gus = it.world.login("globex", "gus").await;
    assert_eq!(it.about(&gus).await, json!({ "active": false }));
    // It ends its own tokens and nobody else's.
    let revoke = async |token: &str| {
        let (basic, body) = (it.client.basic(), format!("token={token}&token_type_hint=access_token"));
        form(&it.world, "/oauth/revoke", HOST, Some(&basic), &body).await.expect(200)
    };
    revoke(&mia).await;
    get("/v1/me").bearer(&mia).send(&it.world.admin).await.expect(200);
    revoke("garbage").await;
    let other = it.token().await.expect(200).text("access_token");
    revoke(&token).await;
    assert_eq!(it.about(&token).await, json!({ "active": false }));
    get("/v1/me").bearer(&token).send(&it.world.admin).await.refused(401, "token_revoked");
    assert_eq!(it.about(&other).await["active"], true, "the others of the session go on");
}

#[tokio::test]
async fn a_rotated_or_deleted_client_is_out_with_all_its_tokens() {
    let mut it = Acme::new(World::new().await).await;
    let mia = it.world.login("acme", "mia").await;
    for (method, suffix) in [("GET", ""), ("POST", "/rotate"), ("DELETE", "")] {
        it.of(method, suffix, &mia).await.refused(403, "permission_denied");
    }
    let globex = it.world.tenant(&it.staff, "globex").await;
    it.world.user(&it.staff, &globex, "gus", &["admin"]).await;
    let gus = it.world.login("globex", "gus").await;
    for (method, suffix) in [("GET", ""), ("POST", "/rotate"), ("DELETE", "")] {
        it.of(method, suffix, &gus).await.refused(404, "not_found");
    }
    let token = it.token().await.expect(200).text("access_token");
    let rotated = it.rotate("0s").await.expect(200);
    assert_eq!(it.token().await.body["error"], "invalid_client");
    get("/v1/me").bearer(&token).send(&it.world.admin).await.refused(401, "token_revoked");
    it.client = Client::of(&rotated);
    let token = it.token().await.expect(200).text("access_token");
    it.of("DELETE", "", &it.admin).await.expect(204);
    assert_eq!(it.token().await.body["error"], "invalid_client");
    // The trail tells of both that are gone.
    for (action, id) in [("machine-client.deleted", &it.client.id), ("user.deleted", &it.client.user)] {
        let trail =
            get(&format!("/v1/audit?action={action}")).bearer(&it.admin).send(&it.world.admin).await.expect(200);
        assert_eq!(trail.body["items"].as_array().map(Vec::len), Some(1), "{action}: {trail:?}");
        assert_eq!(trail.body["items"][0]["target"]["id"], json!(id));
        assert_eq!(trail.body["items"][0]["tenant_id"], json!(it.tenant));
    }
    let gone = get("/v1/me").bearer(&token).send(&it.world.admin).await;
    assert_eq!(gone.status, 401, "{gone:?}");
    it.of("GET", "", &it.admin).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_rotated_secret_goes_on_for_the_overlap_and_its_tokens_do() {
    let mut it = Acme::new(World::new().await).await;
    let token = it.token().await.expect(200).text("access_token");
    it.rotate("8d").await.refused(422, "validation_failed");
    let rotated = it.rotate("1m").await.expect(200);
    assert_eq!(rotated.headers["cache-control"], "no-store");
    assert!(rotated.body["previous_until"].is_string());
    it.token().await.expect(200);
    let before = std::mem::replace(&mut it.client, Client::of(&rotated));
    it.token().await.expect(200);
    get("/v1/me").bearer(&token).send(&it.world.admin).await.expect(200);
    it.world.clock.advance(Duration::from_secs(60));
    it.admin = it.world.login("acme", "bob").await;
    it.token().await.expect(200);
    it.client = before;
    assert_eq!(it.token().await.expect(401).body["error"], "invalid_client");
}

#[tokio::test]
async fn a_program_has_nothing_that_outlives_its_secret() {
    let it = Acme::new(World::new().await).await;
    let token = it.token().await.expect(200).text("access_token");
    for path in ["/v1/auth/totp/setup", "/v1/auth/password/change", "/v1/auth/email/change/request", "/v1/me/deletion"]
    {
        let refused = post(path, &json!({})).host(HOST).bearer(&token).send(&it.world.admin).await;
        refused.refused(403, "not_for_programs");
    }
    let phone = call("PATCH", "/v1/me").json(&json!({ "phone": "+14155550100" })).bearer(&token);
    phone.send(&it.world.admin).await.refused(403, "not_for_programs");
    get("/v1/me").bearer(&token).send(&it.world.admin).await.expect(200);
    let key = post("/v1/api-keys", &json!({ "name": "k" })).bearer(&token).send(&it.world.admin).await;
    key.refused(403, "not_for_programs");
    // Nor does anybody give it something.
    let key = json!({ "name": "k", "owner_id": it.client.user });
    post("/v1/api-keys", &key).bearer(&it.admin).send(&it.world.admin).await.refused(409, "user_is_program");
    let hostnames = get("/v1/hostnames").bearer(&it.admin).send(&it.world.admin).await.expect(200);
    let binding = json!({
        "hostname_id": hostnames.body["items"][0]["id"], "kind": "dns", "value": "robot.example", "user_id": it.client.user,
    });
    let bound = post("/v1/certificate-bindings", &binding).bearer(&it.admin).send(&it.world.admin).await;
    bound.refused(409, "user_is_program");
}

/// An administrator may give its user a password; that is no way in.
#[tokio::test]
async fn no_person_signs_in_as_a_program() {
    let it = Acme::new(World::new().await).await;
    let path = format!("/api/v1/tenant/users/{}/reset-password", it.client.user);
    let body = json!({ "password": "Another-horse-2" });
    post(&path, &body).bearer(&it.admin).send(&it.world.admin).await.expect(200);
    let name = format!("client-{}", it.client.id);
    let complete = json!({ "username": name, "password": "Another-horse-2", "new_password": "Third-horse-33" });
    let completed = post("/v1/auth/password/complete", &complete).host(HOST).send(&it.world.admin).await;
    assert_ne!(completed.status, 200, "{completed:?}");
    for password in ["Another-horse-2", "Third-horse-33"] {
        assert_ne!(it.world.try_login("acme", &name, password).await.status, 200);
    }
    it.token().await.expect(200);
}

#[tokio::test]
async fn wrong_secrets_are_counted_by_where_they_come_from_and_right_ones_are_not() {
    let it = Acme::new(World::new().await).await;
    let wrong = Client { secret: "wrong".into(), ..it.client.clone() }.basic();
    let guess = async |authorization: &str| {
        let assertion = it.world.assertion("POST", "/oauth/token", HOST, Some(&it.tenant)).await;
        let call = call("POST", "/oauth/token").form("grant_type=client_credentials").host(HOST);
        let call = call.header("authorization", authorization).header("x-md-global-assertion", &assertion);
        call.send(&it.world.public).await
    };
    guess(&it.client.basic()).await.expect(200);
    for _ in 0..30 {
        assert_eq!(guess(&wrong).await.expect(401).body["error"], "invalid_client");
    }
    let refused = guess(&wrong).await.refused(429, "rate_limited");
    assert!(refused.headers.contains_key("retry-after"));
    guess(&it.client.basic()).await.expect(200);
    let trail =
        get("/v1/audit?action=client_refused&limit=100").bearer(&it.admin).send(&it.world.admin).await.expect(200);
    assert_eq!(trail.body["items"].as_array().unwrap().len(), 30, "each is told, and no more than are let through");
}

#[tokio::test]
async fn beyond_the_bound_a_wrong_secret_is_not_looked_up() {
    let it = Acme::new(World::new().await).await;
    let context = RequestContext {
        listener: Listener::Public,
        request_id: new_id(&*it.world.app.clock),
        client: Some("192.0.2.99".parse().unwrap()),
        user_agent: None,
        host: None,
        project: None,
        asserted: None,
        proven: None,
    };
    let shown = |secret: &str| ClientCredentials {
        id: it.client.id.parse().unwrap(),
        secret: domain::Secret::new(secret.to_owned()),
    };
    let known = async |secret: &str| known_client(&it.world.app, &context, &shown(secret)).await;
    for _ in 0..30 {
        assert!(matches!(known("wrong").await, Err(AppError::CredentialsInvalid)));
    }
    let before = it.world.app.store.statements();
    for secret in ["wrong", "another", &it.client.secret] {
        assert!(matches!(known(secret).await, Err(AppError::RateLimited { .. })), "nobody was known here before");
    }
    assert_eq!(it.world.app.store.statements(), before);
    it.world.clock.advance(Duration::from_secs(60));
    known(&it.client.secret).await.unwrap();
    // From now on it is not held up by who guesses; another secret of the same client is.
    while !matches!(known("wrong").await, Err(AppError::RateLimited { .. })) {}
    known(&it.client.secret).await.unwrap();
    let before = it.world.app.store.statements();
    assert!(matches!(known("another").await, Err(AppError::RateLimited { .. })));
    assert_eq!(it.world.app.store.statements(), before);
}

/// What is ended is remembered by every gateway: a loop of it is everybody's.
#[tokio::test]
async fn a_client_gets_and_ends_so_many_tokens_a_minute() {
    let it = Acme::new(World::new().await).await;
    for _ in 0..120 {
        it.token().await.expect(200);
    }
    it.token().await.refused(429, "rate_limited");
    it.world.clock.advance(Duration::from_secs(60));
    it.token().await.expect(200);
}

#[tokio::test]
async fn a_client_that_administers_is_no_tenants_last_administrator() {
    let it = Acme::new(World::new().await).await;
    let roles = get("/v1/roles").bearer(&it.admin).send(&it.world.admin).await.expect(200);
    let role = roles.body["items"].as_array().unwrap().iter().find(|it| it["name"] == "admin").unwrap()["id"].clone();
    let bind = json!({ "role_id": role, "user_id": it.client.user });
    post("/v1/role-bindings", &bind).bearer(&it.admin).send(&it.world.admin).await.expect(201);
    let me = get("/v1/me").bearer(&it.admin).send(&it.world.admin).await.expect(200).id();
    let path = format!("/v1/role-bindings?user_id={me}");
    let bindings = get(&path).bearer(&it.admin).send(&it.world.admin).await.expect(200);
    let binding = format!("/v1/role-bindings/{}", bindings.body["items"][0]["id"].as_str().unwrap());
    call("DELETE", &binding).bearer(&it.admin).send(&it.world.admin).await.refused(409, "last_admin");
}

#[tokio::test]
async fn clients_are_listed_found_and_told_of() {
    let it = Acme::new(World::new().await).await;
    let make = async |name: &str| {
        post("/v1/machine-clients", &json!({ "name": name })).bearer(&it.admin).send(&it.world.admin).await
    };
    make("Orders").await.expect(201);
    make("BILLING").await.refused(409, "already_exists");
    for wrong in ["", " x", "a\u{0}b", "a\nb", &"x".repeat(129)] {
        make(wrong).await.refused(422, "validation_failed");
    }
    let list = async |query: &str| {
        let path = format!("/v1/machine-clients?sort=name&{query}");
        let found = get(&path).bearer(&it.admin).send(&it.world.admin).await.expect(200);
        let items = found.body["items"].as_array().unwrap().clone();
        assert!(items.iter().all(|it| it.get("secret").is_none() && it.get("secret_hash").is_none()));
        items.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("").await, ["billing", "Orders"]);
    assert_eq!(list("search=ORD").await, ["Orders"]);
    assert_eq!(list("limit=1").await, ["billing"]);
    let trail =
        get("/v1/audit?action=machine-client.created").bearer(&it.admin).send(&it.world.admin).await.expect(200);
    assert_eq!(trail.body["items"].as_array().unwrap().len(), 2, "{trail:?}");
    assert!(!trail.body.to_string().contains(&it.client.secret));
}
