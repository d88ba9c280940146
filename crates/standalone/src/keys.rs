//! `portcullis keys`: signing keys of a running control API.

use clap::{Args, Subcommand};
use control_api::api::signing_keys::RotateSigningKey;
use domain::{Clock, model::KeyPurpose};
use reqwest::Method;
use serde_json::Value;

use crate::{
    admin::{Admin, answer},
    resources,
};

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
pub async fn run(keys: Keys, clock: &dyn Clock) -> anyhow::Result<String> {
    match keys {
        Keys::List(list) => {
            let admin = list.admin.sign_in(clock).await?;
            let project = resources::project(&admin, &list.project).await?;
            let path = format!("/v1/signing-keys?project_id={project}&sort=created_at");
            let found = resources::all(&admin, "keys", &path).await?;
            Ok(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
        Keys::Rotate(rotate) => {
            let admin = rotate.admin.sign_in(clock).await?;
            let request = RotateSigningKey {
                project_id: resources::project(&admin, &rotate.project).await?.parse()?,
                purpose: if rotate.assertions { KeyPurpose::Assertions } else { KeyPurpose::Tokens },
                at_once: rotate.now,
            };
            let ask = admin.ask(Method::POST, "/v1/signing-keys/rotate").json(&request);
            let made: Value = answer(ask, "rotation").await?;
            Ok(made.to_string())
        }
    }
}
