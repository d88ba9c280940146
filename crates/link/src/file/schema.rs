//! The JSON Schema pass: every place where a document does not fit its type, in words.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;

use super::{Document, KeyPath, Mistake};

/// Keys of the schema's own vocabulary that hold alternatives.
const ALTERNATIVES: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// What does not fit.
pub(super) struct Misfit {
    pub(super) mistake: Mistake,
    /// The key that may have been meant, where nobody knows the one that stands there.
    pub(super) meant: Option<KeyPath>,
}

impl From<Mistake> for Misfit {
    fn from(mistake: Mistake) -> Self {
        Self { mistake, meant: None }
    }
}

/// Everything in `document` that does not fit `schema`.
pub(super) fn check(schema: &Value, document: &Document) -> Vec<Misfit> {
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        // Only a type of ours with an impossible schema gets here; the file is then judged by serde alone.
        Err(error) => {
            return vec![document.mistake(KeyPath::default(), format!("its schema is wrong: {error}"), None).into()];
        }
    };
    let mut mistakes = Vec::new();
    for error in validator.iter_errors(document.value()) {
        explain(schema, document, &error, &mut mistakes);
    }
    mistakes
}

/// The type names that the schema allows at a place; none where it knows no such key.
pub(super) fn types_at(schema: &Value, at: &KeyPath) -> Option<Vec<String>> {
    let mut found = vec![schema];
    for key in at.keys() {
        found = found
            .into_iter()
            .flat_map(|s| forms(schema, s))
            .filter_map(|form| {
                form.get("properties").and_then(|p| p.get(key)).or_else(|| {
                    // A map with free keys.
                    form.get("additionalProperties").filter(|a| a.is_object())
                })
            })
            .collect();
    }
    let types: Vec<String> = found.iter().flat_map(|s| forms(schema, s)).flat_map(type_names).collect();
    (!found.is_empty()).then_some(types)
}

/// The properties that the schema knows in the mapping at a place, lists on the way included.
fn keys_at<'s>(schema: &'s Value, at: &KeyPath) -> Vec<&'s str> {
    let mut found = vec![schema];
    for step in at.pointer().split('/').skip(1) {
        let key = step.replace("~1", "/").replace("~0", "~");
        found = found
            .into_iter()
            .flat_map(|s| forms(schema, s))
            .filter_map(|form| {
                let property = form.get("properties").and_then(|p| p.get(&key));
                property.or_else(|| form.get("items")).or_else(|| form.get("additionalProperties"))
            })
            .collect();
    }
    let forms = found.into_iter().flat_map(|s| forms(schema, s));
    forms.filter_map(|form| form.get("properties")?.as_object()).flat_map(|p| p.keys().map(String::as_str)).collect()
}

/// A schema without its references and alternatives: each form that a value may have.
pub(super) fn forms<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    let mut forms = Vec::new();
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix('#'));
    if let Some(target) = reference.and_then(|pointer| root.pointer(pointer)) {
        forms.extend(self::forms(root, target));
    }
    for keyword in ALTERNATIVES {
        for alternative in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
            forms.extend(self::forms(root, alternative));
        }
    }
    if forms.is_empty() || schema.get("properties").is_some() {
        forms.push(schema);
    }
    forms
}

/// The type names of one form.
pub(super) fn type_names(form: &Value) -> Vec<String> {
    match form.get("type") {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect(),
        _ if form.get("const").or_else(|| form.get("enum")).is_some() => vec!["string".into()],
        _ => Vec::new(),
    }
}

fn explain(schema: &Value, document: &Document, error: &ValidationError<'_>, mistakes: &mut Vec<Misfit>) {
    let at = KeyPath::from_pointer(error.instance_path().as_str());
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let known = keys_at(schema, &at);
            for key in unexpected {
                let meant = nearest(key, &known);
                let hint = match meant {
                    Some(meant) => Some(format!("did you mean `{meant}`?")),
                    None if known.is_empty() => None,
                    None => Some(format!("known are {}", listed(known.iter().copied()))),
                };
                let mistake = document.mistake(at.key(key), "unknown key", hint);
                mistakes.push(Misfit { mistake, meant: meant.map(|meant| at.key(meant)) });
            }
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            let candidates: Vec<_> = context.iter().filter(|errors| !misses(&at, errors)).collect();
            match candidates.as_slice() {
                // One form is of the right shape: what is wrong with it is wrong with the value.
                [only] => only.iter().for_each(|error| explain(schema, document, error, mistakes)),
                _ => {
                    let allowed: Vec<String> = context.iter().flatten().filter_map(allowed).collect();
                    let message = if allowed.is_empty() {
                        format!("{} has none of the allowed forms", shown(error.instance()))
                    } else {
                        format!("{} is none of {}", shown(error.instance()), allowed.join(", "))
                    };
                    mistakes.push(document.mistake(at, message, None).into());
                }
            }
        }
        kind => mistakes.push(document.mistake(at, said(kind, error.instance()), None).into()),
    }
}

/// Whether a form fails as a whole: it wants another type, another constant or a key that names it.
fn misses(at: &KeyPath, errors: &[ValidationError<'_>]) -> bool {
    errors.iter().any(|error| {
        error.instance_path().as_str() == at.pointer()
            && matches!(
                error.kind(),
                ValidationErrorKind::Type { .. }
                    | ValidationErrorKind::Constant { .. }
                    | ValidationErrorKind::Enum { .. }
                    | ValidationErrorKind::Required { .. }
            )
    })
}

/// What a form that was missed would have allowed.
fn allowed(error: &ValidationError<'_>) -> Option<String> {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => Some(shown(expected_value)),
        ValidationErrorKind::Enum { options } => {
            options.as_array().map(|o| o.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        ValidationErrorKind::Required { property } => Some(format!("a mapping with {}", shown(property))),
        ValidationErrorKind::Type { kind } => match format!("{kind:?}") {
            text if text.contains("Null") => None,
            _ => Some(wanted(kind)),
        },
        _ => None,
    }
}

fn said(kind: &ValidationErrorKind, value: &Value) -> String {
    let value = || shown(value);
    match kind {
        ValidationErrorKind::Required { property } => format!("{} is missing", shown(property)),
        ValidationErrorKind::Type { kind } => format!("{} is not {}", value(), wanted(kind)),
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            format!("{} is none of {}", value(), options.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        ValidationErrorKind::Constant { expected_value } => format!("{} is not {}", value(), shown(expected_value)),
        ValidationErrorKind::Pattern { pattern } => format!("{} does not have the form `{pattern}`", value()),
        ValidationErrorKind::Minimum { limit } => format!("{} is less than {limit}", value()),
        ValidationErrorKind::Maximum { limit } => format!("{} is more than {limit}", value()),
        ValidationErrorKind::MinItems { limit } => format!("at least {limit} elements are needed"),
        ValidationErrorKind::MaxItems { limit } => format!("at most {limit} elements are allowed"),
        ValidationErrorKind::MinLength { limit } => format!("at least {limit} characters are needed"),
        ValidationErrorKind::MaxLength { limit } => format!("at most {limit} characters are allowed"),
        ValidationErrorKind::Format { format } => format!("{} is not a {format}", value()),
        ValidationErrorKind::UniqueItems => "an element stands twice".into(),
        other => format!("{} does not satisfy `{}`", value(), other.keyword()),
    }
}

fn wanted(kind: &jsonschema::error::TypeKind) -> String {
    use jsonschema::error::TypeKind;
    let word = |name: &str| match name {
        "object" => "a mapping".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        "null" => "nothing".to_owned(),
        other => format!("a {other}"),
    };
    match kind {
        TypeKind::Single(one) => word(&one.to_string()),
        TypeKind::Multiple(several) => {
            let names: Vec<_> = several.iter().map(|t| word(&t.to_string())).filter(|w| w != "nothing").collect();
            names.join(" or ")
        }
    }
}

/// A value in a message. Long ones are cut, so that a pasted key does not fill the screen or the log.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > 40 => {
            format!("`{}…`", text.chars().take(40).collect::<String>())
        }
        Value::String(text) => format!("`{text}`"),
        Value::Object(_) => "the mapping".into(),
        Value::Array(_) => "the list".into(),
        other => format!("`{other}`"),
    }
}

fn listed<'k>(keys: impl Iterator<Item = &'k str>) -> String {
    keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// The known key that differs least, if it differs little.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().map(|k| (distance(key, k), *k)).min()?;
    (near.0 <= 2.max(key.len() / 4)).then_some(near.1)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[test]
fn finds_the_key_that_was_meant() {
    let known = ["hostname", "tenant", "services", "certificate"];
    for (typed, meant) in [
        ("hostnam", Some("hostname")),
        ("tennant", Some("tenant")),
        ("cretificate", Some("certificate")),
        ("xyz", None),
    ] {
        assert_eq!(nearest(typed, &known), meant, "{typed}");
    }
    assert_eq!(distance("prot", "port"), 1);
}
