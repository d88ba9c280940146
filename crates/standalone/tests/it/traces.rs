//! Traces: the client's trace context comes in, goes on to the upstream under a span of ours, and reaches a collector.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, routing::post};
use reqwest::Method;
use testkit::eventually;
use tokio::net::TcpListener;

use crate::{
    process::Process,
    world::{ISSUERS, World},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

type Received = Arc<Mutex<Vec<Bytes>>>;

/// A collector (OTLP over HTTP) that keeps what it is sent.
async fn collector() -> (std::net::SocketAddr, Received) {
    let received = Received::default();
    let take = async |State(received): State<Received>, body: Bytes| received.lock().unwrap().push(body);
    let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&received));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, received)
}

#[tokio::test]
async fn a_trace_goes_through_the_edge_and_to_the_collector() {
    let (collector, received) = collector().await;
    let world = World::new().await;
    world.edge_file(ISSUERS);
    let telemetry = format!("telemetry: {{ otlp_endpoint: \"http://{collector}\" }}");
    let config = format!("{}\nfeed: {{ file: edge/edge.yaml }}\n{telemetry}\n", world.listen());
    let config = world.write("gateway.yaml", &config);
    let gateway = Process::start("gateway", world.folder.path(), &["--config", &config], &[]);
    world.ready().await;
    let request = world.call(Method::GET, "/public/traced").header("traceparent", format!("00-{TRACE}-{SPAN}-01"));
    assert!(request.send().await.unwrap().status().is_success());
    let arrived = world.canary.requests().into_iter().find(|request| request.target.contains("traced")).unwrap();
    let context = arrived.header("traceparent");
    assert_eq!(context.len(), 1, "{context:?}");
    let parts: Vec<_> = context[0].split('-').collect();
    assert_eq!(parts[1], TRACE);
    assert_ne!(parts[2], SPAN, "the upstream's parent is a span of ours");

    gateway.terminate();
    let id = u128::from_str_radix(TRACE, 16).unwrap().to_be_bytes();
    eventually("the collector has the trace", async || {
        received.lock().unwrap().iter().any(|body| body.windows(16).any(|bytes| bytes == id))
    })
    .await;
}
