//! Threats H: which tenant a connection and a request are for.

use std::io;

use testkit::raw::{self, Http2, Response};

use crate::support::{ACME, Ask, BOTH, Fixture, GLOBEX};

#[tokio::test]
async fn h1_every_spelling_of_a_hostname_is_the_same_hostname() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for host in [ACME, "ACME.example.test", "acme.example.test.", "Acme.Example.Test.", "acme.example.test:8443"] {
            let reply = fixture.ask(protocol, &Ask::get("/public/x").host(host)).await;
            assert_eq!(reply.status, Some(200), "{protocol:?} {host}: {reply:?}");
            let arrived = fixture.canary.next().await;
            assert_eq!(arrived.header("host"), [ACME], "{host}");
            assert_eq!(arrived.header("x-forwarded-host"), [ACME], "{host}");
        }
        for host in [
            "acme.example.test..",
            "acme_.example.test",
            "acme.example.test:x",
            "acme.example.test:",
            "acme。example。test",
        ] {
            let reply = fixture.ask(protocol, &Ask::get("/public/x").host(host)).await;
            assert!(reply.is_refused() || reply.status == Some(421), "{protocol:?} {host}: {reply:?}");
        }
    }
    assert_eq!(fixture.canary.requests().len(), 10);
}

#[tokio::test]
async fn h4_a_request_for_another_host_than_the_connections_is_misdirected() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        for host in [GLOBEX, "GLOBEX.example.test.", "unknown.example.test", "globex.example.test:8443"] {
            let reply = fixture.ask(protocol, &Ask::get("/public/x").host(host)).await;
            assert_eq!((reply.status, reply.code().as_str()), (Some(421), "host_mismatch"), "{protocol:?} {host}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn h4_a_coalesced_h2_request_is_misdirected_and_the_connection_serves_on() {
    let fixture = Fixture::start().await;
    let mut connection = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    let ask = |host| [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", "/public/x")];
    assert_eq!(connection.request(&ask(ACME), b"").await.unwrap().status(), Some(200));
    assert_eq!(connection.request(&ask(GLOBEX), b"").await.unwrap().status(), Some(421));
    assert_eq!(connection.request(&ask(ACME), b"").await.unwrap().status(), Some(200));
    assert_eq!(fixture.canary.requests().len(), 2);
}

#[tokio::test]
async fn h7_an_unknown_or_absent_name_gets_an_alert_and_no_certificate() {
    let fixture = Fixture::start().await;
    for sni in ["unknown.example.test", "example.test", "x.acme.example.test", "127.0.0.1"] {
        let refused = raw::tls_connect(fixture.https(), sni, &fixture.ca.ca_pem(), &["h2", "http/1.1"], None).await;
        let error = refused.err().unwrap_or_else(|| panic!("{sni} was served"));
        let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        assert!(matches!(tls, Some(rustls::Error::AlertReceived(_))), "{sni}: {error:?}");
    }
}

#[tokio::test]
async fn h9_a_request_has_exactly_one_host() {
    let fixture = Fixture::start().await;
    let requests = [
        "GET /public/x HTTP/1.1\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: acme.example.test\r\nHost: acme.example.test\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: acme.example.test\r\nHost: globex.example.test\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: acme.example.test, globex.example.test\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: user@acme.example.test\r\n\r\n",
        "GET /public/x HTTP/1.1\r\nHost: acme.example.test/x y\r\n\r\n",
        "GET https://globex.example.test/public/x HTTP/1.1\r\nHost: acme.example.test\r\n\r\n",
        "GET https://user@acme.example.test/public/x HTTP/1.1\r\nHost: acme.example.test\r\n\r\n",
    ];
    for request in requests {
        let response = fixture.raw(request.as_bytes()).await;
        assert!(matches!(response.status, 0 | 400 | 421), "{request}: {response:?}");
    }
    let mut connection = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x"), ("host", GLOBEX)];
    let outcome = connection.request(&fields, b"").await.unwrap();
    assert!(outcome.is_refusal() || outcome.status() == Some(421), "{outcome:?}");
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn an_absolute_target_of_the_same_host_arrives_in_origin_form() {
    let fixture = Fixture::start().await;
    let response =
        fixture.raw(b"GET https://acme.example.test/public/x?y HTTP/1.1\r\nHost: acme.example.test\r\n\r\n").await;
    if response.status == 200 {
        let arrived = fixture.canary.next().await;
        assert_eq!(arrived.target, "/public/x?y");
        assert_eq!(arrived.header("host"), [ACME]);
    } else {
        assert_eq!(response.status, 400);
    }
}

#[tokio::test]
async fn a_token_of_one_tenant_is_refused_at_another() {
    let fixture = Fixture::start().await;
    let token = fixture.token(crate::support::ACME_ID, &["member"]);
    for protocol in BOTH {
        assert_eq!(fixture.ask(protocol, &Ask::get("/orders").bearer(&token)).await.status, Some(200));
        let reply = fixture.ask(protocol, &Ask::get("/orders").at(GLOBEX).bearer(&token)).await;
        assert_eq!((reply.status, reply.code().as_str()), (Some(403), "tenant_mismatch"));
    }
    assert_eq!(fixture.canary.requests().len(), 2);
}

#[tokio::test]
async fn the_plain_listener_redirects_to_https_and_forwards_nothing() {
    let fixture = Fixture::start().await;
    let plain = fixture.edge.http()[0];
    let request = b"POST /orders?x=1 HTTP/1.1\r\nHost: ACME.example.test:80\r\nContent-Length: 2\r\n\r\nhi";
    let response = Response::parse(&raw::http1(plain, request).await.unwrap());
    assert_eq!(response.status, 308);
    let port = fixture.https().port();
    assert_eq!(response.header("location"), Some(format!("https://acme.example.test:{port}/orders?x=1").as_str()));
    let unknown = raw::http1(plain, b"GET / HTTP/1.1\r\nHost: unknown.test\r\n\r\n").await.unwrap();
    assert_eq!(Response::parse(&unknown).status, 404);
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn a_plain_request_to_the_tls_port_gets_nothing() {
    let fixture = Fixture::start().await;
    let answer = raw::http1(fixture.https(), b"GET /public/x HTTP/1.1\r\nHost: acme.example.test\r\n\r\n").await;
    match answer {
        Ok(bytes) => assert!(!bytes.starts_with(b"HTTP/1.1 200"), "{bytes:?}"),
        Err(error) => assert_ne!(error.kind(), io::ErrorKind::TimedOut),
    }
    fixture.canary.assert_silent();
}
