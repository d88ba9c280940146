//! A day at a front-end, through the edge: sign in, menus, favorites, another tenant, sessions, and out everywhere.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::{Node, problem};

const CLOUD: &str = "cloud.localhost";
const AUTH: &str = "/api/v1/tenant/auth";

/// A node with the tenants `north` and `south` of the shared project and `eve`, a member of both who administers `north`.
struct Shared {
    node: Node,
    staff: String,
}

struct Pair {
    access: String,
    refresh: String,
}

impl Pair {
    fn of(body: &Value) -> Self {
        let text = |name: &str| body[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {body}")).to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }
}

const PASSWORD: &str = "Correct-horse-1";

impl Shared {
    async fn start() -> Self {
        let node = Node::start();
        let staff = node.staff().await.access;
        let it = Self { node, staff };
        let customer = it.make("/v1/customers", &json!({ "code": "shared", "name": "x", "tenancy": "shared" })).await;
        let kyc = json!({ "status": "completed" });
        it.admin(Method::PUT, &format!("/v1/customers/{customer}/kyc"), Some(&kyc)).await;
        let mut tenants = Vec::new();
        for slug in ["north", "south"] {
            let body = json!({ "slug": slug, "name": slug, "customer_id": customer, "status": "active" });
            tenants.push(it.make("/v1/tenants", &body).await);
        }
        let (north, south) = (&tenants[0], &tenants[1]);
        let roles = it.admin(Method::GET, &format!("/v1/roles?tenant_id={north}"), None).await;
        let admin =
            roles["items"].as_array().unwrap().iter().find(|role| role["name"] == "admin").unwrap()["id"].clone();
        let user = json!({ "username": "eve", "password": PASSWORD, "role_ids": [admin] });
        let eve = it.make(&format!("/v1/tenants/{north}/users"), &user).await;
        it.admin(Method::PUT, &format!("/v1/tenants/{south}/members/{eve}?wait=applied"), None).await;
        it
    }

    /// A call of the staff's on the admin listener.
    async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let mut request = self.node.admin(method.clone(), path).bearer_auth(&self.staff);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {body}");
        body
    }

    async fn make(&self, path: &str, body: &Value) -> String {
        self.admin(Method::POST, path, Some(body)).await["id"].as_str().unwrap().to_owned()
    }

    async fn sign_in(&self, tenant: &str) -> Pair {
        let body = json!({ "username": "eve", "password": PASSWORD, "tenant": tenant });
        let login = self.node.edge(Method::POST, CLOUD, &format!("{AUTH}/login")).json(&body);
        Pair::of(&login.send().await.unwrap().json().await.unwrap())
    }

    /// A call through the edge that succeeds.
    async fn call(&self, method: Method, path: &str, pair: &Pair, body: Option<&Value>) -> Value {
        let answer = self.request(method.clone(), path, pair, body).send().await.unwrap();
        let status = answer.status();
        assert!(!answer.headers().contains_key("x-token-refresh"), "{method} {path}: the token is fresh");
        let body: Value = answer.json().await.unwrap_or_default();
        assert!(
            matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT),
            "{method} {path}: {status} {body}"
        );
        body
    }

    fn request(&self, method: Method, path: &str, pair: &Pair, body: Option<&Value>) -> reqwest::RequestBuilder {
        let request = self.node.edge(method, CLOUD, path).bearer_auth(&pair.access);
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    async fn refused(&self, method: Method, path: &str, pair: &Pair) -> (u16, String) {
        problem(self.request(method, path, pair, None)).await
    }
}

fn revoked() -> (u16, String) {
    (401, "token_revoked".into())
}

#[tokio::test]
async fn a_day_at_a_front_end() {
    let it = Shared::start().await;
    let eve = it.sign_in("north").await;
    let info = it.call(Method::GET, &format!("{AUTH}/info"), &eve, None).await;
    assert_eq!((&info["tenant"]["slug"], &info["user"]["is_admin"]), (&json!("north"), &json!(true)));

    let entry = json!({ "key": "team", "title": "Team", "path": "/team", "permission": "tenant:user:list" });
    it.call(Method::POST, "/v1/menus", &eve, Some(&entry)).await;
    let menus = it.call(Method::GET, &format!("{AUTH}/menus"), &eve, None).await;
    assert_eq!(
        menus["menus"],
        json!([{ "key": "team", "title": "Team", "path": "/team", "order": 0, "children": [] }])
    );
    let favorite = json!({ "menu_key": "team", "favorite": true });
    let favorites = it.call(Method::POST, &format!("{AUTH}/favorite"), &eve, Some(&favorite)).await;
    assert_eq!(favorites, json!({ "favorites": ["team"] }));
    let init = it.call(Method::GET, &format!("{AUTH}/init"), &eve, None).await;
    assert_eq!(init, json!({ "info": info, "menus": menus["menus"], "favorites": ["team"], "products": [] }));

    // Into the other tenant: the old pair is refused, and nothing of the first tenant is there.
    let switch = json!({ "tenant": "south", "refresh_token": eve.refresh });
    let south = Pair::of(&it.call(Method::POST, &format!("{AUTH}/switch"), &eve, Some(&switch)).await);
    assert_eq!(it.refused(Method::GET, &format!("{AUTH}/info"), &eve).await, revoked());
    let init = it.call(Method::GET, &format!("{AUTH}/init"), &south, None).await;
    assert_eq!((&init["info"]["tenant"]["slug"], &init["info"]["user"]["is_admin"]), (&json!("south"), &json!(false)));
    assert_eq!((&init["menus"], &init["favorites"]), (&json!([]), &json!([])));
    assert_eq!(it.refused(Method::GET, "/v1/menus", &south).await, (403, "permission_denied".into()));

    // Sessions, one by one, all but one, and all.
    let others = [it.sign_in("south").await, it.sign_in("south").await, it.sign_in("north").await];
    let sessions = it.call(Method::GET, "/v1/me/sessions", &south, None).await;
    let ended = sessions["items"][1]["id"].as_str().unwrap().to_owned();
    assert_eq!(sessions["items"].as_array().unwrap().len(), 3);
    it.call(Method::DELETE, &format!("/v1/me/sessions/{ended}"), &south, None).await;
    assert_eq!(it.refused(Method::GET, "/v1/me", &others[0]).await, revoked());
    let rest = it.call(Method::POST, "/v1/me/sessions/revoke-others", &south, Some(&json!({}))).await;
    assert_eq!(rest, json!({ "ended": 2 }));
    for pair in &others {
        assert_eq!(it.refused(Method::GET, "/v1/me", pair).await, revoked());
    }
    let again = it.sign_in("north").await;
    it.call(Method::GET, "/v1/me", &south, None).await;
    let sure = json!({ "password": PASSWORD });
    it.call(Method::POST, "/v1/me/sign-out-everywhere", &south, Some(&sure)).await;
    for pair in [&south, &again] {
        assert_eq!(it.refused(Method::GET, "/v1/me", pair).await, revoked());
        let refresh = it.node.edge(Method::POST, CLOUD, &format!("{AUTH}/refresh"));
        let refused = problem(refresh.json(&json!({ "refresh_token": pair.refresh }))).await;
        assert_eq!(refused, (401, "refresh_invalid".into()));
    }
    it.call(Method::GET, "/v1/me", &it.sign_in("south").await, None).await;
}

#[tokio::test]
async fn the_demo_has_menus_that_differ_by_what_one_may_do() {
    let node = Node::start();
    let keys = async |role: &str| {
        let tokens = node.login("acme", role).await;
        let menus = node.get("acme.localhost", &format!("{AUTH}/menus")).bearer_auth(&tokens.access).send().await;
        let body: Value = menus.unwrap().json().await.unwrap();
        let names = |nodes: &Value| -> Vec<String> {
            nodes.as_array().unwrap().iter().map(|node| node["key"].as_str().unwrap().to_owned()).collect()
        };
        let orders = body["menus"].as_array().unwrap().iter().find(|node| node["key"] == "orders").unwrap();
        (names(&body["menus"]), names(&orders["children"]))
    };
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (top, orders) = keys("member").await;
    assert_eq!((top, orders), (owned(&["home", "orders"]), owned(&["orders.list"])));
    let (top, orders) = keys("admin").await;
    assert_eq!((top, orders), (owned(&["home", "orders", "team"]), owned(&["orders.list", "orders.new"])));
    let staff = node.staff().await;
    let menus = node.admin(Method::GET, "/api/v1/auth/menus").bearer_auth(&staff.access).send().await.unwrap();
    let body: Value = menus.json().await.unwrap();
    assert_eq!(body["menus"][1]["children"][0]["key"], "edge.hostnames");
}
