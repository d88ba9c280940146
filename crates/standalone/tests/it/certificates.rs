//! Client certificates from the control API to the demo's upstream: who acts by one, and when that is over.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{
    Leaf, TestCa,
    raw::{Connection, Response},
};

use crate::node::{Node, problem};

const HOST: &str = "acme.localhost";
const BILLING: &str = "spiffe://acme.example/billing";

/// The demo, with a route for machines and the calls of its staff.
struct Mutual {
    node: Node,
    staff: String,
    edge_ca: String,
    clients: TestCa,
    hostname: String,
    tenant: String,
}

impl Mutual {
    async fn start() -> Self {
        let node = Node::start();
        let staff = node.staff().await.access;
        let edge_ca = std::fs::read_to_string(node.facts["ca"].as_str().unwrap()).unwrap();
        let tenant = node.tenant("acme")["id"].as_str().unwrap().to_owned();
        let mut it = Self { node, staff, edge_ca, clients: TestCa::new(), hostname: String::new(), tenant };
        it.hostname = it.find("/v1/hostnames", "hostname", HOST).await["id"].as_str().unwrap().to_owned();
        let service = it.find("/v1/services", "name", "demo").await;
        let route = json!({ "service_id": service["id"], "path": "/demo/machine", "access": "authenticated",
                            "credentials": ["certificate"] });
        it.call(Method::POST, "/v1/routes", Some(route), StatusCode::CREATED).await;
        it
    }

    async fn find(&self, path: &str, member: &str, value: &str) -> Value {
        let list = self.call(Method::GET, path, None, StatusCode::OK).await;
        let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
        items.iter().find(|item| item[member] == value).unwrap_or_else(|| panic!("no {value} in {list}")).clone()
    }

    /// A call by staff that is answered once the edge has applied it.
    async fn call(&self, method: Method, path: &str, body: Option<Value>, expected: StatusCode) -> Value {
        let wait = match (method == Method::GET, path.contains('?')) {
            (true, _) => "",
            (false, true) => "&wait=applied",
            (false, false) => "?wait=applied",
        };
        let mut call = self.node.admin(method, &format!("{path}{wait}")).bearer_auth(&self.staff);
        if let Some(body) = body {
            call = call.json(&body);
        }
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status(), expected, "{path}: {}", answer.text().await.unwrap());
        answer.json().await.unwrap_or_default()
    }

    async fn ask_for(&self, mode: &str, crl: &[String]) {
        let body = json!({ "mode": mode, "ca": self.clients.ca_pem(), "crl": crl });
        let path = format!("/v1/hostnames/{}/client-certificates", self.hostname);
        self.call(Method::PUT, &path, Some(body), StatusCode::OK).await;
    }

    async fn connect(&self, leaf: Option<&Leaf>) -> Connection {
        Connection::tls(self.node.address("edge_https"), HOST, &self.edge_ca, leaf).await.unwrap()
    }
}

async fn ask(connection: &mut Connection) -> (u16, Value) {
    let request = format!("GET /demo/machine HTTP/1.1\r\nhost: {HOST}\r\n\r\n");
    let answer = Response::parse(&connection.exchange(request.as_bytes()).await.unwrap());
    (answer.status, answer.json())
}

#[tokio::test]
async fn a_bound_certificate_is_its_user_until_it_is_not() {
    let it = Mutual::start().await;
    let user = {
        let path = format!("/v1/tenants/{}/users", it.tenant);
        it.find(&path, "username", "member").await["id"].as_str().unwrap().to_owned()
    };
    it.ask_for("optional", &[]).await;
    let body = json!({ "hostname_id": it.hostname, "kind": "uri", "value": BILLING, "user_id": user });
    let bindings = format!("/v1/certificate-bindings?tenant_id={}", it.tenant);
    let bound = it.call(Method::POST, &bindings, Some(body.clone()), StatusCode::CREATED).await;

    let leaf = it.clients.client_uri(BILLING);
    let mut machine = it.connect(Some(&leaf)).await;
    let (status, echoed) = ask(&mut machine).await;
    assert_eq!(status, 200, "{echoed}");
    assert_eq!(echoed["headers"]["x-md-global-user-id"], json!([user]));
    assert_eq!(echoed["headers"]["x-md-global-auth-method"], json!(["certificate"]));
    let mut stranger = it.connect(None).await;
    assert_eq!(ask(&mut stranger).await.1["code"], "credential_missing");
    assert_eq!(problem(it.node.get(HOST, "/demo/machine")).await, (401, "credential_missing".into()));
    let member = it.node.login("acme", "member").await;
    let by_token = it.node.get(HOST, "/demo/machine").bearer_auth(&member.access);
    assert_eq!(problem(by_token).await, (401, "credential_refused".into()), "the route takes certificates only");

    // Each step is in force on the open connection when the call is answered.
    let disable = format!("/v1/tenants/{}/users/{user}", it.tenant);
    it.call(Method::POST, &format!("{disable}/disable"), None, StatusCode::OK).await;
    assert_eq!(ask(&mut machine).await.1["code"], "principal_inactive");
    it.call(Method::POST, &format!("{disable}/enable"), None, StatusCode::OK).await;
    assert_eq!(ask(&mut machine).await.0, 200);
    let binding = format!("/v1/certificate-bindings/{}?tenant_id={}", bound["id"].as_str().unwrap(), it.tenant);
    it.call(Method::DELETE, &binding, None, StatusCode::NO_CONTENT).await;
    assert_eq!(ask(&mut machine).await.1["code"], "certificate_refused");
    it.call(Method::POST, &bindings, Some(body), StatusCode::CREATED).await;
    assert_eq!(ask(&mut machine).await.0, 200);
    it.ask_for("optional", &[it.clients.crl(&[&leaf])]).await;
    assert_eq!(ask(&mut machine).await.1["code"], "certificate_refused");
    it.ask_for("required", &[]).await;
    assert_eq!(ask(&mut machine).await.0, 200);
    assert_eq!(ask(&mut stranger).await.1["code"], "certificate_missing");
}
