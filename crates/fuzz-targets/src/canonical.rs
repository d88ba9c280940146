//! One reading of a request, or a refusal.

use std::borrow::Cow;

use gate::{CanonicalRequest, RawHead, canonical};
use http::{HeaderMap, HeaderValue, header};

use crate::head::Sent;

/// Reads a head.
pub fn run(bytes: &[u8]) {
    let sent = Sent::parse(bytes);
    if let Ok(request) = canonical::read(&sent.head()) {
        check(&sent.head(), &request);
    }
}

/// What holds for every request with one reading.
pub(crate) fn check(head: &RawHead<'_>, request: &CanonicalRequest<'_>) {
    let path = &*request.path;
    assert!(path.starts_with('/') && path.is_ascii(), "{path:?}");
    for refused in ["//", "/./", "/../", "\\", ";", "#", "?", " ", "%2F", "%5C", "%00", "%2E", "%3B", "%2f", "%5c"] {
        assert!(!path.contains(refused), "{path:?} has {refused:?}");
    }
    assert!(!path.ends_with("/.") && !path.ends_with("/.."), "{path:?}");
    let host = &*request.host;
    assert!(host.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')), "{host:?}");

    let target = request.query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(host).expect("a host is a field value"));
    let again = RawHead { target: target.as_bytes(), authority: None, headers: &headers, ..*head };
    let again = canonical::read(&again).expect("what is canonical is accepted");
    assert!(matches!(again.path, Cow::Borrowed(_)), "what is canonical stays as it is");
    assert_eq!((&again.path, &again.host, again.query), (&request.path, &request.host, request.query));
}
