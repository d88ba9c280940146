//! `Idempotency-Key`.

use std::sync::Arc;

use control_api::{App, router};
use serde_json::{Value, json};

use crate::support::{Answer, World, call, get, on_postgres, on_postgres_beside, post};

#[tokio::test]
async fn a_create_with_one_key_is_done_once() {
    let world = World::new().await;
    let staff = world.staff().await;
    let body = json!({ "code": "acme", "name": "Acme" });
    let create = || post("/v1/customers", &body).bearer(&staff).header("idempotency-key", "k1");
    let first = create().send(&world.admin).await.expect(201);
    let second = create().send(&world.admin).await.expect(201);
    assert_eq!(first.body, second.body);
    assert_eq!(first.headers["location"], second.headers["location"]);
    assert_eq!(second.headers["idempotency-replayed"], "true");
    let other = post("/v1/customers", &json!({ "code": "other", "name": "Acme" })).bearer(&staff);
    other.header("idempotency-key", "k1").send(&world.admin).await.refused(422, "idempotency_key_reused");
    post("/v1/customers", &body).bearer(&staff).send(&world.admin).await.refused(409, "already_exists");
}

/// One at a time in this process, one at all in others: the second router knows nothing of the first one's turns.
async fn many_at_once(world: World) {
    let staff = world.staff().await;
    let body = json!({ "code": "acme", "name": "Acme" });
    let store = world.app.store.clone();
    let hub = Arc::clone(&world.app.hub);
    let other = App::over(world.app.config.clone(), store, hub, Arc::clone(&world.app.clock)).unwrap();
    let replicas = [world.admin.clone(), router::admin(&other)];
    let create = |n: usize| {
        let call = post("/v1/customers", &body).bearer(&staff).header("idempotency-key", "k1");
        let replica = replicas[n % 2].clone();
        async move { call.send(&replica).await }
    };
    let all: Vec<Answer> = futures::future::join_all((0..16).map(create)).await;
    let made = all.iter().find(|answer| answer.status == 201).unwrap().id();
    for answer in &all {
        // Of another replica's it may be known already that it was done, and not yet what was answered.
        match answer.status.as_u16() {
            201 => assert_eq!(answer.id(), made),
            _ => assert_eq!((answer.status.as_u16(), answer.code()), (409, "idempotency_unanswered"), "{answer:?}"),
        }
    }
    let replayed = create(1).await.expect(201);
    assert_eq!((replayed.id(), &replayed.headers["idempotency-replayed"]), (made, &"true".parse().unwrap()));
    let listed = get("/v1/customers?search=acme").bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
    let trail = get("/v1/audit?action=customer.created").bearer(&staff).send(&world.admin).await;
    let told = trail.body["items"].as_array().into_iter().flatten().filter(|it| it["target"]["name"] == "acme").count();
    assert!(told <= 1, "{trail:?}");
}

#[tokio::test]
async fn of_many_at_once_with_one_key_one_is_done_on_sqlite() {
    many_at_once(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_with_one_key_one_is_done_on_postgres() {
    on_postgres(many_at_once).await;
}

#[tokio::test]
async fn a_key_without_a_principal_does_nothing() {
    let world = World::new().await;
    let create = post("/v1/customers", &json!({ "code": "acme", "name": "Acme" })).header("idempotency-key", "k1");
    create.send(&world.admin).await.refused(401, "credential_missing");
    // One that is none says nothing to nobody.
    let broken = "k".repeat(256);
    let body = json!({ "code": "acme", "name": "Acme" });
    let create = || post("/v1/customers", &body).header("idempotency-key", &broken);
    create().send(&world.admin).await.refused(401, "credential_missing");
    let staff = world.staff().await;
    let refused = create().bearer(&staff).send(&world.admin).await.refused(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["pointer"], "!idempotency-key");
}

/// An administrator of `acme` who made a role with a key.
struct Made {
    world: World,
    staff: String,
    tenant: String,
    owner: String,
    ada: String,
    made: Answer,
}

impl Made {
    async fn new() -> Self {
        let world = World::new().await;
        let staff = world.staff().await;
        let tenant = world.tenant(&staff, "acme").await;
        world.user(&staff, &tenant, "gus", &["owner"]).await;
        let owner = world.user(&staff, &tenant, "ada", &["owner"]).await;
        let ada = world.login("acme", "ada").await;
        let made = Self::call().bearer(&ada).send(&world.admin).await.expect(201);
        Self { world, staff, tenant, owner, ada, made }
    }

    fn call() -> crate::support::Call {
        let role = json!({ "name": "clerk", "permissions": ["orders:order:list"] });
        post("/v1/roles", &role).header("idempotency-key", "once")
    }

    async fn again(&self) -> Answer {
        Self::call().bearer(&self.ada).send(&self.world.admin).await
    }
}

#[tokio::test]
async fn a_replay_is_refused_to_who_lost_the_right_meanwhile() {
    let it = Made::new().await;
    assert_eq!(it.again().await.expect(201).id(), it.made.id());
    let bindings = format!("/v1/role-bindings?tenant_id={}&user_id={}", it.tenant, it.owner);
    let held = get(&bindings).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    for binding in held.body["items"].as_array().unwrap() {
        let path = format!("/v1/role-bindings/{}?tenant_id={}", binding["id"].as_str().unwrap(), it.tenant);
        call("DELETE", &path).bearer(&it.staff).send(&it.world.admin).await.expect(204);
    }
    let refused = it.again().await.refused(403, "permission_denied");
    assert!(!refused.body.to_string().contains(&it.made.id()), "{refused:?}");
}

#[tokio::test]
async fn a_replay_is_refused_to_a_token_that_was_revoked_and_in_a_tenant_that_was_suspended() {
    let it = Made::new().await;
    let suspend = format!("/v1/tenants/{}/suspend", it.tenant);
    post(&suspend, &Value::Null).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    it.again().await.refused(403, "tenant_suspended");
    let resume = format!("/v1/tenants/{}/resume", it.tenant);
    post(&resume, &Value::Null).bearer(&it.staff).send(&it.world.admin).await.expect(200);
    it.again().await.expect(201);
    let out = format!("/v1/tenants/{}/users/{}/logout", it.tenant, it.owner);
    post(&out, &Value::Null).bearer(&it.staff).send(&it.world.admin).await.expect(204);
    it.again().await.refused(401, "token_revoked");
}

#[tokio::test]
async fn nobody_is_answered_what_another_was() {
    let it = Made::new().await;
    let gus = it.world.login("acme", "gus").await;
    Made::call().bearer(&gus).send(&it.world.admin).await.refused(409, "already_exists");
}

#[tokio::test]
async fn what_failed_takes_no_key() {
    let world = World::new().await;
    let staff = world.staff().await;
    let create = |code: &str| {
        post("/v1/customers", &json!({ "code": code, "name": "Acme" })).bearer(&staff).header("idempotency-key", "k1")
    };
    post("/v1/customers", &json!({ "code": "taken", "name": "x" })).bearer(&staff).send(&world.admin).await.expect(201);
    create("taken").send(&world.admin).await.refused(409, "already_exists");
    create("").send(&world.admin).await.refused(422, "validation_failed");
    create("free").send(&world.admin).await.expect(201);
}

/// What a secret is shown by is done once, and shown once.
#[tokio::test]
async fn a_secret_is_shown_once_under_one_key() {
    let it = Made::new().await;
    let hook = json!({ "url": "https://example.com/x", "events": ["*"] });
    let make = || post("/v1/webhooks", &hook).bearer(&it.ada).header("idempotency-key", "hook");
    let first = make().send(&it.world.admin).await.expect(201);
    let second = make().send(&it.world.admin).await.refused(409, "shown_once");
    assert!(!second.body.to_string().contains(&first.text("secret")));
    let listed = get("/v1/webhooks").bearer(&it.ada).send(&it.world.admin).await.expect(200);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 1);
}

/// A 200 says that no gateway accepts it any more: that is never an answer of yesterday.
#[tokio::test]
async fn what_takes_something_away_is_done_anew_under_one_key() {
    let it = Made::new().await;
    let path = format!("/v1/tenants/{}/users/{}/disable", it.tenant, it.owner);
    for _ in 0..2 {
        let call = post(&path, &Value::Null).bearer(&it.staff).header("idempotency-key", "off");
        let answer = call.send(&it.world.admin).await.expect(200);
        assert!(!answer.headers.contains_key("idempotency-replayed"));
    }
}

/// A process that died after its change and before its answer leaves the claim: nobody makes the change again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_and_never_answered_is_not_done_again() {
    on_postgres_beside(|world, client| async move {
        let staff = world.staff().await;
        let body = json!({ "code": "acme", "name": "Acme" });
        let create = || post("/v1/customers", &body).bearer(&staff).header("idempotency-key", "k1");
        let made = create().send(&world.admin).await.expect(201);
        assert_eq!(client.execute("UPDATE idempotency_keys SET status = 0", &[]).await.unwrap(), 1);
        let again = create().send(&world.admin).await.refused(409, "idempotency_unanswered");
        assert!(!again.body.to_string().contains(&made.id()));
    })
    .await;
}

/// A program's key is as good as a person's, and its own.
#[tokio::test]
async fn an_event_that_a_program_reports_with_one_key_is_one() {
    let it = Made::new().await;
    let program = async |name: &str| {
        let key = json!({ "name": name, "scopes": ["tenant:audit:create"] });
        let made = post("/v1/api-keys", &key).bearer(&it.ada).send(&it.world.admin).await.expect(201);
        (made.id(), made.text("secret"))
    };
    let ((id, one), (_, other)) = (program("one").await, program("other").await);
    let event =
        |action: &str| json!({ "action": action, "crud": "u", "group": { "id": "eu" }, "actor": { "id": "emp-7" } });
    let report = async |bearer: &str, action: &str| {
        let call = post("/v1/audit", &event(action)).bearer(bearer).header("idempotency-key", "k1");
        call.send(&it.world.admin).await
    };
    let first = report(&one, "order.approved").await.expect(201);
    let again = report(&one, "order.approved").await.expect(201);
    assert_eq!((again.id(), &again.headers["idempotency-replayed"]), (first.id(), &"true".parse().unwrap()));
    report(&one, "order.declined").await.refused(422, "idempotency_key_reused");
    for bearer in [&other, &it.ada] {
        assert_ne!(report(bearer, "order.approved").await.expect(201).id(), first.id(), "it is each one's own");
    }
    while it.world.app.store.chain_audit(100).await.unwrap() > 0 {}
    let trail = get("/v1/audit?action=order.approved").bearer(&it.ada).send(&it.world.admin).await.expect(200);
    assert_eq!(trail.body["items"].as_array().unwrap().len(), 3);
    let path = format!("/v1/api-keys/{id}");
    call("DELETE", &path).bearer(&it.ada).send(&it.world.admin).await.expect(204);
    let refused = report(&one, "order.approved").await;
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(!refused.body.to_string().contains(&first.id()));
}

/// Of one principal so many keys are kept and so many bytes, whatever it asks; of others none the less.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_one_principal_is_bounded() {
    on_postgres_beside(|world, client| async move {
        let staff = world.staff().await;
        let create = async |code: &str, key: &str| {
            let body = json!({ "code": code, "name": code });
            post("/v1/customers", &body).bearer(&staff).header("idempotency-key", key).send(&world.admin).await
        };
        let made = create("first", "k1").await.expect(201);
        let fill = "INSERT INTO idempotency_keys (principal, path, key, body_hash, status, response_enc, at)
                    SELECT principal, path, 'more-' || n, body_hash, status, response_enc, at
                    FROM idempotency_keys, generate_series(2, 10000) AS n WHERE key = 'k1'";
        assert_eq!(client.execute(fill, &[]).await.unwrap(), 9_999);
        create("second", "k2").await.refused(409, "idempotency_keys_exhausted");
        assert_eq!(create("first", "k1").await.expect(201).id(), made.id(), "what is kept is answered");
        let body = json!({ "code": "second", "name": "second" });
        post("/v1/customers", &body).bearer(&staff).send(&world.admin).await.expect(201);
        client.execute("DELETE FROM idempotency_keys WHERE key LIKE 'more-%'", &[]).await.unwrap();

        let large = "INSERT INTO idempotency_keys (principal, path, key, body_hash, status, response_enc, at)
                     SELECT principal, path, 'large', body_hash, status, decode(repeat('00', 8388608), 'hex'), at
                     FROM idempotency_keys WHERE key = 'k1'";
        client.execute(large, &[]).await.unwrap();
        let third = create("third", "k3").await.expect(201);
        let again = create("third", "k3").await.refused(409, "shown_once");
        assert!(again.text("detail").contains(&third.id()), "it says where: {again:?}");
        let tenant = world.tenant(&staff, "acme").await;
        world.user(&staff, &tenant, "ada", &["owner"]).await;
        let ada = world.login("acme", "ada").await;
        let role = json!({ "name": "clerk", "permissions": ["orders:order:list"] });
        for _ in 0..2 {
            let call = post("/v1/roles", &role).bearer(&ada).header("idempotency-key", "k1");
            call.send(&world.admin).await.expect(201);
        }
    })
    .await;
}
