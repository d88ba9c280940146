//! What a client would rather read (RFC 9110 §12.5.1): a page or JSON.

use http::{HeaderMap, header};

/// Entries of an `Accept` that are looked at.
const ENTRIES: usize = 32;

/// Whether HTML is named, and preferred to JSON. Who takes anything gets JSON.
pub(super) fn prefers_html(headers: &HeaderMap) -> bool {
    let (mut html, mut json) = (0, 0);
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for entry in values.flat_map(|value| value.split(',')).take(ENTRIES) {
        let (kind, parameters) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = parameters.split(';').find_map(weight_of).unwrap_or(1000);
        match kind.trim().to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" => html = html.max(weight),
            "application/json" | "application/problem+json" => json = json.max(weight),
            _ => {}
        }
    }
    html > json
}

/// A weight such as `q=0.5`, in thousandths (RFC 9110 §12.4.2). What is none weighs nothing.
fn weight_of(part: &str) -> Option<u16> {
    let (name, value) = part.trim().split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, digits) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    let thousandths = format!("{digits:0<3}").parse().ok().filter(|it| *it < 1000 && digits.len() <= 3);
    match (whole, thousandths) {
        ("1", Some(0)) => Some(1000),
        ("0", Some(thousandths)) => Some(thousandths),
        _ => Some(0),
    }
}

#[test]
fn a_browser_gets_a_page_and_a_program_json() {
    let prefers = |accept: &str| {
        prefers_html(&HeaderMap::from_iter([(header::ACCEPT, http::HeaderValue::from_str(accept).unwrap())]))
    };
    for html in [
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/html",
        "TEXT/HTML;q=0.5, application/json;q=0.4",
        "application/json;q=0, text/html;q=0.001",
    ] {
        assert!(prefers(html), "{html}");
    }
    for json in [
        "*/*",
        "",
        "application/json",
        "text/html, application/problem+json",
        "text/html;q=0",
        "text/html;q=2",
        "text/html;q=0.5, application/json;q=0.51",
        "text/*",
    ] {
        assert!(!prefers(json), "{json}");
    }
    assert!(!prefers_html(&HeaderMap::new()));
}
