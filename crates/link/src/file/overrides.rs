//! Keys set by environment variables: `PORTCULLIS_SECTION__KEY`, and names that other programs rely on.

use serde_json::Value;

use super::{Document, KeyPath, Mistake, Mistakes, schema};

/// What every override starts with.
const PREFIX: &str = "PORTCULLIS_";

/// Keys from the environment. They win over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Name of the variable, the key it sets, its text. Empty texts count as unset.
    set: Vec<(String, KeyPath, String)>,
}

impl Overrides {
    /// None at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// From variables. `aliases` are names without the prefix and the keys they stand for, such as
    /// `("DATABASE_URL", "/database/url")`; a variable with the prefix wins over an alias.
    pub fn new(variables: impl IntoIterator<Item = (String, String)>, aliases: &[(&str, &str)]) -> Self {
        let (mut by_alias, mut by_prefix) = (Vec::new(), Vec::new());
        for (name, text) in variables.into_iter().filter(|(_, text)| !text.is_empty()) {
            if let Some((_, pointer)) = aliases.iter().find(|(alias, _)| *alias == name) {
                by_alias.push((name, KeyPath::from_pointer(pointer), text));
            } else if let Some(path) = name.strip_prefix(PREFIX) {
                let pointer: String = path.split("__").map(|key| format!("/{}", key.to_ascii_lowercase())).collect();
                by_prefix.push((name, KeyPath::from_pointer(&pointer), text));
            }
        }
        by_alias.append(&mut by_prefix);
        Self { set: by_alias }
    }

    /// From this process's environment.
    pub fn from_env(aliases: &[(&str, &str)]) -> Self {
        Self::new(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
            aliases,
        )
    }

    /// Puts the keys into a document; a text becomes a number or a boolean where the schema wants one.
    pub(super) fn apply(&self, document: &mut Document, schema: &Value) -> Mistakes {
        let mut mistakes = Mistakes::default();
        for (name, at, text) in &self.set {
            let source = format!("environment variable {name}");
            let mut refuse = |message: String| {
                let (line, hint) = (None, None);
                mistakes.push(Mistake { source: source.clone(), line, key_path: at.clone(), message, hint });
            };
            let Some(types) = schema::types_at(schema, at) else {
                refuse("there is no such key".into());
                continue;
            };
            let value = if types.iter().any(|t| t == "string") {
                Value::String(text.clone())
            } else {
                match Document::parse(&source, text) {
                    Ok(parsed) => parsed.value().clone(),
                    Err(_) => {
                        refuse(format!("`{text}` cannot be read as {}", types.join(" or ")));
                        continue;
                    }
                }
            };
            if !document.set(at, value, &source) {
                refuse("the file has something else than a mapping above this key".into());
            }
        }
        mistakes
    }
}
