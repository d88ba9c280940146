//! One canonical form of a path: the gateway's, the Rust library's and the Go library's.

use std::net::{IpAddr, Ipv4Addr};

use domain::RequestId;
use gate::{Listener, RawHead, Version, canonical};
use http::{HeaderMap, HeaderValue, header};
use portcullis_assertion::canonical_path;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

use super::ask_go;

/// What the gateway makes of a path; none where it refuses.
fn gateways(path: &str) -> Option<String> {
    let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("acme.example"))]);
    let head = RawHead {
        listener: Listener::Tls,
        sni: None,
        certificate: None,
        version: Version::Http11,
        method: "GET",
        target: path.as_bytes(),
        authority: None,
        headers: &headers,
        has_body: false,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        request_id: RequestId::new(uuid::Uuid::nil()),
    };
    canonical::read(&head).ok().map(|request| request.path.into_owned())
}

/// Paths of every kind: mostly allowed bytes, with encodings in either case and what must be refused.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-zA-Z0-9~_.!$&'()*+,=:@-]{1,4}",
        3 => "%[0-9a-fA-F]{2}",
        3 => Just("/".to_owned()),
        1 => "%[0-9a-zA-Z]{0,2}",
        1 => prop_oneof![Just("."), Just(".."), Just("//"), Just(";"), Just("%2f"), Just("%2E")].prop_map(str::to_owned),
        1 => "[ -~]".prop_filter("a query or fragment is no part of the path", |text| text != "?" && text != "#"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn the_rust_library_agrees_with_the_gateway(path in paths()) {
        let library = canonical_path(&path).ok().map(std::borrow::Cow::into_owned);
        prop_assert_eq!(&library, &gateways(&path));
        // What the service receives is the canonical form, and that is its own.
        if let Some(received) = library {
            prop_assert_eq!(canonical_path(&received).unwrap(), received.clone());
        }
    }
}

#[test]
fn the_go_library_agrees_with_the_gateway() {
    let mut runner = TestRunner::deterministic();
    let paths: Vec<String> = (0..5000).map(|_| paths().new_tree(&mut runner).unwrap().current()).collect();
    let questions: Vec<Value> = paths.iter().map(|path| json!({ "Path": path })).collect();
    let answers = ask_go(&questions);
    assert_eq!(answers.len(), paths.len());
    let mut accepted = 0;
    for (path, answer) in paths.iter().zip(answers) {
        assert_eq!(answer, json!(gateways(path)), "{path}");
        accepted += usize::from(!answer.is_null());
    }
    assert!((1000..4500).contains(&accepted), "{accepted} of 5000 paths were accepted: the cases say little");
}
