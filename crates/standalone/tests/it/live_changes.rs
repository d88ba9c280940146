//! A route, a role binding and a certificate changed through the API are in force on the edge at once, with no restart
//! and without a failed request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::TestCa;

use crate::node::{Node, echo, problem};

/// Finds the one item of a list for which a member has a value.
async fn find(node: &Node, token: &str, path: &str, member: &str, value: &str) -> Value {
    let list: Value = node.admin(Method::GET, path).bearer_auth(token).send().await.unwrap().json().await.unwrap();
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    items.iter().find(|item| item[member] == value).unwrap_or_else(|| panic!("no {value} in {list}")).clone()
}

/// Calls a public path over and over until told to stop; how many calls there were and how many were not answered 200.
fn load(node: &Arc<Node>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<(usize, usize)> {
    let (node, stop) = (Arc::clone(node), Arc::clone(stop));
    tokio::spawn(async move {
        let (calls, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
        while !stop.load(Ordering::Relaxed) {
            let answer = node.get("globex.localhost", "/demo/public/load").send().await;
            calls.fetch_add(1, Ordering::Relaxed);
            if !answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                failures.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        (calls.into_inner(), failures.into_inner())
    })
}

#[tokio::test]
async fn a_route_a_role_binding_and_a_certificate_change_under_load() {
    let node = Arc::new(Node::start());
    let stop = Arc::new(AtomicBool::new(false));
    let running = load(&node, &stop);
    let staff = node.staff().await.access;

    // A route: not there, then there, then for nobody without the right, then gone.
    let new_path = || node.get("acme.localhost", "/demo/brand-new");
    let service = find(&node, &staff, "/v1/services", "name", "demo").await;
    assert_eq!(problem(new_path()).await, (401, "credential_missing".into()));
    let body = json!({ "service_id": service["id"], "path": "/demo/brand-new", "access": "public" });
    let create = node.admin(Method::POST, "/v1/routes?wait=applied").bearer_auth(&staff).json(&body);
    let created = create.send().await.unwrap();
    assert_eq!(created.status(), StatusCode::CREATED, "{}", created.text().await.unwrap());
    let location = created.headers()["location"].to_str().unwrap().to_owned();
    echo(new_path()).await;
    let gone =
        node.admin(Method::DELETE, &format!("{location}?wait=applied")).bearer_auth(&staff).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(new_path()).await, (401, "credential_missing".into()));

    // A role binding: the member may create orders, and then may not.
    let (admin, member) = (node.login("acme", "admin").await, node.login("acme", "member").await);
    let order = || node.edge(Method::POST, "acme.localhost", "/demo/orders").bearer_auth(&member.access);
    assert_eq!(problem(order()).await, (403, "permission_denied".into()));
    let own = |path: &str| node.get("acme.localhost", path).bearer_auth(&admin.access);
    let users: Value = own("/api/v1/tenant/users").send().await.unwrap().json().await.unwrap();
    let user = users["items"].as_array().unwrap().iter().find(|user| user["username"] == "member").unwrap().clone();
    let tenant = node.tenant("acme")["id"].as_str().unwrap().to_owned();
    let role = find(&node, &staff, &format!("/v1/roles?tenant_id={tenant}"), "name", "demo_admin").await;
    let body = json!({ "role_id": role["id"], "user_id": user["id"] });
    let path = format!("/v1/role-bindings?wait=applied&tenant_id={tenant}");
    let bound = node.admin(Method::POST, &path).bearer_auth(&staff).json(&body).send().await.unwrap();
    assert_eq!(bound.status(), StatusCode::CREATED, "{}", bound.text().await.unwrap());
    let location = bound.headers()["location"].to_str().unwrap().to_owned();
    echo(order()).await;
    let path = format!("{location}?wait=applied&tenant_id={tenant}");
    let unbound = node.admin(Method::DELETE, &path).bearer_auth(&staff).send().await.unwrap();
    assert!(unbound.status().is_success(), "{}", unbound.text().await.unwrap());
    assert_eq!(problem(order()).await, (403, "permission_denied".into()));

    // A certificate: of another authority, and the next handshake shows it.
    let ca = TestCa::new();
    let leaf = ca.leaf(&["acme.localhost"]);
    let hostname = find(&node, &staff, "/v1/hostnames", "hostname", "acme.localhost").await;
    let path = format!("/v1/hostnames/{}/certificate?wait=applied", hostname["id"].as_str().unwrap());
    let body = json!({ "chain_pem": leaf.chain_pem, "key_pem": leaf.key_pem });
    let put = node.admin(Method::PUT, &path).bearer_auth(&staff).json(&body).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK, "{}", put.text().await.unwrap());
    let request = b"GET /demo/public/x HTTP/1.1\r\nhost: acme.localhost\r\nconnection: close\r\n\r\n";
    let edge = node.address("edge_https");
    let answer = testkit::raw::tls_http1(edge, "acme.localhost", &ca.ca_pem(), request).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));

    stop.store(true, Ordering::Relaxed);
    let (calls, failures) = running.await.unwrap();
    assert!(calls > 0);
    assert_eq!(failures, 0, "of {calls} calls beside the changes");
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_and_a_resumed_one_is_not() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let member = node.login("acme", "member").await;
    let me = || node.get("acme.localhost", "/demo/me").bearer_auth(&member.access);
    echo(me()).await;
    let tenant = node.tenant("acme")["id"].as_str().unwrap().to_owned();
    let step =
        |verb: &str| node.admin(Method::POST, &format!("/v1/tenants/{tenant}/{verb}?wait=applied")).bearer_auth(&staff);
    let suspended = step("suspend").send().await.unwrap();
    assert_eq!(suspended.status(), StatusCode::OK, "{}", suspended.text().await.unwrap());
    assert_eq!(problem(me()).await, (403, "tenant_suspended".into()));
    assert_eq!(problem(node.get("acme.localhost", "/demo/public/x")).await, (403, "tenant_suspended".into()));
    assert_eq!(step("resume").send().await.unwrap().status(), StatusCode::OK);
    echo(me()).await;
}

#[tokio::test]
async fn a_disabled_user_is_refused_on_the_very_next_request() {
    let node = Node::start();
    let (admin, member) = (node.login("acme", "admin").await, node.login("acme", "member").await);
    let me = || node.get("acme.localhost", "/demo/me").bearer_auth(&member.access);
    echo(me()).await;
    let users: Value = node
        .get("acme.localhost", "/api/v1/tenant/users")
        .bearer_auth(&admin.access)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let user = users["items"].as_array().unwrap().iter().find(|user| user["username"] == "member").unwrap();
    let path = format!("/api/v1/tenant/users/{}/disable", user["id"].as_str().unwrap());
    let disabled = node.edge(Method::POST, "acme.localhost", &path).bearer_auth(&admin.access).send().await.unwrap();
    assert!(disabled.status().is_success(), "{}", disabled.text().await.unwrap());
    let refused = me().send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn gateways_say_what_they_have_applied() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let list: Value =
        node.admin(Method::GET, "/v1/gateways").bearer_auth(&staff).send().await.unwrap().json().await.unwrap();
    let gateway = &list["items"][0];
    assert!(gateway["applied_revision"].as_u64().unwrap() > 0, "{list}");
    assert_eq!(gateway["fleet"], "default");
}

/// S1: the product is the door, not the role.
#[tokio::test]
async fn a_product_is_served_while_the_tenant_is_entitled_to_it() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let member = node.login("acme", "member").await;
    let tenant = node.tenant("acme")["id"].clone();
    let send = async |method: Method, path: &str, body: Value| -> Value {
        let request = node.admin(method, path).bearer_auth(&staff);
        let answer = if body.is_null() { request } else { request.json(&body) }.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap_or_default()
    };
    let service = find(&node, &staff, "/v1/services", "name", "demo").await;
    let route = json!({
        "service_id": service["id"], "path": "/demo/stock", "access": "authenticated", "product": "stock",
    });
    send(Method::POST, "/v1/routes?wait=applied", route).await;
    send(Method::POST, "/v1/products", json!({ "key": "stock", "name": "Stock", "requestable": true })).await;
    let stock = || node.get("acme.localhost", "/demo/stock").bearer_auth(&member.access);
    let missing = (403, "entitlement_missing".to_owned());
    assert_eq!(problem(stock()).await, missing);

    let given = json!({ "tenant_id": tenant, "product": "stock" });
    let given = send(Method::PUT, "/v1/entitlements?wait=applied", given).await;
    assert_eq!(echo(stock()).await["headers"]["x-md-global-products"], json!(["stock"]));
    let admin = node.login("acme", "admin").await;
    let init = node.get("acme.localhost", "/api/v1/tenant/auth/init").bearer_auth(&admin.access).send().await.unwrap();
    assert_eq!(init.json::<Value>().await.unwrap()["products"], json!(["stock"]));
    let path = format!("/v1/entitlements/{}", given["id"].as_str().unwrap());
    send(Method::DELETE, &path, Value::Null).await;
    assert_eq!(problem(stock()).await, missing, "from the answer on");

    // The tenant's own way in, through the edge.
    let list = node.get("acme.localhost", "/v1/entitlements").bearer_auth(&admin.access).send().await.unwrap();
    assert_eq!(list.json::<Value>().await.unwrap()["items"][0]["status"], "revoked");
    let ask = node.edge(Method::POST, "acme.localhost", "/v1/catalog/request").bearer_auth(&admin.access);
    let asked = ask.json(&json!({ "product": "stock" })).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::CREATED, "{}", asked.text().await.unwrap());
}
