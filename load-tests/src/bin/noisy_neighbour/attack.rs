//! The noisy tenant: each way in which it asks for more than its share.

use std::{
    collections::BTreeMap,
    fmt,
    io::BufRead as _,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use load_tests::{Alpn, Connection, Edge};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt as _, task::JoinSet, time::sleep};

/// How many addresses it comes from: limits by address shall not be what saves the neighbours.
const ADDRESSES: u32 = 40;

/// What is asked for too often.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Requests with a good token.
    Requests,
    /// Requests with forged tokens, each another.
    ForgedTokens,
    /// Requests with API keys that there are not, each another.
    UnknownKeys,
    /// Requests to sign in, with names that there are not.
    SignIns,
    /// TLS handshakes, nothing resumed.
    Handshakes,
    /// Uploads that come a byte at a time.
    SlowBodies,
    /// HTTP/2 streams that stay open.
    OpenStreams,
    /// None: a program that has nothing to do with the node computes on its cores, whenever the node leaves them free. What
    /// this does to the quiet tenant is the machine's doing, and as much of what an attack that makes the node compute does.
    BusyProgram,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Requests,
        Self::ForgedTokens,
        Self::UnknownKeys,
        Self::SignIns,
        Self::Handshakes,
        Self::SlowBodies,
        Self::OpenStreams,
        Self::BusyProgram,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Requests => "requests",
            Self::ForgedTokens => "forged tokens",
            Self::UnknownKeys => "unknown API keys",
            Self::SignIns => "sign-ins",
            Self::Handshakes => "handshakes",
            Self::SlowBodies => "slow bodies",
            Self::OpenStreams => "open streams",
            Self::BusyProgram => "no attack, a busy program",
        };
        f.write_str(name)
    }
}

/// Whom to attack, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    pub(crate) edge: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) host: String,
    pub(crate) token: String,
    pub(crate) per_second: u32,
    pub(crate) at_once: u32,
}

/// How often each thing happened: an answer's status, or why there was none.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

impl Counts {
    fn add(&self, what: impl fmt::Display) {
        *self.0.lock().entry(what.to_string()).or_default() += 1;
    }
}

/// Attacks until standard input ends, then prints what it was answered.
pub(crate) async fn run() -> anyhow::Result<()> {
    let plan: Plan = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        anyhow::Ok(serde_json::from_str(&line)?)
    })
    .await??;
    let counts = Counts::default();
    let edge = Edge::new(plan.edge, &plan.ca_pem)?;
    if plan.kind == Kind::BusyProgram {
        std::thread::spawn(compute);
    }
    let workers = match plan.kind {
        Kind::BusyProgram => 0,
        Kind::SlowBodies | Kind::OpenStreams => ADDRESSES,
        _ => 2 * ADDRESSES,
    };
    for number in 0..workers {
        let (plan, edge, counts) = (plan.clone(), edge.clone(), counts.clone());
        // 127.1.0.0/16: one address for each two workers.
        let from = Ipv4Addr::from(0x7f01_0001 + number % ADDRESSES);
        tokio::spawn(async move {
            loop {
                let attacked = match plan.kind {
                    Kind::Handshakes => handshakes(&plan, &edge, from, workers, &counts).await,
                    Kind::SlowBodies => slow_bodies(&plan, &edge, from, workers, &counts).await,
                    Kind::OpenStreams => open_streams(&plan, &edge, from, workers, &counts).await,
                    _ => requests(&plan, &edge, from, workers, &counts).await,
                };
                if let Err(error) = attacked {
                    counts.add(error);
                }
                sleep(Duration::from_millis(200)).await;
            }
        });
    }
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())).await??;
    println!("{}", serde_json::to_string(&*counts.0.lock())?);
    // Thousands of connections are open: ending the process is the quickest way to close them.
    std::process::exit(0);
}

/// Half of a core, in stretches as long as hashing a password takes.
fn compute() {
    loop {
        let until = std::time::Instant::now() + Duration::from_millis(25);
        while std::time::Instant::now() < until {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// This worker's part of the rate, as the time between two.
fn pace(plan: &Plan, workers: u32) -> tokio::time::Interval {
    let mut pace = tokio::time::interval(Duration::from_secs(1) * workers / plan.per_second);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    pace
}

async fn requests(plan: &Plan, edge: &Edge, from: Ipv4Addr, workers: u32, counts: &Counts) -> anyhow::Result<()> {
    let mut pace = pace(plan, workers);
    let mut connection = edge.connect(&plan.host, Alpn::Http1, from).await.context("no connection")?;
    while !connection.is_closed() {
        pace.tick().await;
        let answer = ask(plan, &mut connection).await.context("no answer")?;
        counts.add(answer);
    }
    Ok(())
}

async fn ask(plan: &Plan, connection: &mut Connection) -> anyhow::Result<u16> {
    let random = uuid::Uuid::new_v4().simple();
    if plan.kind == Kind::SignIns {
        let body = format!(r#"{{"username": "{random}", "password": "P7-wrong-wrong-wrong"}}"#);
        let path = "/api/v1/tenant/auth/login";
        let json = [("content-type", "application/json")];
        return Ok(connection.call(http::Method::POST, path, &json, body.into()).await?.status.as_u16());
    }
    let bearer = match plan.kind {
        Kind::ForgedTokens => {
            let (signed, _) = plan.token.rsplit_once('.').context("no token")?;
            // As long as a signature with ES256, and never right.
            format!("Bearer {signed}.{random}{random}{}", "A".repeat(22))
        }
        Kind::UnknownKeys => format!("Bearer {}", unknown_key()),
        _ => format!("Bearer {}", plan.token),
    };
    Ok(connection.get("/demo/me", &[("authorization", &bearer)]).await?.status.as_u16())
}

/// A key whose form and checksum are right (`docs/api-keys.md`), so that somebody has to look for it.
fn unknown_key() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let random = [0; 5].map(|_: u8| uuid::Uuid::new_v4().into_bytes()).concat();
    let letters: String = random.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let key = format!("pck_{}_{}", &letters[..16], &letters[16..68]);
    format!("{key}_{:08x}", crc32fast::hash(key.as_bytes()))
}

async fn handshakes(plan: &Plan, edge: &Edge, from: Ipv4Addr, workers: u32, counts: &Counts) -> anyhow::Result<()> {
    let mut pace = pace(plan, workers);
    loop {
        pace.tick().await;
        match edge.stream(&plan.host, Alpn::Http1, from).await {
            Ok(_) => counts.add("made"),
            Err(_) => counts.add("refused"),
        }
    }
}

/// Each worker keeps its part of the uploads going.
async fn slow_bodies(plan: &Plan, edge: &Edge, from: Ipv4Addr, workers: u32, counts: &Counts) -> anyhow::Result<()> {
    let mut uploads = JoinSet::new();
    for _ in 0..plan.at_once.div_ceil(workers) {
        let (plan, edge, counts) = (plan.clone(), edge.clone(), counts.clone());
        uploads.spawn(async move {
            loop {
                match upload(&plan, &edge, from, &counts).await {
                    Ok(()) => counts.add("closed"),
                    Err(error) => counts.add(error),
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
    uploads.join_all().await;
    Ok(())
}

async fn upload(plan: &Plan, edge: &Edge, from: Ipv4Addr, counts: &Counts) -> anyhow::Result<()> {
    let mut stream = edge.stream(&plan.host, Alpn::Http1, from).await.context("no connection")?;
    let head = format!(
        "POST /demo/echo/slow HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-length: 1000000\r\n\r\n",
        plan.host, plan.token
    );
    stream.write_all(head.as_bytes()).await?;
    counts.add("begun");
    while stream.write_all(b"x").await.is_ok() && stream.flush().await.is_ok() {
        sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// Each worker keeps its part of the streams open, each on a connection of its own.
async fn open_streams(plan: &Plan, edge: &Edge, from: Ipv4Addr, workers: u32, counts: &Counts) -> anyhow::Result<()> {
    let mut streams = JoinSet::new();
    for _ in 0..plan.at_once.div_ceil(workers) {
        let (plan, edge, counts) = (plan.clone(), edge.clone(), counts.clone());
        streams.spawn(async move {
            loop {
                if let Err(error) = open_stream(&plan, &edge, from, &counts).await {
                    counts.add(error);
                }
                sleep(Duration::from_secs(1)).await;
            }
        });
    }
    streams.join_all().await;
    Ok(())
}

async fn open_stream(plan: &Plan, edge: &Edge, from: Ipv4Addr, counts: &Counts) -> anyhow::Result<()> {
    let mut connection = edge.connect(&plan.host, Alpn::Http2, from).await.context("no connection")?;
    let bearer = format!("Bearer {}", plan.token);
    loop {
        counts.add("asked");
        let path = "/demo/echo/stream?upstream=hang";
        let answer = connection.get(path, &[("authorization", &bearer)]).await.context("no answer")?;
        counts.add(answer.status);
        sleep(Duration::from_secs(1)).await;
    }
}
