//! `POST /v1/apply`: what a declarative file says of tenants.

use control_api::api::apply::ApplyRequest;
use domain::declarative::ReadAs;
use serde_json::{Value, json};

use crate::support::{Answer, World, get, post};

/// A file, as `portcullis apply` sends it.
fn declared(file: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.yaml");
    std::fs::write(&path, file.to_string()).unwrap();
    let declared = link::declarative::load(&path, ReadAs::Apply).unwrap();
    let request = ApplyRequest { entities: declared.entities, jwks_urls: declared.jwks_urls, public_port: None };
    serde_json::to_value(request).unwrap()
}

async fn apply(world: &World, staff: &str, file: &Value) -> Answer {
    post("/v1/apply", &declared(file)).bearer(staff).send(&world.admin).await.expect(200)
}

fn tenant(extra: Value) -> Value {
    let mut tenant = json!({ "slug": "north" });
    tenant.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({ "tenants": [tenant], "hostnames": [{ "hostname": "north.example.com", "tenant": "north" }] })
}

#[tokio::test]
async fn a_tenant_is_entitled_to_what_its_file_says_and_a_second_time_changes_nothing() {
    let world = World::new().await;
    let staff = world.staff().await;
    let file = tenant(json!({
        "products": { "orders": null, "billing": "2099-01-01T00:00:00Z", "gone": "2001-01-01T00:00:00Z" },
        "quotas": { "orders": { "per_day": 100 } },
    }));
    apply(&world, &staff, &file).await;
    let tenant_id = get("/v1/tenants/by-slug/north").bearer(&staff).send(&world.admin).await.expect(200).id();
    let entitled = async || {
        let listed = get(&format!("/v1/entitlements?tenant_id={tenant_id}")).bearer(&staff).send(&world.admin).await;
        let mut items = listed.expect(200).body["items"].as_array().unwrap().clone();
        items.sort_by_key(|it| it["product"].to_string());
        items
    };
    let items = entitled().await;
    let said = |it: &Value| (it["product"].clone(), it["status"].clone(), it["ends"].clone(), it["quota"].clone());
    assert_eq!(said(&items[0]), (json!("billing"), json!("active"), json!("2099-01-01T00:00:00.000Z"), Value::Null));
    assert_eq!(said(&items[1]), (json!("orders"), json!("active"), Value::Null, json!({ "per_day": 100 })));
    assert_eq!(items.len(), 2, "what was over before it began is not begun");

    let again = apply(&world, &staff, &file).await;
    assert_eq!((&again.body["outcome"]["created"], &again.body["outcome"]["updated"]), (&json!(0), &json!(0)));

    // Sooner, and of another quota; what is no longer named stays.
    let narrowed =
        json!({ "products": { "orders": "2098-01-01T00:00:00Z" }, "quotas": { "orders": { "per_day": 7 } } });
    let changed = apply(&world, &staff, &tenant(narrowed)).await;
    assert_eq!(changed.body["outcome"]["updated"], 1);
    let items = entitled().await;
    assert_eq!(items[0]["status"], "active");
    assert_eq!((&items[1]["ends"], &items[1]["quota"]), (&json!("2098-01-01T00:00:00.000Z"), &json!({ "per_day": 7 })));
    let unnamed = json!({ "products": { "orders": "2098-01-01T00:00:00Z" } });
    assert_eq!(apply(&world, &staff, &tenant(unnamed)).await.body["outcome"]["updated"], 0, "its quota is as it was");

    // What staff took back is not given again by a file that says what it said.
    let id = items[0]["id"].as_str().unwrap();
    crate::support::call("DELETE", &format!("/v1/entitlements/{id}"))
        .bearer(&staff)
        .send(&world.admin)
        .await
        .expect(204);
    let once_more = apply(&world, &staff, &file).await;
    assert_eq!(once_more.body["outcome"]["updated"], 1, "orders, whose terms had changed, and nothing else");
    assert_eq!(entitled().await[0]["status"], "revoked");

    let trail = get(&format!("/v1/audit?tenant_id={tenant_id}&action=entitlement.*")).bearer(&staff);
    let trail = trail.send(&world.admin).await.expect(200);
    let mut actions: Vec<_> =
        trail.body["items"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect();
    // Some of them are of one moment.
    actions.sort_unstable();
    let expected = ["created", "created", "revoked", "updated", "updated"];
    assert_eq!(actions, expected.map(|it| format!("entitlement.{it}")));
}

/// A page of hostnames is 500: the primary one need not be among them.
#[tokio::test]
async fn a_project_of_more_hostnames_than_a_page_keeps_its_one_primary() {
    let world = World::new().await;
    let staff = world.staff().await;
    let file = |from: usize, to: usize| {
        let hostname = |n: usize| json!({ "hostname": format!("h{n}.example.com"), "tenant": "north" });
        let hostnames: Vec<_> = (from..to).map(hostname).collect();
        json!({ "tenants": [{ "slug": "north" }], "hostnames": hostnames })
    };
    for from in [0, 300, 600] {
        let done = apply(&world, &staff, &file(from, from + 300)).await;
        assert!(done.body["outcome"]["created"].as_u64().unwrap() >= 300, "{done:?}");
    }
    let (mut seen, mut primary, mut cursor) = (0, 0, String::new());
    loop {
        let page = get(&format!("/v1/hostnames?limit=500{cursor}")).bearer(&staff).send(&world.admin).await.expect(200);
        let items = page.body["items"].as_array().unwrap();
        let ours = items.iter().filter(|it| it["hostname"].as_str().unwrap().ends_with(".example.com"));
        seen += ours.clone().count();
        primary += ours.filter(|it| it["is_primary"] == true).count();
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((seen, primary), (900, 1));
}
