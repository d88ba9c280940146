//! The request on its way to the upstream, as the gate prepares it.

use domain::Clock;
use gate::{
    Denial, Permit,
    forward::{self, UpstreamHead},
};
use http::{HeaderMap, request};
use pingora::http::RequestHeader;

use super::{fields, our_cookies};

/// Strips and injects by the permit. What is left has no field in its sender's own spelling (ADR 39).
///
/// # Errors
/// [`Denial::AssertionFailed`] when what must be sent cannot be. The request is then not whole any more.
pub(crate) fn prepare(permit: &Permit, upstream: &mut RequestHeader, clock: &dyn Clock) -> Result<(), Denial> {
    let uri = upstream.uri.clone();
    let path = permit.path.as_deref().unwrap_or_else(|| uri.path());
    let mut head = Head::of(upstream, path);
    forward::prepare(permit, &mut head, path, clock)?;
    if !our_cookies::are_for(&permit.route.upstream) {
        our_cookies::withhold(head.fields());
    }
    head.put_back(upstream)
}

struct Head {
    parts: request::Parts,
    /// Where it is not the one that the parts have.
    target: Option<Vec<u8>>,
}

impl Head {
    /// Takes a request's head. A target in absolute form goes on in origin form: the Host says the rest.
    fn of(request: &mut RequestHeader, path: &str) -> Self {
        let raw = request.raw_path();
        // Its parts keep no target that is not UTF-8, and none in absolute form.
        let (absolute, lossy) = (!raw.starts_with(b"/"), !request.raw_path_is_utf8());
        let target = lossy.then(|| raw.to_vec());
        let mut head = Self { parts: fields::parts(request), target };
        if absolute {
            head.set_path(path);
        }
        head
    }

    fn put_back(self, request: &mut RequestHeader) -> Result<(), Denial> {
        *request = self.parts.into();
        match self.target {
            Some(target) => request.set_raw_path(&target).map_err(|_| Denial::AssertionFailed),
            None => Ok(()),
        }
    }
}

impl UpstreamHead for Head {
    fn fields(&mut self) -> &mut HeaderMap {
        &mut self.parts.headers
    }

    fn set_path(&mut self, path: &str) {
        let target = match self.parts.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        self.target = Some(target.into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, Version, header};

    use super::*;

    /// What goes on of a request for a target.
    fn sent_on(target: &[u8], rewritten: Option<&str>) -> RequestHeader {
        let mut request = RequestHeader::build("PUT", target, None).unwrap();
        request.set_version(Version::HTTP_10);
        request.insert_header("X-Trace", "1").unwrap();
        request.extensions_mut().insert(7_u8);
        let uri = request.uri.clone();
        let mut head = Head::of(&mut request, rewritten.unwrap_or_else(|| uri.path()));
        if let Some(path) = rewritten {
            head.set_path(path);
        }
        head.fields().insert(header::HOST, HeaderValue::from_static("acme.example.test"));
        head.put_back(&mut request).unwrap();
        request
    }

    #[test]
    fn what_goes_on_is_the_request_but_for_what_was_changed() {
        let request = sent_on(b"/a?b=c", None);
        assert_eq!((&request.method, request.version), (&Method::PUT, Version::HTTP_10));
        assert_eq!(request.extensions.get::<u8>(), Some(&7));
        let mut wire = Vec::new();
        request.header_to_h1_wire(&mut wire);
        assert_eq!(wire, b"x-trace: 1\r\nHost: acme.example.test\r\n", "spelt as known, and else in lower case");
    }

    #[test]
    fn each_form_of_a_target_goes_on_as_what_was_judged() {
        for (target, rewritten, expected) in [
            (&b"/a?b=c"[..], None, &b"/a?b=c"[..]),
            (b"/%61?x=/public/&y=%2f", Some("/a"), b"/a?x=/public/&y=%2f"),
            (b"/a?b=\xff\xfe", None, b"/a?b=\xff\xfe"),
            (b"http://acme.example.test/a?b=c", None, b"/a?b=c"),
            (b"http://acme.example.test/%61?b=c", Some("/a"), b"/a?b=c"),
        ] {
            let request = sent_on(target, rewritten);
            assert_eq!(request.raw_path(), expected, "{}", target.escape_ascii());
            assert_eq!(request.raw_path_is_utf8(), expected.is_ascii());
        }
    }
}
