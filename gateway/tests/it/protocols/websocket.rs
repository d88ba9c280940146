//! WebSockets: who may open one, what ends one, and what does not.

use std::time::Duration;

use domain::{Fact, NumberedFact, Seq, Tag, TokenId};
use testkit::{eventually, raw::tls_connect};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

use super::{Hand, IMPATIENT, PATIENT, SILENCE, Taken, before, is_over, until};
use crate::{
    status::get,
    support::{ACME, ACME_ID, Fixture},
};

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A WebSocket on `path`, and its upstream's end.
async fn open(fixture: &Fixture, hand: &Hand, path: &str, token: &str) -> (TlsStream<TcpStream>, Taken) {
    let mut client = tls_connect(fixture.https(), ACME, &fixture.ca.ca_pem(), &["http/1.1"], None).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {ACME}\r\nAuthorization: Bearer {token}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await.unwrap();
    let mut taken = hand.take().await;
    taken.say(SWITCHING).await;
    assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 101"));
    (client, taken)
}

/// Both ways, once.
async fn talk(client: &mut TlsStream<TcpStream>, taken: &mut Taken) {
    client.write_all(b"ping!").await.unwrap();
    assert_eq!(until(&mut taken.stream, "!").await, "ping!");
    taken.say("pong!").await;
    assert_eq!(until(client, "!").await, "pong!");
}

async fn counted_as(fixture: &Fixture, code: &str) {
    eventually("it is counted as what it was", async || {
        let text = get(fixture, "/metrics").await.1;
        text.contains(&format!("requests_total{{decision=\"{code}\"}} 1")) && text.contains("active_requests 0")
    })
    .await;
}

#[tokio::test]
async fn a_websocket_talks_both_ways_and_may_be_silent_for_longer_than_an_answer_may_take() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(IMPATIENT)).await;
    let (mut client, mut taken) = open(&fixture, &hand, "/echo/x", &fixture.token(ACME_ID, &["member"])).await;
    talk(&mut client, &mut taken).await;
    sleep(SILENCE).await;
    talk(&mut client, &mut taken).await;
}

#[tokio::test]
async fn a_websocket_that_is_silent_for_too_long_is_ended() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(PATIENT)).await;
    let (mut client, mut taken) = open(&fixture, &hand, "/echo/x", &fixture.token(ACME_ID, &["member"])).await;
    for _ in 0..3 {
        fixture.clock.advance(Duration::from_secs(50));
        talk(&mut client, &mut taken).await;
    }
    assert!(!is_over(&mut client).await, "what is said counts, whoever says it");
    fixture.clock.advance(Duration::from_secs(61));
    assert!(is_over(&mut client).await);
    assert!(is_over(&mut taken.stream).await, "and the upstream is told");
    counted_as(&fixture, "stream_silent").await;
}

#[tokio::test]
async fn a_websocket_ends_with_the_time_of_its_route() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(PATIENT)).await;
    let token = fixture.token(ACME_ID, &["member"]);
    let (mut longer, mut other) = open(&fixture, &hand, "/echo/x", &token).await;
    let (mut client, mut taken) = open(&fixture, &hand, "/short/x", &token).await;
    fixture.clock.advance(Duration::from_secs(9));
    assert!(!is_over(&mut client).await);
    talk(&mut client, &mut taken).await;
    fixture.clock.advance(Duration::from_secs(1));
    assert!(is_over(&mut client).await);
    assert!(is_over(&mut taken.stream).await);
    talk(&mut longer, &mut other).await;
    eventually("it is counted as what it was", async || {
        get(&fixture, "/metrics").await.1.contains("requests_total{decision=\"stream_too_long\"} 1")
    })
    .await;
}

#[tokio::test]
async fn a_busy_websocket_ends_with_its_token_and_with_its_tokens_revocation() {
    for revoked in [true, false] {
        let hand = Hand::start().await;
        let fixture = before(&hand.upstream(PATIENT)).await;
        let jti = TokenId::new(Uuid::new_v4());
        let claims = fixture.claims(ACME_ID, &["member"]);
        let (mut client, mut taken) =
            open(&fixture, &hand, "/echo/x", &fixture.issuer.mint(claims.set("jti", jti))).await;
        talk(&mut client, &mut taken).await;
        let exp = domain::Clock::unix_now(&*fixture.clock) + Duration::from_secs(3600);
        if revoked {
            let fact = Fact::TokenRefused { jti, exp };
            fixture.edge.gate().mirror().apply(&NumberedFact { seq: Seq(1), tag: Tag(1), fact });
        } else {
            fixture.clock.advance(Duration::from_secs(3600));
        }
        let over = async {
            // Talking does not keep it alive.
            while client.write_all(b"!").await.is_ok() && taken.stream.write_all(b"!").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(super::TWO_LOOKS, over).await.expect("it goes on");
        counted_as(&fixture, if revoked { "token_revoked" } else { "token_expired" }).await;
    }
}

#[tokio::test]
async fn nobody_opens_a_websocket_without_being_let_in() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(PATIENT)).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (credential, status) in [
        (String::new(), 401),
        ("Authorization: Bearer nonsense\r\n".into(), 401),
        (format!("Authorization: Bearer {}\r\n", fixture.token(&Uuid::from_u128(2).to_string(), &["member"])), 403),
    ] {
        let answer =
            fixture.raw(format!("GET /echo/x HTTP/1.1\r\nHost: {ACME}\r\n{credential}{upgrade}\r\n").as_bytes()).await;
        assert_eq!(answer.status, status, "{credential}");
    }
    assert!(tokio::time::timeout(Duration::from_millis(50), hand.0.accept()).await.is_err(), "nothing was asked");
}
