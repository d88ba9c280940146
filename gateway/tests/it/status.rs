//! The metrics listener.

use domain::HumanDuration;
use serde_json::Value;
use testkit::{
    Canary, TestCa,
    raw::{self, Response},
};

use crate::support::{ACME_ID, Ask, BOTH, Fixture, Protocol, config};

pub(crate) async fn get(fixture: &Fixture, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = raw::http1(fixture.edge.metrics()[0], request.as_bytes()).await.unwrap();
    let response = Response::parse(&answer);
    (response.status, response.text())
}

#[tokio::test]
async fn metrics_count_requests_by_decision_and_never_by_what_was_asked() {
    let fixture = Fixture::start().await;
    let token = fixture.token(ACME_ID, &["member"]);
    fixture.ask(Protocol::Http1, &Ask::get("/orders").bearer(&token)).await;
    fixture.ask(Protocol::Http2, &Ask::get("/orders").bearer(&token)).await;
    fixture.ask(Protocol::Http1, &Ask::get("/orders?secret=1")).await;
    fixture.ask(Protocol::Http1, &Ask::get("/nothing-like-it").bearer(&token)).await;
    testkit::eventually("all four are counted", async || {
        get(&fixture, "/metrics").await.1.contains("requests_total{decision=\"route_not_found\"} 1")
    })
    .await;
    let (status, metrics) = get(&fixture, "/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "portcullis_gateway_requests_total{decision=\"permit\"} 2",
        "portcullis_gateway_requests_total{decision=\"credential_missing\"} 1",
        "portcullis_gateway_feed_revision 1",
        "portcullis_gateway_token_cache_entries 1",
        "portcullis_gateway_mirror_age_seconds 0",
        "portcullis_gateway_stage_duration_seconds_count{stage=\"decide\"} 4",
        "portcullis_gateway_stage_duration_seconds_count{stage=\"canonical\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("secret") && !metrics.contains("nothing-like-it"));
}

/// Between the first word and the last everything is served: balancers take a while to hear.
#[tokio::test]
async fn who_will_stop_is_not_ready_and_serves_on_until_balancers_have_heard() {
    let mut config = config();
    config.shutdown_notice = Some(HumanDuration::from_secs(600));
    let canary = Canary::start().await;
    let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
    let fixture = Fixture::configured(config, canary, TestCa::new(), &upstream, "").await;
    let token = fixture.token(ACME_ID, &["member"]);
    let notice = fixture.edge.give_notice();
    tokio::pin!(notice);
    let told = testkit::eventually("it is not ready", async || get(&fixture, "/readyz").await.0 == 503);
    tokio::select! {
        () = &mut notice => panic!("ten minutes are over"),
        () = told => {}
    }
    let report: Value = serde_json::from_str(&get(&fixture, "/readyz").await.1).unwrap();
    assert_eq!((&report["ready"], &report["stopping"]), (&Value::Bool(false), &Value::Bool(true)));
    for protocol in BOTH {
        let reply = fixture.ask(protocol, &Ask::get("/orders").bearer(&token)).await;
        assert_eq!(reply.status, Some(200), "{protocol:?}: a new connection is taken and served");
    }
    assert_eq!(get(&fixture, "/healthz").await.0, 200, "it is well, it only leaves");
}

#[tokio::test]
async fn readiness_says_that_a_file_fed_gateway_has_no_revocation_list() {
    let fixture = Fixture::start().await;
    assert_eq!(get(&fixture, "/healthz").await.0, 200);
    let (status, report) = get(&fixture, "/readyz").await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((status, &report["ready"]), (200, &Value::Bool(true)));
    assert!(report["revocations"].as_str().unwrap().contains("no revocation list"), "{report}");
    assert_eq!(get(&fixture, "/other").await.0, 404);
}
