//! What the command's subcommands say to a running control API: sign in on the `admin` listener, ask, read the answer.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Client, Method, RequestBuilder};
use serde::de::DeserializeOwned;

/// Where the control API is, and who asks.
#[derive(Args, Debug)]
pub struct Admin {
    /// The control API's admin listener.
    #[arg(long, default_value = "http://127.0.0.1:9080", env = "PORTCULLIS_URL")]
    url: String,
    /// Platform administrator.
    #[arg(long, default_value = "platform-admin", env = "PORTCULLIS_USERNAME")]
    username: String,
    /// File that holds the administrator's password; without it PORTCULLIS_PASSWORD is read.
    #[arg(long)]
    password_file: Option<PathBuf>,
}

/// Somebody who has signed in.
pub struct SignedIn {
    client: Client,
    url: String,
    token: String,
}

impl Admin {
    /// Signs in.
    ///
    /// # Errors
    /// No password, or what the control API answers.
    pub async fn sign_in(&self) -> anyhow::Result<SignedIn> {
        let password = match &self.password_file {
            Some(path) => fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?,
            None => std::env::var("PORTCULLIS_PASSWORD")
                .context("no password: give --password-file, or set PORTCULLIS_PASSWORD")?,
        };
        let (client, url) = (Client::new(), self.url.trim_end_matches('/').to_owned());
        let login = serde_json::json!({ "username": self.username, "password": password.trim_end() });
        let tokens: serde_json::Value =
            answer(client.post(format!("{url}/api/v1/auth/login")).json(&login), "sign-in").await?;
        let token = tokens.get("access_token").and_then(serde_json::Value::as_str).context("sign-in gave no token")?;
        Ok(SignedIn { token: token.into(), client, url })
    }
}

impl SignedIn {
    /// A request to be.
    pub fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }
}

/// A successful answer's body; of another one the problem's own words (RFC 9457).
///
/// # Errors
/// What went wrong, beginning with `what`.
pub async fn answer<T: DeserializeOwned>(request: RequestBuilder, what: &str) -> anyhow::Result<T> {
    let response = request.send().await.with_context(|| format!("{what}: the control API cannot be reached"))?;
    let status = response.status();
    let body = response.bytes().await.with_context(|| format!("{what}: the answer broke off"))?;
    if !status.is_success() {
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = |name: &str| problem.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let mut lines = format!("{what}: {} {} {}", status.as_u16(), text("code"), text("detail"));
        for error in problem.get("errors").and_then(serde_json::Value::as_array).into_iter().flatten() {
            lines.push_str(&format!("\n  {error}"));
        }
        bail!(lines);
    }
    serde_json::from_slice(&body).with_context(|| format!("{what}: the answer is not what this release expects"))
}
