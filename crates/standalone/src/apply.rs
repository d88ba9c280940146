//! `portcullis apply`: reads a declarative file or folder here, sends it to a running control API's admin listener.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use control_api::api::apply::{ApplyRequest, ApplyResponse};
use domain::declarative::ReadAs;
use serde::de::DeserializeOwned;

/// What `portcullis apply` is told.
#[derive(Args, Debug)]
pub struct Apply {
    /// Declarative file, or folder of such files.
    #[arg(short, long = "file", value_name = "FILE_OR_DIR")]
    file: PathBuf,
    /// The control API's admin listener.
    #[arg(long, default_value = "http://127.0.0.1:9080", env = "PORTCULLIS_URL")]
    url: String,
    /// Platform administrator.
    #[arg(long, default_value = "platform-admin", env = "PORTCULLIS_USERNAME")]
    username: String,
    /// File that holds the administrator's password; without it PORTCULLIS_PASSWORD is read.
    #[arg(long)]
    password_file: Option<PathBuf>,
    /// The edge's HTTPS port, where it is not 443: part of the issuer of projects that are made.
    #[arg(long)]
    public_port: Option<u16>,
}

/// Applies, and says what was done.
///
/// # Errors
/// All mistakes of the files, or what the control API answers.
pub async fn run(apply: Apply) -> anyhow::Result<String> {
    let declared = link::declarative::load(&apply.file, ReadAs::Apply)?;
    if let Some((_, url)) = declared.jwks_urls.first() {
        bail!("the key set of {url} would have to be fetched by the control API, which does not do that yet");
    }
    let password = match &apply.password_file {
        Some(path) => fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()))?,
        None => std::env::var("PORTCULLIS_PASSWORD")
            .context("no password: give --password-file, or set PORTCULLIS_PASSWORD")?,
    };
    let client = reqwest::Client::new();
    let url = apply.url.trim_end_matches('/');
    let login = serde_json::json!({ "username": apply.username, "password": password.trim_end() });
    let tokens: serde_json::Value =
        answer(client.post(format!("{url}/api/v1/auth/login")).json(&login), "sign-in").await?;
    let token = tokens.get("access_token").and_then(serde_json::Value::as_str).context("sign-in gave no token")?;
    let request = ApplyRequest { entities: declared.entities, public_port: apply.public_port };
    let done: ApplyResponse =
        answer(client.post(format!("{url}/v1/apply")).bearer_auth(token).json(&request), "apply").await?;
    Ok(format!(
        "{} created, {} updated, {} unchanged",
        done.outcome.created, done.outcome.updated, done.outcome.unchanged
    ))
}

/// A successful answer's body; of another one the problem's own words (RFC 9457).
async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder, what: &str) -> anyhow::Result<T> {
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
