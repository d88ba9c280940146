//! The `gateway` command, as a shell sees it.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Output, Stdio},
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
    let folder = fixture.folder.path();
    std::fs::write(
        folder.join("gateway.yaml"),
        "listen: { https: \"localhost:0\", http: null, metrics: \"localhost:0\" }\nfeed: { file: edge.yaml }\n",
    )
    .unwrap();
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["--config", "gateway.yaml"])
        .current_dir(folder)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(gateway.stderr.take().unwrap());
    let mut said = String::new();
    let https = loop {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "it ended: {said}");
        if let Some((_, rest)) = said.split_once("\"https\":\"[") {
            break rest.split([',', ']']).next().unwrap().parse().unwrap();
        }
    };
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
    let pid = rustix::process::Pid::from_raw(gateway.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(gateway.wait().unwrap().success());
    log.read_to_string(&mut said).unwrap();
    let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let access: Vec<_> = lines.iter().filter(|line| line["target"] == "access").collect();
    assert_eq!(access.len(), 3, "{said}");
    let first = access[0];
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
