//! Threats P: a path is read one way, and that way is what the upstream gets.

use crate::support::{Ask, BOTH, Fixture};

/// Refused, or what arrived is what was decided on: never a protected path without a credential.
async fn never_reaches(paths: &[&str], protected: &str) {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for path in paths {
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            for arrived in fixture.canary.requests() {
                assert!(!arrived.target.contains(protected), "{protocol:?} {path}: {}", arrived.target);
                assert!(arrived.target.starts_with("/public/"), "{protocol:?} {path}: {}", arrived.target);
            }
            assert!(
                reply.is_refused() || matches!(reply.status, Some(200 | 401 | 404)),
                "{protocol:?} {path}: {reply:?}"
            );
        }
    }
}

#[tokio::test]
async fn p1_refuses_dot_segments_and_double_slashes() {
    let fixture = Fixture::start().await;
    let paths = [
        "/public/../orders",
        "/public/./../orders",
        "/public/..",
        "/public/.",
        "/./orders",
        "//orders",
        "/public//../orders",
        "/public///x",
        "/orders/../public/x",
    ];
    for protocol in BOTH {
        for path in paths {
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            assert!(reply.is_refused(), "{protocol:?} {path}: {reply:?}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn p2_refuses_encoded_slashes_dots_and_nul_in_either_case() {
    let fixture = Fixture::start().await;
    let paths = [
        "/public/%2e%2e/orders",
        "/public/%2E%2e/orders",
        "/public%2f..%2forders",
        "/public%2F%2E%2E%2Forders",
        "/public/..%5corders",
        "/public/%5C..%5Corders",
        "/public/%00/orders",
        "/public\\..\\orders",
    ];
    for protocol in BOTH {
        for path in paths {
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            assert!(reply.is_refused(), "{protocol:?} {path}: {reply:?}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn p2_a_doubly_encoded_path_is_decoded_nowhere() {
    never_reaches(&["/public/%252e%252e/orders", "/public/%252f..%252forders"], "/orders?").await;
}

#[tokio::test]
async fn p3_fragments_and_parameters_neither_hide_nor_reveal_a_path() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for path in
            ["/orders;/public/x", "/public/x;a=b", "/orders%23/public/", "/orders%3b/public/x", "/public/;/../orders"]
        {
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            assert!(reply.is_refused() || matches!(reply.status, Some(401 | 404)), "{protocol:?} {path}: {reply:?}");
        }
        for path in ["/orders#/public/x", "/orders?#/public/x", "/orders#"] {
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            assert!(reply.is_refused() || reply.status == Some(401), "{protocol:?} {path}: {reply:?}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn p4_an_unparseable_target_is_refused_and_matches_nothing() {
    let fixture = Fixture::start().await;
    let targets: [&[u8]; 8] =
        [b"*", b"orders", b"/%", b"/%zz", b"/public/%2", b"http://", b"http://@acme.example.test/public/x", b"/\xff"];
    for target in targets {
        let request = [b"GET ", target, b" HTTP/1.1\r\nHost: acme.example.test\r\n\r\n"].concat();
        let response = fixture.raw(&request).await;
        assert!(matches!(response.status, 0 | 400), "{}: {response:?}", String::from_utf8_lossy(target));
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn p9_a_query_never_changes_which_route_it_is() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for path in ["/orders?x=/public/", "/orders?/public/x", "/orders?/../public/x", "/orders?a=b&path=/public/y"] {
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            assert_eq!(reply.status, Some(401), "{protocol:?} {path}");
        }
    }
    fixture.canary.assert_silent();
    for protocol in BOTH {
        let path = "/public/x?y=/orders&z=%2f..%2f&q=a+b";
        assert_eq!(fixture.ask(protocol, &Ask::get(path)).await.status, Some(200));
        assert_eq!(fixture.canary.next().await.target, path, "the query is forwarded untouched");
    }
}

#[tokio::test]
async fn p10_illegal_characters_are_refused_or_arrive_as_they_were_judged() {
    let fixture = Fixture::start().await;
    for target in
        ["/public/a b", "/public/<x>", "/public/\"x\"", "/public/{x}", "/public/a|b", "/public/^", "/public/`"]
    {
        for request in [
            format!("GET {target} HTTP/1.1\r\nHost: acme.example.test\r\n\r\n"),
            format!("GET {} HTTP/1.1\r\nHost: acme.example.test\r\n\r\n", target.replace("/public/", "/orders/")),
        ] {
            let response = fixture.raw(request.as_bytes()).await;
            assert!(matches!(response.status, 0 | 200 | 400 | 401), "{target}: {response:?}");
        }
    }
    for arrived in fixture.canary.requests() {
        assert!(arrived.target.starts_with("/public/"), "{}", arrived.target);
        assert!(arrived.target.bytes().all(|b| (0x21..=0x7e).contains(&b) && !b"<>\"{}|^`".contains(&b)));
    }
    for bytes in [&b"/public/\x01"[..], b"/public/\x7f", b"/public/\xc3\xa4", b"/public/\r"] {
        let request = [b"GET ", bytes, b" HTTP/1.1\r\nHost: acme.example.test\r\n\r\n"].concat();
        let response = fixture.raw(&request).await;
        assert!(matches!(response.status, 0 | 400), "{bytes:?}: {response:?}");
    }
}

#[tokio::test]
async fn unreserved_characters_arrive_decoded_as_they_were_judged() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        let reply = fixture.ask(protocol, &Ask::get("/%70ublic/%41%2d%c3%a4?%41")).await;
        assert_eq!(reply.status, Some(200), "{reply:?}");
        assert_eq!(fixture.canary.next().await.target, "/public/A-%C3%A4?%41");
    }
}
