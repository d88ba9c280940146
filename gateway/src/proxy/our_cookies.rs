//! Cookies under our own names. The control API alone sets and gets them, of any name but ours nobody is told: a service that sets one
//! would sign its people in as somebody else, and one that is sent one could use it.

use gate::snapshot::upstream::CompiledUpstream;
use http::{HeaderMap, HeaderValue, header};

/// What their names begin with, in lower case.
const PREFIX: &str = "__host-portcullis";

/// Those that there are.
const SET_BY_US: [&str; 2] = ["__Host-portcullis-oauth", "__Host-portcullis-oauth-post"];

/// The upstream that speaks for us: its name is kept by the control plane, and it is given people's credentials.
const CONTROL_API: &str = "control-api";

/// Whether an upstream is the one that our cookies are for.
pub(crate) fn are_for(upstream: &CompiledUpstream) -> bool {
    upstream.forward_credentials && &*upstream.name == CONTROL_API
}

/// Takes them out of a request. Where there is none, nothing is allocated.
pub(crate) fn withhold(fields: &mut HeaderMap) {
    let pairs = |value: &HeaderValue| value.as_bytes().split(|byte| *byte == b';').any(is_ours);
    if !fields.get_all(header::COOKIE).iter().any(pairs) {
        return;
    }
    let kept: Vec<HeaderValue> = fields.get_all(header::COOKIE).iter().filter_map(without_ours).collect();
    fields.remove(header::COOKIE);
    for value in kept {
        fields.append(header::COOKIE, value);
    }
}

fn without_ours(value: &HeaderValue) -> Option<HeaderValue> {
    let others: Vec<&[u8]> = value.as_bytes().split(|byte| *byte == b';').filter(|pair| !is_ours(pair)).collect();
    let text = others.join(&b';');
    let text = text.trim_ascii();
    if text.is_empty() { None } else { HeaderValue::from_bytes(text).ok() }
}

/// Takes them out of an answer, but for those that the control API sets, where it is the one that `are_for`.
pub(crate) fn refuse(fields: &mut HeaderMap, are_its_own: bool) {
    let goes = |value: &HeaderValue| is_ours(value.as_bytes()) && !(are_its_own && is_set_by_us(value.as_bytes()));
    if !fields.get_all(header::SET_COOKIE).iter().any(goes) {
        return;
    }
    let kept: Vec<_> = fields.get_all(header::SET_COOKIE).iter().filter(|it| !goes(it)).cloned().collect();
    fields.remove(header::SET_COOKIE);
    for cookie in kept {
        fields.append(header::SET_COOKIE, cookie);
    }
}

/// Whether a cookie has a name of ours, in any case. One without a name has its value in the place of it when it is sent back.
fn is_ours(cookie: &[u8]) -> bool {
    let start = cookie.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b'=').unwrap_or(cookie.len());
    let name = cookie.get(start..).and_then(|rest| rest.get(..PREFIX.len()));
    name.is_some_and(|name| name.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

fn is_set_by_us(cookie: &[u8]) -> bool {
    let name = cookie.split(|byte| *byte == b'=').next().unwrap_or_default();
    SET_BY_US.iter().any(|ours| ours.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn fields(name: HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value.parse().unwrap())).collect()
    }

    fn left(fields: &HeaderMap) -> Vec<String> {
        fields.values().map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    fn answered(cookies: &[&str], are_its_own: bool) -> Vec<String> {
        let mut fields = fields(header::SET_COOKIE, cookies);
        refuse(&mut fields, are_its_own);
        left(&fields)
    }

    fn sent(cookies: &[&str]) -> Vec<String> {
        let mut fields = fields(header::COOKIE, cookies);
        withhold(&mut fields);
        left(&fields)
    }

    #[test]
    fn l13_nobody_but_the_control_api_sets_a_cookie_under_our_names() {
        let ours = [
            "__Host-portcullis-oauth=x; Secure",
            " __HOST-portcullis-session=x",
            "=__host-Portcullis=x",
            "__Host-portcullis",
        ];
        for cookie in ours {
            assert_eq!(answered(&["a=1", cookie, "b=2"], false), ["a=1", "b=2"], "{cookie}");
        }
        let others = ["a=__Host-portcullis-oauth", "__Host-other=1", "__Secure-portcullis=1"];
        assert_eq!(answered(&others, false), others);
    }

    #[test]
    fn l13_the_control_api_sets_the_cookies_that_there_are_and_no_other() {
        let own = ["__Host-portcullis-oauth=x; Path=/", "__Host-portcullis-oauth-post=y"];
        assert_eq!(answered(&own, true), own);
        for cookie in [
            "__Host-portcullis=x",
            "__Host-portcullis-session=x",
            "__host-portcullis-oauth=x",
            "__Host-portcullis-oauth2=x",
        ] {
            assert!(answered(&[cookie], true).is_empty(), "{cookie}");
        }
    }

    #[test]
    fn l13_a_service_is_not_sent_what_a_browser_keeps_for_us() {
        let ours = "__Host-portcullis-oauth=secret";
        assert_eq!(sent(&[ours]), Vec::<String>::new());
        assert_eq!(sent(&[&format!("a=1; {ours}; b=2")]), ["a=1; b=2"]);
        assert_eq!(sent(&[&format!("{ours};a=1"), "b=2", &format!("__HOST-PORTCULLIS-x=1;{ours}")]), ["a=1", "b=2"]);
        let others = ["a=1;  b=\"2\"; c", "d=__Host-portcullis-oauth"];
        assert_eq!(sent(&others), others, "byte for byte");
    }
}
