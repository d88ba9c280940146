//! Threats S: identity headers come from the gate alone, once each, whatever the client sends.

use testkit::raw::{Http2, Http2Outcome, Http2Request};

use crate::support::{ACME, ACME_ID, Ask, BOTH, Fixture, Protocol};

/// Spellings of trusted names that a client may try.
const FORGED: [&str; 10] = [
    "x-md-global-user-id",
    "X-MD-Global-User-Id",
    "x-md-global-tenant-id",
    "x-md-global-roles",
    "x-md-global-is-super-admin",
    "x-md-global-assertion",
    "x-md-anything-else",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-request-id",
];

/// Spellings that some server folds to a trusted name.
const ALIASES: [&str; 6] = [
    "x_md_global_user_id",
    "X_MD-Global_User_Id",
    "x.md.global.user.id",
    "x-md_global.tenant-id",
    "x_forwarded_for",
    "X_Request_Id",
];

const EVIL: &str = "evil";

#[tokio::test]
async fn s1_forged_headers_never_arrive_and_the_true_ones_arrive_once() {
    let fixture = Fixture::start().await;
    let claims = fixture.claims(ACME_ID, &["member"]);
    let subject = claims.value("sub").as_str().unwrap().to_owned();
    let token = fixture.issuer.mint(claims);
    for protocol in BOTH {
        for name in FORGED {
            let ask = Ask::get("/echo/x").bearer(&token).header(name, EVIL).header(name, EVIL);
            let reply = fixture.ask(protocol, &ask).await;
            assert_eq!(reply.status, Some(200), "{protocol:?} {name}: {reply:?}");
            let arrived = fixture.canary.next().await;
            assert!(!arrived.raw.windows(EVIL.len()).any(|w| w == EVIL.as_bytes()), "{protocol:?} {name}");
            assert_eq!(arrived.header("x-md-global-user-id"), [subject.as_str()], "{protocol:?} {name}");
            assert_eq!(arrived.header("x-md-global-tenant-id"), [ACME_ID]);
            assert_eq!(arrived.header("x-md-global-tenant-slug"), ["acme"]);
            assert_eq!(arrived.header("x-md-global-roles"), ["member"]);
            assert_eq!(arrived.header("x-forwarded-for").len(), 1);
            assert_eq!(arrived.header("x-forwarded-proto"), ["https"]);
            let id = reply.header("x-request-id").unwrap();
            assert_eq!(arrived.header("x-request-id"), [id]);
            assert_eq!(arrived.header("x-md-global-request-id"), [id]);
            assert_eq!(arrived.header("authorization"), Vec::<&str>::new(), "credentials stay here");
        }
    }
}

#[tokio::test]
async fn s1_refuses_aliases_of_trusted_names() {
    let fixture = Fixture::start().await;
    let token = fixture.token(ACME_ID, &["member"]);
    for protocol in BOTH {
        for name in ALIASES {
            let reply = fixture.ask(protocol, &Ask::get("/echo/x").bearer(&token).header(name, EVIL)).await;
            assert!(reply.is_refused(), "{protocol:?} {name}: {reply:?}");
        }
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn s1_space_and_dashes_around_a_name_do_not_smuggle_it() {
    let fixture = Fixture::start().await;
    for line in [
        "x-md-global-user-id : evil",
        " x-md-global-user-id: evil",
        "x-md-global-user-id\t: evil",
        "x\u{2010}md-global-user-id: evil",
        "x-md-global-user-id\0: evil",
    ] {
        let request = format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\n{line}\r\n\r\n");
        let response = fixture.raw(request.as_bytes()).await;
        assert!(matches!(response.status, 0 | 400), "{line:?}: {response:?}");
    }
    fixture.canary.assert_silent();
}

#[tokio::test]
async fn s2_trailers_never_carry_identity() {
    let fixture = Fixture::start().await;
    let chunked = format!(
        "POST /public/x HTTP/1.1\r\nHost: {ACME}\r\nTransfer-Encoding: chunked\r\nTrailer: x-md-global-user-id\r\n\r\n\
         2\r\nhi\r\n0\r\nx-md-global-user-id: evil\r\nx_md_global_roles: evil\r\n\r\n"
    );
    fixture.raw(chunked.as_bytes()).await;
    let fields = [(":method", "POST"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
    let request = Http2Request::new(&fields).body(b"hi").trailer("x-md-global-user-id", EVIL);
    let mut connection = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    connection.send(&request).await.unwrap();
    for arrived in fixture.canary.requests() {
        assert!(!arrived.raw.windows(EVIL.len()).any(|w| w == EVIL.as_bytes()), "{arrived:?}");
        assert_eq!(arrived.body, b"hi");
    }
}

#[tokio::test]
async fn s3_a_forged_header_vanishes_also_where_there_is_no_true_one() {
    let fixture = Fixture::start().await;
    let without_roles = fixture.issuer.mint(fixture.claims(ACME_ID, &[]).without("roles"));
    for protocol in BOTH {
        for ask in [Ask::get("/public/x"), Ask::get("/optional/x"), Ask::get("/echo/x").bearer(&without_roles)] {
            let ask = ask
                .header("x-md-global-user-id", EVIL)
                .header("x-md-global-roles", EVIL)
                .header("x-md-global-ou-id", EVIL)
                .header("x-md-global-is-admin", "true");
            assert_eq!(fixture.ask(protocol, &ask).await.status, Some(200), "{protocol:?} {}", ask.path);
            let arrived = fixture.canary.next().await;
            assert!(!arrived.raw.windows(EVIL.len()).any(|w| w == EVIL.as_bytes()), "{protocol:?} {}", ask.path);
            assert!(!arrived.header("x-md-global-is-admin").contains(&"true"));
            assert_eq!(arrived.header("x-md-global-roles"), Vec::<&str>::new());
        }
    }
}

#[tokio::test]
async fn s4_a_nominated_header_arrives_or_the_request_is_refused() {
    let fixture = Fixture::start().await;
    let token = fixture.token(ACME_ID, &["member"]);
    let names = [
        "x-md-global-user-id",
        "x-md-global-tenant-id",
        "x-md-global-roles",
        "x-md-global-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-request-id",
        "host",
    ];
    for name in names {
        for more in ["", "Upgrade: websocket\r\n"] {
            let request = format!(
                "GET /echo/x HTTP/1.1\r\nHost: {ACME}\r\nAuthorization: Bearer {token}\r\n{more}Connection: {name}\r\n\r\n"
            );
            let response = fixture.raw(request.as_bytes()).await;
            if response.status == 200 {
                let arrived = fixture.canary.next().await;
                assert_eq!(arrived.header(name).len(), 1, "{name} {more:?}");
            } else {
                assert!(matches!(response.status, 0 | 400), "{name} {more:?}: {response:?}");
            }
        }
    }
}

#[tokio::test]
async fn s4_nominating_authorization_does_not_make_a_caller_anonymous() {
    let fixture = Fixture::start().await;
    let token = fixture.token(ACME_ID, &["member"]);
    let request = format!(
        "GET /echo/x HTTP/1.1\r\nHost: {ACME}\r\nAuthorization: Bearer {token}\r\nConnection: authorization\r\n\r\n"
    );
    let response = fixture.raw(request.as_bytes()).await;
    if response.status == 200 {
        assert_eq!(fixture.canary.next().await.header("x-md-global-tenant-id"), [ACME_ID]);
    } else {
        assert_eq!(response.status, 400, "{response:?}");
    }
}

#[tokio::test]
async fn an_upstream_cannot_answer_under_our_names() {
    let fixture = Fixture::start().await;
    for protocol in BOTH {
        fixture.canary.answer_next(
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-md-global-user-id: evil\r\nX-MD-Other: evil\r\n\
             x-request-id: evil\r\nx-token-refresh: advised\r\nset-cookie: __Host-portcullis=evil\r\n\
             set-cookie: theirs=1\r\n\r\nhi",
        );
        let reply = fixture.ask(protocol, &Ask::get("/public/x")).await;
        assert_eq!((reply.status, reply.body.as_slice()), (Some(200), &b"hi"[..]));
        assert!(reply.headers.iter().all(|(_, value)| !value.contains(EVIL)), "{:?}", reply.headers);
        assert_eq!(reply.header("x-token-refresh"), None);
        assert_eq!(reply.header("set-cookie"), Some("theirs=1"));
    }
}

#[tokio::test]
async fn a_token_close_to_its_end_is_answered_with_an_advice() {
    let fixture = Fixture::start().await;
    let now = domain::Clock::unix_now(&*fixture.clock).secs();
    for (left, advice) in [(60, Some("advised")), (3600, None)] {
        let token = fixture.issuer.mint(fixture.claims(ACME_ID, &[]).set("exp", now + left));
        let reply = fixture.ask(Protocol::Http1, &Ask::get("/echo/x").bearer(&token)).await;
        assert_eq!((reply.status, reply.header("x-token-refresh")), (Some(200), advice));
    }
}

#[tokio::test]
async fn r7_header_bytes_that_http1_cannot_carry_never_reach_an_http1_upstream() {
    let fixture = Fixture::start().await;
    let hostile: [(&[u8], &[u8]); 6] = [
        (b"x-a", b"1\r\nx-md-global-user-id: evil"),
        (b"x-a", b"1\nx-md-global-user-id: evil"),
        (b"x-a", b"1\0"),
        (b"x-a: b", b"1"),
        (b"X-Upper", b"1"),
        (b"x-md-global-user-id\r\nx-a", b"evil"),
    ];
    for (name, value) in hostile {
        let mut connection = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
        let outcome = connection.send(&Http2Request::get(ACME, "/public/x").field(name, value)).await.unwrap();
        let refused = outcome.is_refusal() || !matches!(outcome, Http2Outcome::Response { status: 200, .. });
        assert!(refused, "{name:?}: {outcome:?}");
    }
    fixture.canary.assert_silent();
}
