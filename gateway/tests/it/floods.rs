//! Threats R5: floods of frames end their own connection, and nobody else notices.

use testkit::{
    eventually,
    raw::{Http2, Http2Request},
};

use crate::{
    status::get,
    support::{ACME, Ask, Fixture, Protocol},
};

/// RFC 9113 §7.
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

async fn connect(fixture: &Fixture) -> Http2 {
    Http2::connect(fixture.https(), ACME, &fixture.ca.ca_pem()).await.unwrap()
}

/// Another client is served, and nothing is left of the flood.
async fn assert_calm(fixture: &Fixture) {
    assert_eq!(fixture.ask(Protocol::Http2, &Ask::get("/public/x")).await.status, Some(200));
    eventually("nothing of the flood is served any more", async || {
        get(fixture, "/metrics").await.1.contains("active_requests 0")
    })
    .await;
}

#[tokio::test]
async fn r5_a_flood_of_resets_ends_its_connection() {
    let fixture = Fixture::start().await;
    let mut client = connect(&fixture).await;
    let request = Http2Request::get(ACME, "/public/x");
    for _ in 0..5_000 {
        let Ok(stream) = client.begin(&request).await else { break };
        if client.reset(stream, CANCEL).await.is_err() {
            break;
        }
    }
    drop(client);
    assert_calm(&fixture).await;
}

#[tokio::test]
async fn r5_streams_that_we_are_made_to_reset_have_a_budget() {
    let fixture = Fixture::start().await;
    let mut client = connect(&fixture).await;
    let request = Http2Request::get(ACME, "/public/x");
    for _ in 0..1_000 {
        let Ok(stream) = client.begin(&request).await else { break };
        // RFC 9113 §6.9.1: a window beyond 2^31-1 is an error of the stream.
        if client.send_frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()).await.is_err() {
            break;
        }
    }
    let code = client.closed().await.unwrap();
    assert!(matches!(code, None | Some(ENHANCE_YOUR_CALM)), "{code:?}");
    assert_calm(&fixture).await;
}

#[tokio::test]
async fn r5_a_head_without_an_end_ends_its_connection() {
    let fixture = Fixture::start().await;
    let mut client = connect(&fixture).await;
    client.send_frame(HEADERS, 0, 1, &[]).await.unwrap();
    // A literal field that is not indexed (RFC 7541 §6.2.2): `x: ` and 120 bytes.
    let field = [&[0, 1, b'x', 120][..], &[b'a'; 120]].concat().repeat(100);
    for _ in 0..1_000 {
        if client.send_frame(CONTINUATION, 0, 1, &field).await.is_err() {
            break;
        }
    }
    client.closed().await.unwrap();
    fixture.canary.assert_silent();
    assert_calm(&fixture).await;
}

#[tokio::test]
async fn r5_floods_of_empty_frames_settings_and_pings_leave_others_alone() {
    let fixture = Fixture::start().await;
    for (kind, payload) in [(DATA, &[][..]), (SETTINGS, &[]), (PING, &[0; 8]), (CONTINUATION, &[])] {
        let mut client = connect(&fixture).await;
        let fields = [(":method", "POST"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
        let stream = client.begin(&Http2Request::new(&fields)).await.unwrap();
        let stream = if matches!(kind, SETTINGS | PING) { 0 } else { stream };
        for _ in 0..5_000 {
            if client.send_frame(kind, 0, stream, payload).await.is_err() {
                break;
            }
        }
        drop(client);
        assert_calm(&fixture).await;
    }
}

#[tokio::test]
async fn r5_more_streams_than_allowed_at_once_are_refused_and_the_rest_served() {
    let fixture = Fixture::start().await;
    let mut client = connect(&fixture).await;
    let fields = [(":method", "POST"), (":scheme", "https"), (":authority", ACME), (":path", "/public/x")];
    for _ in 0..100 {
        client.begin(&Http2Request::new(&fields)).await.unwrap();
    }
    let over = client.send(&Http2Request::get(ACME, "/public/x")).await.unwrap();
    assert_eq!(over.status(), None, "{over:?}");
    assert_eq!(fixture.ask(Protocol::Http2, &Ask::get("/public/x")).await.status, Some(200));
}
