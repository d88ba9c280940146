//! What a hostname's responses say beside what its upstreams say, ready to be written.

use domain::response::{ErrorPage, FieldName, FieldValue, ResponsePolicy};
use http::{HeaderName, HeaderValue, header};

/// A policy as header fields.
#[derive(Debug)]
pub struct CompiledResponse {
    /// Fields that every response has.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields that no response has.
    pub remove: Vec<HeaderName>,
    /// What a refusal is to who prefers HTML.
    pub error_page: Option<ErrorPage>,
}

impl CompiledResponse {
    /// None for a policy that changes nothing.
    pub(crate) fn new(policy: &ResponsePolicy) -> Option<Self> {
        if policy.is_empty() {
            return None;
        }
        // What a policy holds is a header field; what is none could not have been read.
        let name = |name: &FieldName| HeaderName::try_from(name.as_str()).ok();
        let field =
            |(key, value): (&FieldName, &FieldValue)| Some((name(key)?, HeaderValue::try_from(value.as_str()).ok()?));
        let mut set: Vec<_> = policy.set.iter().filter_map(field).collect();
        if let Some(hsts) = policy.hsts.and_then(|hsts| HeaderValue::try_from(hsts.to_string()).ok()) {
            set.push((header::STRICT_TRANSPORT_SECURITY, hsts));
        }
        Some(Self {
            set,
            remove: policy.remove.iter().filter_map(name).collect(),
            error_page: policy.error_page.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_policy_is_lost() {
        let policy =
            r#"{"hsts":{"max_age":"1d"},"set":{"a":"b; c"},"remove":["server","x-powered-by"],"error_page":"x"}"#;
        let compiled = CompiledResponse::new(&serde_json::from_str(policy).unwrap()).unwrap();
        let set: Vec<_> = compiled.set.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(set, [("a", "b; c"), ("strict-transport-security", "max-age=86400")]);
        assert_eq!(compiled.remove, ["server", "x-powered-by"]);
        assert!(compiled.error_page.is_some());
        assert!(CompiledResponse::new(&ResponsePolicy::default()).is_none());
    }
}
