//! `portcullis apply`: reads a declarative file or folder here, sends it to a running control API's admin listener.
//!
//! What fits one request is in force as a whole or not at all. A file that is longer goes in parts where that is asked for, each
//! of them so, and each with all that it refers to; what was done is done, and applying it again goes on from there.

mod parts;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use control_api::api::apply::{ApplyRequest, ApplyResponse};
use domain::{Clock, declarative::ReadAs, snapshot::Entity};
use reqwest::Method;

use crate::admin::{Admin, Failure, answer};

/// What `portcullis apply` is told.
#[derive(Args, Debug)]
pub struct Apply {
    /// Declarative file, or folder of such files.
    #[arg(short, long = "file", value_name = "FILE_OR_DIR")]
    file: PathBuf,
    #[command(flatten)]
    admin: Admin,
    /// Applies what does not fit one request in parts: each is in force as a whole or not at all, all of it together is not.
    #[arg(long)]
    in_parts: bool,
    /// The edge's HTTPS port, where it is not 443: part of the issuer of projects that are made.
    #[arg(long)]
    public_port: Option<u16>,
}

/// Applies, and says what was done.
///
/// # Errors
/// All mistakes of the files, or what the control API answers.
pub async fn run(apply: Apply, clock: &dyn Clock) -> anyhow::Result<String> {
    let declared = link::declarative::load(&apply.file, ReadAs::Apply)?;
    let parts = parts::of(&declared.entities)?;
    if parts.len() > 1 && !apply.in_parts {
        let many = parts.len();
        let text =
            format!("this does not fit one request; with --in-parts it goes in {many}, each as a whole or not at all");
        return Err(Failure::usage(text).into());
    }
    let admin = apply.admin.sign_in(clock).await?;
    let (mut created, mut updated, mut unchanged) = (0_u64, 0_u64, 0_u64);
    for (number, part) in parts.iter().enumerate() {
        let entities: Vec<Entity> = part.iter().filter_map(|at| declared.entities.get(*at)).cloned().collect();
        let here = |id| entities.iter().any(|entity| matches!(entity, Entity::Issuer(issuer) if issuer.id == id));
        let jwks_urls = declared.jwks_urls.iter().filter(|(id, _)| here(*id)).cloned().collect();
        let request = ApplyRequest { entities, jwks_urls, public_port: apply.public_port };
        let done = answer::<ApplyResponse>(admin.ask(Method::POST, "/v1/apply").json(&request), "apply").await;
        let done = match number {
            0 => done?,
            _ => {
                done.with_context(|| format!("part {} of {}; those before it are in force", number + 1, parts.len()))?
            }
        };
        created += u64::from(done.outcome.created);
        updated += u64::from(done.outcome.updated);
        unchanged += u64::from(done.outcome.unchanged);
    }
    let in_parts = if parts.len() > 1 { format!(", in {} parts", parts.len()) } else { String::new() };
    Ok(format!("{created} created, {updated} updated, {unchanged} unchanged{in_parts}"))
}
