//! Files people write: YAML or JSON, read so that **every** mistake is named at once, each with its place.
//!
//! ```text
//! text ─▶ Document (values with lines) ─▶ overrides from the environment ─▶ JSON Schema of T ─▶ T ─▶ caller's checks
//!                                                      └────────── Mistakes ◀──────────┴────────────┘
//! ```
//!
//! Mistakes of form do not hide those of meaning: the caller's checks see what could be read beside them.
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
//! let mistakes = load::<Config>(document, &Overrides::none()).and_then(|config| config.sound()).err().unwrap();
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
mod salvage;
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
use self::{salvage::Salvage, schema::Misfit};

/// Reads a `T`: overrides, the schema of `T`, then `T` itself, as far as it can be read.
///
/// # Errors
/// Everything that is wrong with its form, when that is so much that no `T` is left. Otherwise the mistakes come out
/// together with those of the caller's own checks, by [`Loaded::checked`] or [`Loaded::sound`].
pub fn load<T: DeserializeOwned + JsonSchema>(
    mut document: Document,
    overrides: &Overrides,
) -> Result<Loaded<T>, Mistakes> {
    let schema = schemars::schema_for!(T).to_value();
    let mut mistakes = overrides.apply(&mut document, &schema);
    let mut salvage = Salvage::default();
    // What an override put wrongly is said once.
    let said: HashSet<String> = mistakes.iter().map(|m| m.key_path.to_string()).collect();
    let mut readable = true;
    for Misfit { mistake, meant } in schema::check(&schema, &document) {
        readable &= salvage.covers(&mistake.key_path) || salvage.drop(&mistake.key_path, document.value());
        meant.iter().for_each(|meant| salvage.doubt(meant));
        if !said.contains(&mistake.key_path.to_string()) {
            mistakes.push(mistake);
        }
    }
    while readable {
        match serde_path_to_error::deserialize::<_, T>(salvage.prune(document.value())) {
            Ok(value) => return Ok(Loaded { value, readable: Readable { document, salvage, mistakes } }),
            Err(error) => {
                let at = salvage.original(&KeyPath::from_serde(error.path()));
                if !salvage.explains(&at) {
                    mistakes.push(document.mistake(at.clone(), error.into_inner().to_string(), None));
                }
                readable = salvage.drop(&at, document.value());
            }
        }
    }
    Err(mistakes.sorted())
}

/// A value with the places of its keys, for checks that no schema can express.
#[derive(Debug)]
pub struct Loaded<T> {
    value: T,
    readable: Readable,
}

impl<T> Loaded<T> {
    /// Runs checks that collect, and gives the value out only when nothing is wrong.
    ///
    /// # Errors
    /// What the schema and the checks refused.
    pub fn checked(mut self, checks: impl FnOnce(&T, &mut Checks<'_>)) -> Result<T, Mistakes> {
        let mut collected = Checks { readable: &self.readable, section: String::new(), mistakes: Mistakes::default() };
        checks(&self.value, &mut collected);
        let found = collected.mistakes;
        self.readable.mistakes.append(found);
        self.sound()
    }

    /// The value, when nothing is wrong with its form.
    ///
    /// # Errors
    /// What is.
    pub fn sound(self) -> Result<T, Mistakes> {
        self.readable.mistakes.into_result(self.value)
    }

    /// What could be read of the value, and what there is to say about the rest, for who checks several files at once.
    pub fn into_parts(self) -> (T, Readable) {
        (self.value, self.readable)
    }
}

/// A document that was read as far as it could be.
#[derive(Debug)]
pub struct Readable {
    document: Document,
    salvage: Salvage,
    mistakes: Mistakes,
}

impl Readable {
    /// What is wrong with its form.
    pub fn mistakes(&self) -> &Mistakes {
        &self.mistakes
    }

    /// Whether a list of the first level lost elements, so that names are missing which the file gives.
    pub fn thinned(&self, list: &str) -> bool {
        self.salvage.thinned(list)
    }

    /// A mistake at a JSON pointer (RFC 6901) into the value that was read. None when it may follow from a mistake of
    /// form, which is named already.
    pub fn mistake(&self, pointer: &str, message: impl Into<String>) -> Option<Mistake> {
        let at = self.salvage.original(&KeyPath::from_pointer(pointer));
        (!self.salvage.explains(&at)).then(|| self.document.mistake(at, message, None))
    }
}

/// Collects what a caller's checks refuse.
#[derive(Debug)]
pub struct Checks<'d> {
    readable: &'d Readable,
    /// Where pointers start.
    section: String,
    mistakes: Mistakes,
}

impl Checks<'_> {
    /// Notes a mistake at a JSON pointer (RFC 6901) such as `/hostnames/0/tenant`, unless it may follow from a mistake
    /// of form.
    pub fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        let pointer = format!("{}{pointer}", self.section);
        if let Some(mistake) = self.readable.mistake(&pointer, message) {
            self.mistakes.push(mistake);
        }
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
