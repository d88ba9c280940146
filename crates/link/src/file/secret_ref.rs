//! Where a secret is, instead of the secret.

use std::{fmt, path::Path, path::PathBuf, str::FromStr};

use domain::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `file:PATH` or `env:NAME`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^(file|env):.+$", "examples" = ["file:master.key", "env:MASTER_KEY"]))]
pub enum SecretRef {
    /// The content of a file, without the line end after it.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

impl SecretRef {
    /// Reads the secret. A relative path is relative to `base`, the folder of the file that says it.
    ///
    /// # Errors
    /// That there is none, or an empty one.
    pub fn resolve(&self, base: &Path) -> Result<Secret<String>, SecretRefError> {
        let fail = |reason: String| SecretRefError::Missing { place: self.to_string(), reason };
        let text = match self {
            Self::File(path) => {
                let mut text = std::fs::read_to_string(base.join(path)).map_err(|error| fail(error.to_string()))?;
                let end = text.trim_end_matches(['\r', '\n']).len();
                text.truncate(end);
                text
            }
            Self::Env(name) => std::env::var(name).map_err(|error| fail(error.to_string()))?,
        };
        if text.is_empty() {
            return Err(fail("it is empty".into()));
        }
        Ok(Secret::new(text))
    }
}

/// Why a [`SecretRef`] gives no secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecretRefError {
    /// The text says no place.
    #[error("`{text}` is not a reference such as `file:PATH` or `env:NAME`; secrets do not stand in this file")]
    Form {
        /// The text up to its colon, so that a pasted secret is not repeated.
        text: String,
    },
    /// There is nothing there.
    #[error("there is no secret at `{place}`: {reason}")]
    Missing {
        /// Where it should be.
        place: String,
        /// Why it is not.
        reason: String,
    },
}

impl FromStr for SecretRef {
    type Err = SecretRefError;
    fn from_str(text: &str) -> Result<Self, SecretRefError> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.into())),
            _ => Err(SecretRefError::Form { text: text.chars().take(4).chain(['…']).collect() }),
        }
    }
}
impl TryFrom<String> for SecretRef {
    type Error = SecretRefError;
    fn try_from(text: String) -> Result<Self, SecretRefError> {
        text.parse()
    }
}
impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}
impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_a_file_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "hunter2\n").unwrap();
        let reference: SecretRef = "file:key".parse().unwrap();
        assert_eq!(reference.resolve(folder.path()).unwrap().expose(), "hunter2");
    }

    #[test]
    fn a_secret_that_stands_in_the_file_itself_is_refused_and_not_repeated() {
        let error = "hunter2-is-my-password".parse::<SecretRef>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        for bad in ["", "file:", "env:", "vault:x"] {
            assert!(bad.parse::<SecretRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_and_an_empty_secret_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("empty"), "\n").unwrap();
        for reference in ["file:absent", "file:empty", "env:PORTCULLIS_NO_SUCH_VARIABLE"] {
            assert!(reference.parse::<SecretRef>().unwrap().resolve(folder.path()).is_err(), "{reference}");
        }
    }
}
