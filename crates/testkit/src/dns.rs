//! A real name server (knot), whose zone a test changes.

use std::{
    net::{SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

use crate::eventually;

/// The zone it serves; everything else it refuses.
const ZONE: &str = "test";

/// How often a port is picked: somebody may take it between the look and the start.
const TRIES: usize = 5;

/// A name server for the zone `test`. Dropped, it is killed.
pub struct DnsServer {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
    serial: AtomicU32,
}

impl DnsServer {
    /// Starts one whose zone is empty.
    ///
    /// # Panics
    /// When knot is not installed (`scripts/setup.sh --services`), or does not start.
    pub async fn start() -> Self {
        for _ in 0..TRIES {
            let folder = tempfile::tempdir().unwrap();
            let address = free_address();
            std::fs::create_dir(folder.path().join("db")).unwrap();
            std::fs::write(folder.path().join("knot.conf"), settings(folder.path(), address)).unwrap();
            std::fs::write(folder.path().join("test.zone"), zone(1, &[])).unwrap();
            let child = Command::new(program("knotd"))
                .arg("-c")
                .arg(folder.path().join("knot.conf"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("knotd is missing: run scripts/setup.sh --services");
            let mut server = Self { child, folder, address, serial: AtomicU32::new(1) };
            if server.started().await {
                return server;
            }
        }
        panic!("knotd did not start in {TRIES} tries");
    }

    /// Where it listens, over UDP and TCP.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces all records, such as `shop.example.test. 60 TXT "a" "b"`, and waits until they are served.
    ///
    /// # Panics
    /// When knot does not take them.
    pub fn serve(&self, records: &[&str]) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        std::fs::write(self.folder.path().join("test.zone"), zone(serial, records)).unwrap();
        let output = self.control(&["-b", "zone-reload", ZONE]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Answers nobody any more, as a name server that is cut off.
    ///
    /// # Panics
    /// When it goes on.
    pub async fn fall_silent(&self) {
        self.signal("-STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        // One thread hears of it and tells the others: until then they answer.
        eventually("every thread of knotd to stop", async || {
            std::fs::read_dir(&threads).unwrap().all(|thread| {
                let stat = std::fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
                stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
            })
        })
        .await;
    }

    /// Answers again.
    pub fn speak(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    async fn started(&mut self) -> bool {
        let (mut running, mut answers) = (true, false);
        eventually("knotd to start or to end", async || {
            running = self.child.try_wait().unwrap().is_none();
            answers = running && self.control(&["zone-status", ZONE]).output().unwrap().status.success();
            answers || !running
        })
        .await;
        answers
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("knotc"));
        command.arg("-c").arg(self.folder.path().join("knot.conf")).args(arguments);
        command
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address whose port is free for UDP and for TCP.
fn free_address() -> SocketAddr {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

/// Servers are not always on the path of who is not root.
fn program(name: &str) -> PathBuf {
    let sbin = Path::new("/usr/sbin").join(name);
    if sbin.exists() { sbin } else { name.into() }
}

fn settings(folder: &Path, address: SocketAddr) -> String {
    let (folder, port) = (folder.display(), address.port());
    format!(
        "server:
    rundir: \"{folder}\"
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
control:
    listen: \"{folder}/control\"
database:
    storage: \"{folder}/db\"
template:
  - id: default
    storage: \"{folder}\"
    zonefile-load: whole
    journal-content: none
zone:
  - domain: {ZONE}
    file: test.zone
"
    )
}

fn zone(serial: u32, records: &[&str]) -> String {
    let head = format!("{ZONE}. 60 SOA ns.{ZONE}. root.{ZONE}. {serial} 3600 600 86400 1\n{ZONE}. 60 NS ns.{ZONE}.\n");
    records.iter().fold(format!("{head}ns.{ZONE}. 60 A 127.0.0.1\n"), |zone, record| format!("{zone}{record}\n"))
}
