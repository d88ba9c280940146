//! What clients are told of limits, and how much a tenant is served at once, over either protocol.

use testkit::{
    Canary, TestCa, eventually,
    raw::{Connection, Http2, Response},
};

use crate::{
    status::get,
    support::{ACME, Ask, BOTH, Fixture, Protocol, config, http1},
};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// The begin of a response whose rest does not come.
const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst";

async fn edge(config: gateway::GatewayConfig, more: &str) -> Fixture {
    let canary = Canary::start().await;
    let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
    Fixture::configured(config, canary, TestCa::new(), &upstream, more).await
}

/// More routes, with a limit and for WebSockets.
const LIMITED: &str = r#"
      - { path: /limited/**, access: public, rate_limit: { rps: 1, burst: 3 } }
"#;

#[tokio::test]
async fn an_answer_says_what_is_left_of_the_limit_it_came_closest_to() {
    for protocol in BOTH {
        let fixture = edge(config(), LIMITED).await;
        let mut left = Vec::new();
        for _ in 0..3 {
            let reply = fixture.ask(protocol, &Ask::get("/limited/x")).await;
            assert_eq!(reply.status, Some(200));
            assert_eq!(reply.header("ratelimit-policy"), Some("\"route\";q=3;w=3"));
            left.push(reply.header("ratelimit").unwrap().to_owned());
        }
        assert_eq!(left, ["\"route\";r=2;t=1", "\"route\";r=1;t=2", "\"route\";r=0;t=3"], "{protocol:?}");
        let refused = fixture.ask(protocol, &Ask::get("/limited/x")).await;
        assert_eq!((refused.status, refused.code().as_str()), (Some(429), "rate_limited"));
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(refused.header("ratelimit"), Some("\"route\";r=0;t=3"));
        let other = fixture.ask(protocol, &Ask::get("/public/x")).await;
        assert!(other.header("ratelimit-policy").unwrap().starts_with("\"stranger\";q=50000"));
    }
}

#[tokio::test]
async fn an_upstream_does_not_speak_of_our_limits_and_they_can_be_kept_quiet() {
    let mut quiet = config();
    quiet.limits.headers = false;
    let fixture = edge(quiet, LIMITED).await;
    let reply = fixture.ask(BOTH[0], &Ask::get("/limited/x")).await;
    assert_eq!((reply.status, reply.header("ratelimit")), (Some(200), None));
    let fixture = edge(config(), LIMITED).await;
    fixture.canary.answer_next(
        "HTTP/1.1 200 OK\r\nRateLimit: \"x\";r=1000\r\nRateLimit-Policy: \"x\";q=1000\r\nContent-Length: 0\r\n\r\n",
    );
    let reply = fixture.ask(BOTH[0], &Ask::get("/limited/x")).await;
    let said: Vec<_> = reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("ratelimit")).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(reply.header("ratelimit"), Some("\"route\";r=2;t=1"));
}

#[tokio::test]
async fn a_request_that_is_aborted_gives_its_place_back() {
    let mut one = config();
    one.limits.tenant_in_flight = 1;
    let fixture = edge(one, "").await;
    for protocol in BOTH {
        fixture.canary.answer_next(ENDLESS);
        match protocol {
            Protocol::Http1 => {
                let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
                client.send(&http1(&Ask::get("/public/x"))).await.unwrap();
                fixture.canary.next().await;
                let refused = fixture.ask(protocol, &Ask::get("/public/x")).await;
                assert_eq!((refused.status, refused.code().as_str()), (Some(429), "concurrency_limited"));
                assert_eq!(refused.header("retry-after"), Some("1"));
            }
            Protocol::Http2 => {
                let mut client = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
                let fields = [(":method", "GET"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
                let asked = async {
                    fixture.canary.next().await;
                    fixture.ask(protocol, &Ask::get("/public/x")).await.status
                };
                tokio::select! {
                    outcome = client.request(&fields, b"") => panic!("{outcome:?}"),
                    status = asked => assert_eq!(status, Some(429)),
                }
            }
        }
        // The client is gone: its place is free once the edge has seen it.
        eventually("its place is free", async || get(&fixture, "/metrics").await.1.contains("active_requests 0")).await;
        assert_eq!(fixture.ask(protocol, &Ask::get("/public/x")).await.status, Some(200), "{protocol:?}");
        fixture.canary.next().await;
    }
}

#[tokio::test]
async fn websockets_have_a_number_of_their_own() {
    let mut one = config();
    one.limits.tenant_websockets = 1;
    let fixture = edge(one, "").await;
    let ask = Ask::get("/public/x").header("connection", "upgrade").header("upgrade", "websocket");
    fixture.canary.answer_next(SWITCH);
    let mut open = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let answer = open.exchange(&http1(&ask)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let refused = fixture.ask(Protocol::Http1, &ask).await;
    assert_eq!((refused.status, refused.code().as_str()), (Some(429), "concurrency_limited"));
    assert_eq!(fixture.ask(Protocol::Http1, &Ask::get("/public/x")).await.status, Some(200), "requests go on");
    drop(open);
    eventually("it is closed", async || get(&fixture, "/metrics").await.1.contains("active_requests 0")).await;
    fixture.canary.answer_next(SWITCH);
    let mut again = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    assert_eq!(Response::parse(&again.exchange(&http1(&ask)).await.unwrap()).status, 101);
}

#[tokio::test]
async fn an_address_that_is_shut_out_is_refused_and_its_streams_end() {
    let mut trusting = config();
    trusting.listen.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    let fixture = edge(trusting, "").await;
    let from = |client: &str| Ask::get("/public/x").header("X-Forwarded-For", client);
    fixture.canary.answer_next(ENDLESS);
    let mut stream = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    stream.send(&http1(&from("203.0.113.7"))).await.unwrap();
    fixture.canary.next().await;
    let file = std::fs::read_to_string(fixture.folder.path().join("edge.yaml")).unwrap();
    let shut = file.replace("slug: acme, ", "slug: acme, admission: { deny: [203.0.113.0/24] }, ");
    std::fs::write(fixture.folder.path().join("edge.yaml"), shut).unwrap();
    fixture.edge.reload();
    eventually("the list is in force", async || {
        fixture.ask(BOTH[0], &from("203.0.113.8")).await.code() == "address_refused"
    })
    .await;
    for protocol in BOTH {
        assert_eq!(fixture.ask(protocol, &from("203.0.113.9")).await.status, Some(403));
        assert_eq!(fixture.ask(protocol, &from("198.51.100.1")).await.status, Some(200));
    }
    let rest = stream.rest().await;
    assert!(rest.is_ok(), "the stream of an address that was shut out ends");
}
