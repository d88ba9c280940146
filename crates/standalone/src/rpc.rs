//! `portcullis rpc`: asks a control API's auth RPC, JSON in and out.

use std::{fs, io::Read as _, path::PathBuf};

use anyhow::Context as _;
use clap::Args;
use domain::Secret;
use link::rpc::AuthClient;

/// What `portcullis rpc` is told.
#[derive(Args, Debug)]
pub struct Rpc {
    /// verify-token, get-user-permissions, check-permission, batch-check-permission, refresh-token or invalidate-token.
    method: String,
    /// The request as JSON, such as `{"token": "…", "hostname": "acme.localhost"}`; `-` reads it from the standard input,
    /// where a token is not seen in the list of processes.
    #[arg(default_value = "-")]
    request: String,
    /// The control API's internal listener: https, or http on this machine.
    #[arg(long, default_value = "http://127.0.0.1:9090", env = "PORTCULLIS_INTERNAL_URL")]
    url: String,
    /// PEM of the authorities trusted for its certificate; needed with https.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// File that holds the service key; without it PORTCULLIS_SERVICE_KEY is read.
    #[arg(long)]
    service_key_file: Option<PathBuf>,
}

/// Asks, and gives the answer as JSON.
///
/// # Errors
/// What cannot be read, or what the control API says.
pub async fn run(rpc: Rpc) -> anyhow::Result<String> {
    let read =
        |path: &PathBuf| fs::read_to_string(path).with_context(|| format!("`{}` cannot be read", path.display()));
    let key = match &rpc.service_key_file {
        Some(path) => read(path)?,
        None => std::env::var("PORTCULLIS_SERVICE_KEY")
            .context("no service key: give --service-key-file, or set PORTCULLIS_SERVICE_KEY")?,
    };
    let key = Secret::new(key.trim_end().to_owned());
    let ca = rpc.ca.as_ref().map(read).transpose()?;
    let mut text = rpc.request;
    if text == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text).context("the request cannot be read from the standard input")?;
    }
    let request = serde_json::from_str(&text).context("the request is not JSON")?;
    let client = AuthClient::new(&rpc.url, ca.as_deref(), &key)?;
    let answer = client.call(&rpc.method, request).await?;
    Ok(serde_json::to_string_pretty(&answer)?)
}
