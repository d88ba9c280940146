//! Upstreams that fail: what clients see of it is an error, never half an answer that looks whole.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use load_tests::{Alpn, upstream};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{Caller, World, good};

/// One failure after the other: garbage, resets, an answer that breaks off.
pub(crate) async fn answers(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    let identity = good::sign_in(&world, Caller { tenant: "acme", role: "member" }, from).await?;
    let bearer = [("authorization", identity.bearer.as_str())];
    for round in 0..200 {
        let alpn = if round % 2 == 0 { Alpn::Http1 } else { Alpn::Http2 };
        for (behaviour, expected) in
            [("reset", Some(502)), ("close", Some(502)), ("garbage", Some(502)), ("cut", None), ("slow", Some(200))]
        {
            if !world.goes_on() {
                return Ok(());
            }
            let mut connection = world.connect("acme", alpn, from).await?;
            let path = format!("/demo/echo/failing?upstream={behaviour}");
            let answer = connection.get(&path, &bearer).await;
            let wrong = match (answer, expected) {
                (Ok(answer), Some(status)) if answer.status == status => None,
                // A body that broke off is an error to the client, over either protocol.
                (Err(_), None) => None,
                (Ok(answer), _) => Some(format!("{behaviour} over {alpn:?}: {}", answer.status)),
                (Err(error), Some(status)) => Some(format!("{behaviour} over {alpn:?}: {error:#} instead of {status}")),
            };
            world.tally.judge("failing upstreams", wrong.as_deref());
            sleep(Duration::from_millis(100)).await;
        }
        // One that never answers, and a client that gives up.
        let mut connection = world.connect("acme", alpn, from).await?;
        let gave_up = timeout(Duration::from_millis(500), connection.get("/demo/echo/x?upstream=hang", &bearer)).await;
        world.tally.expect("clients that give up", gave_up.is_err(), || format!("{gave_up:?}"));
    }
    Ok(())
}

/// An upstream on one port that comes and goes.
pub(crate) struct Flaky {
    address: SocketAddr,
    serving: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Flaky {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        // Taken once to have a port; while nobody listens, connections to it are refused.
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        Ok(Self { address, serving: parking_lot::Mutex::new(None) })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    fn up(&self) -> anyhow::Result<()> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(self.address)?;
        let listener = socket.listen(64)?;
        *self.serving.lock() = Some(tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nup";
                let mut head = [0; 8192];
                drop(tokio::io::AsyncReadExt::read(&mut stream, &mut head).await);
                drop(stream.write_all(answer).await);
                drop(stream.shutdown().await);
            }
        }));
        Ok(())
    }

    fn down(&self) {
        if let Some(serving) = self.serving.lock().take() {
            serving.abort();
        }
    }
}

/// Takes the upstream away and brings it back.
pub(crate) async fn outages(world: Arc<World>, from: Ipv4Addr) -> anyhow::Result<()> {
    let identity = good::sign_in(&world, Caller { tenant: "globex", role: "member" }, from).await?;
    let headers = [("authorization", identity.bearer.as_str()), (upstream::NONCE, "flaky")];
    for _ in 0..20 {
        let mut connection = world.connect("globex", Alpn::Http1, from).await?;
        for (expected, change) in [(200, true), (502, false)] {
            if change {
                world.flaky.up()?;
            } else {
                world.flaky.down();
                sleep(Duration::from_millis(50)).await;
            }
            for _ in 0..20 {
                if !world.goes_on() {
                    world.flaky.down();
                    return Ok(());
                }
                if connection.is_closed() {
                    connection = world.connect("globex", Alpn::Http1, from).await?;
                }
                let answer = connection.get("/demo/flaky/x", &headers).await?;
                world.tally.expect("lost upstreams", answer.status == expected, || {
                    format!("{} instead of {expected}: {}", answer.status, String::from_utf8_lossy(&answer.body))
                });
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    Ok(())
}
