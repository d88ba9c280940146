//! The platform's administrator, at the `admin` listener.

use std::net::SocketAddr;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;

use crate::world::{HOST, World};

/// The password of everybody.
pub(crate) const PASSWORD: &str = "P7-correct-horse-battery";

/// A control API on its admin listener, with the platform administrator signed in.
pub(crate) struct Admin {
    address: SocketAddr,
    token: String,
    client: Client,
}

impl Admin {
    pub(crate) async fn sign_in(address: SocketAddr) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        let login = json!({ "username": "platform-admin", "password": PASSWORD });
        let mut token = String::new();
        eventually("the control API signs staff in", async || {
            let sent = client.post(format!("http://{address}/api/v1/auth/login")).json(&login).send().await;
            let Ok(answer) = sent else { return false };
            let body: Value = answer.json().await.unwrap_or_default();
            token = body["access_token"].as_str().unwrap_or_default().to_owned();
            !token.is_empty()
        })
        .await;
        Self { address, token, client }
    }

    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> Value {
        self.answer(method, path, body).await.1
    }

    /// Whether it was done; whatever else came, or did not, is no.
    pub(crate) async fn is_done(&self, method: Method, path: &str, body: &Value) -> bool {
        let request = self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(&self.token);
        request.json(body).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// The status too, which is one of success.
    pub(crate) async fn answer(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("http://{}{path}", self.address)).bearer_auth(&self.token);
        let answer = if body.is_null() { request } else { request.json(body) }.send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        assert!(status.is_success(), "{path}: {status} {body}");
        (status, body)
    }

    pub(crate) async fn find(&self, path: &str, member: &str, value: &str) -> Value {
        let list = self.send(Method::GET, path, &Value::Null).await;
        list["items"].as_array().unwrap().iter().find(|item| item[member] == value).unwrap().clone()
    }

    /// What the declarative file cannot say: an issuer with its keys at hand, and a user who signs in.
    pub(crate) async fn complete(&self, world: &World) {
        let project = self.find("/v1/projects", "slug", "acme").await["id"].clone();
        let issuer = json!({
            "project_id": project, "issuer": "https://id.example.test", "audiences": ["orders"],
            "algorithms": ["ES256"], "tenant_claim": "tid", "subject_claim": "sub", "roles_claim": "roles",
            "jwks": world.issuer.jwks(),
        });
        self.send(Method::POST, "/v1/issuers?wait=applied", &issuer).await;
        let tenant = self.find("/v1/tenants", "slug", "acme").await["id"].as_str().unwrap().to_owned();
        let user = json!({ "username": "ann", "email": "ann@acme.example", "password": PASSWORD });
        self.send(Method::POST, &format!("/v1/tenants/{tenant}/users"), &user).await;
        let services = [
            self.find("/v1/services", "name", "orders").await["id"].clone(),
            self.find("/v1/services", "name", "identity").await["id"].clone(),
        ];
        let hostname = self.find("/v1/hostnames", "hostname", HOST).await["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/hostnames/{hostname}?wait=applied");
        self.send(Method::PATCH, &path, &json!({ "services": services })).await;
    }
}
