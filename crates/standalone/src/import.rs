//! `portcullis users import`: users of another system, one JSON object a line, with the hashes of their passwords.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, BufRead, BufReader},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use control_api::app::user_import::MOST;
use domain::{Clock, model::fold};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    admin::{self, Connection, Failure, SignedIn, answer},
    resources,
};

/// Most bytes of the users of one call; the control API takes 1 MiB.
const MOST_BYTES: usize = 512 * 1024;

/// What can be done with users, beside what the table has.
#[derive(Debug, Subcommand)]
pub enum Users {
    /// Takes users over from a file, one JSON object a line: `{"username", "email", "first_name", "last_name", "phone",
    /// "external_id", "password_hash", "must_change_password", "roles"}`, of which a user name or an email is needed.
    /// Hashes are Argon2id (PHC) or bcrypt. Who is there already is left as they are, so that it can be done again.
    /// Exit code 1 where somebody was refused.
    Import(Import),
}

/// What `portcullis users import` is told.
#[derive(Args, Debug)]
pub struct Import {
    /// The file; `-` for the standard input.
    file: PathBuf,
    /// The tenant, by slug or id.
    #[arg(long)]
    tenant: String,
    /// Does all of it and keeps nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

/// What the control API answers.
#[derive(Deserialize)]
struct Imported {
    results: Vec<Fate>,
}

#[derive(Deserialize)]
struct Fate {
    outcome: Outcome,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Created,
    Present,
    Refused,
}

/// Some lines of the file, each with its number.
#[derive(Default)]
struct Batch {
    users: Vec<(u64, Value)>,
    bytes: usize,
}

/// What came of it.
#[derive(Default)]
struct Tally {
    created: u64,
    present: u64,
    refused: u64,
    /// In a dry run, folded names of who would have been made: of two lines for one user the second finds them there.
    made: Option<HashSet<String>>,
}

impl Tally {
    /// One who was made, or would have been.
    fn made(&mut self, user: &Value) {
        let names = ["username", "email"].iter().filter_map(|name| Some(fold(user.get(*name)?.as_str()?)));
        match &mut self.made {
            Some(made) if names.clone().any(|name| made.contains(&name)) => self.present += 1,
            made => {
                made.iter_mut().for_each(|made| made.extend(names.clone()));
                self.created += 1;
            }
        }
    }
}

/// Imports, and gives back what there is to print and whether everybody was taken.
///
/// # Errors
/// What cannot be read, and what the control API answers; what was done before is said.
pub async fn run(Users::Import(it): Users, clock: &dyn Clock) -> anyhow::Result<(String, bool)> {
    let lines: Box<dyn BufRead + Send> = if it.file.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(&it.file).with_context(|| format!("`{}` cannot be read", it.file.display()))?;
        Box::new(BufReader::new(file))
    };
    let session = it.connection.sign_in(clock).await?;
    let tenant = resources::tenant(&session, &it.tenant).await?;
    let path = format!("/v1/tenants/{tenant}/users/import");
    let mut tally = Tally { made: it.dry_run.then(HashSet::new), ..Tally::default() };
    let mut batch = Batch::default();
    for (number, line) in (1_u64..).zip(lines.lines()) {
        let line = line.context("the file cannot be read")?;
        if line.trim().is_empty() {
            continue;
        }
        // What serde says could quote a hash.
        let user: Value = serde_json::from_str(&line)
            .map_err(|error| Failure::usage(format!("line {number} is no JSON: column {}", error.column())))?;
        if batch.users.len() >= MOST || batch.bytes + line.len() > MOST_BYTES {
            send(&session, &path, std::mem::take(&mut batch), it.dry_run, &mut tally).await?;
        }
        batch.bytes += line.len();
        batch.users.push((number, user));
    }
    if !batch.users.is_empty() {
        send(&session, &path, batch, it.dry_run, &mut tally).await?;
    }
    let Tally { created, present, refused, .. } = tally;
    let would = if it.dry_run { "dry run: would be " } else { "" };
    Ok((format!("{would}{created} created, {present} present, {refused} refused"), refused == 0))
}

async fn send(session: &SignedIn, path: &str, batch: Batch, dry_run: bool, tally: &mut Tally) -> anyhow::Result<()> {
    let (numbers, users): (Vec<u64>, Vec<Value>) = batch.users.into_iter().unzip();
    let (first, last) = (numbers.first().copied().unwrap_or_default(), numbers.last().copied().unwrap_or_default());
    let ask = session.ask(Method::POST, path).json(&json!({ "users": users, "dry_run": dry_run }));
    let done: Imported = answer(ask, &format!("import of lines {first} to {last}")).await?;
    for ((number, user), fate) in numbers.iter().zip(&users).zip(&done.results) {
        match fate.outcome {
            Outcome::Created => tally.made(user),
            Outcome::Present => tally.present += 1,
            Outcome::Refused => {
                tally.refused += 1;
                let words = |it: &Option<String>| admin::text(it.as_deref().unwrap_or_default());
                complain(&format!("line {number}: {}: {}", words(&fate.code), words(&fate.detail)));
            }
        }
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "what an operator reads")]
fn complain(text: &str) {
    eprintln!("portcullis: {text}");
}

#[test]
fn of_two_lines_for_one_user_a_dry_run_makes_one() {
    let mut tally = Tally { made: Some(HashSet::new()), ..Tally::default() };
    for user in [
        json!({ "username": "ike", "email": "ike@acme.example" }),
        json!({ "email": " IKE@acme.example" }),
        json!({ "username": "Ike" }),
        json!({ "username": "ike@acme.example" }),
        json!({ "username": "ina" }),
    ] {
        tally.made(&user);
    }
    assert_eq!((tally.created, tally.present), (2, 3));
}
