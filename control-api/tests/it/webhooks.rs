//! Webhooks: who manages them, what arrives, and what becomes of what does not.

use std::{sync::Arc, time::Duration};

use authz::Scope;
use base64::{Engine, engine::general_purpose::STANDARD};
use control_api::{
    Config,
    webhooks::{self, send::Sender},
};
use domain::{
    Clock,
    audit::{Actor, ActorKind, AuditEntry, Crud, Origin, Target},
};
use serde_json::{Value, json};
use store::{StoreError, read::*};

use crate::{
    receiver::{Received, Receiver},
    support::{Answer, World, call, get, on_postgres_with, post},
};

fn config() -> Config {
    let mut config = Config::default();
    config.webhooks.on_loopback = true;
    config.webhooks.timeout = domain::HumanDuration::from_secs(1);
    config
}

struct Hooked {
    world: World,
    staff: String,
    acme: String,
    /// An administrator of `acme`.
    ada: String,
    sender: Arc<Sender>,
}

impl Hooked {
    async fn over(world: World) -> Self {
        let staff = world.staff().await;
        let acme = world.tenant(&staff, "acme").await;
        world.user(&staff, &acme, "ada", &["owner"]).await;
        let ada = world.login("acme", "ada").await;
        let sender = Arc::new(Sender::new(&world.app.config.webhooks).unwrap());
        Self { world, staff, acme, ada, sender }
    }

    async fn make(&self, url: &str, events: &[&str]) -> Answer {
        let body = json!({ "url": url, "events": events });
        post("/v1/webhooks", &body).bearer(&self.ada).send(&self.world.admin).await
    }

    async fn act(&self, method: &str, path: &str, body: &Value) -> Answer {
        call(method, path).json(body).bearer(&self.ada).send(&self.world.admin).await
    }

    /// Makes a role, which is an event.
    async fn event(&self, name: &str) {
        let role = json!({ "name": name, "permissions": ["orders:order:list"] });
        self.act("POST", "/v1/roles", &role).await.expect(201);
        self.chain().await;
    }

    /// So many events of the tenant that no webhook here wants.
    async fn others(&self, many: usize) {
        let tenant: domain::TenantId = self.acme.parse().unwrap();
        let project = self.world.app.store.tenant(tenant).await.unwrap().unwrap().project_id;
        let entry = &AuditEntry {
            action: "login_failure".into(),
            crud: Crud::C,
            target: Target { kind: "user".into(), id: String::new(), name: String::new() },
            project_id: Some(project),
            tenant_id: Some(tenant),
            is_failure: true,
            fields: json!({}),
        };
        let actor = &Actor { kind: ActorKind::Anonymous, id: None, name: String::new() };
        let written =
            self.world.app.store.write_session(Scope::Platform, self.world.clock.unix_now(), |tx| async move {
                for _ in 0..many {
                    tx.record(actor, &Origin::default(), entry).await?;
                }
                Ok::<_, StoreError>(())
            });
        written.await.unwrap();
    }

    async fn chain(&self) {
        while self.world.app.store.chain_audit(100).await.unwrap() > 0 {}
        webhooks::announce_due(&self.world.app).await.unwrap();
    }

    async fn deliver(&self) -> usize {
        webhooks::deliver_due(&self.world.app, &self.sender).await.unwrap()
    }

    async fn deliveries(&self, id: &str) -> Vec<Value> {
        let path = format!("/v1/webhooks/{id}/deliveries");
        let page = get(&path).bearer(&self.ada).send(&self.world.admin).await.expect(200);
        page.body["items"].as_array().unwrap().clone()
    }
}

/// Whether a delivery is signed with this secret, as a receiver checks it.
fn signed(it: &Received, secret: &str) -> bool {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
    let mut text = format!("{}.{}.", it.header("webhook-id"), it.header("webhook-timestamp")).into_bytes();
    text.extend_from_slice(&it.raw);
    it.header("webhook-signature").split(' ').any(|one| {
        let tag = STANDARD.decode(one.strip_prefix("v1,").unwrap()).unwrap();
        aws_lc_rs::hmac::verify(&key, &text, &tag).is_ok()
    })
}

async fn an_event_arrives_signed_and_again_until_it_is_taken(world: World) {
    let (hooked, receiver) = (Hooked::over(world).await, Receiver::start().await);
    let made = hooked.make(&receiver.url(), &["role.*"]).await.expect(201);
    let (id, secret) = (made.id(), made.text("secret"));
    receiver.answer(500);
    hooked.event("clerk").await;
    assert_eq!(hooked.deliver().await, 1);
    assert_eq!(hooked.deliver().await, 0, "not before the pause is over");
    let first = receiver.received().remove(0);
    assert!(signed(&first, &secret) && !signed(&first, "whsec_AAAA"));
    assert_eq!((&first.body["type"], &first.body["data"]["target"]["name"]), (&json!("role.created"), &json!("clerk")));
    assert_eq!(first.header("content-type"), "application/json");
    let waiting = hooked.deliveries(&id).await.remove(0);
    assert_eq!((&waiting["state"], &waiting["status"]), (&json!("pending"), &json!(500)));

    receiver.answer(204);
    hooked.world.clock.advance(Duration::from_secs(3600));
    let ada = hooked.world.login("acme", "ada").await;
    let hooked = Hooked { ada, ..hooked };
    assert_eq!(hooked.deliver().await, 1);
    let second = receiver.received().remove(1);
    assert_eq!(second.header("webhook-id"), first.header("webhook-id"), "the same event");
    assert_ne!(second.header("webhook-timestamp"), first.header("webhook-timestamp"));
    assert!(signed(&second, &secret));
    let taken = hooked.deliveries(&id).await.remove(0);
    assert_eq!(
        (&taken["state"], &taken["attempts"], &taken["next_at"]),
        (&json!("delivered"), &json!(2), &Value::Null)
    );

    let replayed =
        hooked.act("POST", &format!("/v1/webhooks/{id}/replay"), &json!({ "delivery_id": taken["id"] })).await;
    assert_eq!(replayed.expect(200).body["replayed"], 1);
    assert_eq!(hooked.deliver().await, 1);
    assert_eq!(receiver.received()[2].header("webhook-id"), first.header("webhook-id"));
}

#[tokio::test]
async fn on_sqlite_an_event_arrives_signed_and_again_until_it_is_taken() {
    an_event_arrives_signed_and_again_until_it_is_taken(World::with(config()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_an_event_arrives_signed_and_again_until_it_is_taken() {
    on_postgres_with(config(), an_event_arrives_signed_and_again_until_it_is_taken).await;
}

#[tokio::test]
async fn a_secret_that_is_asked_for_twice_is_said_once() {
    let hooked = Hooked::over(World::with(config()).await).await;
    let ask = async || {
        let body = json!({ "url": "https://ops.acme.example/hook", "events": ["*"] });
        let ask = post("/v1/webhooks", &body).bearer(&hooked.ada).header("idempotency-key", "w-1");
        ask.send(&hooked.world.admin).await
    };
    assert!(ask().await.expect(201).text("secret").starts_with("whsec_"));
    ask().await.refused(409, "shown_once");
}

/// A process that dies between claiming and noting: the next one sends it again, and of two that live one sends it.
async fn what_a_process_took_with_it_is_sent_by_another(world: World) {
    let (hooked, receiver) = (Hooked::over(world).await, Receiver::start().await);
    let id = hooked.make(&receiver.url(), &["role.*"]).await.expect(201).id();
    hooked.event("clerk").await;
    let (app, clock) = (&hooked.world.app, &hooked.world.clock);
    let killed = app.store.write_session(authz::Scope::Platform, clock.unix_now(), |tx| async move {
        tx.claim_deliveries(10, Duration::from_secs(30), (domain::Id::new(uuid::Uuid::nil()), &[])).await
    });
    let killed: Vec<domain::model::Delivery> = killed.await.map_err(|error: store::StoreError| error).unwrap();
    assert_eq!((killed.len(), hooked.deliver().await), (1, 0));
    clock.advance(Duration::from_secs(31));
    let (one, two) = tokio::join!(hooked.deliver(), hooked.deliver());
    assert_eq!((one + two, receiver.received().len()), (1, 1));
    assert_eq!(hooked.deliveries(&id).await[0]["state"], "delivered");
}

#[tokio::test]
async fn on_sqlite_what_a_process_took_with_it_is_sent_by_another() {
    what_a_process_took_with_it_is_sent_by_another(World::with(config()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_what_a_process_took_with_it_is_sent_by_another() {
    on_postgres_with(config(), what_a_process_took_with_it_is_sent_by_another).await;
}

/// Names of the roles that a receiver was told of, sorted.
fn told(receiver: &Receiver) -> Vec<String> {
    let name = |it: Received| it.body["data"]["target"]["name"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = receiver.received().into_iter().map(name).collect();
    names.sort();
    names
}

async fn what_happens_while_a_webhook_is_disabled_is_not_told(world: World) {
    let (hooked, receiver) = (Hooked::over(world).await, Receiver::start().await);
    let id = hooked.make(&receiver.url(), &["role.*"]).await.expect(201).id();
    let path = format!("/v1/webhooks/{id}");
    // More than are announced in one part, of which the last concerns it.
    hooked.others(600).await;
    let role = json!({ "name": "before", "permissions": ["orders:order:list"] });
    hooked.act("POST", "/v1/roles", &role).await.expect(201);
    while hooked.world.app.store.chain_audit(100).await.unwrap() > 0 {}
    // Nobody has looked at the chain since.
    let disabled = hooked.act("PATCH", &path, &json!({ "enabled": false })).await.expect(200);
    assert_eq!(disabled.body["disabled_by"], "request");
    hooked.event("meanwhile").await;
    assert_eq!(hooked.deliver().await, 0, "nothing is sent to it");
    hooked.act("PATCH", &path, &json!({ "enabled": true })).await.expect(200);
    hooked.event("after").await;
    while hooked.deliver().await > 0 {}
    assert_eq!(told(&receiver), ["after", "before"]);
    let log: Vec<Value> = hooked.deliveries(&id).await.iter().map(|it| it["state"].clone()).collect();
    assert_eq!(log, [json!("delivered"), json!("delivered")], "there is no delivery of what happened meanwhile");
    let since = disabled.text("disabled_at");
    let missed = get(&format!("/v1/audit?action=role.created&since={since}")).bearer(&hooked.ada);
    let missed = missed.send(&hooked.world.admin).await.expect(200);
    let missed: Vec<&Value> = missed.body["items"].as_array().unwrap().iter().map(|it| &it["target"]["name"]).collect();
    assert!(missed.contains(&&json!("meanwhile")), "the trail has it: {missed:?}");
}

#[tokio::test]
async fn on_sqlite_what_happens_while_a_webhook_is_disabled_is_not_told() {
    what_happens_while_a_webhook_is_disabled_is_not_told(World::with(config()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_what_happens_while_a_webhook_is_disabled_is_not_told() {
    on_postgres_with(config(), what_happens_while_a_webhook_is_disabled_is_not_told).await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else_and_is_disabled_in_the_end() {
    // Long enough that the other one answers in time on a busy machine: one that once does not is failing, too.
    let mut config = config();
    config.webhooks.timeout = domain::HumanDuration::from_secs(5);
    let hooked = Hooked::over(World::with(config).await).await;
    let (slow, quick) = (Receiver::silent().await, Receiver::start().await);
    let hung = hooked.make(&slow.url(), &["role.*"]).await.expect(201).id();
    hooked.make(&quick.url(), &["role.*"]).await.expect(201);
    for n in 0..6 {
        hooked.event(&format!("clerk-{n}")).await;
    }
    assert_eq!(hooked.deliver().await, 8, "four of each");
    assert_eq!(quick.received().len(), 4);
    hooked.world.clock.advance(Duration::from_secs(3 * 86_400 + 1));
    let ada = hooked.world.login("acme", "ada").await;
    let hooked = Hooked { ada, ..hooked };
    hooked.deliver().await;
    let path = format!("/v1/webhooks/{hung}");
    let stopped = get(&path).bearer(&hooked.ada).send(&hooked.world.admin).await.expect(200);
    assert_eq!((&stopped.body["enabled"], &stopped.body["disabled_by"]), (&json!(false), &json!("failures")));
    let events = get("/v1/audit?action=webhook.disabled").bearer(&hooked.ada).send(&hooked.world.admin).await;
    let events = events.expect(200);
    assert_eq!(events.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(events.body["items"][0]["actor"]["type"], "system");
    // Enabled again it gets what waits, and what comes.
    let enabled = hooked.act("PATCH", &path, &json!({ "enabled": true, "url": quick.url() })).await.expect(200);
    assert_eq!((&enabled.body["enabled"], &enabled.body["failing_since"]), (&json!(true), &Value::Null));
    hooked.event("late").await;
    quick.forget();
    while hooked.deliver().await > 0 {}
    let types: Vec<Value> = quick.received().iter().map(|it| it.body["data"]["target"]["name"].clone()).collect();
    assert!(types.iter().filter(|name| *name == "late").count() == 2, "{types:?}");
}

#[tokio::test]
async fn a_rotated_secret_signs_beside_the_one_before_for_a_while() {
    let (hooked, receiver) = (Hooked::over(World::with(config()).await).await, Receiver::start().await);
    let made = hooked.make(&receiver.url(), &["role.*"]).await.expect(201);
    let path = format!("/v1/webhooks/{}", made.id());
    let old = made.text("secret");
    let rotated = hooked.act("POST", &format!("{path}/rotate"), &json!({ "overlap": "10m" })).await.expect(200);
    let new = rotated.text("secret");
    assert_ne!(old, new);
    let shown = get(&path).bearer(&hooked.ada).send(&hooked.world.admin).await.expect(200);
    assert!(!shown.body.to_string().contains("whsec_"));
    hooked.event("one").await;
    hooked.deliver().await;
    let both = receiver.received().remove(0);
    assert!(signed(&both, &old) && signed(&both, &new));
    hooked.world.clock.advance(Duration::from_secs(601));
    hooked.event("two").await;
    hooked.deliver().await;
    let only = receiver.received().remove(1);
    assert!(!signed(&only, &old) && signed(&only, &new));
    let long = hooked.act("POST", &format!("{path}/rotate"), &json!({ "overlap": "8d" })).await;
    long.refused(422, "validation_failed");
}

/// SSRF: a tenant's text decides where we knock.
#[tokio::test]
async fn no_webhook_leads_into_our_own_network() {
    let hooked = Hooked::over(World::new().await).await;
    for url in [
        "http://example.com/hook",
        "https://user:password@example.com/hook",
        "https://example.com/hook#x",
        "ftp://example.com/hook",
        "file:///etc/passwd",
        "example.com",
        "",
    ] {
        hooked.make(url, &["*"]).await.refused(422, "validation_failed");
    }
    // What a name leads to is looked at when it is connected to.
    for url in [
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://2130706433/hook",
        "https://[::1]/hook",
        "https://[::ffff:10.0.0.1]/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest/meta-data",
    ] {
        let id = hooked.make(url, &["role.*"]).await.expect(201).id();
        hooked.event(&format!("r{}", id.len() + url.len())).await;
        hooked.deliver().await;
        let delivery = hooked.deliveries(&id).await.remove(0);
        assert!(delivery["error"].as_str().unwrap().contains("may not be spoken to"), "{url}: {delivery}");
        assert_eq!(delivery["status"], Value::Null);
        call("DELETE", &format!("/v1/webhooks/{id}")).bearer(&hooked.ada).send(&hooked.world.admin).await.expect(204);
        let roles = get("/v1/roles").bearer(&hooked.ada).send(&hooked.world.admin).await.expect(200);
        for role in roles.body["items"].as_array().unwrap().iter().filter(|it| it["builtin"] == false) {
            let path = format!("/v1/roles/{}", role["id"].as_str().unwrap());
            call("DELETE", &path).bearer(&hooked.ada).send(&hooked.world.admin).await.expect(204);
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_our_own_doors_are_not_knocked_at() {
    let (hooked, receiver) = (Hooked::over(World::with(config()).await).await, Receiver::start().await);
    let id = hooked.make(&receiver.url(), &["role.*"]).await.expect(201).id();
    receiver.answer(302);
    hooked.event("clerk").await;
    hooked.deliver().await;
    assert_eq!(hooked.deliveries(&id).await[0]["error"], "the receiver answers 302");
    // The same address as a door of ours.
    receiver.answer(204);
    hooked.world.app.add_door(control_api::config::ListenAddress::Tcp(receiver.address));
    hooked.event("other").await;
    receiver.forget();
    hooked.deliver().await;
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn who_reads_no_trail_makes_no_webhook_and_nobody_sees_anothers() {
    let (hooked, receiver) = (Hooked::over(World::with(config()).await).await, Receiver::start().await);
    let (world, staff) = (&hooked.world, &hooked.staff);
    let id = hooked.make(&receiver.url(), &["*"]).await.expect(201).id();
    let role = json!({ "name": "hooker", "permissions": ["tenant:webhook:*"] });
    let role = hooked.act("POST", "/v1/roles", &role).await.expect(201).id();
    let bob = world.user(staff, &hooked.acme, "bob", &["member"]).await;
    hooked.act("POST", "/v1/role-bindings", &json!({ "role_id": role, "user_id": bob })).await.expect(201);
    let bob = world.login("acme", "bob").await;
    let body = json!({ "url": receiver.url(), "events": ["*"] });
    post("/v1/webhooks", &body).bearer(&bob).send(&world.admin).await.refused(403, "permission_denied");
    let path = format!("/v1/webhooks/{id}");
    let moved = call("PATCH", &path).json(&json!({ "url": receiver.url() })).bearer(&bob).send(&world.admin).await;
    moved.refused(403, "permission_denied");
    get("/v1/webhooks").bearer(&bob).send(&world.admin).await.expect(200);

    let globex = world.tenant(staff, "globex").await;
    world.user(staff, &globex, "gus", &["owner"]).await;
    let gus = world.login("globex", "gus").await;
    for (method, path, body) in [
        ("GET", path.clone(), None),
        ("PATCH", path.clone(), Some(json!({}))),
        ("DELETE", path.clone(), None),
        ("POST", format!("{path}/rotate"), Some(json!({}))),
        ("GET", format!("{path}/deliveries"), None),
        ("POST", format!("{path}/replay"), Some(json!({ "since": "2026-01-01T00:00:00Z" }))),
        ("GET", format!("/v1/webhooks?tenant_id={}", hooked.acme), None),
    ] {
        let mut request = call(method, &path).bearer(&gus);
        if let Some(body) = &body {
            request = request.json(body);
        }
        request.send(&world.admin).await.refused(404, "not_found");
    }
    let stale = call("PATCH", &path).header("if-match", "\"77\"").json(&json!({ "description": "x" }));
    stale.bearer(&hooked.ada).send(&world.admin).await.refused(412, "version_mismatch");
}
