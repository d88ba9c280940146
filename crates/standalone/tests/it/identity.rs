//! From an account that is asked for to signing out everywhere, through the edge, with the development mailbox: what
//! `docs/identity.md` walks through.

use reqwest::Method;
use serde_json::{Value, json};
use testkit::eventually;

use crate::node::{Node, problem};

const ACME: &str = "acme.localhost";
const EVE: &str = "eve@mail.example";
const PASSWORD: &str = "Correct-horse-1";

struct Walk {
    node: Node,
    seen: usize,
}

impl Walk {
    /// What is sent through the edge, and succeeds.
    async fn ask(&self, path: &str, token: Option<&str>, body: &Value) -> Value {
        let mut request = self.node.edge(Method::POST, ACME, path).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    async fn refused(&self, path: &str, body: &Value) -> (u16, String) {
        problem(self.node.edge(Method::POST, ACME, path).json(body)).await
    }

    /// The next letter to eve.
    async fn letter(&mut self) -> Value {
        let mut letters = Vec::new();
        let wanted = self.seen + 1;
        eventually("a letter to come", async || {
            let kept = self.node.admin(Method::GET, &format!("/dev/mailbox?to={EVE}")).send().await.unwrap();
            let kept: Value = kept.json().await.unwrap();
            letters = kept["items"].as_array().unwrap().clone();
            letters.len() >= wanted
        })
        .await;
        self.seen = wanted;
        letters[0].clone()
    }

    async fn link(&mut self) -> String {
        let letter = self.letter().await;
        let text = letter["text"].as_str().unwrap();
        assert!(text.contains(&format!("https://{ACME}")), "{text}");
        text.split_once("#token=").unwrap().1.split_whitespace().next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn from_an_account_that_is_asked_for_to_signing_out_everywhere() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let projects = node.admin(Method::GET, "/v1/projects").bearer_auth(&staff).send().await.unwrap();
    let projects: Value = projects.json().await.unwrap();
    let acme = projects["items"].as_array().unwrap().iter().find(|it| it["slug"] == "acme").unwrap()["id"].clone();
    let mut it = Walk { node, seen: 0 };
    let signup = json!({ "email": EVE, "password": PASSWORD });
    assert_eq!(it.refused("/v1/auth/signup", &signup).await, (403, "signup_closed".into()));
    let open = json!({ "config": { "access": { "mode": "open" } } });
    let path = format!("/v1/projects/{}", acme.as_str().unwrap());
    let opened = it.node.admin(Method::PATCH, &path).bearer_auth(&staff).json(&open).send().await.unwrap();
    assert!(opened.status().is_success());

    assert_eq!(it.ask("/v1/auth/signup", None, &signup).await, json!({ "status": "accepted" }));
    let token = it.link().await;
    it.ask("/v1/auth/email/verify", None, &json!({ "token": token, "password": PASSWORD })).await;
    it.ask("/v1/auth/login", None, &json!({ "username": EVE, "password": PASSWORD })).await;

    it.ask("/v1/auth/otp/request", None, &json!({ "email": EVE })).await;
    let code = it.letter().await["subject"].as_str().unwrap()[..6].to_owned();
    let by_code = it.ask("/v1/auth/otp/verify", None, &json!({ "email": EVE, "code": code })).await;
    let by_code = by_code["access_token"].as_str().unwrap().to_owned();
    assert!(it.node.get(ACME, "/demo/me").bearer_auth(&by_code).send().await.unwrap().status().is_success());

    it.ask("/v1/auth/magic-link/request", None, &json!({ "email": EVE })).await;
    let link = it.link().await;
    let by_link = it.ask("/v1/auth/magic-link/redeem", None, &json!({ "token": link })).await;
    let again = it.refused("/v1/auth/magic-link/redeem", &json!({ "token": link })).await;
    assert_eq!(again, (401, "link_invalid".into()));

    it.ask("/v1/auth/password/reset/request", None, &json!({ "email": EVE })).await;
    let reset = it.link().await;
    it.ask("/v1/auth/password/reset/confirm", None, &json!({ "token": reset, "new_password": "Better-horse-2" })).await;
    for token in [by_code.as_str(), by_link["access_token"].as_str().unwrap()] {
        let gone = problem(it.node.get(ACME, "/demo/me").bearer_auth(token)).await;
        assert_eq!(gone, (401, "token_revoked".into()), "a new password ends what was open");
    }
    let login = it.ask("/v1/auth/login", None, &json!({ "username": EVE, "password": "Better-horse-2" })).await;
    let token = login["access_token"].as_str().unwrap().to_owned();
    it.ask("/v1/me/sign-out-everywhere", Some(&token), &json!({ "password": "Better-horse-2" })).await;
    let gone = problem(it.node.get(ACME, "/demo/me").bearer_auth(&token)).await;
    assert_eq!(gone, (401, "token_revoked".into()));
}
