//! Server-sent events and long polls: each piece reaches the client as it comes.

use std::time::Duration;

use domain::{Fact, NumberedFact, Seq, Tag, TokenId};
use testkit::raw::tls_connect;
use tokio::{io::AsyncWriteExt as _, time::sleep};
use uuid::Uuid;

use super::{Hand, IMPATIENT, PATIENT, SILENCE, before, http2, is_over, piece, request, until};
use crate::support::{ACME, ACME_ID};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A chunk with one event.
fn event(data: &str) -> String {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}

#[tokio::test]
async fn events_reach_the_client_as_they_come_however_far_apart() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(IMPATIENT)).await;
    let mut client = tls_connect(fixture.https(), ACME, &fixture.ca.ca_pem(), &["http/1.1"], None).await.unwrap();
    let head = format!("GET /public/events HTTP/1.1\r\nHost: {ACME}\r\nAccept: text/event-stream\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    let mut taken = hand.take().await;
    taken.say(HEAD).await;
    assert!(until(&mut client, "\r\n\r\n").await.contains("text/event-stream"));
    for data in ["one", "two", "three"] {
        taken.say(&event(data)).await;
        assert!(until(&mut client, "\n\n\r\n").await.contains(&format!("data: {data}\n\n")));
        sleep(SILENCE).await;
    }
    taken.say("0\r\n\r\n").await;
    assert_eq!(until(&mut client, "0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn events_reach_a_client_over_http2_as_they_come() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(IMPATIENT)).await;
    let mut client = http2(&fixture).await;
    let asked = request("GET", "/public/events", &[("accept", "text/event-stream")]);
    let (response, _) = client.send_request(asked, true).unwrap();
    let mut taken = hand.take().await;
    taken.say(HEAD).await;
    let mut body = response.await.unwrap().into_body();
    for data in ["one", "two", "three"] {
        taken.say(&event(data)).await;
        assert_eq!(piece(&mut body).await.unwrap().unwrap(), format!("data: {data}\n\n"));
        sleep(SILENCE).await;
    }
    taken.say("0\r\n\r\n").await;
    assert!(piece(&mut body).await.is_none_or(|rest| rest.unwrap().is_empty()));
}

#[tokio::test]
async fn events_end_with_the_revocation_of_the_token_over_http2() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(PATIENT)).await;
    let jti = TokenId::new(Uuid::new_v4());
    let bearer = format!("Bearer {}", fixture.issuer.mint(fixture.claims(ACME_ID, &["member"]).set("jti", jti)));
    let mut client = http2(&fixture).await;
    let asked = request("GET", "/echo/events", &[("accept", "text/event-stream"), ("authorization", &bearer)]);
    let (response, _) = client.send_request(asked, true).unwrap();
    let mut taken = hand.take().await;
    taken.say(HEAD).await;
    let mut body = response.await.unwrap().into_body();
    taken.say(&event("one")).await;
    assert!(piece(&mut body).await.unwrap().is_ok());
    let exp = domain::Clock::unix_now(&*fixture.clock) + Duration::from_secs(3600);
    let fact = Fact::TokenRefused { jti, exp };
    fixture.edge.gate().mirror().apply(&NumberedFact { seq: Seq(1), tag: Tag(1), fact });
    assert!(piece(&mut body).await.unwrap().unwrap_err().is_reset(), "the stream is reset");
    assert!(is_over(&mut taken.stream).await);
}

#[tokio::test]
async fn who_does_not_announce_a_stream_is_held_to_the_upstreams_timeout() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(IMPATIENT)).await;
    let ask = format!("GET /public/x HTTP/1.1\r\nHost: {ACME}\r\n\r\n");
    let (answer, _held) = tokio::join!(fixture.raw(ask.as_bytes()), hand.take());
    assert_eq!((answer.status, answer.json()["code"].as_str()), (504, Some("upstream_timeout")));
}

#[tokio::test]
async fn a_long_poll_on_a_route_of_streams_waits_for_its_answer() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream(IMPATIENT)).await;
    let token = fixture.token(ACME_ID, &["member"]);
    let ask = format!("GET /short/poll HTTP/1.1\r\nHost: {ACME}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let news = async {
        let mut taken = hand.take().await;
        sleep(SILENCE).await;
        taken.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnews").await;
        taken
    };
    let (answer, _taken) = tokio::join!(fixture.raw(ask.as_bytes()), news);
    assert_eq!((answer.status, answer.text().as_str()), (200, "news"));
}

/// Else a stranger would choose how long an upstream that hangs is waited for.
#[tokio::test]
async fn who_only_says_that_it_wants_a_stream_waits_for_its_beginning_as_everybody_does() {
    let hand = Hand::start().await;
    let fixture = before(&hand.upstream("timeouts: { connect: 5s, read: 30s, write: 5s }")).await;
    for announced in ["Accept: text/event-stream", "Connection: Upgrade\r\nUpgrade: websocket"] {
        let mut client = tls_connect(fixture.https(), ACME, &fixture.ca.ca_pem(), &["http/1.1"], None).await.unwrap();
        let head = format!("GET /public/events HTTP/1.1\r\nHost: {ACME}\r\n{announced}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut taken = hand.take().await;
        let mut over = false;
        // The end of the request may be on its way to the upstream still, and counts as something that is said.
        for _ in 0..3 {
            fixture.clock.advance(Duration::from_secs(31));
            over = over || is_over(&mut client).await;
        }
        assert!(over, "{announced}");
        assert!(is_over(&mut taken.stream).await, "{announced}");
    }
    testkit::eventually("both are counted as what they were", async || {
        crate::status::get(&fixture, "/metrics").await.1.contains("requests_total{decision=\"upstream_timeout\"} 2")
    })
    .await;
}
