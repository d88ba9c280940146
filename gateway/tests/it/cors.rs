//! Threat D4: what pages of other origins may, and that a preflight opens nothing, over either protocol.

use testkit::{Canary, TestCa};

use crate::support::{ACME_ID, Ask, BOTH, Fixture, GLOBEX, Protocol, Reply, config};

const PAGE: &str = "https://app.example.com";

/// An edge whose acme may be called by pages, and whose globex has no rules.
async fn edge() -> Fixture {
    let canary = Canary::start().await;
    let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
    let fixture = Fixture::configured(config(), canary, TestCa::new(), &upstream, "").await;
    let file = std::fs::read_to_string(fixture.folder.path().join("edge.yaml")).unwrap();
    let rules = "cors: { origins: [\"https://app.example.com\", \"https://*.example.org\"], credentials: true, \
                 methods: [GET, PUT], headers: [authorization, x-shop], expose: [x-total], max_age: 5m }";
    let file = file.replacen("tenant: acme, ", &format!("tenant: acme, {rules}, "), 1);
    std::fs::write(fixture.folder.path().join("edge.yaml"), file).unwrap();
    fixture.edge.reload();
    testkit::eventually("the rules are in force", async || {
        fixture.ask(Protocol::Http1, &preflight("/public/x", PAGE)).await.status == Some(204)
    })
    .await;
    fixture
}

fn preflight<'a>(path: &'a str, origin: &str) -> Ask<'a> {
    Ask::get(path).method("OPTIONS").header("Origin", origin).header("Access-Control-Request-Method", "PUT")
}

/// What is said of other origins.
fn said(reply: &Reply) -> Vec<String> {
    let mut said: Vec<String> = reply
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name.starts_with("access-control-"))
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    said.sort();
    said
}

fn vary(reply: &Reply) -> String {
    let fields = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
    fields.map(|(_, value)| value.to_ascii_lowercase()).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn d4_a_preflight_is_answered_by_the_edge_and_never_forwarded() {
    let fixture = edge().await;
    let before = fixture.canary.requests().len();
    for protocol in BOTH {
        for path in ["/public/x", "/orders", "/nothing-like-it"] {
            let reply = fixture.ask(protocol, &preflight(path, PAGE)).await;
            assert_eq!((reply.status, reply.body.as_slice()), (Some(204), &b""[..]), "{protocol:?} {path}");
            assert_eq!(
                said(&reply),
                [
                    "access-control-allow-credentials: true",
                    "access-control-allow-headers: authorization, x-shop",
                    "access-control-allow-methods: GET, PUT",
                    "access-control-allow-origin: https://app.example.com",
                    "access-control-expose-headers: x-total",
                    "access-control-max-age: 300",
                ]
            );
            assert!(vary(&reply).contains("origin"), "{}", vary(&reply));
            assert_eq!(reply.header("content-length"), None);
        }
        for origin in
            ["https://evil.test", "https://evilexample.org", "https://example.org", "null", "HTTPS://app.example.com"]
        {
            let reply = fixture.ask(protocol, &preflight("/orders", origin)).await;
            assert_eq!((reply.status, said(&reply)), (Some(204), vec![]), "{protocol:?} {origin}");
            assert!(vary(&reply).contains("origin"));
        }
    }
    assert_eq!(fixture.canary.requests().len(), before, "nothing was forwarded");
}

#[tokio::test]
async fn d4_options_with_body_and_credentials_is_decided_as_every_method() {
    let fixture = edge().await;
    let token = fixture.token(ACME_ID, &["member"]);
    for protocol in BOTH {
        for ask in [preflight("/orders", PAGE).body(b"hi"), preflight("/orders", PAGE).header("Cookie", "a=b")] {
            let reply = fixture.ask(protocol, &ask).await;
            assert_eq!((reply.status, reply.code().as_str()), (Some(401), "credential_missing"), "{protocol:?}");
        }
        let forged = fixture.ask(protocol, &preflight("/orders", PAGE).bearer("rubbish")).await;
        assert_eq!(forged.status, Some(401));
        let member = fixture.ask(protocol, &preflight("/orders", PAGE).bearer(&token).body(b"hi")).await;
        assert_eq!(member.code(), "route_not_found", "the route has GET only");
        let before = fixture.canary.requests().len();
        let echoed = fixture.ask(protocol, &preflight("/echo/x", PAGE).bearer(&token).body(b"hi")).await;
        assert_eq!(echoed.status, Some(200), "{protocol:?}");
        let arrived = fixture.canary.requests().pop().unwrap();
        assert_eq!((fixture.canary.requests().len(), arrived.method.as_str()), (before + 1, "OPTIONS"));
        assert_eq!(arrived.body, b"hi");
    }
}

#[tokio::test]
async fn d4_without_rules_options_is_a_method_like_the_others() {
    let fixture = edge().await;
    for protocol in BOTH {
        let reply = fixture.ask(protocol, &preflight("/orders", PAGE).at(GLOBEX)).await;
        assert_eq!((reply.status, reply.code().as_str()), (Some(401), "credential_missing"), "{protocol:?}");
        assert_eq!((said(&reply), vary(&reply).as_str()), (vec![], ""));
    }
}

#[tokio::test]
async fn answers_and_refusals_say_who_may_read_them_whatever_the_upstream_says() {
    let fixture = edge().await;
    for protocol in BOTH {
        for origin in [PAGE, "https://a.b.example.org"] {
            fixture.canary.answer_next(
                "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: TRACE\r\n\
                 Vary: Accept\r\nContent-Length: 0\r\n\r\n",
            );
            let reply = fixture.ask(protocol, &Ask::get("/public/x").header("Origin", origin)).await;
            assert_eq!(
                said(&reply),
                [
                    "access-control-allow-credentials: true".to_owned(),
                    format!("access-control-allow-origin: {origin}"),
                    "access-control-expose-headers: x-total".to_owned(),
                ]
            );
            assert!(vary(&reply).contains("accept") && vary(&reply).contains("origin"), "{}", vary(&reply));
        }
        let refused = fixture.ask(protocol, &Ask::get("/orders").header("Origin", PAGE)).await;
        assert_eq!(refused.status, Some(401));
        assert!(said(&refused).contains(&"access-control-allow-origin: https://app.example.com".to_owned()));
        fixture.canary.answer_next("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n");
        let stranger = fixture.ask(protocol, &Ask::get("/public/x").header("Origin", "https://evil.test")).await;
        assert_eq!((stranger.status, said(&stranger)), (Some(200), vec![]), "the upstream has no say");
        let nobody = fixture.ask(protocol, &Ask::get("/public/x")).await;
        assert!(vary(&nobody).contains("origin"), "caches must know");
        fixture.canary.answer_next("HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 0\r\n\r\n");
        let without_rules = fixture.ask(protocol, &Ask::get("/public/x").at(GLOBEX)).await;
        assert_eq!(said(&without_rules), ["access-control-allow-origin: *"], "passed through");
    }
}
