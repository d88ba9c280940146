//! What a client gets of an upstream's answer, and what it gets of ours.

use testkit::raw::{self, Response};

use crate::support::{ACME, ACME_ID, Ask, BOTH, Fixture, GLOBEX, Protocol, edge_file};

/// A hostname's own say over its responses; `globex` has none.
const POLICY: &str = r#"response: {
    hsts: { max_age: 365d, include_subdomains: true },
    set: { x-content-type-options: nosniff, x-frame-options: DENY },
    remove: [server, x-powered-by],
    error_page: "<!doctype html><h1>{{status}} {{title}}</h1><p>{{code}}, {{request_id}}</p>" }"#;

/// An edge whose hostname `acme` has the policy.
async fn with_policy() -> Fixture {
    let fixture = Fixture::start().await;
    let before = fixture.edge.gate().snapshot().revision();
    let file = edge_file(&fixture.upstream(), "");
    let file =
        file.replacen("services: [orders] }", &format!("services: [orders],\n    max_body: 4B,\n    {POLICY} }}"), 1);
    std::fs::write(fixture.folder.path().join("edge.yaml"), file).unwrap();
    testkit::eventually("the policy is in force", async || fixture.edge.gate().snapshot().revision() > before).await;
    fixture
}

#[tokio::test]
async fn an_answer_with_two_readings_is_a_502_and_its_connection_is_not_used_again() {
    let fixture = Fixture::start().await;
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled";
    for head in [
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2, 2",
        "content-length: +2",
        "content-length: -1",
        "content-length: 0x2",
        "content-length: 2 2",
        "content-length:",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: identity",
        "transfer-encoding: xchunked",
        "content-length: 2\r\nx: a\0b",
        "content-length: 2\r\nx: a\rb",
        "content-length: 2\r\nx: a\x1b[31mb",
    ] {
        for protocol in BOTH {
            let before = fixture.canary.connections();
            fixture.canary.answer_next(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nhi{smuggled}"));
            let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
            assert_eq!((reply.status, reply.code().as_str()), (Some(502), "upstream_invalid"), "{protocol:?} {head:?}");
            assert!(reply.header("x-request-id").is_some());
            let next = fixture.ask(protocol, &Ask::get("/public/y")).await;
            assert_eq!((next.status, next.body.as_slice()), (Some(200), &b"canary"[..]), "{protocol:?} {head:?}");
            assert!(fixture.canary.connections() > before, "{head:?}: a connection in doubt was used again");
        }
    }
}

#[tokio::test]
async fn a_length_beside_chunks_is_not_passed_on_and_nothing_of_it_is_the_next_answer() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        fixture.canary.answer_next(
            "HTTP/1.1 200 OK\r\ncontent-length: 60\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled",
        );
        let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
        if reply.status == Some(200) {
            // RFC 9112 §6.3: the chunks are what counts.
            assert_eq!((reply.body.as_slice(), reply.header("content-length")), (&b"hi"[..], None), "{protocol:?}");
        } else {
            assert_eq!(reply.status, Some(502));
        }
        let next = fixture.ask(protocol, &Ask::get("/public/y")).await;
        assert_eq!((next.status, next.body.as_slice()), (Some(200), &b"canary"[..]), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_field_that_a_proxy_must_mend_is_mended_or_refused() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        // RFC 9112 §5.1 and §5.2.
        for field in ["x-odd : a", "x-odd: a\r\n b", "x-odd: a\r\n\tx-md-global-user-id: evil"] {
            fixture.canary.answer_next(format!("HTTP/1.1 200 OK\r\n{field}\r\ncontent-length: 2\r\n\r\nhi"));
            let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
            if reply.status == Some(200) {
                assert!(reply.header("x-odd").unwrap().starts_with('a'), "{protocol:?} {field:?}");
                assert_eq!(reply.header("x-md-global-user-id"), None, "{protocol:?} {field:?}");
            } else {
                assert_eq!(reply.status, Some(502), "{protocol:?} {field:?}");
            }
        }
    }
}

#[tokio::test]
async fn interim_answers_are_passed_on_or_left_out_and_never_taken_for_the_final_one() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for interim in
            ["100 Continue", "103 Early Hints\r\nlink: </a.css>", "102 Processing\r\n\r\nHTTP/1.1 103 Early Hints"]
        {
            fixture
                .canary
                .answer_next(format!("HTTP/1.1 {interim}\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfinal"));
            let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
            assert_eq!((reply.status, reply.body.as_slice()), (Some(200), &b"final"[..]), "{protocol:?} {interim}");
        }
    }
}

#[tokio::test]
async fn what_belongs_to_the_upstreams_connection_ends_there() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        fixture.canary.answer_next(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\nkeep-alive: timeout=9\r\n\
             proxy-authenticate: Basic\r\nte: trailers\r\nupgrade: h2c\r\n\r\nhi",
        );
        let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
        assert_eq!(reply.status, Some(200));
        for name in ["x-hop", "keep-alive", "proxy-authenticate", "te", "upgrade"] {
            assert_eq!(reply.header(name), None, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let fixture = with_policy().await;
    for protocol in BOTH {
        for (ask, status) in [
            (Ask::get("/public/x"), 200),
            (Ask::get("/orders"), 401),
            (Ask::get("/a/../b"), 400),
            (Ask::get("/public/x").host(GLOBEX), 421),
            (Ask::get("/public/x").method("POST").body(b"12345"), 413),
        ] {
            let reply = fixture.ask(protocol, &ask).await;
            assert_eq!(reply.status, Some(status), "{protocol:?} {ask:?}");
            assert!(reply.header("x-request-id").is_some(), "{protocol:?} {ask:?}");
        }
    }
    let plain = format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\n\r\n");
    let redirect = Response::parse(&raw::http1(fixture.edge.http()[0], plain.as_bytes()).await.unwrap());
    assert_eq!(redirect.status, 308);
    assert!(redirect.header("x-request-id").is_some());
    assert_eq!(redirect.header("strict-transport-security"), None, "RFC 6797 §7.2");
}

#[tokio::test]
async fn a_hostname_has_its_say_over_every_response_of_its_own() {
    let fixture = with_policy().await;
    for protocol in BOTH {
        for (path, status) in [("/public/x", 200), ("/orders", 401)] {
            if status == 200 {
                fixture.canary.answer_next(
                    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: nginx/1.2.3\r\nx-powered-by: PHP\r\n\
                 x-frame-options: ALLOWALL\r\nstrict-transport-security: max-age=0\r\n\r\nhi",
                );
            }
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            let said =
                ["strict-transport-security", "x-content-type-options", "x-frame-options", "server", "x-powered-by"];
            let said = said.map(|name| reply.header(name));
            let expected = [Some("max-age=31536000; includeSubDomains"), Some("nosniff"), Some("DENY"), None, None];
            assert_eq!((reply.status, said), (Some(status), expected), "{protocol:?} {path}");
            assert_eq!(
                reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-frame-options")).count(),
                1
            );
        }
        fixture.canary.answer_next("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: theirs\r\n\r\nhi");
        let other = fixture.ask(protocol, &Ask::get("/public/x").at(GLOBEX)).await;
        assert_eq!((other.header("server"), other.header("x-frame-options")), (Some("theirs"), None));
    }
}

#[tokio::test]
async fn a_refusal_is_a_page_to_a_browser_and_a_problem_to_a_program() {
    let fixture = with_policy().await;
    for protocol in BOTH {
        let browser = Ask::get("/orders").header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        let page = fixture.ask(protocol, &browser).await;
        assert_eq!((page.status, page.header("content-type")), (Some(401), Some("text/html; charset=utf-8")));
        let text = String::from_utf8(page.body.clone()).unwrap();
        assert!(text.starts_with("<!doctype html><h1>401 "), "{text}");
        assert!(text.contains("credential_missing") && text.contains(page.header("x-request-id").unwrap()), "{text}");
        assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!((page.header("vary"), page.header("www-authenticate")), (Some("accept"), Some("Bearer")));
        let problem = fixture.ask(protocol, &Ask::get("/orders").header("accept", "*/*")).await;
        assert_eq!((problem.code().as_str(), problem.header("vary")), ("credential_missing", Some("accept")));
        let other = fixture.ask(protocol, &browser.clone().at(GLOBEX)).await;
        assert_eq!(
            other.header("content-type"),
            Some("application/problem+json"),
            "another hostname's page is not shown"
        );
    }
}

#[tokio::test]
async fn r3_an_answer_is_never_kept_for_the_next_who_asks() {
    let fixture = Fixture::start().await;
    let token = fixture.token(ACME_ID, &["member"]);
    for protocol in BOTH {
        for (at, ask) in [
            Ask::get("/public/same").at(ACME),
            Ask::get("/public/same").at(GLOBEX),
            Ask::get("/public/same").at(ACME).bearer(&token),
            Ask::get("/public/same").at(ACME),
        ]
        .into_iter()
        .enumerate()
        {
            let body = format!("answer {at}");
            fixture.canary.answer_next(format!(
                "HTTP/1.1 200 OK\r\ncache-control: public, max-age=3600\r\netag: \"1\"\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ));
            let reply = fixture.ask(protocol, &ask).await;
            assert_eq!((reply.status, reply.body), (Some(200), body.into_bytes()), "{protocol:?}");
        }
    }
    assert_eq!(fixture.canary.requests().len(), 2 * 4);
    let head = fixture.ask(Protocol::Http1, &Ask::get("/public/same").method("HEAD")).await;
    assert_eq!((head.status, head.body.len()), (Some(200), 0));
}
