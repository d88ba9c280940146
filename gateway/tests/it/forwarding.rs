//! What happens between the edge and an upstream.

use testkit::{
    Canary, TestCa,
    raw::{Connection, Http2, Response},
};

use crate::support::{ACME, ACME_ID, Ask, BOTH, Fixture, Protocol, write_leaf};

#[tokio::test]
async fn connections_to_the_upstream_and_from_the_client_are_reused() {
    let fixture = Fixture::start().await;
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    for _ in 0..5 {
        let answer = client.exchange(b"GET /public/x HTTP/1.1\r\nHost: acme.example.test\r\n\r\n").await.unwrap();
        assert_eq!(Response::parse(&answer).status, 200);
    }
    let mut h2 = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
    for _ in 0..5 {
        assert_eq!(h2.request(&fields, b"").await.unwrap().status(), Some(200));
    }
    assert_eq!(fixture.canary.requests().len(), 10);
    // The next request may come before the connection is back in the pool.
    assert!(fixture.canary.connections() <= 3, "{}", fixture.canary.connections());
}

#[tokio::test]
async fn a_kept_connection_is_judged_anew_for_each_request() {
    let fixture = Fixture::start().await;
    let token = fixture.token(ACME_ID, &["member"]);
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let ask = |auth: &str| format!("GET /orders HTTP/1.1\r\nHost: {ACME}\r\n{auth}\r\n");
    let with = ask(&format!("Authorization: Bearer {token}\r\n"));
    assert_eq!(Response::parse(&client.exchange(with.as_bytes()).await.unwrap()).status, 200);
    assert_eq!(Response::parse(&client.exchange(ask("").as_bytes()).await.unwrap()).status, 401);
    fixture.clock.advance(std::time::Duration::from_secs(3600));
    let expired = Response::parse(&client.exchange(with.as_bytes()).await.unwrap());
    assert_eq!((expired.status, expired.json()["code"].as_str()), (401, Some("token_expired")));
    assert_eq!(fixture.canary.requests().len(), 1);
}

#[tokio::test]
async fn the_upstreams_certificate_is_verified_by_its_own_authority_and_name() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let cases = [
        (ca.leaf(&["orders.internal"]), &ca, "orders.internal", 200),
        (ca.leaf(&["orders.internal"]), &ca, "billing.internal", 502),
        (other.leaf(&["orders.internal"]), &ca, "orders.internal", 502),
        (ca.expired(&["orders.internal"]), &ca, "orders.internal", 502),
    ];
    for (leaf, trusted, sni, expected) in cases {
        let canary = Canary::start_tls(&leaf).await;
        let fixture = tls_fixture(canary, trusted, sni, "ca: upstream-ca.crt").await;
        for protocol in BOTH {
            let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
            assert_eq!(reply.status, Some(expected), "{sni}: {reply:?}");
            if expected == 502 {
                assert_eq!(reply.code(), "upstream_unreachable");
            }
        }
        assert_eq!(fixture.canary.requests().len(), if expected == 200 { 2 } else { 0 });
    }
}

#[tokio::test]
async fn an_upstream_of_an_unknown_authority_is_refused() {
    let ca = TestCa::new();
    let canary = Canary::start_tls(&ca.leaf(&["orders.internal"])).await;
    let fixture = tls_fixture(canary, &ca, "orders.internal", "").await;
    let reply = fixture.ask(Protocol::Http1, &Ask::get("/public/x")).await;
    assert_eq!((reply.status, reply.code().as_str()), (Some(502), "upstream_unreachable"));
    assert!(fixture.canary.requests().is_empty());
}

/// An edge in front of a TLS canary. The authority lies beside the file.
async fn tls_fixture(canary: Canary, trusted: &TestCa, sni: &str, ca_line: &str) -> Fixture {
    let addr = canary.addr();
    // The file names the authority only once it is there.
    let fixture = Fixture::with(canary, TestCa::new(), "peers: [\"127.0.0.1:1\"], plaintext: true", "").await;
    std::fs::write(fixture.folder.path().join("upstream-ca.crt"), trusted.ca_pem()).unwrap();
    let before = fixture.edge.gate().snapshot().revision();
    let comma = if ca_line.is_empty() { "" } else { ", " };
    fixture.rewrite(&format!("peers: [\"{addr}\"], tls: {{ sni: {sni}{comma}{ca_line} }}"), "");
    testkit::eventually("the upstream is read", async || fixture.edge.gate().snapshot().revision() > before).await;
    fixture
}

#[tokio::test]
async fn an_upstream_over_http2_gets_one_host_and_the_identity() {
    let ca = TestCa::new();
    let canary = Canary::start_tls(&ca.leaf(&["orders.internal"])).await;
    let more = "ca: upstream-ca.crt }, http2: true, host: { rewrite: inside.internal }, timeouts: { connect: 1s";
    let fixture = tls_fixture(canary, &ca, "orders.internal", more).await;
    let token = fixture.token(ACME_ID, &["member"]);
    for protocol in BOTH {
        let ask = Ask::get("/echo/x?q=1").bearer(&token).header("x-md-global-user-id", "evil");
        let reply = fixture.ask(protocol, &ask).await;
        assert_eq!(reply.status, Some(200), "{reply:?}");
        let arrived = fixture.canary.next().await;
        assert_eq!(arrived.target, "/echo/x?q=1");
        let host = arrived.authority.as_deref().or(arrived.header("host").first().copied());
        assert_eq!(host, Some("inside.internal"));
        assert_eq!(arrived.header("x-md-global-tenant-id"), [ACME_ID]);
        assert_eq!(arrived.header("x-md-global-user-id").len(), 1);
    }
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let canary = Canary::start().await;
    let upstream = format!("peers: [\"127.0.0.1:1\", \"{}\"], plaintext: true", canary.addr());
    let fixture = Fixture::with(canary, TestCa::new(), &upstream, "").await;
    for method in ["GET", "POST", "GET", "POST"] {
        let reply = fixture.ask(Protocol::Http1, &Ask::get("/public/x").method(method)).await;
        assert_eq!(reply.status, Some(200), "nothing was sent to the first address, so any method may go on");
    }
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502_with_a_problem() {
    let canary = Canary::start().await;
    let fixture = Fixture::with(canary, TestCa::new(), "peers: [\"127.0.0.1:1\"], plaintext: true", "").await;
    for protocol in BOTH {
        let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
        assert_eq!((reply.status, reply.code().as_str()), (Some(502), "upstream_unreachable"));
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert!(reply.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_a_504() {
    let canary = Canary::start().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!(
        "peers: [\"{}\"], plaintext: true, timeouts: {{ connect: 1s, read: 100ms, write: 1s }}",
        silent.local_addr().unwrap()
    );
    let fixture = Fixture::with(canary, TestCa::new(), &upstream, "").await;
    let reply = fixture.ask(Protocol::Http1, &Ask::get("/public/x").method("POST")).await;
    assert_eq!((reply.status, reply.code().as_str()), (Some(504), "upstream_timeout"));
}

#[tokio::test]
async fn d6_an_upstream_that_is_our_own_metrics_listener_is_never_connected_to() {
    let fixture = Fixture::start().await;
    let metrics = fixture.edge.metrics()[0];
    let before = fixture.edge.gate().snapshot().revision();
    fixture.rewrite(&format!("peers: [\"{metrics}\"], plaintext: true"), "");
    testkit::eventually("the upstream is read", async || fixture.edge.gate().snapshot().revision() > before).await;
    let reply = fixture.ask(Protocol::Http1, &Ask::get("/public/metrics")).await;
    assert_eq!((reply.status, reply.code().as_str()), (Some(502), "upstream_unreachable"));
}

#[tokio::test]
async fn a_denial_is_a_problem_with_the_request_id_and_no_body_for_head() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        let reply = fixture.ask(protocol, &Ask::get("/orders")).await;
        assert_eq!(reply.status, Some(401));
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["status"], 401);
        assert_eq!(body["code"], "credential_missing");
        assert_eq!(body["request_id"].as_str(), reply.header("x-request-id"));
        let head = fixture.ask(protocol, &Ask::get("/orders").method("HEAD")).await;
        assert_eq!((head.status, head.body.len()), (Some(401), 0));
    }
}

#[tokio::test]
async fn a_permission_decides_over_both_protocols() {
    let fixture = Fixture::start().await;
    let (member, boss) = (fixture.token(ACME_ID, &["member"]), fixture.token(ACME_ID, &["boss"]));
    for protocol in BOTH {
        for (token, path, status) in
            [(&member, "/orders", 200), (&member, "/orders/1", 403), (&boss, "/orders", 200), (&boss, "/orders/1", 200)]
        {
            assert_eq!(fixture.ask(protocol, &Ask::get(path).bearer(token)).await.status, Some(status), "{path}");
        }
        assert_eq!(fixture.ask(protocol, &Ask::get("/nowhere")).await.status, Some(401));
        assert_eq!(fixture.ask(protocol, &Ask::get("/nowhere").bearer(&boss)).await.code(), "route_not_found");
    }
}

#[tokio::test]
async fn two_upstreams_at_one_address_do_not_share_connections() {
    let fixture = Fixture::start().await;
    let before = fixture.edge.gate().snapshot().revision();
    let more = format!(
        "  - name: other\n    upstream: other\n    routes:\n      - {{ path: /other/**, access: public }}\n#{}",
        fixture.canary.addr()
    );
    let yaml = crate::support::edge_file(&fixture.upstream(), &more)
        .replace("services: [orders]", "services: [orders, other]")
        .replace(
            "upstreams:\n",
            &format!("upstreams:\n  - {{ name: other, {}, assertion: off }}\n", fixture.upstream()),
        );
    std::fs::write(fixture.folder.path().join("edge.yaml"), yaml).unwrap();
    testkit::eventually("the file is read", async || fixture.edge.gate().snapshot().revision() > before).await;
    for path in ["/public/x", "/other/x", "/public/x", "/other/x"] {
        assert_eq!(fixture.ask(Protocol::Http1, &Ask::get(path)).await.status, Some(200), "{path}");
    }
    let connections = |service: &str| -> Vec<usize> {
        fixture.canary.requests().iter().filter(|r| r.target.starts_with(service)).map(|r| r.connection).collect()
    };
    let (public, other) = (connections("/public/"), connections("/other/"));
    assert!(public.iter().all(|connection| !other.contains(connection)), "{public:?} {other:?}");
}

#[tokio::test]
async fn a_certificate_is_replaced_without_a_restart() {
    let fixture = Fixture::start().await;
    let before = fixture.edge.gate().snapshot().revision();
    let renewed = TestCa::new();
    write_leaf(fixture.folder.path(), "acme", &renewed.leaf(&[ACME]));
    testkit::eventually("the certificate is read", async || fixture.edge.gate().snapshot().revision() > before).await;
    testkit::eventually("the new certificate is shown", async || {
        Http2::connect(fixture.https(), ACME, &renewed.ca_pem()).await.is_ok()
    })
    .await;
    assert!(Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.is_err(), "the old one is gone");
}

#[tokio::test]
async fn d6_a_forbidden_socket_is_never_connected_to_under_any_name() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, link) = (folder.path().join("internal.sock"), folder.path().join("innocent.sock"));
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    std::os::unix::fs::symlink(&socket, &link).unwrap();
    let mut config = crate::support::config();
    config.upstreams.forbidden_sockets = vec![socket.clone()];
    for path in [&socket, &link] {
        let upstream = format!("peers: [\"unix:{}\"], plaintext: true", path.display());
        let fixture = Fixture::configured(config.clone(), Canary::start().await, TestCa::new(), &upstream, "").await;
        let reply = fixture.ask(Protocol::Http1, &Ask::get("/public/x")).await;
        assert_eq!((reply.status, reply.code().as_str()), (Some(502), "upstream_unreachable"));
    }
    let connected = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await;
    assert!(connected.is_err(), "somebody connected");
}
