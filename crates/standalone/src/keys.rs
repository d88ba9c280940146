//! `portcullis keys`: signing keys of a running control API.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use control_api::api::signing_keys::RotateSigningKey;
use domain::{ProjectId, model::KeyPurpose};
use reqwest::Method;
use serde_json::Value;

use crate::admin::{Admin, SignedIn, answer};

/// What `portcullis keys` is told.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Lists a project's keys, one JSON line each.
    List(List),
    /// Makes the successor of a project's active key; prints it as JSON.
    Rotate(Rotate),
}

/// What `portcullis keys list` is told.
#[derive(Args, Debug)]
pub struct List {
    /// Slug of the project.
    #[arg(long)]
    project: String,
    #[command(flatten)]
    admin: Admin,
}

/// What `portcullis keys rotate` is told.
#[derive(Args, Debug)]
pub struct Rotate {
    /// Slug of the project.
    #[arg(long)]
    project: String,
    /// Follow the key of the fleet's assertions (project `root`), not that of the project's tokens.
    #[arg(long)]
    assertions: bool,
    /// Let it sign as soon as every live gateway knows it, not after `signing.publish_ahead`.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    admin: Admin,
}

/// Does it, and gives back what there is to print.
///
/// # Errors
/// What the control API answers.
pub async fn run(keys: Keys) -> anyhow::Result<String> {
    match keys {
        Keys::List(list) => {
            let admin = list.admin.sign_in().await?;
            let project = project(&admin, &list.project).await?;
            let path = format!("/v1/signing-keys?project_id={project}");
            let found: Value = answer(admin.ask(Method::GET, &path), "keys").await?;
            let lines = items(&found).map(ToString::to_string);
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
        Keys::Rotate(rotate) => {
            let admin = rotate.admin.sign_in().await?;
            let request = RotateSigningKey {
                project_id: project(&admin, &rotate.project).await?,
                purpose: if rotate.assertions { KeyPurpose::Assertions } else { KeyPurpose::Tokens },
                at_once: rotate.now,
            };
            let ask = admin.ask(Method::POST, "/v1/signing-keys/rotate").json(&request);
            let made: Value = answer(ask, "rotation").await?;
            Ok(made.to_string())
        }
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.get("items").and_then(Value::as_array).into_iter().flatten()
}

/// The id of the project with this slug.
async fn project(admin: &SignedIn, slug: &str) -> anyhow::Result<ProjectId> {
    let mut cursor = String::new();
    loop {
        let page: Value =
            answer(admin.ask(Method::GET, &format!("/v1/projects?limit=500{cursor}")), "projects").await?;
        let named = items(&page).find(|it| it.get("slug").and_then(Value::as_str) == Some(slug));
        if let Some(project) = named {
            let id = project.get("id").and_then(Value::as_str).context("a project without id")?;
            return Ok(id.parse()?);
        }
        let next = page.get("next_cursor").and_then(Value::as_str);
        cursor = format!("&cursor={}", next.with_context(|| format!("there is no project `{slug}`"))?);
    }
}
