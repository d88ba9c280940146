//! What goes wrong when something is asked, and the exit code that says so to a script.

use anyhow::Context as _;
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was typed makes no sense, whatever the control API would say.
    #[error("{0}")]
    Usage(String),
    /// The control API said no.
    #[error("{}", written(.0))]
    Refused(Box<Refusal>),
    /// It did not answer.
    #[error("{what}: the control API cannot be reached")]
    Unreachable {
        /// What was asked for.
        what: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It may have done it, and did not say so.
    #[error("{what}: the answer broke off{}", again(.key.as_deref()))]
    BrokeOff {
        /// What was asked for.
        what: String,
        /// The key under which it can be asked again without being done twice.
        key: Option<String>,
        /// Why.
        source: reqwest::Error,
    },
}

/// A problem document (RFC 9457) of the control API, or of the edge before it.
#[derive(Debug)]
pub struct Refusal {
    what: String,
    status: StatusCode,
    problem: Problem,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: String,
    detail: Option<String>,
    code: String,
    request_id: Option<String>,
    errors: Vec<Field>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Field {
    pointer: String,
    code: String,
    detail: String,
}

impl Failure {
    /// That something typed makes no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// What the process ends with: 1 failed, 2 wrong input, 3 not there, 4 in conflict, 5 unreachable, 6 not allowed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Unreachable { .. } | Self::BrokeOff { .. } => 5,
            Self::Refused(refusal) => match refusal.status.as_u16() {
                400 | 413 | 415 | 422 => 2,
                404 => 3,
                409 | 412 => 4,
                502..=504 | 507 => 5,
                401 | 403 => 6,
                _ => 1,
            },
        }
    }

    /// The problem's code, where the control API said no.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.problem.code),
            Self::Usage(_) | Self::Unreachable { .. } | Self::BrokeOff { .. } => None,
        }
    }
}

fn again(key: Option<&str>) -> String {
    key.map(|key| format!("; with --idempotency-key {key} it can be asked again and is done once")).unwrap_or_default()
}

fn written(it: &Refusal) -> String {
    let Refusal { what, status, problem } = it;
    let title = if problem.title.is_empty() { status.canonical_reason().unwrap_or("refused") } else { &problem.title };
    let mut lines = format!("{what}: {} {} {}", status.as_u16(), text(&problem.code), text(title));
    if let Some(detail) = problem.detail.as_deref().filter(|detail| !detail.is_empty()) {
        lines.push_str(&format!("\n  {}", text(detail)));
    }
    for Field { pointer, code, detail } in &problem.errors {
        lines.push_str(&format!("\n  {}: {}: {}", text(pointer), text(code), text(detail)));
    }
    if let Some(id) = &problem.request_id {
        lines.push_str(&format!("\n  request id {}", text(id)));
    }
    lines
}

/// A text of others as a terminal may be shown it: what would move its cursor, colour it or turn it around is written out.
pub fn text(text: &str) -> String {
    let write = |c: char| if moves_a_cursor(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(write).collect()
}

/// The same of a text in JSON, which stays the same JSON: C0 is escaped there already, but for the line feeds between its members.
pub(crate) fn json_text(text: &str) -> String {
    let write = |c: char| match c {
        '\n' => c.to_string(),
        c if moves_a_cursor(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    text.chars().map(write).collect()
}

/// Controls, C1 too, and what turns the direction of what is written. All of them take four digits.
fn moves_a_cursor(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Sends a request. What is no success is a [`Failure`] in the problem's own words. `key` is its idempotency key.
///
/// # Errors
/// What went wrong, beginning with `what`.
pub(crate) async fn send(request: RequestBuilder, what: &str, key: Option<&str>) -> Result<Response, Failure> {
    let response = request.send().await.map_err(|source| {
        let what = what.to_owned();
        // Nothing was sent where there was no connection; otherwise it may have arrived.
        if source.is_connect() || source.is_builder() || key.is_none() {
            Failure::Unreachable { what, source }
        } else {
            Failure::BrokeOff { what, key: key.map(Into::into), source }
        }
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let problem = response.bytes().await.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    Err(Failure::Refused(Box::new(Refusal { what: what.into(), status, problem })))
}

/// A successful answer's body; of another one the problem's own words.
///
/// # Errors
/// What went wrong, beginning with `what`.
pub async fn answer<T: DeserializeOwned>(request: RequestBuilder, what: &str) -> anyhow::Result<T> {
    let response = send(request, what, None).await?;
    let broke_off = |source| Failure::BrokeOff { what: what.into(), key: None, source };
    let body = response.bytes().await.map_err(broke_off)?;
    serde_json::from_slice(&body).with_context(|| format!("{what}: the answer is not what this release expects"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> Failure {
        let (status, problem) = (StatusCode::from_u16(status).unwrap(), serde_json::from_str(body).unwrap());
        Failure::Refused(Box::new(Refusal { what: "tenants create".into(), status, problem }))
    }

    #[test]
    fn a_refusal_says_what_where_why_and_by_which_request() {
        let body = r#"{"title": "Some fields are wrong", "status": 422, "code": "invalid_fields", "detail": "one",
            "request_id": "0190", "errors": [{"pointer": "/slug", "code": "slug", "detail": "too short"}]}"#;
        let refused = refused(422, body);
        let text = refused.to_string();
        for part in ["tenants create", "422", "Some fields are wrong", "invalid_fields", "/slug", "too short", "0190"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(refused.exit_code(), 2);
    }

    #[test]
    fn each_kind_of_no_has_its_exit_code() {
        let codes = [404, 409, 412, 401, 403, 429, 500, 503, 507].map(|status| refused(status, "{}").exit_code());
        assert_eq!(codes, [3, 4, 4, 6, 6, 1, 1, 5, 5]);
        assert_eq!(Failure::usage("x").exit_code(), 2);
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(text("a\u{1b}[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d é");
        assert_eq!(text("\u{9b}2J\u{61c}"), "\\u{9b}2J\\u{61c}");
    }

    #[test]
    fn json_on_a_terminal_moves_no_cursor_and_says_the_same() {
        let value = serde_json::json!({ "name": "a\u{1b}\u{7f}\u{9b}2J\u{202e}é", "list": [1, "\u{2066}"] });
        for written in [value.to_string(), format!("{value:#}")] {
            let shown = json_text(&written);
            assert!(shown.chars().all(|c| c == '\n' || !moves_a_cursor(c)), "{shown:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
            assert_eq!(shown.lines().count(), written.lines().count());
        }
    }
}
