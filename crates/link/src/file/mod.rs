//! Files people write: YAML or JSON, read so that **every** mistake is named at once, each with its place.
//!
//! ```text
//! text ─▶ Document (values with lines) ─▶ overrides from the environment ─▶ JSON Schema of T ─▶ T ─▶ caller's checks
//!                                                      └────────── Mistakes ◀──────────┴────────────┘
//! ```
//!
//! ```
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// Where to listen.
//!     port: u16,
//! }
//! use link::file::{Document, Overrides, load};
//! let document = Document::parse("gateway.yaml", "prot: 8080\n").unwrap();
//! let mistakes = load::<Config>(document, &Overrides::none()).err().unwrap();
//! assert_eq!(
//!     mistakes.to_string(),
//!     "gateway.yaml: `port` is missing\ngateway.yaml:1: prot: unknown key; did you mean `port`?"
//! );
//! ```
//!
//! Syntax errors alone come one at a time: nothing after them can be trusted. Secrets are never in such a file; a
//! [`SecretRef`] says where they are.

mod document;
mod key_path;
mod mistake;
mod overrides;
mod reference;
mod schema;
mod secret_ref;

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use self::{
    document::Document,
    key_path::KeyPath,
    mistake::{Mistake, Mistakes},
    overrides::Overrides,
    reference::reference_markdown,
    secret_ref::{SecretRef, SecretRefError},
};

/// Reads a `T`: overrides, the schema of `T`, then `T` itself.
///
/// # Errors
/// Everything that is wrong with it. Checks of the caller's own come after, by [`Loaded::checked`].
pub fn load<T: DeserializeOwned + JsonSchema>(
    mut document: Document,
    overrides: &Overrides,
) -> Result<Loaded<T>, Mistakes> {
    let schema = schemars::schema_for!(T).to_value();
    let mut mistakes = overrides.apply(&mut document, &schema);
    // What an override put wrongly is said once.
    let said: HashSet<String> = mistakes.iter().map(|m| m.key_path.to_string()).collect();
    for mistake in schema::check(&schema, &document) {
        if !said.contains(&mistake.key_path.to_string()) {
            mistakes.push(mistake);
        }
    }
    mistakes.into_result(())?;
    match serde_path_to_error::deserialize::<_, T>(document.value().clone()) {
        Ok(value) => Ok(Loaded { value, document }),
        Err(error) => {
            let at = KeyPath::from_serde(error.path());
            Err(document.mistake(at, error.into_inner().to_string(), None).into())
        }
    }
}

/// A value with the places of its keys, for checks that no schema can express.
#[derive(Debug)]
pub struct Loaded<T> {
    value: T,
    document: Document,
}

impl<T> Loaded<T> {
    /// Runs checks that collect, and gives the value out only when none of them complained.
    ///
    /// # Errors
    /// What the checks refused.
    pub fn checked(self, checks: impl FnOnce(&T, &mut Checks<'_>)) -> Result<T, Mistakes> {
        let mut collected = Checks { document: &self.document, section: String::new(), mistakes: Mistakes::default() };
        checks(&self.value, &mut collected);
        collected.mistakes.into_result(self.value)
    }

    /// The value and its document, for who turns it into something else.
    pub fn into_parts(self) -> (T, Document) {
        (self.value, self.document)
    }
}

/// Collects what a caller's checks refuse.
#[derive(Debug)]
pub struct Checks<'d> {
    document: &'d Document,
    /// Where pointers start.
    section: String,
    mistakes: Mistakes,
}

impl Checks<'_> {
    /// Notes a mistake at a JSON pointer (RFC 6901) such as `/hostnames/0/tenant`.
    pub fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        let pointer = format!("{}{pointer}", self.section);
        self.mistakes.push(self.document.mistake(KeyPath::from_pointer(&pointer), message, None));
    }

    /// Runs checks whose pointers start at a section, such as `/gateway`: those of a configuration inside another.
    pub fn within(&mut self, section: &str, checks: impl FnOnce(&mut Self)) {
        let outer = self.section.len();
        self.section.push_str(section);
        checks(self);
        self.section.truncate(outer);
    }

    /// Notes the error of a result at a JSON pointer, and gives its value out.
    pub fn accept<V, E: std::error::Error>(&mut self, pointer: &str, result: Result<V, E>) -> Option<V> {
        result.map_err(|error| self.refuse(pointer, crate::error::chain(&error))).ok()
    }
}

#[cfg(test)]
mod tests;
