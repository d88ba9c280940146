//! Clients that ask at a constant rate, however slow the answers are (an open model).

use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::{Alpn, Connection, Edge, Latencies};

/// Where they come from.
const FROM: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Whom they ask.
#[derive(Clone)]
pub enum Door {
    /// An edge, over TLS.
    Edge(Edge),
    /// A service itself, in plain HTTP.
    Service(std::net::SocketAddr),
}

/// Clients of one user's, with a pool of kept connections.
pub struct Clients {
    door: Door,
    host: String,
    path: String,
    bearer: String,
    idle: Mutex<Vec<Connection>>,
}

impl Clients {
    /// Opens as many connections.
    ///
    /// # Errors
    /// One does not come about.
    pub async fn new(door: Door, host: &str, path: &str, token: &str, connections: usize) -> anyhow::Result<Arc<Self>> {
        let clients = Self {
            door,
            host: host.to_owned(),
            path: path.to_owned(),
            bearer: format!("Bearer {token}"),
            idle: Mutex::default(),
        };
        for _ in 0..connections {
            let connection = clients.connect().await?;
            clients.idle.lock().push(connection);
        }
        Ok(Arc::new(clients))
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        match &self.door {
            Door::Edge(edge) => edge.connect(&self.host, Alpn::Http1, FROM).await,
            Door::Service(address) => Connection::plain(*address, &self.host).await,
        }
    }

    /// Asks so many times a second. A time runs from when the request was due, whenever it was sent.
    ///
    /// # Errors
    /// An answer is none, or another than 200.
    pub async fn load(self: &Arc<Self>, rate: u32, lasting: Duration) -> anyhow::Result<Latencies> {
        let requests = u32::try_from(lasting.as_millis() * u128::from(rate) / 1000)?;
        let (clients, runtime) = (Arc::clone(self), Handle::current());
        // A thread of its own: the runtime's timers are no finer than a millisecond.
        let pace = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let one = |number| {
                let due = started + lasting * number / requests;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let clients = Arc::clone(&clients);
                runtime.spawn(async move { clients.ask(due).await })
            };
            (0..requests).map(one).collect::<Vec<_>>()
        });
        let mut latencies = Latencies::default();
        for asked in pace.await? {
            latencies.record(asked.await??);
        }
        Ok(latencies)
    }

    /// Asks for a time, each request once the one before is answered.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn one_after_another(&self, lasting: Duration) -> anyhow::Result<Latencies> {
        let (started, mut latencies) = (Instant::now(), Latencies::default());
        while started.elapsed() < lasting {
            latencies.record(self.ask(Instant::now()).await?);
        }
        Ok(latencies)
    }

    async fn ask(&self, due: Instant) -> anyhow::Result<Duration> {
        let kept = self.idle.lock().pop();
        let mut connection = match kept {
            Some(connection) if !connection.is_closed() => connection,
            _ => self.connect().await?,
        };
        let answer = connection.get(&self.path, &[("authorization", &self.bearer)]).await?;
        let took = due.elapsed();
        ensure!(answer.status == 200, "a good request was answered {}", answer.status);
        self.idle.lock().push(connection);
        Ok(took)
    }
}
