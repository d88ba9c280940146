//! Where a browser may be sent after a sign-in: `config.oauth.return_to` of a project. Where it says nothing, nowhere.
//!
//! ```text
//! https://app.acme.example          that origin, any path
//! https://acme.example/portal       that path, and what is below it
//! ```
//!
//! An address is compared as browsers read it, and one that they would read otherwise than it is written is none: so it has one
//! reading, here and there.

use domain::model::Project;
use reqwest::Url;
use serde::Deserialize;

use crate::error::AppError;

/// Longest address, in bytes.
const MAX_BYTES: usize = 2048;

/// Most entries of a list.
const MAX_ENTRIES: usize = 100;

/// `config.oauth` of a project.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OauthSettings {
    /// Where browsers may go.
    #[serde(default)]
    return_to: Vec<String>,
}

impl OauthSettings {
    /// From a project's settings.
    ///
    /// # Errors
    /// [`AppError::Invalid`] for what cannot be read.
    pub(super) fn of_config(config: &serde_json::Value) -> Result<Self, AppError> {
        let Some(oauth) = config.get("oauth") else { return Ok(Self::default()) };
        let read: Self = serde_json::from_value(oauth.clone())
            .map_err(|error| AppError::field("/config/oauth", "invalid", error.to_string()))?;
        if read.return_to.len() > MAX_ENTRIES {
            return Err(AppError::field("/config/oauth/return_to", "range", format!("at most {MAX_ENTRIES} entries")));
        }
        for (at, entry) in read.return_to.iter().enumerate() {
            if self::entry(entry).is_none() {
                let detail = "is no https origin or address of a path (http on localhost), without query";
                return Err(AppError::field(format!("/config/oauth/return_to/{at}"), "invalid", detail));
            }
        }
        Ok(read)
    }
}

/// Whether a browser may be sent there.
///
/// # Errors
/// [`AppError::Parameter`] (400) at `name`.
pub(super) fn admitted(project: &Project, wanted: &str, name: &'static str) -> Result<(), AppError> {
    // What cannot be read lets nobody go anywhere.
    let settings = OauthSettings::of_config(&project.config).unwrap_or_default();
    if is_within(&settings.return_to, wanted) {
        return Ok(());
    }
    Err(AppError::parameter(name, "not_admitted", "is none of the addresses that are admitted here"))
}

fn is_within(entries: &[String], wanted: &str) -> bool {
    let Some(wanted) = one_reading(wanted) else { return false };
    entries.iter().filter_map(|entry| self::entry(entry)).any(|entry| {
        let path = entry.path().trim_end_matches('/');
        let below = wanted.path().strip_prefix(path);
        entry.origin() == wanted.origin() && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// An entry of the list.
fn entry(text: &str) -> Option<Url> {
    one_reading(text).filter(|url| url.query().is_none())
}

/// An address that everybody reads as it is written.
fn one_reading(text: &str) -> Option<Url> {
    let visible = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if !visible || text.len() > MAX_BYTES || text.contains(['\\', '@', '#', '"', '<', '>', '`', '{', '}', '|', '^']) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?;
    let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]") || host.ends_with(".localhost");
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && here);
    // A browser writes it like this: no dots that are resolved, no port that goes without saying, no capital letters in the host.
    let same = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text);
    let path = url.path().to_ascii_lowercase();
    let hidden =
        ["%2f", "%5c", "%2e", "%00", "%0a", "%0d", "%25"].iter().any(|it| path.contains(it)) || path.contains("//");
    let named =
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']'));
    let plain = named && !host.ends_with('.') && !path.split('/').any(|segment| matches!(segment, "." | ".."));
    (scheme && same && !hidden && plain).then_some(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn an_origin_or_a_path_of_the_list_is_admitted() {
        let entries = list(&["https://app.acme.example", "https://acme.example/portal", "http://localhost:3000/in"]);
        for wanted in [
            "https://app.acme.example",
            "https://app.acme.example/",
            "https://app.acme.example/a/b?x=https://evil.example",
            "https://acme.example/portal",
            "https://acme.example/portal/",
            "https://acme.example/portal/in?x=1",
            "http://localhost:3000/in",
        ] {
            assert!(is_within(&entries, wanted), "{wanted}");
        }
    }

    #[test]
    fn l1_no_trick_of_an_address_leads_anywhere_else() {
        let entries = list(&["https://app.acme.example", "https://acme.example/portal"]);
        for wanted in [
            "",
            "/",
            "//evil.example",
            "/\\evil.example",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "https://evil.example",
            "https://evil.example/https://app.acme.example",
            "https://app.acme.example.evil.example",
            "https://evilapp.acme.example",
            "https://evil.app.acme.example",
            "https://app.acme.example@evil.example",
            "https://evil.example@app.acme.example",
            "https://a@b@app.acme.example",
            "https://app.acme.example:444/",
            "https://app.acme.example:443/",
            "https://APP.acme.example/",
            "https://app.acme.example./",
            "http://app.acme.example/",
            "https://app.acme.example\\@evil.example",
            "https://app.acme.example/\\evil.example",
            "https://app.acme.example//evil.example",
            "https://app.acme.example/#code",
            "https://app.acme.example/%0d%0aset-cookie",
            "https://app.acme.example/%0d%0aset-cookie",
            "https://app.acme.example/\t",
            "https://app.acme.example/ ",
            " https://app.acme.example/",
            "ht\ttps://app.acme.example/",
            "https://app.acme.example\n.evil.example",
            "https://acme.example/",
            "https://acme.example/portal2",
            "https://acme.example/portal/../",
            "https://acme.example/portal/%2e%2e/",
            "https://acme.example/portal/..%2f",
            "https://acme.example/portal/%252e%252e/",
            "https://acme.example/portal/./x",
            "https://xn--cme-8la.example/",
            "https://ácme.example/portal",
            "https://acme。example/portal",
            "javascript:alert(1)//https://app.acme.example",
            "data:text/html,https://app.acme.example",
            "blob:https://app.acme.example/x",
            "HTTPS://app.acme.example/",
        ] {
            assert!(!is_within(&entries, wanted), "{wanted}");
        }
        assert!(!is_within(&[], "https://app.acme.example"), "no list, no way");
        assert!(!is_within(&entries, &format!("https://app.acme.example/{}", "a".repeat(MAX_BYTES))));
    }

    #[test]
    fn a_list_that_cannot_be_held_to_is_refused_by_its_entry() {
        let of = |value| OauthSettings::of_config(&json!({ "oauth": value }));
        assert!(of(json!({ "return_to": ["https://app.acme.example", "http://127.0.0.1:8000/x"] })).is_ok());
        for wrong in ["http://app.acme.example", "*", "https://*.acme.example", "https://a.example/?x", "/in", "x"] {
            let error = of(json!({ "return_to": ["https://app.acme.example", wrong] })).unwrap_err();
            assert_eq!(error.fields()[0].pointer, "/config/oauth/return_to/1", "{wrong}");
        }
        assert!(of(json!({ "returnTo": [] })).is_err());
    }
}
