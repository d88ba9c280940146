//! A receiver of webhooks over real HTTP that answers as it is told.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};

/// A delivery as it came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) raw: Vec<u8>,
    pub(crate) body: Value,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

#[derive(Clone)]
struct Shared {
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
    gate: Arc<Semaphore>,
}

/// Receives until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Shared,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let shared = Shared { received: Arc::default(), status: Arc::new(AtomicU16::new(204)), gate };
        let router = Router::new().route("/hook", post(take)).with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, task }
    }

    /// One that takes requests and never answers.
    pub(crate) async fn silent() -> Self {
        let silent = Self::start().await;
        silent.shared.gate.close();
        silent
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::Relaxed);
    }

    /// What came until now.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.shared.received.lock().unwrap().clear();
    }
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, raw: Bytes) -> Response {
    let body = serde_json::from_slice(&raw).unwrap_or_default();
    shared.received.lock().unwrap().push(Received { headers, raw: raw.to_vec(), body });
    if shared.gate.acquire().await.is_err() {
        std::future::pending::<()>().await;
    }
    let status = StatusCode::from_u16(shared.status.load(Ordering::Relaxed)).unwrap();
    let location = [("location", "http://127.0.0.1:1/elsewhere")];
    if status.is_redirection() { (status, location).into_response() } else { status.into_response() }
}
