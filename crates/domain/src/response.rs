//! What responses of a hostname say beside what its upstreams say: security headers, names that nobody need know, a page
//! for refusals.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::HumanDuration;

/// Fields in each list of a policy.
pub const MAX_FIELDS: usize = 32;

/// Longest name of a field, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Longest value of a field, in bytes. Content security policies are long.
pub const MAX_VALUE_BYTES: usize = 4096;

/// Longest page, in bytes. It is in every gateway's memory.
pub const MAX_PAGE_BYTES: usize = 16 * 1024;

/// Names that frame a message, describe its body, belong to one connection, or are ours to say.
const RESERVED: [&str; 20] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "proxy-connection",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "www-authenticate",
    "x-request-id",
    "x-token-refresh",
];

/// How names begin that are ours to say: who is calling, who may read an answer from elsewhere, what is left of a limit.
const RESERVED_PREFIXES: [&str; 4] = ["x-md-", "access-control-", "ratelimit", "x-ratelimit"];

/// What is added to, and taken from, every response of a hostname.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "RawResponsePolicy")]
pub struct ResponsePolicy {
    /// `Strict-Transport-Security` (RFC 6797); none for what the upstream says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<Hsts>,
    /// Fields that every response has, in place of the upstream's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<FieldName, FieldValue>,
    /// Fields that no response has.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub remove: BTreeSet<FieldName>,
    /// The page that a refusal of the edge is to who prefers HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_page: Option<ErrorPage>,
}

impl ResponsePolicy {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What responses of a hostname say beside what its upstreams say.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ResponsePolicy")]
struct RawResponsePolicy {
    /// `Strict-Transport-Security` (RFC 6797). Default: what the upstream says.
    hsts: Option<Hsts>,
    /// Fields that every response has, in place of the upstream's, such as `x-content-type-options: nosniff`. At most 32.
    set: BTreeMap<FieldName, FieldValue>,
    /// Fields that no response has, such as `server` and `x-powered-by`. At most 32.
    remove: BTreeSet<FieldName>,
    /// The page that a refusal of the edge is to who prefers HTML: at most 16 KiB, with `{{status}}`, `{{title}}`,
    /// `{{code}}` and `{{request_id}}` where these are to stand. Default: JSON (RFC 9457) for everybody.
    error_page: Option<ErrorPage>,
}

impl TryFrom<RawResponsePolicy> for ResponsePolicy {
    type Error = ResponsePolicyError;
    fn try_from(raw: RawResponsePolicy) -> Result<Self, ResponsePolicyError> {
        let RawResponsePolicy { hsts, set, remove, error_page } = raw;
        if set.len() > MAX_FIELDS || remove.len() > MAX_FIELDS {
            return Err(ResponsePolicyError::Fields);
        }
        if let Some(both) = set.keys().find(|name| remove.contains(*name)) {
            return Err(ResponsePolicyError::Both(both.0.clone()));
        }
        Ok(Self { hsts, set, remove, error_page })
    }
}

/// Why something is no part of a [`ResponsePolicy`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum ResponsePolicyError {
    #[error("there are more than {MAX_FIELDS} fields")]
    Fields,
    #[error("`{0}` is both set and removed")]
    Both(Box<str>),
    #[error("`{0}` is no field name of 1 to {MAX_NAME_BYTES} lower-case letters, digits and `-`")]
    Name(Box<str>),
    #[error("`{0}` is not a policy's to say")]
    Reserved(Box<str>),
    #[error("a field value is 1 to {MAX_VALUE_BYTES} visible ASCII characters, with single spaces between them")]
    Value,
    #[error("a page is 1 to {MAX_PAGE_BYTES} bytes long")]
    PageLength,
    #[error("`{{{{{0}` is none of `{{{{status}}}}`, `{{{{title}}}}`, `{{{{code}}}}` and `{{{{request_id}}}}`")]
    Placeholder(Box<str>),
}

/// HTTP Strict Transport Security (RFC 6797).
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hsts {
    /// How long browsers remember it.
    pub max_age: HumanDuration,
    /// For all names below the hostname, too.
    #[serde(default)]
    pub include_subdomains: bool,
    /// The owner agrees to browsers' built-in lists.
    #[serde(default)]
    pub preload: bool,
}

/// The field's value (RFC 6797 §6.1).
impl fmt::Display for Hsts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "max-age={}", self.max_age.get().as_secs())?;
        if self.include_subdomains {
            f.write_str("; includeSubDomains")?;
        }
        if self.preload {
            f.write_str("; preload")?;
        }
        Ok(())
    }
}

/// A name of a header field that a policy may speak of, lower-case.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[a-z0-9-]{1,64}$"))]
pub struct FieldName(Box<str>);

impl FieldName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldName {
    type Err = ResponsePolicyError;
    fn from_str(text: &str) -> Result<Self, ResponsePolicyError> {
        let is_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=MAX_NAME_BYTES).contains(&text.len()) || !text.bytes().all(is_name) {
            return Err(ResponsePolicyError::Name(text.into()));
        }
        let is_reserved = RESERVED_PREFIXES.iter().any(|prefix| text.starts_with(prefix));
        if RESERVED.contains(&text) || is_reserved {
            return Err(ResponsePolicyError::Reserved(text.into()));
        }
        Ok(Self(text.into()))
    }
}

/// A value of a header field: visible ASCII, with spaces inside only.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("minLength" = 1, "maxLength" = 4096))]
pub struct FieldValue(Box<str>);

impl FieldValue {
    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FieldValue {
    type Err = ResponsePolicyError;
    fn from_str(text: &str) -> Result<Self, ResponsePolicyError> {
        let fits = (1..=MAX_VALUE_BYTES).contains(&text.len()) && text.trim() == text;
        if !fits || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ResponsePolicyError::Value);
        }
        Ok(Self(text.into()))
    }
}

/// What a page shows of a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placeholder {
    /// The status code.
    Status,
    /// What is said to callers.
    Title,
    /// The stable code.
    Code,
    /// The request's id.
    RequestId,
}

impl Placeholder {
    const ALL: [(&str, Self); 4] =
        [("status", Self::Status), ("title", Self::Title), ("code", Self::Code), ("request_id", Self::RequestId)];
}

/// An HTML page with places for what differs between refusals.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("minLength" = 1, "maxLength" = 16384))]
pub struct ErrorPage {
    /// Text, and what stands behind it.
    parts: Vec<(Box<str>, Option<Placeholder>)>,
}

impl ErrorPage {
    /// The page of one refusal; `fill` says what stands in each place, and is escaped.
    pub fn render<'f>(&self, fill: impl Fn(Placeholder) -> &'f str) -> String {
        let mut page = String::with_capacity(self.parts.iter().map(|(text, _)| text.len() + 48).sum());
        for (text, place) in &self.parts {
            page.push_str(text);
            for character in place.map(&fill).unwrap_or_default().chars() {
                match character {
                    '<' => page.push_str("&lt;"),
                    '>' => page.push_str("&gt;"),
                    '&' => page.push_str("&amp;"),
                    '"' => page.push_str("&quot;"),
                    '\'' => page.push_str("&#39;"),
                    other => page.push(other),
                }
            }
        }
        page
    }
}

impl FromStr for ErrorPage {
    type Err = ResponsePolicyError;
    fn from_str(text: &str) -> Result<Self, ResponsePolicyError> {
        if !(1..=MAX_PAGE_BYTES).contains(&text.len()) {
            return Err(ResponsePolicyError::PageLength);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let unknown = || ResponsePolicyError::Placeholder(after.chars().take(MAX_NAME_BYTES).collect());
            let (name, behind) = after.split_once("}}").ok_or_else(unknown)?;
            let place = Placeholder::ALL.into_iter().find(|(it, _)| *it == name).ok_or_else(unknown)?.1;
            parts.push((before.into(), Some(place)));
            rest = behind;
        }
        parts.push((rest.into(), None));
        Ok(Self { parts })
    }
}

/// The page as it was written.
impl fmt::Display for ErrorPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (text, place) in &self.parts {
            f.write_str(text)?;
            if let Some((name, _)) = Placeholder::ALL.iter().find(|(_, it)| Some(*it) == *place) {
                write!(f, "{{{{{name}}}}}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! string_form {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = ResponsePolicyError;
            fn try_from(text: String) -> Result<Self, ResponsePolicyError> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}
string_form!(FieldName, FieldValue, ErrorPage);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_back_what_it_wrote() {
        let text = r#"{"hsts":{"max_age":"365d","include_subdomains":true,"preload":false},
            "set":{"x-frame-options":"DENY"},"remove":["server"],"error_page":"<h1>{{status}}</h1>{{request_id}}"}"#;
        let policy: ResponsePolicy = serde_json::from_str(text).unwrap();
        assert_eq!(policy.hsts.unwrap().to_string(), "max-age=31536000; includeSubDomains");
        let written = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<ResponsePolicy>(&written).unwrap(), policy);
        assert_eq!(serde_json::to_string(&ResponsePolicy::default()).unwrap(), "{}");
    }

    #[test]
    fn a_policy_cannot_split_or_frame_a_response() {
        for name in [
            "content-length",
            "transfer-encoding",
            "connection",
            "set-cookie",
            "x-md-global-plan",
            "access-control-allow-origin",
            "vary",
            "ratelimit",
            "retry-after",
            "X-A",
            "a b",
            "",
        ] {
            assert!(name.parse::<FieldName>().is_err(), "{name}");
        }
        for value in ["a\r\nset-cookie: a=b", "a\nb", "a\0", " a", "", "\u{e9}", "a\tb"] {
            assert!(value.parse::<FieldValue>().is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_field_is_not_both_set_and_removed() {
        let text = r#"{"set":{"server":"none"},"remove":["server"]}"#;
        assert!(serde_json::from_str::<ResponsePolicy>(text).unwrap_err().to_string().contains("both set and removed"));
    }

    #[test]
    fn what_fills_a_page_is_escaped() {
        let page: ErrorPage = "<p>{{title}}</p>".parse().unwrap();
        assert_eq!(page.render(|_| "<script>'&\""), "<p>&lt;script&gt;&#39;&amp;&quot;</p>");
    }

    #[test]
    fn an_unknown_place_is_refused() {
        for page in ["{{host}}", "{{", "{{ status }}", ""] {
            assert!(page.parse::<ErrorPage>().is_err(), "{page}");
        }
        assert!("x".repeat(MAX_PAGE_BYTES + 1).parse::<ErrorPage>().is_err());
    }
}
