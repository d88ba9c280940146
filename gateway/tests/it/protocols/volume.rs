//! Large bodies are streamed: what one side does not take, the other side is not asked for, and memory stays as it is.
//!
//! `VOLUME_MIB=1024` moves a gibibyte each way; the default keeps the test short, and its bound low.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use testkit::{Canary, TestCa, eventually, raw::tls_connect};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

use super::{request, until};
use crate::{
    process::Process,
    support::{ACME, Fixture, Protocol},
};

/// How much more memory a gateway may take, whatever goes through it; less than the four bodies that go. It takes 22 to 30 MiB, be
/// each of them 10 or 80.
fn growth() -> u64 {
    (64 << 20).min(volume())
}

/// What may be on its way between an upstream and a client that reads nothing: buffers of four sockets and of TLS.
const ON_ITS_WAY: u64 = 48 << 20;

/// Written at once.
static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];

fn volume() -> u64 {
    let mib = std::env::var("VOLUME_MIB").ok().and_then(|text| text.parse::<u64>().ok());
    mib.unwrap_or(40) << 20
}

/// An upstream that gives and takes so much, and counts.
#[derive(Clone)]
struct Depot {
    given: Arc<AtomicU64>,
    taken: Arc<AtomicU64>,
}

impl Depot {
    async fn serve(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().handle(stream));
        }
    }

    /// One request after the other; ends with the connection.
    async fn handle(self, mut stream: TcpStream) -> Option<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.ok()?);
            }
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<u64>().ok());
            let chunked = head.contains("transfer-encoding: chunked");
            if let Some(mut left) = length {
                let mut bytes = vec![0; PIECE.len()];
                while left > 0 {
                    let read = stream.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
                    self.taken.fetch_add(read as u64, Ordering::Relaxed);
                    left -= read as u64;
                }
            }
            assert!(!chunked, "the tests say how long their bodies are");
            let volume = if head.starts_with("get /public/down") { volume() } else { 0 };
            stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {volume}\r\n\r\n").as_bytes()).await.ok()?;
            let mut left = volume;
            while left > 0 {
                let piece = PIECE.len().min(usize::try_from(left).unwrap());
                let written = stream.write(&PIECE[..piece]).await.ok()? as u64;
                self.given.fetch_add(written, Ordering::Relaxed);
                left -= written;
            }
        }
    }
}

/// A gateway as a process before a depot.
async fn before_a_depot() -> (Depot, Fixture, Process) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("peers: [\"{}\"], plaintext: true", listener.local_addr().unwrap());
    let depot = Depot { given: Arc::default(), taken: Arc::default() };
    tokio::spawn(depot.clone().serve(listener));
    let fixture = Fixture::with(Canary::start().await, TestCa::new(), &upstream, "").await;
    let gateway = Process::start(&fixture, 0, "threads: 2\n").await;
    (depot, fixture, gateway)
}

async fn download(fixture: &Fixture, gateway: &Process, protocol: Protocol) -> u64 {
    let mut got = 0;
    if protocol == Protocol::Http1 {
        let mut client = tls_connect(gateway.https, ACME, &fixture.ca.ca_pem(), &["http/1.1"], None).await.unwrap();
        let head = format!("GET /public/down HTTP/1.1\r\nHost: {ACME}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        until(&mut client, "\r\n\r\n").await;
        let mut bytes = vec![0; PIECE.len()];
        while got < volume() {
            got += client.read(&mut bytes).await.unwrap() as u64;
        }
    } else {
        let mut client = super::http2_to(gateway.https, &fixture.ca.ca_pem()).await;
        let (response, _) = client.send_request(request("GET", "/public/down", &[]), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        while let Some(data) = super::piece(&mut body).await {
            got += data.unwrap().len() as u64;
        }
    }
    got
}

async fn upload(fixture: &Fixture, gateway: &Process, protocol: Protocol) {
    let length = volume().to_string();
    if protocol == Protocol::Http1 {
        let mut client = tls_connect(gateway.https, ACME, &fixture.ca.ca_pem(), &["http/1.1"], None).await.unwrap();
        let head = format!("POST /public/up HTTP/1.1\r\nHost: {ACME}\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let mut left = volume();
        while left > 0 {
            let piece = PIECE.len().min(usize::try_from(left).unwrap());
            client.write_all(&PIECE[..piece]).await.unwrap();
            left -= piece as u64;
        }
        client.flush().await.unwrap();
        assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    } else {
        let mut client = super::http2_to(gateway.https, &fixture.ca.ca_pem()).await;
        let asked = request("POST", "/public/up", &[("content-length", &length)]);
        let (response, mut stream) = client.send_request(asked, false).unwrap();
        let mut left = volume();
        while left > 0 {
            let piece = PIECE.len().min(usize::try_from(left).unwrap());
            left -= piece as u64;
            super::send(&mut stream, Bytes::from_static(&PIECE[..piece]), left == 0).await;
        }
        assert_eq!(response.await.unwrap().status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_go_through_a_gateway_that_does_not_grow() {
    let (depot, fixture, gateway) = before_a_depot().await;
    let before = gateway.memory("VmRSS");
    for protocol in crate::support::BOTH {
        assert_eq!(download(&fixture, &gateway, protocol).await, volume(), "{protocol:?}");
        depot.taken.store(0, Ordering::Relaxed);
        upload(&fixture, &gateway, protocol).await;
        assert_eq!(depot.taken.load(Ordering::Relaxed), volume(), "{protocol:?}");
    }
    let grown = gateway.memory("VmHWM").saturating_sub(before);
    println!("moved 4 x {} MiB, grew by {} KiB", volume() >> 20, grown >> 10);
    assert!(grown < growth(), "it grew by {} KiB", grown >> 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_stops_the_upstream_and_goes_on_where_it_stopped() {
    for protocol in crate::support::BOTH {
        let (depot, fixture, gateway) = before_a_depot().await;
        let before = gateway.memory("VmRSS");
        let given = || depot.given.load(Ordering::Relaxed);
        let stopped = async || {
            let mut last = u64::MAX;
            eventually("the upstream is stopped", async || {
                let now = given();
                sleep(Duration::from_millis(200)).await;
                std::mem::replace(&mut last, now) == now && now > 0
            })
            .await;
            assert!(given() < ON_ITS_WAY.min(volume()), "{protocol:?}: {} MiB are on their way", given() >> 20);
            let grown = gateway.memory("VmHWM").saturating_sub(before);
            assert!(grown < growth(), "{protocol:?}: it grew by {} KiB", grown >> 10);
        };
        if protocol == Protocol::Http1 {
            let mut client = tls_connect(gateway.https, ACME, &fixture.ca.ca_pem(), &["http/1.1"], None).await.unwrap();
            let head = format!("GET /public/down HTTP/1.1\r\nHost: {ACME}\r\n\r\n");
            client.write_all(head.as_bytes()).await.unwrap();
            stopped().await;
            until(&mut client, "\r\n\r\n").await;
            let (mut got, mut bytes) = (0, vec![0; PIECE.len()]);
            while got < volume() {
                got += client.read(&mut bytes).await.unwrap() as u64;
            }
        } else {
            let mut client = super::http2_to(gateway.https, &fixture.ca.ca_pem()).await;
            let (response, _) = client.send_request(request("GET", "/public/down", &[]), true).unwrap();
            let mut body = response.await.unwrap().into_body();
            stopped().await;
            let mut got = 0;
            while let Some(data) = super::piece(&mut body).await {
                got += data.unwrap().len() as u64;
            }
            assert_eq!(got, volume());
        }
    }
}
