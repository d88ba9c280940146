//! What a client gets of an upstream's response header: nothing that belongs to one connection only, nothing under our
//! own names but what we say ourselves.

use domain::RequestId;
use gate::{forward, snapshot::response::CompiledResponse};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use pingora::{Error, ErrorType, OrErr as _, http::ResponseHeader};

use super::our_cookies;

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

/// What `Connection` may not take away: framing and where a body ends.
const FRAMING: [HeaderName; 3] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER];

/// Removes what is not the upstream's to say. Cookies under our names are the control API's alone, of which this is an
/// answer where `cookies_are_its_own`.
pub(crate) fn clean(status: StatusCode, fields: &mut HeaderMap, cookies_are_its_own: bool) {
    for name in nominated(fields) {
        fields.remove(name);
    }
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    let of_connection = |name: &HeaderName| {
        HOP_BY_HOP.contains(name) || (!switches && (*name == header::CONNECTION || *name == header::UPGRADE))
    };
    remove(fields, |name| of_connection(name) || is_ours(name));
    our_cookies::refuse(fields, cookies_are_its_own);
}

/// Removes fields by their names: most responses have none of those, so that no look-up is made for each.
fn remove(fields: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    for name in fields.keys().filter(|name| unwanted(name)).cloned().collect::<Vec<_>>() {
        fields.remove(name);
    }
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
    remove(trailers, is_ours);
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
    // Looks at all of a value: without an early end it is many bytes at a time.
    let has_control = |value: &HeaderValue| value.as_bytes().iter().fold(false, |found, byte| found | is_control(byte));
    if headers.values().any(has_control) {
        return invalid("a control byte in a field");
    }
    Ok(())
}

/// Removes and adds what the hostname's policy says.
pub(crate) fn apply(policy: &CompiledResponse, fields: &mut HeaderMap) {
    for name in &policy.remove {
        fields.remove(name);
    }
    for (name, value) in &policy.set {
        fields.insert(name, value.clone());
    }
}

/// Adds what we say ourselves.
pub(crate) fn mark(fields: &mut HeaderMap, id: RequestId, refresh_advised: bool) -> pingora::Result<()> {
    fields.insert(REQUEST_ID, id_value(id)?);
    if refresh_advised {
        fields.insert(TOKEN_REFRESH, HeaderValue::from_static("advised"));
    }
    Ok(())
}

/// A request's id as a field's value.
pub(crate) fn id_value(id: RequestId) -> pingora::Result<HeaderValue> {
    forward::id_value(id).or_err(ErrorType::InternalError, "an id is no field value")
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    // The one that most responses name goes in any case.
    let names = values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| *name != "keep-alive");
    let names = names.filter_map(|name| name.parse().ok());
    names.filter(|name| !FRAMING.contains(name) && *name != header::UPGRADE).collect()
}

/// Whether only we say this, in any of the spellings that servers fold together.
fn is_ours(name: &HeaderName) -> bool {
    if !name.as_str().starts_with('x') {
        return false;
    }
    let folded = forward::folded(name.as_str());
    folded.starts_with("x-md-") || folded == REQUEST_ID.as_str() || folded == TOKEN_REFRESH.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(status: u16, fields: &[(&str, &'static str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value));
        }
        clean(StatusCode::from_u16(status).unwrap(), &mut headers, false);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
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
