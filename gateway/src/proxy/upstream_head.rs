//! The request on its way to the upstream, as the gate prepares it.

use domain::Clock;
use gate::{
    Denial, Permit,
    forward::{self, UpstreamHead},
};
use http::{HeaderName, HeaderValue};
use pingora::http::RequestHeader;

/// Strips and injects by the permit.
///
/// # Errors
/// [`Denial::AssertionFailed`] when what must be sent cannot be.
pub(crate) fn prepare(permit: &Permit, upstream: &mut RequestHeader, clock: &dyn Clock) -> Result<(), Denial> {
    let path: Box<str> = permit.path.clone().unwrap_or_else(|| upstream.uri.path().into());
    let mut head = Head { failed: false, header: upstream };
    // A target in absolute form goes on in origin form: the Host says the rest.
    if !head.header.raw_path().starts_with(b"/") {
        head.set_path(&path);
    }
    forward::prepare(permit, &mut head, &path, clock)?;
    if head.failed { Err(Denial::AssertionFailed) } else { Ok(()) }
}

struct Head<'h> {
    header: &'h mut RequestHeader,
    /// Something was refused by Pingora's header; then nothing may be sent.
    failed: bool,
}

impl UpstreamHead for Head<'_> {
    fn names(&self) -> Vec<HeaderName> {
        self.header.headers.keys().cloned().collect()
    }

    fn remove(&mut self, name: &HeaderName) {
        self.header.remove_header(name);
    }

    fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.failed |= self.header.insert_header(name, value).is_err();
    }

    fn set_path(&mut self, path: &str) {
        let target = match self.header.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        self.failed |= self.header.set_raw_path(target.as_bytes()).is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_path_keeps_its_query() {
        let mut header = RequestHeader::build("GET", b"/%61?x=/public/&y=%2f", None).unwrap();
        let mut head = Head { failed: false, header: &mut header };
        head.set_path("/a");
        assert!(!head.failed);
        assert_eq!(header.raw_path(), b"/a?x=/public/&y=%2f");
    }
}
