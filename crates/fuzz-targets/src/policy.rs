//! What a hostname's responses say beside what its upstreams say.

use domain::response::ResponsePolicy;
use http::{HeaderName, HeaderValue};

/// Reads a policy.
pub fn run(bytes: &[u8]) {
    let Ok(policy) = serde_json::from_slice::<ResponsePolicy>(bytes) else { return };
    for (name, value) in &policy.set {
        let name = HeaderName::try_from(name.as_str()).expect("a name is a field's name");
        assert!(!matches!(name.as_str(), "content-length" | "transfer-encoding" | "set-cookie"), "{name}");
        HeaderValue::try_from(value.as_str()).expect("a value is a field's value");
    }
    if let Some(page) = &policy.error_page {
        let shown = page.render(|_| "<&>");
        assert!(shown.len() <= page.to_string().len() + 13 * page.to_string().matches("{{").count());
    }
    let written = serde_json::to_string(&policy).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<ResponsePolicy>(&written).expect("and is read again"), policy);
}
