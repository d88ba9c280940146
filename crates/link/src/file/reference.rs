//! The reference of a configuration, rendered from the doc comments of its types.

use std::fmt::Write;

use schemars::JsonSchema;
use serde_json::Value;

use super::schema::{forms, type_names};

/// `docs/config.md` for a configuration type: a chapter a section, a row a key. Defaults are shown for types that also
/// implement `Serialize` and have `#[serde(default)]`.
pub fn reference_markdown<T: JsonSchema>(title: &str) -> String {
    let root = schemars::schema_for!(T).to_value();
    let mut page = format!("# {title}\n\n<!-- Generated from the doc comments. Run `make bless` after a change. -->\n");
    if let Some(text) = root.get("description").and_then(Value::as_str) {
        page.push_str(&format!("\n{text}\n"));
    }
    let (mut top, mut sections) = (Vec::new(), Vec::new());
    for (name, schema, required) in properties(&root, &root) {
        let default = schema.get("default").cloned();
        if fields_of(&root, schema).is_some() {
            let mut rows = Vec::new();
            collect(&root, schema, &name, default.as_ref(), 0, &mut rows);
            sections.push((name, description(&root, schema), rows));
        } else {
            top.push(row(&root, &name, schema, required, default));
        }
    }
    if !top.is_empty() {
        table(&mut page, &top);
    }
    for (name, text, rows) in sections {
        page.push_str(&format!("\n## `{name}`\n"));
        if !text.is_empty() {
            page.push_str(&format!("\n{text}\n"));
        }
        table(&mut page, &rows);
    }
    page
}

/// How deep mappings within mappings are followed.
const DEPTH: usize = 6;

struct Row {
    key: String,
    kind: String,
    default: String,
    text: String,
}

fn table(page: &mut String, rows: &[Row]) {
    page.push_str("\n| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
    for Row { key, kind, default, text } in rows {
        // Writing to a `String` cannot fail.
        let _ = writeln!(page, "| `{key}` | {kind} | {default} | {} |", text.replace('|', "\\|"));
    }
}

fn collect(root: &Value, schema: &Value, at: &str, default: Option<&Value>, depth: usize, rows: &mut Vec<Row>) {
    let Some(form) = fields_of(root, schema) else { return };
    let default = default.or_else(|| schema.get("default")).or_else(|| form.get("default"));
    for (name, inner, required) in properties(root, form) {
        let key = format!("{at}.{name}");
        let own = inner.get("default").cloned().or_else(|| default.and_then(|d| d.get(&name)).cloned());
        let element = forms(root, inner).into_iter().find_map(|f| f.get("items"));
        match element.filter(|e| fields_of(root, e).is_some()) {
            Some(element) if depth < DEPTH => {
                rows.push(row(root, &key, inner, required, own));
                collect(root, element, &format!("{key}[]"), None, depth + 1, rows);
            }
            _ if depth < DEPTH && fields_of(root, inner).is_some() => {
                collect(root, inner, &key, own.as_ref(), depth + 1, rows);
            }
            _ => rows.push(row(root, &key, inner, required, own)),
        }
    }
}

fn row(root: &Value, key: &str, schema: &Value, required: bool, default: Option<Value>) -> Row {
    let default = match default {
        Some(Value::Null) | None if required => "required".into(),
        Some(Value::Null) | None => "none".into(),
        Some(Value::String(text)) if text.is_empty() => "empty".into(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(value) => format!("`{value}`"),
    };
    Row { key: key.into(), kind: kind(root, schema), default, text: description(root, schema) }
}

/// The form of a schema that is a mapping with known keys, when there is exactly one.
fn fields_of<'s>(root: &'s Value, schema: &'s Value) -> Option<&'s Value> {
    let mut mappings = forms(root, schema).into_iter().filter(|f| f.get("properties").is_some());
    let first = mappings.next()?;
    mappings.next().is_none().then_some(first)
}

fn properties<'s>(root: &'s Value, schema: &'s Value) -> Vec<(String, &'s Value, bool)> {
    let Some(form) = fields_of(root, schema) else { return Vec::new() };
    let required = form.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let known = form.get("properties").and_then(Value::as_object).into_iter().flatten();
    known.map(|(name, s)| (name.clone(), s, required.iter().any(|r| r == name))).collect()
}

/// The type in words: `string`, `list of string`, the words of a closed choice.
fn kind(root: &Value, schema: &Value) -> String {
    let mut words: Vec<String> = Vec::new();
    for form in forms(root, schema) {
        let choices = form.get("enum").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let choices = choices.iter().chain(form.get("const")).filter_map(Value::as_str);
        let mut found: Vec<String> = choices.map(|c| format!("`{c}`")).collect();
        if found.is_empty() {
            found = type_names(form).into_iter().filter(|name| name != "null").collect();
            for name in &mut found {
                match (name.as_str(), form.get("items"), form.get("properties").and_then(Value::as_object)) {
                    ("array", Some(items), _) => *name = format!("list of {}", kind(root, items)),
                    ("object", _, Some(known)) => {
                        *name = format!(
                            "mapping with {}",
                            known.keys().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
                        );
                    }
                    ("object", ..) => *name = "mapping".into(),
                    _ => {}
                }
            }
        }
        if let Some(examples) = form.get("examples").and_then(Value::as_array) {
            let examples: Vec<_> = examples.iter().filter_map(Value::as_str).map(|e| format!("`{e}`")).collect();
            found = vec![format!("such as {}", examples.join(", "))];
        }
        for word in found {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    if words.is_empty() { "any".into() } else { words.join(" or ") }
}

/// A key's own text, else that of its type; on one line.
fn description(root: &Value, schema: &Value) -> String {
    let text = |s: &Value| s.get("description").and_then(Value::as_str).map(str::to_owned);
    let of_type = || forms(root, schema).into_iter().find_map(text);
    let text = text(schema).or_else(of_type).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
