//! Threats P5, P7, S5, S6, S8 and D3: what a client adds to a request does not change what is decided.

use testkit::raw::{self, Response};

use crate::support::{ACME, ACME_ID, Ask, BOTH, Fixture, GLOBEX};

/// What an upstream was told of a caller.
fn told(fixture: &Fixture) -> Vec<(String, String)> {
    let requests = fixture.canary.requests();
    let arrived = requests.last().unwrap();
    let mut told: Vec<_> = arrived.headers.iter().map(|(n, v)| (n.to_ascii_lowercase(), v.clone())).collect();
    // Differs with each request.
    told.retain(|(name, _)| {
        (name.starts_with("x-md-") || name.starts_with("x-forwarded")) && name != "x-md-global-request-id"
    });
    told.sort();
    told
}

/// Asks with and without these fields, with and without a token: the answers are the same, and so is what arrives.
async fn changes_nothing(fixture: &Fixture, fields: &[(&str, &str)]) {
    let token = fixture.token(ACME_ID, &["member"]);
    for protocol in BOTH {
        for (ask, status) in [(Ask::get("/orders"), 401), (Ask::get("/orders").bearer(&token), 200)] {
            let with = fields.iter().fold(ask.clone(), |ask, (name, value)| ask.header(name, value));
            assert_eq!(fixture.ask(protocol, &ask).await.status, Some(status));
            let plain = (status == 200).then(|| told(fixture));
            assert_eq!(fixture.ask(protocol, &with).await.status, Some(status), "{protocol:?} {fields:?}");
            assert_eq!((status == 200).then(|| told(fixture)), plain, "{protocol:?} {fields:?}");
        }
    }
}

#[tokio::test]
async fn s5_internal_headers_from_outside_change_nothing() {
    let fixture = Fixture::start().await;
    for name in [
        "x-md-global-user-id",
        "x-md-global-tenant-id",
        "x-md-global-roles",
        "x-md-global-is-admin",
        "x-md-global-is-super-admin",
        "x-md-global-auth-method",
        "x-md-global-assertion",
        "x-md-global-operator",
        "x-md-anything",
        "x-request-id",
        "x-middleware-subrequest",
        "x-project-key",
        "x-token-refresh",
        "x-real-ip",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-portcullis-permit",
    ] {
        changes_nothing(&fixture, &[(name, "evil")]).await;
    }
    let seen = fixture.canary.requests();
    let forbidden = |name: &str| name.starts_with("x-md-") || name == "x-request-id" || name.contains("client-ip");
    for arrived in seen {
        for (name, value) in &arrived.headers {
            assert!(value != "evil" || !forbidden(&name.to_ascii_lowercase()), "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn s6_no_decision_is_made_on_a_forwarded_address_host_scheme_or_path() {
    let fixture = Fixture::start().await;
    for fields in [
        &[("x-forwarded-host", GLOBEX)][..],
        &[("x-forwarded-proto", "http"), ("x-forwarded-port", "80"), ("x-forwarded-ssl", "off")],
        &[("x-forwarded-prefix", "/public"), ("x-forwarded-uri", "/public/x"), ("x-forwarded-path", "/public/x")],
        &[("x-forwarded-method", "OPTIONS"), ("x-http-method-override", "OPTIONS")],
        &[("x-forwarded-for", "127.0.0.1"), ("x-forwarded-for", "::1")],
        &[("x-forwarded-server", GLOBEX), ("x-forwarded-scheme", "http"), ("x-forwarded-user", "admin")],
        &[("forwarded", "for=127.0.0.1;host=globex.example.test;proto=http")],
        &[("x-original-url", "/public/x"), ("x-original-uri", "/public/x"), ("x-original-method", "OPTIONS")],
        &[("x-rewrite-url", "/public/x")],
        &[("x-original-host", GLOBEX), ("x-host", GLOBEX)],
    ] {
        changes_nothing(&fixture, fields).await;
    }
}

#[tokio::test]
async fn s8_a_header_that_decides_decides_once_or_not_at_all() {
    let fixture = Fixture::start().await;
    let (member, other) = (fixture.token(ACME_ID, &["member"]), fixture.token(ACME_ID, &["boss"]));
    let bearer = |token: &str| format!("Bearer {token}");
    for protocol in BOTH {
        for times in 2..=5 {
            for values in [vec![bearer(&member); times], {
                let mut mixed = vec![bearer(&other); times];
                mixed[times - 1] = "Bearer nonsense".into();
                mixed
            }] {
                let ask = values.iter().fold(Ask::get("/orders"), |ask, value| ask.header("authorization", value));
                let reply = fixture.ask(protocol, &ask).await;
                assert_eq!((reply.status, reply.code().as_str()), (Some(400), "credential_ambiguous"), "{protocol:?}");
            }
        }
    }
    for name in ["Host", "Content-Length", "Transfer-Encoding", "Upgrade"] {
        let value = match name {
            "Host" => ACME,
            "Content-Length" => "0",
            "Transfer-Encoding" => "chunked",
            _ => "websocket, h2c",
        };
        for times in 2..=5 {
            let host = if name == "Host" { String::new() } else { format!("Host: {ACME}\r\n") };
            let lines = format!("{name}: {value}\r\n").repeat(times);
            let request = format!("POST /public/x HTTP/1.1\r\n{host}{lines}Connection: close\r\n\r\n0\r\n\r\n");
            let response = fixture.raw(request.as_bytes()).await;
            assert_eq!(response.status, 400, "{name} {times} times");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn p5_the_path_that_arrives_is_the_path_that_was_decided() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for (sent, arrives) in [
            ("/%70ublic/x", "/public/x"),
            ("/%70%75%62%6c%69%63/%78", "/public/x"),
            ("/public/%7ea%2D%5f", "/public/~a-_"),
            ("/public/%c3%a9", "/public/%C3%A9"),
            ("/public/a%20b", "/public/a%20b"),
        ] {
            assert_eq!(fixture.ask(protocol, &Ask::get(sent)).await.status, Some(200), "{protocol:?} {sent}");
            assert_eq!(fixture.canary.next().await.target, arrives, "{protocol:?} {sent}");
        }
        for sent in ["/%6frders", "/%6f%72ders", "/o%72ders/1", "/public%2f..%2forders", "/public/%2e%2e/orders"] {
            let reply = fixture.ask(protocol, &Ask::get(sent)).await;
            assert!(matches!(reply.status, Some(400 | 401)), "{protocol:?} {sent}: {reply:?}");
        }
    }
    assert_eq!(fixture.canary.requests().len(), 2 * 5);
}

#[tokio::test]
async fn p7_a_path_in_another_letter_case_is_another_path() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for path in ["/PUBLIC/x", "/Public/x", "/pUBLIC/x", "/%50ublic/x", "/%50UBLIC/x", "/Optional/x", "/ECHO/x"] {
            // What is no route of the hostname is nobody's without a token.
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            assert_eq!((reply.status, reply.code().as_str()), (Some(401), "credential_missing"), "{protocol:?} {path}");
        }
        let boss = fixture.token(ACME_ID, &["boss"]);
        for path in ["/Orders", "/ORDERS/1", "/%4frders", "/orderS/1"] {
            let reply = fixture.ask(protocol, &Ask::get(path).bearer(&boss)).await;
            assert_eq!((reply.status, reply.code().as_str()), (Some(404), "route_not_found"), "{protocol:?} {path}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn d3_the_challenge_path_of_acme_is_no_door() {
    let fixture = Fixture::start().await;
    let long = format!("/.well-known/acme-challenge/{}", "a".repeat(4000));
    for path in [
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/unknown",
        "/.well-known/acme-challenge/../../orders",
        "/.well-known/acme-challenge/%2e%2e/%2e%2e/orders",
        "/.well-known/acme-challenge//orders",
        "/.well-known/acme-challenge/x?token=/public/x",
        "/.WELL-KNOWN/acme-challenge/x",
        &long,
    ] {
        for protocol in BOTH {
            let reply = fixture.ask(protocol, &Ask::get(path)).await;
            assert!(matches!(reply.status, Some(400 | 401)), "{protocol:?} {path}: {reply:?}");
        }
        let request = format!("GET {path} HTTP/1.1\r\nHost: {ACME}\r\n\r\n");
        let plain = Response::parse(&raw::http1(fixture.edge.http()[0], request.as_bytes()).await.unwrap());
        assert!(matches!(plain.status, 308 | 400), "{path}: {plain:?}");
    }
    fixture.canary.assert_silent();
}
