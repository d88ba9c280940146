//! The `gateway` command, as a shell sees it.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use testkit::raw::{self, Response};

use crate::support::{ACME, ACME_ID, Ask, Fixture, http1};

fn gateway(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway")).args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn check_names_every_mistake_by_key_path_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("gateway.yaml"),
        "listen:\n  https: nowhere\n  htps: 1\nfeed: {}\nlimits: { tenant: { rps: 0, burst: 1 } }\n",
    )
    .unwrap();
    for arguments in [["check", "gateway.yaml"], ["--config", "gateway.yaml"]] {
        let output = gateway(&arguments, folder.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("listen.htps"), "{said}");
        assert!(said.contains("limits.tenant.rps"), "{said}");
    }
}

#[test]
fn check_wants_exactly_one_feed() {
    let folder = tempfile::tempdir().unwrap();
    for feed in ["{}", "{ file: a.yaml, control_api: { url: \"https://x:1\" } }"] {
        std::fs::write(folder.path().join("gateway.yaml"), format!("feed: {feed}\n")).unwrap();
        let output = gateway(&["check", "gateway.yaml"], folder.path());
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("feed: "));
    }
}

#[test]
fn check_refuses_a_threshold_that_every_token_is_under() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("edge.yaml"), "tenants:\n  - { slug: acme }\n").unwrap();
    for (threshold, code) in [("0s", 0), ("1d", 0), ("25h", 2)] {
        let text = format!("feed: {{ file: edge.yaml }}\ntokens: {{ refresh_threshold: {threshold} }}\n");
        std::fs::write(folder.path().join("gateway.yaml"), text).unwrap();
        let output = gateway(&["check", "gateway.yaml"], folder.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{threshold}: {said}");
        assert_eq!(said.contains("tokens.refresh_threshold"), code == 2, "{said}");
    }
}

#[test]
fn check_reads_the_declarative_file_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), "feed: { file: edge.yaml }\n").unwrap();
    std::fs::write(folder.path().join("edge.yaml"), "tenants:\n  - { slug: acme }\n").unwrap();
    let output = gateway(&["check", "gateway.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(folder.path().join("edge.yaml"), "tenants:\n  - { slug: \"A B\" }\n").unwrap();
    let output = gateway(&["check", "gateway.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("edge.yaml:2"));
}

#[test]
fn a_missing_file_and_an_unknown_option_exit_with_2_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = gateway(&["--config", "absent.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    assert_eq!(gateway(&["--unknown"], folder.path()).status.code(), Some(2));
    assert_eq!(gateway(&["--version"], folder.path()).status.code(), Some(0));
}

#[tokio::test]
async fn serves_until_told_to_stop_and_logs_one_line_a_request_without_secrets() {
    let fixture = Fixture::start().await;
    let gateway = Gateway::start(fixture.folder.path());
    let https = gateway.https;
    // This process has the machine's clock.
    let now = domain::Clock::unix_now(&link::clock::SystemClock);
    let token = fixture.issuer.mint(fixture.issuer.external_claims(now).set("tid", ACME_ID).set("roles", ["member"]));
    for ask in [
        Ask::get("/orders?password=hunter2").bearer(&token),
        Ask::get("/orders?password=hunter2").header("cookie", "session=hunter2"),
        Ask::get("/echo/x").method("POST").bearer(&token).body(b"hunter2"),
    ] {
        let answer = raw::tls_http1(https, ACME, &fixture.ca.ca_pem(), &http1(&ask)).await.unwrap();
        assert!(matches!(Response::parse(&answer).status, 200 | 401));
    }
    gateway.terminate();
    let (said, access) = gateway.rest();
    assert_eq!(access.len(), 3, "{said}");
    let first = &access[0];
    assert_eq!(first["decision"], "permit");
    assert_eq!(first["tenant.id"], ACME_ID);
    assert_eq!(first["route.pattern"], "/orders");
    assert_eq!(first["http.status"], 200);
    for field in ["request.id", "principal", "decide.duration_us", "upstream.duration_us", "request.duration_us"] {
        assert!(!first[field].is_null(), "{field}: {first}");
    }
    assert!(!said.contains("hunter2"), "{said}");
    assert!(!said.contains(&token), "{said}");
}

/// A pipe takes 64 KiB, and nobody empties this one while requests are served.
#[tokio::test]
async fn serves_on_when_nobody_reads_its_log_and_loses_no_line_that_fits_its_buffer() {
    const REQUESTS: usize = 1_000;
    let fixture = Fixture::start().await;
    let gateway = Gateway::start(fixture.folder.path());
    let mut connection = raw::Connection::tls(gateway.https, ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    let request = http1(&Ask::get("/public/x"));
    for _ in 0..REQUESTS {
        // Most of them are more than one address may ask for, which is a line, too.
        assert!(matches!(Response::parse(&connection.exchange(&request).await.unwrap()).status, 200 | 429));
    }
    drop(connection);
    gateway.terminate();
    let (said, access) = gateway.rest();
    assert_eq!(access.len(), REQUESTS, "{} bytes", said.len());
    assert!(said.len() > 2 * 64 * 1024, "{} bytes are no more than a pipe takes", said.len());
}

#[tokio::test]
async fn who_closes_early_writes_no_error_into_the_log() {
    let fixture = Fixture::start().await;
    let gateway = Gateway::start(fixture.folder.path());
    for begun in [
        "GET /public/x HTTP/1.1\r\nHost: ",
        "nonsense\r\n\r\n",
        "POST /public/x HTTP/1.1\r\nHost: acme.example.test\r\nContent-Length: 9\r\n\r\nx",
    ] {
        let mut client = raw::Connection::tls(gateway.https, ACME, &fixture.ca.ca_pem(), None).await.unwrap();
        client.send(begun.as_bytes()).await.unwrap();
    }
    let mut connection = raw::Connection::tls(gateway.https, ACME, &fixture.ca.ca_pem(), None).await.unwrap();
    assert_eq!(Response::parse(&connection.exchange(&http1(&Ask::get("/public/x"))).await.unwrap()).status, 200);
    drop(connection);
    gateway.terminate();
    let (said, access) = gateway.rest();
    assert!(access.iter().any(|line| line["http.status"] == 200), "{said}");
    assert!(!said.contains("pingora"), "{said}");
}

/// A gateway in a process of its own, and what it says.
struct Gateway {
    process: Child,
    log: BufReader<ChildStderr>,
    said: String,
    https: SocketAddr,
}

impl Gateway {
    /// With the declarative file of a folder; returns when it serves.
    fn start(folder: &Path) -> Self {
        std::fs::write(
            folder.join("gateway.yaml"),
            "listen: { https: \"localhost:0\", http: null, metrics: \"localhost:0\" }\nfeed: { file: edge.yaml }\n",
        )
        .unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--config", "gateway.yaml"])
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut said = String::new();
        let https = loop {
            assert_ne!(log.read_line(&mut said).unwrap(), 0, "it ended: {said}");
            if let Some((_, rest)) = said.split_once("\"https\":\"[") {
                break rest.split([',', ']']).next().unwrap().parse().unwrap();
            }
        };
        Self { process, log, said, https }
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Everything it said until it ended well, and the lines of requests among it.
    fn rest(mut self) -> (String, Vec<serde_json::Value>) {
        self.log.read_to_string(&mut self.said).unwrap();
        assert!(self.process.wait().unwrap().success());
        let lines = self.said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let access = lines.filter(|line| line["target"] == "access").collect();
        (self.said, access)
    }
}
