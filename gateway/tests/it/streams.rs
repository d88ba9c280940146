//! What lasts ends when its permit does: downloads, uploads and WebSockets, over either protocol.

use std::time::Duration;

use domain::{
    Fact, NumberedFact, Seq, Tag, TokenId,
    snapshot::{Change, Entity, READER, Tenant, TenantStatus},
};
use testkit::{
    Canary, TestCa, eventually,
    raw::{Connection, Http2, Http2Outcome, Response},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use uuid::Uuid;

use crate::{
    status::get,
    support::{ACME, ACME_ID, Ask, Fixture, Protocol, Reply, http1},
};

/// The begin of a response whose rest does not come.
const ENDLESS: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst";

/// Long enough for two judgements, on a busy machine.
const TWO_JUDGEMENTS: Duration = Duration::from_millis(1200);

/// A token with an id of its own.
fn member(fixture: &Fixture) -> (TokenId, String) {
    let jti = TokenId::new(Uuid::new_v4());
    (jti, fixture.issuer.mint(fixture.claims(ACME_ID, &["member"]).set("jti", jti)))
}

fn revoke(fixture: &Fixture, jti: TokenId) {
    let exp = domain::Clock::unix_now(&*fixture.clock) + Duration::from_secs(3600);
    fixture.edge.gate().mirror().apply(&NumberedFact {
        seq: Seq(1),
        tag: Tag(1),
        fact: Fact::TokenRefused { jti, exp },
    });
}

/// The stream is cut off in time; where a response is, the end of TLS is missing.
async fn ends(client: &mut Connection) {
    let rest = tokio::time::timeout(TWO_JUDGEMENTS, client.rest()).await;
    assert!(rest.is_ok(), "the stream goes on");
}

/// A client of a stream that has begun.
async fn open(fixture: &Fixture, ask: &Ask<'_>) -> Connection {
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    client.send(&http1(ask)).await.unwrap();
    fixture.canary.next().await;
    client
}

#[tokio::test]
async fn an_idle_stream_ends_within_a_second_of_its_tokens_revocation() {
    let fixture = Fixture::start().await;
    let (jti, token) = member(&fixture);
    fixture.canary.answer_next(ENDLESS);
    let mut client = open(&fixture, &Ask::get("/echo/x").bearer(&token)).await;
    assert!(
        tokio::time::timeout(TWO_JUDGEMENTS, client.rest()).await.is_err(),
        "a stream goes on while its permit holds"
    );
    revoke(&fixture, jti);
    ends(&mut client).await;
    eventually("it is counted as what it was, once", async || {
        let (_, text) = get(&fixture, "/metrics").await;
        text.contains("requests_total{decision=\"token_revoked\"} 1") && text.contains("active_requests 0")
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let fixture = Fixture::start().await;
    fixture.canary.answer_next(ENDLESS);
    let mut client = open(&fixture, &Ask::get("/echo/x").bearer(&member(&fixture).1)).await;
    fixture.clock.advance(Duration::from_secs(3600));
    ends(&mut client).await;
    eventually("it is counted as what it was", async || {
        get(&fixture, "/metrics").await.1.contains("requests_total{decision=\"token_expired\"} 1")
    })
    .await;
}

#[tokio::test]
async fn of_http2_one_stream_is_reset_and_the_connection_goes_on() {
    let fixture = Fixture::start().await;
    let (jti, token) = member(&fixture);
    fixture.canary.answer_next(ENDLESS);
    let mut client = Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap();
    let bearer = format!("Bearer {token}");
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", ACME), (":path", "/echo/x")];
    let with_token = [&fields[..], &[("authorization", bearer.as_str())]].concat();
    let revoked = async {
        fixture.canary.next().await;
        revoke(&fixture, jti);
    };
    let (outcome, ()) = tokio::join!(client.request(&with_token, b""), revoked);
    assert!(matches!(outcome.unwrap(), Http2Outcome::Reset(_)));
    let public = [(":method", "GET"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
    assert_eq!(client.request(&public, b"").await.unwrap().status(), Some(200));
}

#[tokio::test]
async fn a_stream_to_nobody_in_particular_is_left_alone() {
    let fixture = Fixture::start().await;
    fixture.canary.answer_next(ENDLESS);
    let mut client = open(&fixture, &Ask::get("/public/x")).await;
    fixture.clock.advance(Duration::from_secs(3600));
    assert!(tokio::time::timeout(TWO_JUDGEMENTS, client.rest()).await.is_err());
}

#[tokio::test]
async fn an_idle_websocket_ends_with_its_tokens_revocation() {
    let fixture = Fixture::start().await;
    let (jti, token) = member(&fixture);
    fixture.canary.answer_next("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let ask = Ask::get("/echo/x").bearer(&token).header("connection", "upgrade").header("upgrade", "websocket");
    let mut client = open(&fixture, &ask).await;
    let answer = client.response().await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    revoke(&fixture, jti);
    ends(&mut client).await;
}

#[tokio::test]
async fn an_upload_is_refused_once_its_token_is_not_good_any_more() {
    let fixture = Fixture::start().await;
    let (_, token) = member(&fixture);
    let mut client = Connection::tls(fixture.https(), ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let head = format!(
        "POST /echo/x HTTP/1.1\r\nHost: {ACME}\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\nfirst"
    );
    client.send(head.as_bytes()).await.unwrap();
    eventually("it is sent on", async || fixture.canary.connections() == 1).await;
    fixture.clock.advance(Duration::from_secs(3600));
    let answer = Response::parse(&client.exchange(b"second").await.unwrap());
    assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("token_expired")));
    assert!(fixture.canary.requests().is_empty(), "the upload never became whole");
}

/// A request that waits for its response header while its token is revoked; what it is answered, when its upstream
/// answers after `wait`.
async fn waiting(wait: Duration, target: &str) -> Reply {
    let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("peers: [\"{}\"], plaintext: true", slow.local_addr().unwrap());
    let fixture = Fixture::with(Canary::start().await, TestCa::new(), &upstream, "").await;
    let (jti, token) = member(&fixture);
    let answered = async {
        let (mut stream, _) = slow.accept().await.unwrap();
        stream.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
        revoke(&fixture, jti);
        tokio::time::sleep(wait).await;
        // The edge may be gone.
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await);
        stream
    };
    let ask = Ask::get(target).method("POST").bearer(&token);
    let (reply, _stream) = tokio::join!(fixture.ask(Protocol::Http1, &ask), answered);
    assert_eq!(fixture.ask(Protocol::Http1, &ask).await.code(), "token_revoked");
    if reply.status.is_none() {
        eventually("what was cut is counted as what it was", async || {
            let (_, text) = get(&fixture, "/metrics").await;
            text.contains("requests_total{decision=\"token_revoked\"} 2") && text.contains("active_requests 0")
        })
        .await;
    }
    reply
}

#[tokio::test]
async fn what_ends_the_session_it_came_with_is_answered() {
    let reply = waiting(TWO_JUDGEMENTS, "/echo/logout").await;
    assert_eq!((reply.status, reply.body.as_slice()), (Some(200), &b"ok"[..]));
}

#[tokio::test]
async fn a_request_that_waits_for_its_response_header_is_cut_as_well() {
    let reply = waiting(Duration::from_secs(20), "/echo/x").await;
    assert_eq!(reply.status, None);
}

/// The tenant's row, in another state.
fn suspended(fixture: &Fixture) {
    let snapshot = fixture.edge.gate().snapshot();
    let tenant = snapshot.entities().into_iter().find_map(|change| match change.entity {
        Some(Entity::Tenant(tenant)) if tenant.id.to_string() == ACME_ID => Some(tenant),
        _ => None,
    });
    let entity = Entity::Tenant(Tenant { status: TenantStatus::Suspended, ..tenant.unwrap() });
    let revision = snapshot.revision() + 1;
    snapshot.apply(vec![Change { revision, key: entity.key(), min_reader: READER, entity: Some(entity) }], revision);
}

#[tokio::test]
async fn streams_of_a_suspended_tenant_end_whoever_they_are_to() {
    for path in ["/public/x", "/echo/x"] {
        let fixture = Fixture::start().await;
        let token = member(&fixture).1;
        fixture.canary.answer_next(ENDLESS);
        let mut client = open(&fixture, &Ask::get(path).bearer(&token)).await;
        suspended(&fixture);
        ends(&mut client).await;
        eventually("it is counted as what it was", async || {
            get(&fixture, "/metrics").await.1.contains("requests_total{decision=\"tenant_suspended\"} 1")
        })
        .await;
    }
}
