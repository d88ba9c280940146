//! No list costs a statement for each of its items: each list is asked when it is short and when it is long.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::TestCa;

use super::{
    exceptions, golden,
    operations::all,
    tenant::{Ids, populated},
};
use crate::support::{Answer, World, call, get, post};

/// Things of each kind that are added before lists are asked again.
const MORE: usize = 50;

/// Lists of what a tenant may have only so many of, and how many that is: webhooks, and domains that are not proven.
const FULL: [(&str, usize); 2] = [("/v1/webhooks ", 20), ("/v1/tenants/{id}/domains ", 20)];

/// What a list cost, and how many items it had.
#[derive(Clone, Copy)]
struct Cost {
    statements: u64,
    items: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_costs_no_more_statements_than_a_short_one() {
    let world = World::new().await;
    let staff = world.staff().await;
    let ids = populated(&world, &staff, "acme", "ada").await;
    let token = world.login("acme", "ada").await;
    let short = costs(&world, [&token, &staff], &ids).await;
    grow(&world, [&token, &staff], &ids).await;
    let long = costs(&world, [&token, &staff], &ids).await;
    let mut text =
        format!("# Statements of each list, by an owner and by staff, with {MORE} more of everything as without.\n");
    let mut fixed = Vec::new();
    for (name, cost) in &long {
        let before = short[name];
        assert_eq!(cost.statements, before.statements, "{name}: {} items, then {}", before.items, cost.items);
        let is_full = FULL.iter().any(|(list, most)| name.starts_with(list) && cost.items == *most);
        if cost.items < before.items + MORE / 2 && !is_full {
            fixed.push(name.clone());
        }
        text.push_str(&format!("{name:<60} {}\n", cost.statements));
    }
    assert_eq!(fixed, exceptions("does not grow"), "these did not grow");
    golden("statements.txt", &text);
}

/// Statements of each list.
async fn costs(world: &World, [token, staff]: [&str; 2], ids: &Ids) -> BTreeMap<String, Cost> {
    let mut costs = BTreeMap::new();
    for operation in all().into_iter().filter(|it| it.method == "GET" && it.lists) {
        for (who, bearer) in [("owner", token), ("staff", staff)] {
            let mut target = format!("{}?limit=500", operation.within(ids));
            for (name, kind) in [("project_id", "project"), ("tenant_id", "tenant")] {
                if operation.query.iter().any(|it| it == name) && who == "staff" {
                    target.push_str(&format!("&{name}={}", ids[kind]));
                }
            }
            let before = world.app.store.statements();
            let answer = get(&target).bearer(bearer).send(&world.admin).await;
            if let Some(items) = answer.body["items"].as_array() {
                let cost = Cost { statements: world.app.store.statements() - before, items: items.len() };
                costs.insert(format!("{} {who}", operation.path), cost);
            }
        }
    }
    costs
}

/// More of everything. What is bounded below [`MORE`] is made until it is full.
async fn grow(world: &World, [token, staff]: [&str; 2], ids: &Ids) {
    let make = async |bearer: &str, path: &str, body: Value| -> Answer {
        let answer = post(path, &body).bearer(bearer).send(&world.admin).await;
        assert!(matches!(answer.status.as_u16(), 200 | 201 | 409 | 429), "{path}: {answer:?}");
        answer
    };
    let put = async |path: &str, body: Value| {
        call("PUT", path).json(&body).bearer(staff).send(&world.admin).await.expect(200);
    };
    let (tenant, user) = (&ids["tenant"], &ids["user"]);
    let ca = TestCa::new();
    for n in 0..MORE {
        let name = format!("more-{n:02}");
        let more = json!({ "username": name, "email": format!("{name}@acme.example") });
        let other = make(token, "/api/v1/tenant/users", more).await.id();
        make(token, "/v1/identity-verifications", json!({ "user_id": other })).await;
        world.login("acme", "ada-2").await;
        world.login("acme", "ada").await;
        let role = json!({ "name": name, "permissions": ["orders:order:list"] });
        let role = make(token, "/v1/roles", role).await.id();
        make(token, "/v1/role-bindings", json!({ "role_id": role, "user_id": user })).await;
        make(token, "/v1/menus", json!({ "key": name, "title": "x", "order": n })).await;
        make(token, "/v1/api-keys", json!({ "name": name, "scopes": [] })).await;
        make(token, "/v1/webhooks", json!({ "url": "https://example.com/x", "events": ["*"] })).await;
        make(token, "/v1/groups", json!({ "name": name })).await;
        make(token, &format!("/v1/groups/{}/members", ids["group"]), json!({ "user_id": other })).await;
        let unit = make(token, "/v1/org-units", json!({ "name": name })).await.id();
        let member = json!({ "user_id": user, "role": "ou_default" });
        make(token, &format!("/v1/org-units/{unit}/members"), member).await;
        let member = json!({ "user_id": other, "role": "ou_default" });
        make(token, &format!("/v1/org-units/{}/members", ids["org_unit"]), member).await;
        let invited = json!({ "email": format!("{name}@new.example") });
        make(token, &format!("/v1/tenants/{tenant}/invitations"), invited).await;
        world.clock.advance(std::time::Duration::from_secs(1));
        make(token, &format!("/v1/tenants/{tenant}/domains"), json!({ "domain": format!("{name}.example") })).await;
        let binding = json!({
            "hostname_id": ids["hostname"], "kind": "dns", "value": format!("{name}.example"), "user_id": user,
        });
        make(token, "/v1/certificate-bindings", binding).await;
        make(token, "/v1/machine-clients", json!({ "name": name })).await;
        let credential = json!({ "kind": "publishable", "name": name });
        make(staff, &format!("/v1/projects/{}/credentials", ids["project"]), credential).await;
        let hostname = platform(&make, staff, ids, &name).await;
        let leaf = ca.leaf(&[&format!("{name}.localhost")]);
        let certificate = json!({ "chain_pem": leaf.chain_pem, "key_pem": leaf.key_pem });
        put(&format!("/v1/hostnames/{hostname}/certificate"), certificate).await;
        let product = format!("p-{name}");
        put("/v1/entitlements", json!({ "tenant_id": tenant, "product": product, "source": "sale" })).await;
        make(token, "/v1/catalog/request", json!({ "product": product })).await;
        let customer = format!("/v1/customers/{}", ids["customer"]);
        let artifact = json!({ "kind": name, "reference": "r", "sha256": "ab".repeat(32) });
        put(&format!("{customer}/artifacts"), artifact).await;
        let status = if n % 2 == 0 { "due_rekyc" } else { "completed" };
        put(&format!("{customer}/kyc"), json!({ "status": status })).await;
    }
}

/// What only staff makes. Gives the hostname back.
async fn platform(make: &impl AsyncFn(&str, &str, Value) -> Answer, staff: &str, ids: &Ids, name: &str) -> String {
    let tenant = json!({
        "slug": format!("t-{name}"), "name": name, "customer_id": ids["customer"], "project_id": ids["project"],
    });
    make(staff, "/v1/tenants", tenant).await;
    make(staff, "/v1/customers", json!({ "code": format!("c-{name}"), "name": name })).await;
    let product = json!({ "key": format!("p-{name}"), "name": name, "requestable": true });
    make(staff, "/v1/products", product).await;
    let upstream = json!({ "name": name, "peers": ["127.0.0.1:3000"], "plaintext": true });
    let upstream = make(staff, "/v1/upstreams", upstream).await.id();
    let service = make(staff, "/v1/services", json!({ "name": name, "upstream_id": upstream })).await.id();
    let route = json!({ "service_id": service, "path": "/x/**", "access": "authenticated" });
    make(staff, "/v1/routes", route).await;
    let hostname =
        json!({ "hostname": format!("{name}.localhost"), "tenant_id": ids["tenant"], "services": [service] });
    let hostname = make(staff, "/v1/hostnames", hostname).await.id();
    let issuer = json!({
        "project_id": ids["project"], "tenant": ids["tenant"], "issuer": format!("https://{name}.example"),
        "audiences": ["a"], "algorithms": ["ES256"], "jwks_url": format!("https://{name}.example/jwks"),
    });
    make(staff, "/v1/issuers", issuer).await;
    let project = json!({ "slug": format!("p-{name}"), "name": name, "issuer": format!("https://{name}.test"),
        "kind": "dedicated" });
    make(staff, "/v1/projects", project).await;
    hostname
}
