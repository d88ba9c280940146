//! Header fields as one map, to be changed at its price.
//!
//! Pingora keeps beside each field how its name was spelt, and reads the name again for each that is set, which costs more than
//! deciding. So fields are taken out, changed, and put back without their spelling, which has no meaning (RFC 9110 §5.1): known
//! names go out in title case, others in lower case, as all of HTTP/2 does (ADR 39).

use std::mem;

use http::{HeaderMap, Request, Response, request};
use pingora::http::{RequestHeader, ResponseHeader};

/// Takes a request's parts out. What is left in its place is a request for nothing.
pub(super) fn parts(request: &mut RequestHeader) -> request::Parts {
    let nothing = Request::new(()).into_parts().0;
    mem::replace(request, nothing.into()).into()
}

/// Changes a response's fields.
pub(super) fn change<T>(response: &mut ResponseHeader, change: impl FnOnce(&mut HeaderMap) -> T) -> T {
    let reason = response.get_reason_phrase().filter(|reason| Some(*reason) != response.status.canonical_reason());
    let reason = reason.map(str::to_owned);
    let nothing = Response::new(()).into_parts().0;
    let mut parts: http::response::Parts = mem::replace(response, nothing.into()).into();
    let changed = change(&mut parts.headers);
    *response = parts.into();
    if reason.is_some() {
        // Was one a moment ago.
        drop(response.set_reason_phrase(reason.as_deref()));
    }
    changed
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, StatusCode, header};

    use super::*;

    #[test]
    fn a_changed_response_is_the_same_but_for_what_was_changed() {
        let mut response = ResponseHeader::build(StatusCode::NOT_FOUND, None).unwrap();
        response.set_version(http::Version::HTTP_2);
        response.set_reason_phrase(Some("Gone Fishing")).unwrap();
        for value in ["a=1", "b=2"] {
            response.append_header(header::SET_COOKIE, value).unwrap();
        }
        change(&mut response, |fields| fields.insert(header::SERVER, HeaderValue::from_static("edge")));
        assert_eq!((response.status, response.version), (StatusCode::NOT_FOUND, http::Version::HTTP_2));
        assert_eq!(response.get_reason_phrase(), Some("Gone Fishing"));
        let mut wire = Vec::new();
        response.header_to_h1_wire(&mut wire);
        assert_eq!(wire, b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: edge\r\n");
    }

    #[test]
    fn a_status_without_a_phrase_of_its_own_has_the_usual_one_again() {
        let mut response = ResponseHeader::build(StatusCode::OK, None).unwrap();
        change(&mut response, |_| ());
        assert_eq!(response.get_reason_phrase(), Some("OK"));
    }
}
