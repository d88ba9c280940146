//! What a client gets of an upstream's response header: nothing that belongs to one connection only, nothing under our
//! own names but what we say ourselves.

use domain::RequestId;
use gate::snapshot::response::CompiledResponse;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::{Error, ErrorType, http::ResponseHeader};

/// Names the request in our logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// `advised` when the token is close to its end.
const TOKEN_REFRESH: HeaderName = HeaderName::from_static("x-token-refresh");

/// Fields of one connection (RFC 9110 §7.6.1). `Transfer-Encoding` and `Trailer` stay: Pingora frames by them.
const HOP_BY_HOP: [HeaderName; 4] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    header::TE,
];

/// What names of our cookies begin with, in lower case.
const OUR_COOKIES: &str = "__host-portcullis";

/// What `Connection` may not take away: framing and where a body ends.
const FRAMING: [HeaderName; 3] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER];

/// Removes what is not the upstream's to say.
pub(crate) fn clean(response: &mut ResponseHeader) {
    for name in nominated(&response.headers) {
        response.remove_header(&name);
    }
    for name in &HOP_BY_HOP {
        response.remove_header(name);
    }
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        response.remove_header(&header::CONNECTION);
        response.remove_header(&header::UPGRADE);
    }
    for name in ours(&response.headers) {
        response.remove_header(&name);
    }
    remove_our_cookies(response);
}

/// Makes an answer one that HTTP/1.0 can read, which knows no chunks (RFC 9112 §6.1). True when its body now ends with
/// the connection.
pub(crate) fn ends_with_the_connection(response: &mut ResponseHeader) -> bool {
    let chunked = response.remove_header(&header::TRANSFER_ENCODING).is_some();
    response.remove_header(&header::TRAILER);
    chunked
}

/// As [`clean`], for fields after the body.
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    for name in ours(trailers) {
        trailers.remove(&name);
    }
}

/// Whether a response has one reading: what it answers, where its body ends, and where its fields do.
///
/// # Errors
/// It has two, or none.
pub(crate) fn one_reading(response: &ResponseHeader, upgrade_asked_for: bool) -> pingora::Result<()> {
    let invalid = |what| Err(Error::explain(ErrorType::InvalidHTTPHeader, what).into_up());
    if response.status == StatusCode::SWITCHING_PROTOCOLS && !upgrade_asked_for {
        return invalid("an upgrade that nobody asked for");
    }
    let headers = &response.headers;
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (Some(_), Some(_)) => return invalid("Content-Length beside Transfer-Encoding"),
        (None, Some(coding)) if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            return invalid("Transfer-Encoding is not `chunked` alone");
        }
        (Some(length), None) if length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit) => {
            return invalid("Content-Length is not a number");
        }
        _ => {}
    }
    if lengths.next().is_some() || codings.next().is_some() {
        return invalid("Content-Length or Transfer-Encoding occurs twice");
    }
    let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    if headers.values().any(|value| value.as_bytes().iter().any(is_control)) {
        return invalid("a control byte in a field");
    }
    Ok(())
}

/// Removes and adds what the hostname's policy says.
pub(crate) fn apply(policy: &CompiledResponse, response: &mut ResponseHeader) -> pingora::Result<()> {
    for name in &policy.remove {
        response.remove_header(name);
    }
    for (name, value) in &policy.set {
        response.insert_header(name, value)?;
    }
    Ok(())
}

/// Adds what we say ourselves.
pub(crate) fn mark(response: &mut ResponseHeader, id: RequestId, refresh_advised: bool) -> pingora::Result<()> {
    response.insert_header(REQUEST_ID, id.to_string())?;
    if refresh_advised {
        response.insert_header(TOKEN_REFRESH, "advised")?;
    }
    Ok(())
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    names.filter(|name| !FRAMING.contains(name) && *name != header::UPGRADE).collect()
}

/// Names that only we say, in any of the spellings that servers fold together.
fn ours(headers: &HeaderMap) -> Vec<HeaderName> {
    let is_ours = |name: &&HeaderName| {
        let folded = name.as_str().replace(['_', '.'], "-");
        folded.starts_with("x-md-") || folded == REQUEST_ID.as_str() || folded == TOKEN_REFRESH.as_str()
    };
    headers.keys().filter(is_ours).cloned().collect()
}

fn remove_our_cookies(response: &mut ResponseHeader) {
    let is_ours = |value: &HeaderValue| {
        let start = value.as_bytes().trim_ascii_start();
        start.get(..OUR_COOKIES.len()).is_some_and(|name| name.eq_ignore_ascii_case(OUR_COOKIES.as_bytes()))
    };
    let cookies: Vec<_> = response.headers.get_all(header::SET_COOKIE).iter().cloned().collect();
    if !cookies.iter().any(is_ours) {
        return;
    }
    response.remove_header(&header::SET_COOKIE);
    for cookie in cookies.into_iter().filter(|cookie| !is_ours(cookie)) {
        // Was a header a moment ago, so that it is one again.
        drop(response.append_header(header::SET_COOKIE, cookie));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(status: u16, fields: &[(&'static str, &str)]) -> Vec<String> {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            response.append_header(*name, *value).unwrap();
        }
        clean(&mut response);
        response.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn an_upstream_cannot_speak_under_our_names() {
        let fields = [
            ("x-md-global-user-id", "1"),
            ("X-Md_Global.Plan", "gold"),
            ("x-request-id", "forged"),
            ("x-token-refresh", "advised"),
            ("content-type", "text/plain"),
        ];
        assert_eq!(cleaned(200, &fields), ["content-type: text/plain"]);
    }

    #[test]
    fn an_upstream_cannot_set_our_cookies() {
        let fields =
            [("set-cookie", "a=1"), ("set-cookie", " __HOST-portcullis-session=forged"), ("set-cookie", "b=2")];
        assert_eq!(cleaned(200, &fields), ["set-cookie: a=1", "set-cookie: b=2"]);
    }

    #[test]
    fn fields_of_one_connection_end_there() {
        let fields = [
            ("connection", "close, x-hop, content-length"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("upgrade", "h2c"),
            ("content-length", "3"),
        ];
        assert_eq!(cleaned(200, &fields), ["content-length: 3"]);
        let switching = [("connection", "upgrade"), ("upgrade", "websocket")];
        assert_eq!(cleaned(101, &switching), ["connection: upgrade", "upgrade: websocket"]);
    }
}
