//! What the printed commands do: log in, call, be refused, log out, be refused.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::node::{Node, echo, problem};

#[tokio::test]
async fn a_tenants_request_is_decided_and_forwarded() {
    let node = Node::start();
    let member = node.login("acme", "member").await;
    let seen = echo(node.get("acme.localhost", "/demo/me").bearer_auth(&member.access)).await;
    assert_eq!(seen["headers"]["x-md-global-tenant-slug"], json!(["acme"]));
    assert_eq!(seen["headers"]["x-md-global-username"], json!(["member"]));
    assert_eq!(seen["headers"]["x-md-global-roles"], json!(["demo_member,member"]));
    assert!(seen["headers"].get("authorization").is_none());

    for (method, path, expected) in [
        (Method::GET, "/demo/public/x", 200),
        (Method::GET, "/demo/optional/x", 200),
        (Method::GET, "/demo/orders", 200),
        (Method::GET, "/demo/orders/7", 200),
        (Method::POST, "/demo/orders", 403),
        (Method::DELETE, "/demo/orders/7", 403),
        (Method::PUT, "/demo/echo/any", 200),
        (Method::GET, "/elsewhere", 404),
    ] {
        let answer =
            node.edge(method.clone(), "acme.localhost", path).bearer_auth(&member.access).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{method} {path}");
        assert!(answer.headers().contains_key("x-request-id"), "{method} {path}");
    }
    let admin = node.login("acme", "admin").await;
    let created = node.edge(Method::POST, "acme.localhost", "/demo/orders").bearer_auth(&admin.access).send().await;
    assert_eq!(created.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_of_acme_is_nobody_at_globex() {
    let node = Node::start();
    let member = node.login("acme", "member").await;
    let at_globex = node.get("globex.localhost", "/demo/me").bearer_auth(&member.access);
    assert_eq!(problem(at_globex).await, (401, "issuer_unknown".into()));
    let anonymous = node.get("acme.localhost", "/demo/me");
    assert_eq!(problem(anonymous).await, (401, "credential_missing".into()));
}

#[tokio::test]
async fn after_logout_the_token_is_refused_on_the_very_next_request() {
    let node = Node::start();
    for _ in 0..5 {
        let member = node.login("acme", "member").await;
        let me = || node.get("acme.localhost", "/demo/me").bearer_auth(&member.access);
        assert_eq!(me().send().await.unwrap().status(), StatusCode::OK);
        let logout = node.edge(Method::POST, "acme.localhost", "/api/v1/tenant/auth/logout");
        let answer = logout.bearer_auth(&member.access).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.text().await.unwrap());
        assert_eq!(problem(me()).await, (401, "token_revoked".into()));
        let refresh = node.edge(Method::POST, "acme.localhost", "/api/v1/tenant/auth/refresh");
        let refused = refresh.json(&json!({ "refresh_token": member.refresh })).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_refreshed_session_goes_on_and_its_old_refresh_token_is_spent() {
    let node = Node::start();
    let member = node.login("acme", "member").await;
    let refresh = |token: &str| {
        let body = json!({ "refresh_token": token });
        node.edge(Method::POST, "acme.localhost", "/api/v1/tenant/auth/refresh").json(&body)
    };
    let answer = refresh(&member.refresh).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let body: serde_json::Value = answer.json().await.unwrap();
    let token = body["access_token"].as_str().unwrap();
    echo(node.get("acme.localhost", "/demo/me").bearer_auth(token)).await;
    assert_eq!(problem(refresh(&member.refresh)).await, (401, "refresh_superseded".into()));
}

#[tokio::test]
async fn wrong_passwords_and_unknown_names_are_one_answer() {
    let node = Node::start();
    for username in ["member", "nobody"] {
        let body = json!({ "username": username, "password": "wrong" });
        let login = node.edge(Method::POST, "acme.localhost", "/api/v1/tenant/auth/login").json(&body);
        assert_eq!(problem(login).await, (401, "credentials_invalid".into()), "{username}");
    }
}

#[tokio::test]
async fn the_plain_port_redirects_and_knows_its_hosts() {
    let node = Node::start();
    let address = node.address("edge_http");
    let ask = |host: &str| {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap()
            .get(format!("http://{address}/demo/me?x=1"))
            .header("host", host)
    };
    let answer = ask("acme.localhost").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
    let port = node.address("edge_https").port();
    assert_eq!(answer.headers()["location"], format!("https://acme.localhost:{port}/demo/me?x=1"));
    assert_eq!(ask("evil.localhost").send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_persons_own_service_is_fronted_on_every_path_but_the_identity_routes() {
    let canary = testkit::Canary::start().await;
    let node = Node::start_with(&["--upstream", &canary.addr().to_string()]);
    let member = node.login("acme", "member").await;
    let path = "/anything/at/all";
    assert_eq!(problem(node.get("acme.localhost", path)).await, (401, "credential_missing".into()));
    canary.assert_silent();
    let answer = node.get("acme.localhost", path).bearer_auth(&member.access).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(canary.next().await.header("x-md-global-username"), ["member"]);
}
