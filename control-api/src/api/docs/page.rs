//! The page: HTML that is made of a description.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;
use utoipa::openapi::OpenApi;

/// How deep the members of a body are shown.
const DEPTH: usize = 3;

/// The whole page.
pub(super) fn render(described: &OpenApi) -> String {
    // What cannot be written as JSON is not served as JSON either; the page then says nothing.
    let described = serde_json::to_value(described).unwrap_or_default();
    let title = escaped(at(&described, "/info/title"));
    let by_tag = by_tag(&described);
    let mut body = String::new();
    for (tag, operations) in &by_tag {
        body.push_str(&format!("<section><h2 id=\"{}\">{}</h2>\n", anchor(tag), escaped(tag)));
        operations.iter().for_each(|operation| body.push_str(&operation.rendered(&described)));
        body.push_str("</section>\n");
    }
    let link = |tag: &&String| format!("<li><a href=\"#{}\">{}</a></li>", anchor(tag), escaped(tag));
    let links: String = by_tag.keys().map(|tag| link(&tag)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<link rel=\"stylesheet\" href=\"/docs/style.css\"></head>\n\
         <body><nav><ul>{links}</ul></nav><main><h1>{title} {}</h1>\n\
         <p>The same for programs: <a href=\"/openapi.json\"><code>/openapi.json</code></a>.</p>\n{body}</main></body></html>\n",
        escaped(at(&described, "/info/version")),
    )
}

/// The text at a pointer, empty where there is none.
fn at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).map_or("", text)
}

/// An operation and where it is.
struct Operation<'d> {
    method: &'d str,
    path: &'d str,
    described: &'d Value,
}

fn by_tag(described: &Value) -> BTreeMap<String, Vec<Operation<'_>>> {
    let mut by_tag: BTreeMap<String, Vec<Operation<'_>>> = BTreeMap::new();
    for (path, item) in described["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let tag = at(operation, "/tags/0").to_owned();
            by_tag.entry(tag).or_default().push(Operation { method, path, described: operation });
        }
    }
    by_tag
}

impl Operation<'_> {
    fn rendered(&self, all: &Value) -> String {
        let it = self.described;
        let mut html = format!(
            "<details id=\"{}\"><summary><code><span class=\"method\">{}</span>{}</code>\
             <span class=\"summary\">{}</span></summary>\n",
            anchor(text(&it["operationId"])),
            escaped(&self.method.to_uppercase()),
            escaped(self.path),
            escaped(text(&it["summary"])),
        );
        paragraph(&mut html, text(&it["description"]));
        paragraph(&mut html, if it["security"].is_null() { "Needs no token." } else { "Needs a bearer token." });
        let parameters = it["parameters"].as_array().into_iter().flatten();
        let rows: Vec<Row> = parameters.map(Row::of_parameter).collect();
        table(&mut html, "Parameters", &rows);
        table(&mut html, "Body", &members(all, content(&it["requestBody"]), "", 0));
        for (status, response) in it["responses"].as_object().into_iter().flatten() {
            let heading = format!("{status} {}", text(&response["description"]));
            let rows = if status == "default" { Vec::new() } else { members(all, content(response), "", 0) };
            if rows.is_empty() {
                paragraph(&mut html, &heading);
            } else {
                table(&mut html, &heading, &rows);
            }
        }
        html.push_str("</details>\n");
        html
    }
}

/// A line of a table.
struct Row {
    name: String,
    kind: String,
    says: String,
}

impl Row {
    fn of_parameter(it: &Value) -> Self {
        let place = text(&it["in"]);
        Self {
            name: format!("{} ({place})", text(&it["name"])),
            kind: kind(&it["schema"]),
            says: text(&it["description"]).to_owned(),
        }
    }
}

fn content(it: &Value) -> &Value {
    let media = it["content"].as_object().and_then(|content| content.values().next());
    media.map_or(&Value::Null, |media| &media["schema"])
}

/// The members of a body, those of members within it.
fn members(all: &Value, schema: &Value, before: &str, depth: usize) -> Vec<Row> {
    let schema = resolved(all, schema);
    if depth >= DEPTH {
        return Vec::new();
    }
    if !schema["items"].is_null() {
        return members(all, &schema["items"], &format!("{before}[]"), depth);
    }
    let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().map(text).collect();
    let mut rows = Vec::new();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let member = resolved(all, member);
        let place = if before.is_empty() { name.clone() } else { format!("{before}.{name}") };
        let optional = if needed.contains(&name.as_str()) { "" } else { ", optional" };
        rows.push(Row {
            name: place.clone(),
            kind: format!("{}{optional}", kind(member)),
            says: text(&member["description"]).to_owned(),
        });
        rows.extend(members(all, member, &place, depth + 1));
    }
    rows
}

/// A schema with what it refers to in place.
fn resolved<'d>(all: &'d Value, schema: &'d Value) -> &'d Value {
    let target = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|pointer| all.pointer(pointer)).unwrap_or(schema)
}

/// What a value is, in a few words.
fn kind(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .map(|word| word.as_str().map_or_else(|| word.to_string(), Into::into))
            .collect::<Vec<_>>()
            .join(" | ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" | "),
        other => text(other).to_owned(),
    };
    match (kind.is_empty(), text(&schema["format"])) {
        (true, _) => "any".into(),
        (false, "") => kind,
        (false, format) => format!("{kind} ({format})"),
    }
}

fn paragraph(html: &mut String, words: &str) {
    if !words.is_empty() {
        html.push_str(&format!("<p>{}</p>\n", escaped(words)));
    }
}

fn table(html: &mut String, heading: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    html.push_str(&format!("<h4>{}</h4>\n<table>", escaped(heading)));
    for Row { name, kind, says } in rows {
        let row = [format!("<code>{}</code>", escaped(name)), escaped(kind), escaped(says)];
        html.push_str(&format!("<tr><td>{}</td></tr>\n", row.join("</td><td>")));
    }
    html.push_str("</table>\n");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The name of a place in the page.
fn anchor(words: &str) -> String {
    words.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect()
}

/// A text as HTML, in content and in quoted attributes.
fn escaped(words: &str) -> String {
    let mut html = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                // Writing to a text does not fail.
                let _ = write!(html, "&#{};", u32::from(c));
            }
            c => html.push(c),
        }
    }
    html
}

#[test]
fn nothing_of_a_description_becomes_markup() {
    assert_eq!(
        escaped("<script>alert('&\"')</script>"),
        "&#60;script&#62;alert(&#39;&#38;&#34;&#39;)&#60;/script&#62;"
    );
    assert_eq!(anchor("org units\"><x"), "org-units---x");
}
