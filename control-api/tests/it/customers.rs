//! Customers: what is pushed of them, by whom, and what was.

use control_api::{
    Config,
    config::{ServiceKey, ServiceMethod},
};
use link::file::SecretRef;
use serde_json::{Value, json};

use crate::support::{World, call, get, post};

const KEY: &str = "0123456789abcdef0123456789abcdef";

async fn customer(world: &World, staff: &str) -> String {
    let body = json!({ "code": "acme", "name": "Acme" });
    post("/v1/customers", &body).bearer(staff).send(&world.admin).await.expect(201).id()
}

#[tokio::test]
async fn a_state_follows_only_where_it_may_and_its_history_is_kept() {
    let world = World::new().await;
    let staff = world.staff().await;
    let customer = customer(&world, &staff).await;
    let push = |kind: &str, body: Value| {
        call("PUT", &format!("/v1/customers/{customer}/{kind}")).json(&body).bearer(&staff).send(&world.admin)
    };
    push("kyc", json!({ "status": "due_rekyc" })).await.refused(409, "kyc_state_conflict");
    push("kyc", json!({ "status": "pending", "reason": "papers asked for", "reference": "case 7" })).await.expect(200);
    push("kyc", json!({ "status": "pending" })).await.expect(200);
    push("kyc", json!({ "status": "completed" })).await.expect(200);
    push("kyc", json!({ "status": "partial" })).await.refused(409, "kyc_state_conflict");
    push("payment", json!({ "status": "blocked" })).await.expect(200);
    push("payment", json!({ "status": "overdue" })).await.refused(409, "payment_state_conflict");
    push("payment", json!({ "status": "ok", "reason": "" })).await.refused(422, "validation_failed");

    let path = format!("/v1/customers/{customer}/history");
    let history = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
    let steps: Vec<_> = history.body["items"].as_array().unwrap().iter().map(|it| (&it["from"], &it["to"])).collect();
    let state = |kind: &str, status: &str| json!({ "kind": kind, "status": status });
    assert_eq!(
        steps,
        [
            (&state("kyc", "none"), &state("kyc", "pending")),
            (&state("kyc", "pending"), &state("kyc", "completed")),
            (&state("payment", "ok"), &state("payment", "blocked")),
        ]
    );
    let first = &history.body["items"][0];
    assert_eq!((&first["reason"], &first["reference"]), (&json!("papers asked for"), &json!("case 7")));
    assert_eq!(first["by"]["name"], "platform-admin");
    let page = get(&format!("{path}?limit=2")).bearer(&staff).send(&world.admin).await.expect(200);
    let next = page.body["next_cursor"].as_str().unwrap();
    let rest = get(&format!("{path}?limit=2&cursor={next}")).bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(rest.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_due_check_and_a_late_payment_are_events() {
    let world = World::new().await;
    let staff = world.staff().await;
    let customer = customer(&world, &staff).await;
    for (kind, status) in [("kyc", "completed"), ("kyc", "due_rekyc"), ("payment", "overdue")] {
        let push = call("PUT", &format!("/v1/customers/{customer}/{kind}")).json(&json!({ "status": status }));
        push.bearer(&staff).send(&world.admin).await.expect(200);
    }
    for action in ["customer.kyc_due_rekyc", "customer.payment_overdue"] {
        let found = get(&format!("/v1/audit?action={action}")).bearer(&staff).send(&world.admin).await.expect(200);
        let events = found.body["items"].as_array().unwrap();
        assert_eq!(events.len(), 1, "{action}");
        assert_eq!(events[0]["target"]["id"], customer.as_str());
    }
    // Both are allowed: a tenant is made all the same.
    let body = json!({ "slug": "acme", "name": "Acme", "customer_id": customer, "issuer": "https://acme.localhost" });
    post("/v1/tenants", &body).bearer(&staff).send(&world.admin).await.expect(201);
}

/// A world whose `internal` listener takes [`KEY`] for these methods.
async fn with_key(methods: &[ServiceMethod]) -> (World, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, KEY).unwrap();
    let mut config = Config::default();
    let key = ServiceKey {
        name: "billing".into(),
        key: SecretRef::File(path),
        methods: methods.to_vec(),
        tenants: Vec::new(),
    };
    config.internal.service_keys = vec![key];
    (World::with(config).await, folder)
}

#[tokio::test]
async fn a_service_pushes_what_its_key_is_good_for_and_is_named_in_the_history() {
    let (world, _folder) = with_key(&[ServiceMethod::SetPayment]).await;
    let staff = world.staff().await;
    let customer = customer(&world, &staff).await;
    let push = |kind: &str, key: &str, status: &str| {
        let body = json!({ "status": status, "reference": "invoice 12" });
        call("PUT", &format!("/v1/customers/{customer}/{kind}")).json(&body).bearer(key).send(&world.internal)
    };
    push("payment", "another-key-that-is-long-enough-0", "overdue").await.refused(401, "service_key_invalid");
    push("kyc", KEY, "completed").await.refused(403, "service_key_scope");
    let pushed = push("payment", KEY, "overdue").await.expect(200);
    assert_eq!(pushed.body["payment"], "overdue");
    push("payment", &staff, "ok").await.refused(401, "service_key_invalid");
    let history = get(&format!("/v1/customers/{customer}/history")).bearer(&staff).send(&world.admin).await;
    let by = &history.expect(200).body["items"][0]["by"];
    assert_eq!((&by["kind"], &by["name"]), (&json!("service"), &json!("billing")));
}

#[test]
fn a_gateways_certificate_says_nothing_of_customers() {
    for method in [ServiceMethod::SetKyc, ServiceMethod::SetPayment] {
        assert!(!ServiceMethod::OF_GATEWAYS.contains(&method) && ServiceMethod::ALL.contains(&method));
    }
}

#[tokio::test]
async fn what_is_no_address_contact_or_tax_id_is_refused_where_it_stands() {
    let world = World::new().await;
    let staff = world.staff().await;
    let address = json!({ "lines": ["1 Main St"], "city": "Pune", "postal_code": "411001", "country": "IN" });
    let body = json!({
        "code": "acme", "name": "Acme", "address": address, "contact": { "name": "Ann", "email": "ann@acme.example" },
        "tax_ids": { "gstin": "27AAPFU0939F1ZV", "pan": "AAPFU0939F" },
    });
    let made = post("/v1/customers", &body).bearer(&staff).send(&world.admin).await.expect(201);
    assert_eq!(made.body["address"], address);
    let path = format!("/v1/customers/{}", made.id());
    for (wrong, pointer) in [
        (json!({ "address": { "lines": ["x"], "city": "y", "country": "XX" } }), "/address"),
        (json!({ "contact": { "name": "Ann", "email": "nobody" } }), "/contact"),
        (json!({ "tax_ids": { "gstin": "27AAPFU0939F1ZW" } }), "/tax_ids"),
        (json!({ "name": "" }), "/name"),
    ] {
        let refused = call("PATCH", &path).json(&wrong).bearer(&staff).send(&world.admin).await;
        let refused = refused.refused(422, "validation_failed");
        let place = refused.body["errors"][0]["pointer"].as_str().unwrap().to_owned();
        assert!(place.starts_with(pointer), "{place} of {wrong}");
    }
    let cleared = call("PATCH", &path).json(&json!({ "contact": null })).bearer(&staff).send(&world.admin).await;
    assert_eq!(cleared.expect(200).body["contact"], Value::Null);
}

#[tokio::test]
async fn evidence_is_put_once_and_stays() {
    let world = World::new().await;
    let staff = world.staff().await;
    let path = format!("/v1/customers/{}/artifacts", customer(&world, &staff).await);
    let put = |reference: &str, sha256: String| {
        let body = json!({ "kind": "passport", "reference": reference, "sha256": sha256 });
        call("PUT", &path).json(&body).bearer(&staff).send(&world.admin)
    };
    let first = put("vault/1", "0a".repeat(32)).await.expect(200);
    assert_eq!(put("vault/1", "0a".repeat(32)).await.expect(200).body, first.body, "the same again");
    put("vault/1", "0b".repeat(32)).await.refused(409, "artifact_exists");
    put("vault/2", "0B".repeat(32)).await.refused(422, "validation_failed");
    let listed = get(&path).bearer(&staff).send(&world.admin).await.expect(200);
    assert_eq!(listed.body["items"], json!([first.body]));
    assert_eq!(first.body["by"]["name"], "platform-admin");
}
