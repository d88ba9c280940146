//! What others report to the trail, and what leaves it: exports, checks, erasures.

use std::collections::BTreeSet;

use control_api::{
    Config, audit_upkeep,
    config::{ServiceKey, ServiceMethod},
};
use link::file::SecretRef;
use serde_json::{Value, json};
use store::{ChainedRow, Verifier};

use crate::support::{World, call, get, on_postgres, post};

const ORDERS: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn event(external_id: &str) -> Value {
    json!({
        "action": "order.approved", "crud": "u", "group": { "id": "eu", "name": "Europe" },
        "actor": { "id": "emp-7", "name": "Grace", "href": "https://hr.example/emp-7" },
        "target": { "id": "o-1", "type": "order", "name": "first", "href": "/orders/o-1" },
        "created": "2025-12-30T03:04:05.000Z", "source_ip": "192.0.2.7", "description": "Grace approved it",
        "fields": { "sum": "12" }, "component": "checkout", "version": "1.2", "external_id": external_id,
    })
}

async fn chain(world: &World) {
    while world.app.store.chain_audit(100).await.unwrap() > 0 {}
}

#[tokio::test]
async fn a_tenants_program_reports_with_its_key_what_the_key_may() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let ada = world.login("acme", "ada").await;
    let key = |scopes: &[&str]| {
        let body = json!({ "name": "reporter", "scopes": scopes });
        let (ada, world) = (&ada, &world);
        async move { post("/v1/api-keys", &body).bearer(ada).send(&world.admin).await.expect(201).text("secret") }
    };
    let (may, may_not) = (key(&["tenant:audit:create"]).await, key(&["tenant:audit:list"]).await);
    let send = async |bearer: &str, body: &Value| post("/v1/audit", body).bearer(bearer).send(&world.admin).await;
    send(&may_not, &event("e-1")).await.refused(403, "permission_denied");
    let made = send(&may, &event("e-1")).await.expect(201);
    assert_eq!(made.body["hash"], Value::Null);
    chain(&world).await;
    let again = send(&may, &event("e-1")).await.expect(200);
    assert_eq!((again.id(), again.text("hash").len()), (made.id(), 64));
    let mut other = event("e-1");
    other["fields"]["sum"] = json!("13");
    send(&may, &other).await.refused(409, "external_id_reused");

    let shown = get(&format!("/v1/audit/{}", made.id())).bearer(&ada).send(&world.admin).await.expect(200).body;
    for (pointer, value) in [
        ("/actor/id", json!("emp-7")),
        ("/actor/href", json!("https://hr.example/emp-7")),
        ("/target/type", json!("order")),
        ("/target/href", json!("/orders/o-1")),
        ("/group/name", json!("Europe")),
        ("/created", json!("2025-12-30T03:04:05.000Z")),
        ("/source_ip", json!("192.0.2.7")),
        ("/description", json!("Grace approved it")),
        ("/fields/sum", json!("12")),
        ("/component", json!("checkout")),
        ("/version", json!("1.2")),
        ("/external_id", json!("e-1")),
        ("/tenant_id", json!(acme)),
    ] {
        assert_eq!(shown.pointer(pointer), Some(&value), "{pointer}");
    }
    let mine = get("/v1/audit?actor_id=emp-7&action=order.*").bearer(&ada).send(&world.admin).await.expect(200);
    assert_eq!(mine.body["items"].as_array().unwrap().len(), 1);
    // Of another tenant there is nothing to report.
    let mut foreign = event("e-2");
    foreign["tenant_id"] = json!(globex);
    send(&may, &foreign).await.refused(404, "not_found");
    send(&ada, &foreign).await.refused(404, "not_found");
    send(&ada, &event("e-3")).await.expect(201);
    call("POST", &format!("/v1/tenants/{acme}/cancel")).bearer(&staff).send(&world.admin).await;
    send(&may, &event("e-4")).await.refused(403, "tenant_frozen");
}

#[tokio::test]
async fn nobody_reports_what_only_we_do_nor_more_than_fits() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let ada = world.login("acme", "ada").await;
    let long = "x".repeat(257);
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("f{n}"), json!("v"))).collect();
    for (pointer, value) in [
        ("/action", json!("user.created")),
        ("/action", json!("audit.erased")),
        ("/action", json!("logout")),
        ("/action", json!("Order.approved")),
        ("/action", json!("")),
        ("/crud", json!("x")),
        ("/actor/id", json!("")),
        ("/actor/name", json!(long)),
        ("/actor/name", json!("a\u{0}b")),
        ("/actor/href", json!("javascript:alert(1)")),
        ("/target/href", json!("data:text/html,x")),
        ("/target/type", json!(long)),
        ("/description", json!("x".repeat(2049))),
        ("/created", json!("2199-01-01T00:00:00.000Z")),
        ("/source_ip", json!("nowhere")),
        ("/fields", Value::Object(many)),
        ("/fields/sum", json!("x".repeat(1025))),
        ("/fields/sum", json!(12)),
        ("/component", json!(long)),
        ("/external_id", json!("")),
        ("/external_id", json!(long)),
    ] {
        let mut body = event("e-1");
        *body.pointer_mut(pointer).unwrap() = value.clone();
        let answer = post("/v1/audit", &body).bearer(&ada).send(&world.admin).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (422, "validation_failed"), "{pointer} {value}");
    }
    let mut nobody = event("e-1");
    nobody["actor"] = Value::Null;
    post("/v1/audit", &nobody).bearer(&ada).send(&world.admin).await.refused(422, "validation_failed");
    nobody["is_anonymous"] = json!(true);
    let made = post("/v1/audit", &nobody).bearer(&ada).send(&world.admin).await.expect(201).id();
    let shown = get(&format!("/v1/audit/{made}")).bearer(&ada).send(&world.admin).await.expect(200);
    assert_eq!(shown.body["is_anonymous"], true);
}

#[tokio::test]
async fn a_service_reports_of_its_tenants_and_of_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let acme = "00000000-0000-0000-0000-0000000000aa";
    let mut config = Config::default();
    for (name, text, methods, tenants) in [
        ("orders", ORDERS, vec![ServiceMethod::AppendAudit], vec![acme.parse().unwrap()]),
        ("other", OTHER, vec![ServiceMethod::VerifyToken], Vec::new()),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let key = SecretRef::File(path);
        config.internal.service_keys.push(ServiceKey { name: name.into(), key, methods, tenants });
    }
    let world = World::with(config).await;
    let staff = world.staff().await;
    let real = world.tenant(&staff, "acme").await;
    let send = async |key: &str, tenant: &str| {
        let mut body = event("e-1");
        body["tenant_id"] = json!(tenant);
        post("/v1/audit", &body).bearer(key).send(&world.internal).await
    };
    send(ORDERS, &real).await.refused(404, "not_found");
    send(ORDERS, acme).await.refused(404, "not_found");
    send(OTHER, &real).await.refused(403, "service_key_scope");
    let unreadable = get("/v1/audit?actor_id=%00").bearer(&staff).send(&world.admin).await;
    unreadable.refused(400, "parameter_invalid");
    send("nobody", &real).await.refused(401, "service_key_invalid");
    post("/v1/audit", &event("e-1")).send(&world.internal).await.refused(401, "credential_missing");
    post("/v1/audit", &event("e-1")).bearer(ORDERS).send(&world.internal).await.refused(422, "validation_failed");
    post("/v1/audit", &event("e-1")).bearer(ORDERS).send(&world.admin).await.expect(401);
}

async fn an_export_holds_on_its_own_and_goes_on_where_it_stopped(world: World) {
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    let globex = world.tenant(&staff, "globex").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let ada = world.login("acme", "ada").await;
    for n in 0..20 {
        post("/v1/audit", &event(&format!("e-{n}"))).bearer(&ada).send(&world.admin).await.expect(201);
    }
    chain(&world).await;
    let export = async |query: &str| {
        let answer = get(&format!("/v1/audit/export{query}")).bearer(&ada).text(&world.admin).await;
        answer.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    let mut lines = export("").await;
    let end = lines.pop().unwrap();
    assert_eq!((&end["complete"], &end["rows"]), (&json!(true), &json!(lines.len())));
    let rows: Vec<ChainedRow> = lines.iter().map(|line| serde_json::from_value(line.clone()).unwrap()).collect();
    assert!(rows.iter().all(|row| row.chain == acme));
    let mut verifier = Verifier::default();
    for row in &rows {
        verifier.take(row).unwrap();
    }
    verifier.finish().unwrap();
    assert_eq!(json!({ "seq": verifier.head().0, "hash": verifier.head().1 }), end["head"]);
    let rest = export("?after=5").await;
    assert_eq!(rest[..rest.len() - 1], lines[5..]);

    let verified = get("/v1/audit/verify").bearer(&ada).send(&world.admin).await.expect(200).body;
    assert_eq!(
        (&verified["intact"], &verified["sealed"], &verified["head"]),
        (&json!(true), &json!(true), &end["head"])
    );
    for path in ["/v1/audit/verify", "/v1/audit/export"] {
        let foreign = get(&format!("{path}?tenant_id={globex}")).bearer(&ada).send(&world.admin).await;
        foreign.refused(404, "not_found");
        get(path).bearer(&staff).text(&world.admin).await;
    }
    get("/v1/audit/export?after=99999").bearer(&ada).send(&world.admin).await.refused(400, "parameter_invalid");
    let unknown = get(&format!("/v1/audit/verify?tenant_id={globex}")).bearer(&staff).send(&world.admin).await;
    assert_eq!(unknown.expect(200).body["intact"], true);
}

#[tokio::test]
async fn on_sqlite_an_export_holds_on_its_own_and_goes_on_where_it_stopped() {
    an_export_holds_on_its_own_and_goes_on_where_it_stopped(World::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_an_export_holds_on_its_own_and_goes_on_where_it_stopped() {
    on_postgres(an_export_holds_on_its_own_and_goes_on_where_it_stopped).await;
}

#[tokio::test]
async fn pages_do_not_move_while_events_are_written() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let ada = world.login("acme", "ada").await;
    let report = async |n: usize| {
        world.clock.advance(std::time::Duration::from_millis(1));
        post("/v1/audit", &event(&format!("e-{n}"))).bearer(&ada).send(&world.admin).await.expect(201).id()
    };
    let mut all = Vec::new();
    for n in 0..7 {
        all.push(report(n).await);
    }
    for (order, expected) in [("newest", all.iter().rev().cloned().collect::<Vec<_>>()), ("oldest", all.clone())] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/audit?action=order.*&limit=2&order={order}{cursor}");
            let page = get(&path).bearer(&ada).send(&world.admin).await.expect(200);
            seen.extend(page.body["items"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
            report(100 + seen.len() + if order == "newest" { 0 } else { 1000 }).await;
            match page.body["next_cursor"].as_str() {
                Some(next) if seen.len() < 7 => cursor = format!("&cursor={next}"),
                _ => break,
            }
        }
        assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "{order}: nothing twice");
        assert_eq!(seen[..7], expected[..], "{order}");
        all = all.into_iter().take(7).collect();
        if order == "newest" {
            // What was written meanwhile comes after what there was.
            let everything =
                get("/v1/audit?action=order.*&limit=500&order=oldest").bearer(&ada).send(&world.admin).await;
            assert!(everything.expect(200).body["items"].as_array().unwrap().len() > 7);
        }
    }
}

#[tokio::test]
async fn a_user_who_is_gone_is_erased_from_the_trail_by_staff() {
    let world = World::new().await;
    let staff = world.staff().await;
    let acme = world.tenant(&staff, "acme").await;
    world.user(&staff, &acme, "ada", &["owner"]).await;
    let bob = world.user(&staff, &acme, "bobby-tables", &["admin"]).await;
    let (ada, token) = (world.login("acme", "ada").await, world.login("acme", "bobby-tables").await);
    post("/v1/roles", &json!({ "name": "x", "permissions": ["a:b:c"] })).bearer(&token).send(&world.admin).await;
    let body = json!({ "user_id": bob });
    let ask = async |bearer: &str| post("/v1/audit/erasures", &body).bearer(bearer).send(&world.admin).await;
    ask(&ada).await.refused(403, "permission_denied");
    ask(&staff).await.refused(409, "user_exists");
    call("DELETE", &format!("/api/v1/tenant/users/{bob}")).bearer(&ada).send(&world.admin).await.expect(204);
    ask(&staff).await.expect(202);
    for _ in 0..4 {
        chain(&world).await;
        audit_upkeep::erase(&world.app).await.unwrap();
    }
    chain(&world).await;
    let done = get("/v1/audit/erasures").bearer(&staff).send(&world.admin).await.expect(200);
    assert!(done.body["items"][0]["done_at"].is_string() && done.body["items"][0]["erased"].as_u64() > Some(0));
    for path in [format!("/v1/audit?tenant_id={acme}&limit=500"), "/v1/audit?limit=500".into()] {
        let left = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
        assert!(!left.body.to_string().contains("bobby-tables"), "{path}");
    }
    for query in [String::new(), format!("?tenant_id={acme}")] {
        let verified = get(&format!("/v1/audit/verify{query}")).bearer(&staff).send(&world.admin).await.expect(200);
        assert_eq!(verified.body["intact"], true, "{verified:?}");
    }
}
