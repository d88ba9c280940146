//! The demo upstream: answers with what reached it, so that a person can see what the edge adds and takes away.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{Json, Router, body::Body, extract::Request, http::HeaderMap};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinHandle};

/// Longest body it reads, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;

/// What it answers.
#[derive(Debug, Serialize)]
struct Echo {
    method: String,
    target: String,
    host: Option<String>,
    headers: BTreeMap<String, Vec<String>>,
    body_bytes: usize,
    trailers: BTreeMap<String, Vec<String>>,
}

/// Serves the echo on `address` until the task is dropped or aborted.
///
/// # Errors
/// The address cannot be bound.
pub async fn start(address: SocketAddr) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, Router::new().fallback(echo)).await {
            tracing::error!(%error, "the demo upstream stopped");
        }
    });
    Ok((address, task))
}

async fn echo(request: Request) -> Result<Json<Echo>, axum::http::StatusCode> {
    let (head, body) = request.into_parts();
    let body = http_body_util::Limited::new(Body::new(body), MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|_| axum::http::StatusCode::PAYLOAD_TOO_LARGE)?;
    let trailers = body.trailers().map(values).unwrap_or_default();
    let headers = values(&head.headers);
    Ok(Json(Echo {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        host: headers.get("host").and_then(|hosts| hosts.first().cloned()),
        body_bytes: body.to_bytes().len(),
        headers,
        trailers,
    }))
}

/// Values in order, under lower-case names.
fn values(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        map.entry(name.as_str().to_owned()).or_default().push(value);
    }
    map
}
