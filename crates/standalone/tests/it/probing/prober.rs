//! Replays one credential every 10 ms at each gateway; the upstream behind them notes what was accepted.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap};
use reqwest::{Client, Method, StatusCode};
use testkit::eventually;
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use crate::world::HOST;

/// Time between two probes at one gateway.
const PACE: Duration = Duration::from_millis(10);

/// Longest wait for the answer of a probe. Longer than any pause of a gateway.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries a probe's number through the gateway.
const PROBE: &str = "x-probe";

/// An upstream that answers 200 and notes which probes arrived when: what arrives was accepted.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    arrived: Arrivals,
}

/// Which probe arrived when.
type Arrivals = Arc<Mutex<Vec<(usize, Instant)>>>;

impl Recorder {
    pub(crate) async fn start() -> Self {
        let arrived = Arrivals::default();
        let note = async |State(arrived): State<Arrivals>, headers: HeaderMap| {
            let probe = headers.get(PROBE).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
            if let Some(probe) = probe {
                arrived.lock().unwrap().push((probe, Instant::now()));
            }
        };
        let router = Router::new().fallback(note).with_state(Arc::clone(&arrived));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, arrived }
    }

    fn has(&self, probe: usize) -> Option<Instant> {
        self.arrived.lock().unwrap().iter().find(|(arrived, _)| *arrived == probe).map(|(_, at)| *at)
    }
}

/// One probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    /// Which gateway, by its place.
    pub(crate) gateway: usize,
    /// When it was sent.
    pub(crate) sent: Instant,
    /// When the upstream had it: only what was accepted arrives.
    pub(crate) arrived: Option<Instant>,
    /// What the client was answered; none for nothing.
    pub(crate) status: Option<StatusCode>,
}

/// Probes gateways until it is [ended](Prober::end).
pub(crate) struct Prober {
    recorder: Recorder,
    probes: Arc<Mutex<Vec<Probe>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Prober {
    /// Starts to replay `token` on the route that refuses without proof.
    pub(crate) fn start(recorder: &Recorder, gateways: &[(SocketAddr, Client)], token: &str) -> Self {
        recorder.arrived.lock().unwrap().clear();
        let probes = Arc::<Mutex<Vec<Probe>>>::default();
        let tasks = gateways.iter().enumerate().map(|(gateway, (address, client))| {
            let url = format!("https://{HOST}:{}/strict", address.port());
            let (client, token, probes) = (client.clone(), token.to_owned(), Arc::clone(&probes));
            tokio::spawn(async move {
                let mut due = tokio::time::interval(PACE);
                loop {
                    due.tick().await;
                    let request = client.request(Method::GET, &url).bearer_auth(&token).timeout(PATIENCE);
                    tokio::spawn(probe(gateway, request, Arc::clone(&probes)));
                }
            })
        });
        Self { recorder: recorder.clone(), tasks: tasks.collect(), probes }
    }

    /// Waits until the gateways at these places have answered probes sent after `since` with this status.
    pub(crate) async fn answered(&self, gateways: &[usize], status: StatusCode, since: Instant) {
        let answered = |gateway: usize| {
            let probes = self.probes.lock().unwrap();
            probes.iter().any(|it| it.gateway == gateway && it.status == Some(status) && it.sent >= since)
        };
        eventually(&format!("gateways {gateways:?} answer {status}"), async || {
            gateways.iter().all(|gateway| answered(*gateway))
        })
        .await;
    }

    /// Sends no more, and gives what became of those that were sent.
    pub(crate) async fn end(self) -> Vec<Probe> {
        for task in &self.tasks {
            task.abort();
        }
        let probes = Arc::clone(&self.probes);
        eventually("the last probes are answered", async || Arc::strong_count(&probes) == 2).await;
        let mut probes = std::mem::take(&mut *probes.lock().unwrap());
        for (number, probe) in probes.iter_mut().enumerate() {
            probe.arrived = self.recorder.has(number);
        }
        probes
    }
}

async fn probe(gateway: usize, request: reqwest::RequestBuilder, probes: Arc<Mutex<Vec<Probe>>>) {
    let number = {
        let mut probes = probes.lock().unwrap();
        probes.push(Probe { gateway, sent: Instant::now(), arrived: None, status: None });
        probes.len() - 1
    };
    let answer = request.header(PROBE, number).send().await;
    if let Some(probe) = probes.lock().unwrap().get_mut(number) {
        probe.status = answer.ok().map(|answer| answer.status());
    }
}
