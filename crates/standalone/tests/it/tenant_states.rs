//! What the edge does in each state of a tenant and its customer, and that it does so once the state is set: every change is
//! in force with its answer, and a trial that is over is frozen without anybody asking.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{TestCa, eventually};

use crate::node::{Node, echo, problem};

/// A node, and staff who writes to it.
struct Staffed {
    node: Node,
    staff: String,
}

impl Staffed {
    async fn start() -> Self {
        let node = Node::start();
        let staff = node.staff().await.access;
        Self { node, staff }
    }

    /// A call on `admin` that has to succeed.
    async fn tell(&self, method: Method, path: &str, body: Value) -> Value {
        let path = format!("{path}{}wait=applied", if path.contains('?') { '&' } else { '?' });
        let request = self.node.admin(method, &path).bearer_auth(&self.staff);
        let answer = if body.is_null() { request } else { request.json(&body) }.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        assert!(status.is_success() && status != StatusCode::ACCEPTED, "{path}: {status} {body}");
        body
    }

    fn acme(&self) -> String {
        self.node.tenant("acme")["id"].as_str().unwrap().to_owned()
    }

    async fn customer(&self) -> String {
        let path = format!("/v1/tenants/{}", self.acme());
        let found = self.node.admin(Method::GET, &path).bearer_auth(&self.staff).send().await.unwrap();
        let found: Value = found.json().await.unwrap();
        found["customer_id"].as_str().unwrap().to_owned()
    }

    async fn demo_service(&self) -> Value {
        let found = self.node.admin(Method::GET, "/v1/services").bearer_auth(&self.staff).send().await.unwrap();
        let found: Value = found.json().await.unwrap();
        found["items"].as_array().unwrap().iter().find(|it| it["name"] == "demo").unwrap()["id"].clone()
    }
}

#[tokio::test]
async fn a_frozen_tenant_is_read_and_signed_in_to_and_nothing_is_changed() {
    let it = Staffed::start().await;
    let member = it.node.login("acme", "member").await;
    let call = |method: Method| it.node.edge(method, "acme.localhost", "/demo/me").bearer_auth(&member.access);
    echo(call(Method::GET)).await;
    it.tell(Method::POST, &format!("/v1/tenants/{}/cancel", it.acme()), Value::Null).await;
    echo(call(Method::GET)).await;
    assert_eq!(problem(call(Method::POST)).await, (403, "tenant_frozen".into()));
    it.node.login("acme", "member").await;
    it.tell(Method::POST, &format!("/v1/tenants/{}/unfreeze", it.acme()), Value::Null).await;
    echo(call(Method::POST)).await;
}

#[tokio::test]
async fn a_customer_that_is_not_identified_uses_no_product_and_signs_in() {
    let it = Staffed::start().await;
    it.tell(Method::POST, "/v1/products", json!({ "key": "crm", "name": "CRM" })).await;
    let entitled = json!({ "tenant_id": it.acme(), "product": "crm" });
    it.tell(Method::PUT, "/v1/entitlements", entitled).await;
    let route = json!({ "service_id": it.demo_service().await, "path": "/demo/crm", "access": "authenticated", "product": "crm" });
    it.tell(Method::POST, "/v1/routes", route).await;
    let member = it.node.login("acme", "member").await;
    let call = |path: &str| it.node.get("acme.localhost", path).bearer_auth(&member.access);
    echo(call("/demo/crm")).await;
    let kyc = format!("/v1/customers/{}/kyc", it.customer().await);
    it.tell(Method::PUT, &kyc, json!({ "status": "due_rekyc" })).await;
    echo(call("/demo/crm")).await;
    it.tell(Method::PUT, &kyc, json!({ "status": "pending" })).await;
    assert_eq!(problem(call("/demo/crm")).await, (403, "kyc_required".into()));
    echo(call("/demo/me")).await;
    it.node.login("acme", "member").await;
    it.tell(Method::PUT, &kyc, json!({ "status": "completed" })).await;
    echo(call("/demo/crm")).await;
}

#[tokio::test]
async fn a_customer_that_is_late_is_served_and_one_that_is_blocked_is_not() {
    let it = Staffed::start().await;
    let member = it.node.login("acme", "member").await;
    let me = || it.node.get("acme.localhost", "/demo/me").bearer_auth(&member.access);
    let payment = format!("/v1/customers/{}/payment", it.customer().await);
    it.tell(Method::PUT, &payment, json!({ "status": "overdue" })).await;
    echo(me()).await;
    it.tell(Method::PUT, &payment, json!({ "status": "blocked" })).await;
    assert_eq!(problem(me()).await, (403, "payment_required".into()));
    let public = || it.node.get("acme.localhost", "/demo/public/x");
    assert_eq!(problem(public()).await, (403, "payment_required".into()));
    echo(it.node.get("globex.localhost", "/demo/public/x")).await;
    it.tell(Method::PUT, &payment, json!({ "status": "ok" })).await;
    echo(me()).await;
}

#[tokio::test]
async fn a_deleted_tenant_is_served_nothing_and_does_not_come_back() {
    let it = Staffed::start().await;
    let member = it.node.login("acme", "member").await;
    let me = || it.node.get("acme.localhost", "/demo/me").bearer_auth(&member.access);
    let path = format!("/v1/tenants/{}", it.acme());
    it.tell(Method::DELETE, &path, Value::Null).await;
    assert_eq!(problem(me()).await, (403, "tenant_suspended".into()));
    for step in ["resume", "unfreeze", "activate"] {
        let refused = it.node.admin(Method::POST, &format!("{path}/{step}")).bearer_auth(&it.staff);
        assert_eq!(problem(refused).await, (409, "tenant_state_conflict".into()), "{step}");
    }
}

#[tokio::test]
async fn a_trial_that_is_over_is_frozen_at_the_edge_by_itself() {
    let it = Staffed::start().await;
    let body = json!({
        "slug": "trial", "name": "Trial", "customer_id": it.customer().await, "issuer": "https://new.localhost",
    });
    let trial = it.tell(Method::POST, "/v1/tenants", body).await;
    let body = json!({ "hostname": "new.localhost", "tenant_id": trial["id"], "services": [it.demo_service().await] });
    let hostname = it.tell(Method::POST, "/v1/hostnames", body).await;
    let ca = TestCa::new();
    let leaf = ca.leaf(&["new.localhost"]);
    let certificate = format!("/v1/hostnames/{}/certificate", hostname["id"].as_str().unwrap());
    it.tell(Method::PUT, &certificate, json!({ "chain_pem": leaf.chain_pem, "key_pem": leaf.key_pem })).await;

    let (edge, authority) = (it.node.address("edge_https"), ca.ca_pem());
    let post = async || {
        let request =
            b"POST /demo/public/x HTTP/1.1\r\nhost: new.localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let answer = testkit::raw::tls_http1(edge, "new.localhost", &authority, request).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(post().await.starts_with("HTTP/1.1 200"));
    let ended = json!({ "trial_ends_at": "2020-01-01T00:00:00Z" });
    it.tell(Method::PATCH, &format!("/v1/tenants/{}", trial["id"].as_str().unwrap()), ended).await;
    eventually("the trial is frozen at the edge", async || post().await.contains("tenant_frozen")).await;
}

#[tokio::test]
async fn what_is_done_on_a_stopped_node_lets_people_in_again() {
    let it = Staffed::start().await;
    let data = |folder: &tempfile::TempDir| folder.path().join("data");
    let run = |folder: &tempfile::TempDir, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).arg("--data-dir").arg(data(folder)).output().unwrap()
    };
    let busy = run(&it.node.folder, &["reset-password"]);
    assert_eq!(busy.status.code(), Some(2), "the node runs");

    let (folder, _) = it.node.interrupt();
    let reset = run(&folder, &["reset-password"]);
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    let reset: Value = serde_json::from_slice(&reset.stdout).unwrap();
    let emergency = run(&folder, &["break-glass", "--customer", "root"]);
    assert!(emergency.status.success(), "{}", String::from_utf8_lossy(&emergency.stderr));
    let emergency: Value = serde_json::from_slice(&emergency.stdout).unwrap();
    assert_eq!(run(&folder, &["break-glass", "--customer", "nobody"]).status.code(), Some(1));

    let node = Node::start_in(folder, &[]);
    let login = json!({ "username": reset["username"], "password": reset["password"] });
    let answer = node.admin(Method::POST, "/api/v1/auth/login").json(&login).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let guess = json!({ "customer": "root", "password": emergency["password"], "code": "not it" });
    let answer = node.admin(Method::POST, "/v1/break-glass/login").json(&guess);
    assert_eq!(problem(answer).await, (401, "credentials_invalid".into()));
    // With the gateway up or down, the edge has no such path.
    let through = node.edge(Method::POST, "console.localhost", "/v1/break-glass/login").json(&guess);
    assert!(through.send().await.unwrap().status().is_client_error());
}
