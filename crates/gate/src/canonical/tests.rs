//! Classes P, H and S of the threats, where the reading of a request decides.

use http::HeaderValue;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

struct Sent {
    method: &'static str,
    target: Vec<u8>,
    headers: HeaderMap,
    sni: Option<&'static str>,
    version: Version,
    authority: Option<&'static str>,
}

impl Default for Sent {
    fn default() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("acme.localhost"));
        Self { method: "GET", target: b"/".to_vec(), headers, sni: None, version: Version::Http11, authority: None }
    }
}

impl Sent {
    fn head(&self) -> RawHead<'_> {
        RawHead {
            listener: Listener::Tls,
            sni: self.sni,
            certificate: None,
            version: self.version,
            method: self.method,
            target: &self.target,
            authority: self.authority.map(str::as_bytes),
            headers: &self.headers,
            has_body: false,
            client: IpAddr::from([127, 0, 0, 1]),
            request_id: RequestId::new(Uuid::nil()),
        }
    }
}

fn path(target: &str) -> Result<String, Denial> {
    let sent = Sent { target: target.as_bytes().to_vec(), ..Sent::default() };
    read(&sent.head()).map(|request| request.path.into_owned())
}

fn with_header(name: &str, value: &str) -> Result<(), Denial> {
    let mut sent = Sent::default();
    sent.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    read(&sent.head()).map(|_| ())
}

fn with_hosts(hosts: &[&str]) -> Result<String, Denial> {
    let mut sent = Sent::default();
    sent.headers.remove(header::HOST);
    for host in hosts {
        sent.headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
    }
    read(&sent.head()).map(|request| request.host.into_owned())
}

#[test]
fn p1_refuses_dot_segments_and_empty_segments() {
    for target in ["/a/../b", "/..", "/.", "/a/.", "/a/..", "/./a", "//", "//a", "/a//b", "/a//"] {
        assert!(matches!(path(target), Err(Denial::PathRefused(_))), "{target}");
    }
    assert_eq!(path("/a/...").as_deref(), Ok("/a/..."));
    assert_eq!(path("/a/.well-known").as_deref(), Ok("/a/.well-known"));
}

#[test]
fn p2_refuses_encoded_slash_backslash_nul_and_dot_in_both_cases() {
    for encoded in ["%2f", "%2F", "%5c", "%5C", "%00", "%2e", "%2E", "%2e%2e", "%3b", "%3B", "%0a", "%1F", "%7f"] {
        assert!(matches!(path(&format!("/a{encoded}b")), Err(Denial::PathRefused(_))), "{encoded}");
    }
    assert_eq!(path("/a%252fb").as_deref(), Ok("/a%252fb"), "what is encoded twice stays encoded twice");
}

#[test]
fn p3_refuses_fragments_and_parameters() {
    for target in ["/a#b", "/#", "/a;b=c", "/a;", "/a?x#y"] {
        assert!(matches!(path(target), Err(Denial::PathRefused(_))), "{target}");
    }
    assert_eq!(path("/a%23b%3Fc").as_deref(), Ok("/a%23b%3Fc"));
}

#[test]
fn p4_refuses_a_target_that_cannot_be_read() {
    for target in
        ["", "a", "*", "?", "a/b", "/%", "/%4", "/%zz", "/a\\b", "ftp://acme.localhost/", "acme.localhost:443"]
    {
        assert!(matches!(path(target), Err(Denial::PathRefused(_))), "{target}");
    }
    assert_eq!(path(&format!("/{}", "a".repeat(MAX_TARGET_BYTES))), Err(Denial::TargetTooLong));
}

#[test]
fn p9_the_query_is_no_part_of_the_path() {
    let sent = Sent { target: b"/admin?x=/public/&y=%2f..;".to_vec(), ..Sent::default() };
    let head = sent.head();
    let request = read(&head).unwrap();
    assert_eq!((&*request.path, request.query), ("/admin", Some("x=/public/&y=%2f..;")));
}

#[test]
fn p10_refuses_spaces_control_and_8_bit_bytes() {
    for byte in (0..=0x20).chain(0x7f..=0xff).chain(*b"<>\"{}|^`\\") {
        let sent = Sent { target: [b"/a", &[byte][..], b"b"].concat(), ..Sent::default() };
        assert!(matches!(read(&sent.head()), Err(Denial::PathRefused(_))), "{byte:#x}");
    }
}

#[test]
fn normalises_what_rfc_3986_calls_equivalent() {
    assert_eq!(path("/%61%7E%2d").as_deref(), Ok("/a~-"));
    assert_eq!(path("/%c3%a9").as_deref(), Ok("/%C3%A9"));
    assert_eq!(path("/a%c3b%41").as_deref(), Ok("/a%C3bA"));
    assert!(matches!(normal_path("/already/canonical%20"), Ok(Cow::Borrowed(_))));
}

#[test]
fn h1_spellings_of_one_host_are_one_host() {
    for host in ["acme.localhost", "ACME.localhost", "acme.localhost.", "acme.localhost:8443", "Acme.LocalHost.:443"] {
        assert_eq!(with_hosts(&[host]).as_deref(), Ok("acme.localhost"), "{host}");
    }
    let bad = [
        "", ".", "a..b", "-a", "a-", "a-.b", ".a", "a b", "a,b", "a/b", "a_b", "user@a", "a:", "a:x", "a:123456",
        "[::1]", "a:80:80", "a%41",
    ];
    for host in bad {
        assert!(matches!(with_hosts(&[host]), Err(Denial::HostInvalid(_))), "{host}");
    }
}

#[test]
fn h4_refuses_a_host_the_connection_was_not_made_for() {
    let at = |sni| read(&Sent { sni: Some(sni), ..Sent::default() }.head()).map(|_| ());
    assert_eq!(at("acme.localhost"), Ok(()));
    assert_eq!(at("ACME.localhost"), Ok(()));
    assert_eq!(at("globex.localhost"), Err(Denial::HostMismatch));
    assert_eq!(at("localhost"), Err(Denial::HostMismatch));
}

#[test]
fn h9_refuses_two_hosts_none_and_hosts_that_differ() {
    assert!(matches!(with_hosts(&["a", "b"]), Err(Denial::HostInvalid(_))));
    assert!(matches!(with_hosts(&["a", "a"]), Err(Denial::HostInvalid(_))));
    assert!(matches!(with_hosts(&[]), Err(Denial::HostInvalid(_))));
    let authority = |authority| {
        let sent = Sent { authority: Some(authority), version: Version::H2, ..Sent::default() };
        read(&sent.head()).map(|r| r.host.into_owned())
    };
    assert_eq!(authority("ACME.localhost:8443").as_deref(), Ok("acme.localhost"));
    assert!(matches!(authority("globex.localhost"), Err(Denial::HostInvalid(_))));
    assert!(matches!(authority("user@acme.localhost"), Err(Denial::HostInvalid(_))));
    assert_eq!(path("https://acme.localhost/x").as_deref(), Ok("/x"));
    for target in [
        "https://globex.localhost/x",
        "http://acme.localhost/x",
        "https://u@acme.localhost/x",
        "https://acme.localhost",
    ] {
        assert!(path(target).is_err(), "{target}");
    }
}

#[test]
fn s1_refuses_every_alias_of_a_trusted_name() {
    for name in [
        "x_md_global_user_id",
        "x-md_global-user-id",
        "X.MD.Global.User.Id",
        "x_forwarded_for",
        "X_Request_Id",
        "content_length",
        "transfer.encoding",
        "x_original_url",
        "authoriza_tion",
    ]
    .iter()
    .filter(|n| **n != "authoriza_tion")
    {
        assert!(matches!(with_header(name, "1"), Err(Denial::HeaderRefused(_))), "{name}");
    }
    for name in ["x-md-global-user-id", "x_custom", "x.custom", "authoriza_tion"] {
        assert_eq!(with_header(name, "1"), Ok(()), "{name} is stripped or harmless, not refused");
    }
}

#[test]
fn r1_refuses_ambiguous_framing() {
    for (name, value) in [
        ("content-length", "+1"),
        ("content-length", "-1"),
        ("content-length", "1, 1"),
        ("content-length", "0x1"),
        ("content-length", "9999999999999999999"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", "gzip, chunked"),
        ("transfer-encoding", "xchunked"),
        ("transfer-encoding", "chunked, chunked"),
        ("upgrade", "h2c"),
        ("upgrade", "websocket, h2c"),
    ] {
        assert!(matches!(with_header(name, value), Err(Denial::RequestMalformed(_))), "{name}: {value}");
    }
    let framed = |version, both: bool| {
        let mut sent = Sent { version, ..Sent::default() };
        sent.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        if both {
            sent.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("3"));
        }
        read(&sent.head()).map(|_| ())
    };
    assert_eq!(framed(Version::Http11, false), Ok(()));
    assert!(framed(Version::Http11, true).is_err());
    assert!(framed(Version::Http10, false).is_err());
}

#[test]
fn d8_refuses_methods_it_does_not_serve() {
    for method in ["CONNECT", "TRACE", "get", "Get", "PROPFIND", "", "GET "] {
        let refused = read(&Sent { method, ..Sent::default() }.head()).map(|_| ());
        assert_eq!(refused, Err(Denial::MethodNotAllowed), "{method}");
    }
}

proptest! {
    /// P6: reading what was read changes nothing.
    #[test]
    fn p6_the_canonical_path_is_canonical(target in "/[a-zA-Z0-9%/._~;!$&'()*+,=:@ -]{0,40}") {
        if let Ok(once) = path(&target) {
            prop_assert_eq!(path(&once), Ok(once.clone()));
        }
    }

    /// Whatever the bytes, the answer is a canonical path or a refusal, never a panic.
    #[test]
    fn p4_any_bytes_have_one_reading_or_none(target in proptest::collection::vec(any::<u8>(), 0..64)) {
        let sent = Sent { target, ..Sent::default() };
        if let Ok(request) = read(&sent.head()) {
            prop_assert!(request.path.starts_with('/'));
            prop_assert!(!request.path.contains("//"));
        }
    }
}
