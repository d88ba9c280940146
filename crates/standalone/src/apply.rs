//! `portcullis apply`: reads a declarative file or folder here, sends it to a running control API's admin listener.

use std::path::PathBuf;

use clap::Args;
use control_api::api::apply::{ApplyRequest, ApplyResponse};
use domain::declarative::ReadAs;
use reqwest::Method;

use crate::admin::{Admin, answer};

/// What `portcullis apply` is told.
#[derive(Args, Debug)]
pub struct Apply {
    /// Declarative file, or folder of such files.
    #[arg(short, long = "file", value_name = "FILE_OR_DIR")]
    file: PathBuf,
    #[command(flatten)]
    admin: Admin,
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
    let request =
        ApplyRequest { entities: declared.entities, jwks_urls: declared.jwks_urls, public_port: apply.public_port };
    let admin = apply.admin.sign_in().await?;
    let done: ApplyResponse = answer(admin.ask(Method::POST, "/v1/apply").json(&request), "apply").await?;
    Ok(format!(
        "{} created, {} updated, {} unchanged",
        done.outcome.created, done.outcome.updated, done.outcome.unchanged
    ))
}
