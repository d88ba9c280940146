//! The `gateway` command as a process of its own, before the upstream of a fixture.

use std::{net::SocketAddr, process::Stdio};

use testkit::PATIENCE;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::support::Fixture;

/// A gateway that runs. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    pub(crate) https: SocketAddr,
    pub(crate) metrics: SocketAddr,
}

impl Process {
    /// One that reads the fixture's declarative file, at these ports and with these further settings.
    pub(crate) async fn start(fixture: &Fixture, https: u16, more: &str) -> Self {
        Self::serving(fixture, &configured(https, more), &[]).await.expect("the gateway serves")
    }

    /// One with this configuration and these further arguments; what it said last if it does not come to serve.
    pub(crate) async fn serving(fixture: &Fixture, config: &str, arguments: &[&str]) -> Result<Self, String> {
        let folder = fixture.folder.path();
        let file = tempfile::Builder::new().suffix(".yaml").tempfile_in(folder).unwrap();
        std::fs::write(file.path(), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .arg("--config")
            .arg(file.path())
            .args(arguments)
            .current_dir(folder)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = String::new();
        let served = async {
            while let Some(line) = log.next_line().await.unwrap() {
                let line_of_json: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if line_of_json["message"] == "serving" {
                    return Some((address(&line_of_json["https"]), address(&line_of_json["metrics"])));
                }
                said = format!("{said}{line}\n");
            }
            None
        };
        let served = timeout(PATIENCE, served).await.expect("it neither serves nor ends");
        let Some((https, metrics)) = served else { return Err(said) };
        // A pipe that nobody reads would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Ok(Self { child, https, metrics })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Whether it ends by itself, well.
    pub(crate) async fn ended(&mut self) -> bool {
        timeout(PATIENCE, self.child.wait()).await.expect("it goes on").unwrap().success()
    }

    /// A line of `/proc/PID/status`, in bytes.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let value = status.lines().find_map(|it| it.strip_prefix(line)?.strip_suffix("kB")).unwrap();
        value.trim_matches([':', '\t', ' ']).parse::<u64>().unwrap() << 10
    }
}

/// A configuration for the fixture's declarative file.
pub(crate) fn configured(https: u16, more: &str) -> String {
    format!(
        "listen: {{ https: \"127.0.0.1:{https}\", http: null, metrics: \"127.0.0.1:0\" }}\nfeed: {{ file: edge.yaml }}\n\
         limits: {{ address: {{ rps: 100000, burst: 100000 }}, address_handshakes: {{ rps: 100000, burst: 100000 }} }}\n{more}"
    )
}

/// The first of a list of addresses as it is logged.
fn address(logged: &serde_json::Value) -> SocketAddr {
    let text = logged.as_str().unwrap_or_default();
    text.trim_matches(['[', ']']).split(',').next().unwrap_or_default().parse().unwrap()
}
