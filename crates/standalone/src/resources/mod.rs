//! The control API's resources as subcommands: `portcullis RESOURCE VERB`.
//!
//! ```text
//! table (resource, verb, operation) ─▶ catalog (the API's own description) ─▶ command (arguments) ─▶ call ─▶ print
//! ```
//!
//! What there is and what it takes is the API's description, which is made of its wire types; so a member that is added
//! to a body is a flag here without anybody writing one. What is added to the API is asked for by a line of the table.

mod call;
mod catalog;
pub mod check;
mod command;
mod names;
mod pages;
mod print;
mod table;

pub use self::command::graft;
pub(crate) use self::names::{project, tenant};

use clap::ArgMatches;
use domain::Clock;
use serde_json::Value;

use self::{
    catalog::operation,
    pages::Pages,
    table::{OTHERS, TABLE},
};
use crate::admin::SignedIn;

/// All of a list at a path, filters included.
///
/// # Errors
/// What the control API answers.
pub(crate) async fn all(session: &SignedIn, what: &str, path: &str) -> anyhow::Result<Vec<Value>> {
    Pages::all(session, what, path).rest().await
}

/// A verb of a resource, as it was typed.
pub struct Asked<'a> {
    what: String,
    operation: &'static catalog::Operation,
    columns: &'static [&'static str],
    typed: &'a ArgMatches,
}

/// What was typed, where it is a verb of the table.
pub fn asked(typed: &ArgMatches) -> Option<Asked<'_>> {
    let (name, typed) = typed.subcommand()?;
    let resource = TABLE.iter().find(|resource| resource.name == name)?;
    let (verb, typed) = typed.subcommand()?;
    let (_, id) = resource.verbs.iter().find(|(known, _)| *known == verb)?;
    let others = OTHERS.iter().find(|(other, _)| other == id);
    let columns = others.map_or(resource.columns, |(_, columns)| columns);
    Some(Asked { what: format!("{name} {verb}"), operation: operation(id)?, columns, typed })
}

impl Asked<'_> {
    /// Asks, and prints what is answered.
    ///
    /// # Errors
    /// [`crate::admin::Failure`], and what cannot be read.
    pub async fn run(self, clock: &dyn Clock) -> anyhow::Result<()> {
        call::perform(&self.what, self.operation, self.columns, self.typed, clock).await
    }
}
