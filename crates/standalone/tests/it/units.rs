//! Organisational units and groups, made through the API and in force on the edge at once.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;

use crate::node::{Node, echo, problem};

/// A node with a unit of acme, a route of units, and somebody's id.
struct Office {
    node: Node,
    staff: String,
    tenant: String,
    admin: String,
    member: String,
    member_id: String,
    unit: String,
}

impl Office {
    async fn open() -> Self {
        let node = Node::start();
        let staff = node.staff().await.access;
        let (admin, member) = (node.login("acme", "admin").await.access, node.login("acme", "member").await.access);
        let tenant = node.tenant("acme")["id"].as_str().unwrap().to_owned();
        let mut office = Self { node, staff, tenant, admin, member, member_id: String::new(), unit: String::new() };
        let users = office.own(Method::GET, "/api/v1/tenant/users?search=member", None).await;
        office.member_id = users["items"][0]["id"].as_str().unwrap().to_owned();
        let unit = office.own(Method::POST, "/v1/org-units?wait=applied", Some(json!({ "name": "sales" }))).await;
        office.unit = unit["id"].as_str().unwrap().to_owned();
        let services = office.as_staff(Method::GET, "/v1/services", None).await;
        let demo = services["items"].as_array().unwrap().iter().find(|it| it["name"] == "demo").unwrap()["id"].clone();
        let route = json!({
            "service_id": demo, "path": "/demo/w/{workspace}/notes", "permission": "demo:note:write",
            "ou_parameter": "workspace",
        });
        office.as_staff(Method::POST, "/v1/routes?wait=applied", Some(route)).await;
        office
    }

    /// What the tenant's administrator is answered at the edge.
    async fn own(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let call = self.node.edge(method, "acme.localhost", path).bearer_auth(&self.admin);
        answered(if let Some(body) = body { call.json(&body) } else { call }).await
    }

    async fn as_staff(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let call = self.node.admin(method, path).bearer_auth(&self.staff);
        answered(if let Some(body) = body { call.json(&body) } else { call }).await
    }

    fn notes(&self, method: Method) -> reqwest::RequestBuilder {
        let path = format!("/demo/w/{}/notes", self.unit);
        self.node.edge(method, "acme.localhost", &path).bearer_auth(&self.member)
    }

    async fn place(&self, role: &str) {
        let path = format!("/v1/org-units/{}/members/{}", self.unit, self.member_id);
        self.own(Method::PUT, &path, Some(json!({ "role": role }))).await;
    }
}

async fn answered(call: reqwest::RequestBuilder) -> Value {
    let answer = call.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success() && status != StatusCode::ACCEPTED, "{status} {text}");
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// S0's defect 8: a deleted unit was served on.
#[tokio::test]
async fn a_deleted_unit_is_gone_at_the_edge_and_comes_back() {
    let it = Office::open().await;
    assert_eq!(problem(it.notes(Method::POST)).await, (403, "permission_denied".into()));
    it.place("ou_admin").await;
    let seen = echo(it.notes(Method::POST)).await;
    assert_eq!(seen["headers"]["x-md-global-ou-id"], json!([it.unit]));
    it.place("ou_auditor").await;
    assert_eq!(problem(it.notes(Method::POST)).await, (403, "permission_denied".into()));
    echo(it.notes(Method::GET)).await;

    let path = format!("/v1/org-units/{}", it.unit);
    it.own(Method::DELETE, &path, None).await;
    assert_eq!(problem(it.notes(Method::GET)).await, (404, "org_unit_not_found".into()));
    it.own(Method::POST, &format!("{path}/restore?wait=applied"), None).await;
    echo(it.notes(Method::GET)).await;
}

#[tokio::test]
async fn what_is_bound_to_a_group_is_in_force_at_the_edge_at_once() {
    let it = Office::open().await;
    let orders = || it.node.edge(Method::POST, "acme.localhost", "/demo/orders").bearer_auth(&it.member);
    let refused = (403, "permission_denied".to_owned());
    assert_eq!(problem(orders()).await, refused);
    let group = it.own(Method::POST, "/v1/groups", Some(json!({ "name": "night shift" }))).await;
    let group = group["id"].as_str().unwrap();
    let members = format!("/v1/groups/{group}/members");
    let joins = || it.own(Method::POST, &members, Some(json!({ "user_id": it.member_id })));
    joins().await;
    assert_eq!(problem(orders()).await, refused, "a group grants nothing without a binding");
    let roles = it.as_staff(Method::GET, &format!("/v1/roles?tenant_id={}", it.tenant), None).await;
    let items = roles["items"].as_array().unwrap();
    let role = items.iter().find(|role| role["name"] == "demo_admin").unwrap()["id"].clone();
    let bind = json!({ "role_id": role, "group_id": group });
    let bound = format!("/v1/role-bindings?wait=applied&tenant_id={}", it.tenant);
    it.as_staff(Method::POST, &bound, Some(bind)).await;
    // What gives is in force soon, what takes at once.
    let served = async || orders().send().await.is_ok_and(|answer| answer.status() == StatusCode::OK);
    eventually("the group's role is held", served).await;
    it.own(Method::DELETE, &format!("{members}/{}", it.member_id), None).await;
    assert_eq!(problem(orders()).await, refused);
    joins().await;
    eventually("the group's role is held again", served).await;
    it.own(Method::DELETE, &format!("/v1/groups/{group}"), None).await;
    assert_eq!(problem(orders()).await, refused);
}

#[tokio::test]
async fn what_is_asked_of_a_unit_is_in_its_access_log() {
    let it = Office::open().await;
    it.place("ou_auditor").await;
    echo(it.notes(Method::GET)).await;
    assert_eq!(problem(it.notes(Method::DELETE)).await, (403, "permission_denied".into()));
    let path = format!("/v1/org-units/{}/access-logs", it.unit);
    let told = async || {
        let log = it.own(Method::GET, &path, None).await;
        let rows = log["items"].as_array().unwrap();
        let mut asked: Vec<_> = rows
            .iter()
            .filter(|row| row["user_id"] == json!(it.member_id))
            .map(|row| (row["method"].as_str().unwrap().to_owned(), row["status"].as_u64().unwrap()))
            .collect();
        // One after the other by the clock of a gateway that may write the later one first.
        asked.sort();
        asked == [("DELETE".to_owned(), 403), ("GET".to_owned(), 200)]
    };
    eventually("the gateway has told of both", told).await;
}
