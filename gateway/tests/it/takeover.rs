//! A new process takes the place of an old one while everything goes on.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use testkit::{
    Canary, TestCa, eventually,
    raw::{Connection, Response, tls_connect},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
    time::sleep,
};

use crate::{
    process::{Process, configured},
    protocols::{http2_to, request},
    support::{ACME, Ask, Fixture, http1},
};

const HANDOVER: &str = "handover: { socket: handover.sock }\nshutdown_notice: 1s\n";

/// Answers every request with 200 and echoes what comes on a WebSocket.
async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream));
    }
}

/// Ends with the connection.
async fn answer(mut stream: TcpStream) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        if String::from_utf8_lossy(&head).to_ascii_lowercase().contains("upgrade: websocket") {
            let switching = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            stream.write_all(switching.as_bytes()).await.ok()?;
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok()?;
            return None;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok()?;
    }
}

async fn fixture() -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("peers: [\"{}\"], plaintext: true", listener.local_addr().unwrap());
    tokio::spawn(echo(listener));
    Fixture::with(Canary::start().await, TestCa::new(), &upstream, "").await
}

/// Clients of each kind that go on until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(edge: SocketAddr, ca: &str) -> Self {
        let mut load = Self { stop: Arc::default(), served: Arc::default(), clients: JoinSet::new() };
        for _ in 0..3 {
            let (stop, served) = (Arc::clone(&load.stop), Arc::clone(&load.served));
            load.clients.spawn(keeps_its_connection(edge, ca.to_owned(), stop, served));
            let (stop, served) = (Arc::clone(&load.stop), Arc::clone(&load.served));
            load.clients.spawn(connects_anew(edge, ca.to_owned(), stop, served));
            let (stop, served) = (Arc::clone(&load.stop), Arc::clone(&load.served));
            load.clients.spawn(speaks_http2(edge, ca.to_owned(), stop, served));
        }
        load
    }

    /// Waits for so many more answers.
    async fn answered(&self, more: usize) {
        let until = self.served.load(Ordering::Relaxed) + more;
        eventually("the clients go on", async || self.served.load(Ordering::Relaxed) >= until).await;
    }

    /// Ends the clients; each that met a failure has panicked.
    async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("no request fails");
        }
    }
}

async fn keeps_its_connection(edge: SocketAddr, ca: String, stop: Arc<AtomicBool>, served: Arc<AtomicUsize>) {
    let request = http1(&Ask::get("/public/kept"));
    while !stop.load(Ordering::Relaxed) {
        let mut client = Connection::tls(edge, ACME, &ca, None).await.unwrap();
        loop {
            let answer = Response::parse(&client.exchange(&request).await.unwrap());
            assert_eq!(answer.status, 200, "on a kept connection");
            served.fetch_add(1, Ordering::Relaxed);
            if answer.header("connection") == Some("close") || stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
}

async fn connects_anew(edge: SocketAddr, ca: String, stop: Arc<AtomicBool>, served: Arc<AtomicUsize>) {
    let request = http1(&Ask::get("/public/new"));
    while !stop.load(Ordering::Relaxed) {
        let answer = testkit::raw::tls_http1(edge, ACME, &ca, &request).await.unwrap();
        assert_eq!(Response::parse(&answer).status, 200, "on a new connection");
        served.fetch_add(1, Ordering::Relaxed);
    }
}

async fn speaks_http2(edge: SocketAddr, ca: String, stop: Arc<AtomicBool>, served: Arc<AtomicUsize>) {
    while !stop.load(Ordering::Relaxed) {
        let mut client = http2_to(edge, &ca).await;
        // Not ready: the server has said GOAWAY, and there is a new connection to be had.
        while let Ok(mut ready) = client.ready().await {
            let (answer, _) = ready.send_request(request("GET", "/public/h2", &[]), true).unwrap();
            match answer.await {
                Ok(answer) => assert_eq!(answer.status(), 200, "over HTTP/2"),
                // Sent while the GOAWAY was on its way: it says that this one was not looked at, and every client asks
                // again by itself (RFC 9113 §6.8).
                Err(error) => {
                    assert!(error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR), "{error}");
                    break;
                }
            }
            served.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                return;
            }
            client = ready;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_one_process_after_the_other_takes_over() {
    let fixture = fixture().await;
    let ca = fixture.ca.ca_pem();
    let mut old = Process::start(&fixture, 0, HANDOVER).await;
    let edge = old.https;
    let load = Load::start(edge, &ca);
    for _ in 0..3 {
        load.answered(60).await;
        let mut socket = tls_connect(edge, ACME, &ca, &["http/1.1"], None).await.unwrap();
        let upgrade = Ask::get("/public/ws").header("connection", "upgrade").header("upgrade", "websocket");
        socket.write_all(&http1(&upgrade)).await.unwrap();
        assert!(super::protocols::until(&mut socket, "\r\n\r\n").await.starts_with("HTTP/1.1 101"));

        let config = configured(edge.port(), HANDOVER);
        let new = Process::serving(&fixture, &config, &["--take-over"]).await.unwrap();
        assert_eq!((new.https, new.metrics), (edge, old.metrics));
        let readiness = testkit::raw::http1(new.metrics, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(Response::parse(&readiness.unwrap()).status, 200, "whoever answers is ready");
        load.answered(60).await;
        // Longer than clients are given to come again.
        sleep(Duration::from_millis(1500)).await;
        socket.write_all(b"still there!").await.unwrap();
        assert_eq!(super::protocols::until(&mut socket, "!").await, "still there!");
        assert!(old.runs(), "it ends with what is open");
        drop(socket);
        assert!(old.ended().await, "the old process ends by itself");
        old = new;
    }
    load.answered(60).await;
    load.end().await;
    let mode = std::fs::metadata(fixture.folder.path().join("handover.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_request_that_is_being_served_is_answered_and_its_client_told_to_come_again() {
    let canary = Canary::start().await;
    let upstream = format!("peers: [\"{}\"], plaintext: true", canary.addr());
    let fixture = Fixture::with(canary, TestCa::new(), &upstream, "").await;
    let mut old = Process::start(&fixture, 0, HANDOVER).await;
    fixture.canary.answer_after(Duration::from_secs(2));
    let mut client = Connection::tls(old.https, ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    client.send(&http1(&Ask::get("/public/slow"))).await.unwrap();
    fixture.canary.next().await;
    let config = configured(old.https.port(), HANDOVER);
    let _new = Process::serving(&fixture, &config, &["--take-over"]).await.unwrap();
    let answer = Response::parse(&client.response().await.unwrap());
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(old.ended().await);
}

#[tokio::test]
async fn a_process_that_does_not_come_to_serve_leaves_everything_as_it_was() {
    let fixture = fixture().await;
    let ca = fixture.ca.ca_pem();
    let mut old = Process::start(&fixture, 0, HANDOVER).await;
    let port = old.https.port();
    let broken = fixture.folder.path().join("broken.yaml");
    std::fs::write(&broken, "tenants:\n  - { slug: \"A B\" }\n").unwrap();
    for (config, why) in [
        (configured(port, "handover: { sockt: handover.sock }\n"), "sockt"),
        (configured(port, ""), "handover.socket"),
        (configured(port, "handover: { socket: elsewhere.sock }\n"), "elsewhere.sock"),
        (configured(port, HANDOVER).replace("edge.yaml", "broken.yaml"), "broken.yaml:2"),
        (configured(port, HANDOVER).replace("edge.yaml", "absent.yaml"), "absent.yaml"),
    ] {
        let said = Process::serving(&fixture, &config, &["--take-over"]).await.err().expect(why);
        assert!(said.contains(why), "{said}");
    }
    // One that asks for the sockets and dies, and one that says something else.
    for word in ["", "nonsense\n"] {
        let mut stranger = UnixStream::connect(fixture.folder.path().join("handover.sock")).await.unwrap();
        stranger.write_all(b"take-over\n").await.unwrap();
        let mut hello = [0; 16];
        stranger.read_exact(&mut hello).await.unwrap();
        stranger.write_all(word.as_bytes()).await.unwrap();
    }
    // One that says nothing is given nothing, and is not waited for.
    let silent = UnixStream::connect(fixture.folder.path().join("handover.sock")).await.unwrap();
    let answer = testkit::raw::tls_http1(old.https, ACME, &ca, &http1(&Ask::get("/public/x"))).await.unwrap();
    assert_eq!(Response::parse(&answer).status, 200);
    assert!(old.runs());
    // And it can still be done.
    let _new = Process::serving(&fixture, &configured(port, HANDOVER), &["--take-over"]).await.unwrap();
    assert!(old.ended().await);
    drop(silent);
}

/// A process that offers its place, gives up who would take it before that one is ready, and goes on, or ends.
async fn gives_up(fixture: &Fixture, goes_on: bool) -> Result<Process, String> {
    let path = fixture.folder.path().join("handover.sock");
    drop(std::fs::remove_file(&path));
    let offer = UnixListener::bind(&path).unwrap();
    let old = async {
        let (mut heir, _) = offer.accept().await.unwrap();
        let mut word = [0; 10];
        heir.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"take-over\n");
        heir.write_all(b"{\"version\":1,\"listeners\":[],\"proven\":true,\"status\":null}\n").await.unwrap();
        drop(heir);
        if goes_on { Some(offer) } else { None }
    };
    let config = configured(0, HANDOVER);
    let (new, _offer) = tokio::join!(Process::serving(fixture, &config, &["--take-over"]), old);
    new
}

#[tokio::test]
async fn never_do_two_processes_serve() {
    let fixture = fixture().await;
    let said = gives_up(&fixture, true).await.err().expect("it ends");
    assert!(said.contains("given this one up"), "{said}");
    let new = gives_up(&fixture, false).await.expect("where nobody serves, it does");
    let answer = testkit::raw::tls_http1(new.https, ACME, &fixture.ca.ca_pem(), &http1(&Ask::get("/public/x"))).await;
    assert_eq!(Response::parse(&answer.unwrap()).status, 200);
}

#[tokio::test]
async fn a_second_process_that_does_not_take_over_finds_the_port_in_use() {
    let fixture = fixture().await;
    let mut old = Process::start(&fixture, 0, HANDOVER).await;
    let said = Process::serving(&fixture, &configured(old.https.port(), HANDOVER), &[]).await.err().unwrap();
    assert!(said.contains("listen.https"), "{said}");
    assert!(old.runs());
    let _new = Process::serving(&fixture, &configured(old.https.port(), HANDOVER), &["--take-over"]).await.unwrap();
    assert!(old.ended().await, "its offer was not disturbed");
}
