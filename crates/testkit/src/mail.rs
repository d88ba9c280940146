//! A real mail server (aiosmtpd) that keeps what it is given.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{TestCa, eventually};

/// The program.
const SINK: &str = include_str!("mail_sink.py");

/// How connections to it are kept from others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SinkTls {
    /// Not at all.
    None,
    /// By STARTTLS, which it demands.
    Starttls,
    /// From the first byte.
    Implicit,
}

/// What a server is like.
#[derive(Clone, Copy, Debug)]
pub struct SinkOptions<'s> {
    /// How connections are kept from others.
    pub tls: SinkTls,
    /// User name and password it demands.
    pub login: Option<(&'s str, &'s str)>,
    /// What it answers to a message: 250 when it takes it.
    pub answer: u16,
}

impl SinkOptions<'_> {
    /// Takes everything, in the clear.
    pub const OPEN: Self = Self { tls: SinkTls::None, login: None, answer: 250 };
}

/// A message as it was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The address of the envelope's sender.
    pub from: String,
    /// The addresses of its recipients.
    pub to: Vec<String>,
    /// Headers and body, as they were sent.
    pub data: String,
    /// Who had signed in.
    pub user: Option<String>,
}

/// A mail server. Dropped, it is killed.
pub struct MailSink {
    child: Child,
    port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    _folder: TempDir,
}

impl MailSink {
    /// Starts one whose certificate is for `localhost`, by this authority.
    ///
    /// # Panics
    /// When Python's aiosmtpd is not installed (`scripts/setup.sh --services`), or does not start.
    pub fn start(options: SinkOptions<'_>, ca: &TestCa) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let leaf = ca.leaf(&["localhost"]);
        let (certificate, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        std::fs::write(&certificate, &leaf.chain_pem).unwrap();
        std::fs::write(&key, &leaf.key_pem).unwrap();
        let tls = match options.tls {
            SinkTls::None => "none",
            SinkTls::Starttls => "starttls",
            SinkTls::Implicit => "implicit",
        };
        let settings = json!({
            "tls": tls, "certificate": certificate, "key": key, "answer": options.answer,
            "login": options.login.map(|(user, password)| vec![user, password]),
        });
        // The system's own, for which its packages are, before others on the path.
        let python = ["/usr/bin/python3"].into_iter().find(|path| Path::new(path).exists()).unwrap_or("python3");
        let mut child = Command::new(python)
            .args(["-c", SINK, &settings.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is missing: run scripts/setup.sh --services");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let port = first.strip_prefix("PORT ").and_then(|port| port.parse().ok());
        let Some(port) = port else {
            _ = child.wait();
            panic!("aiosmtpd is missing or did not start: run scripts/setup.sh --services");
        };
        let taken = Arc::<Mutex<Vec<Taken>>>::default();
        let kept = Arc::clone(&taken);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().push(read(&line));
            }
        });
        Self { child, port, taken, _folder: folder }
    }

    /// Where it listens, on loopback.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What it took until now.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().clone()
    }

    /// What it took, once there are so many.
    ///
    /// # Panics
    /// When there are not in time.
    pub async fn messages(&self, wanted: usize) -> Vec<Taken> {
        eventually("the mail server to take the mail", async || self.taken.lock().len() >= wanted).await;
        self.taken()
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn read(line: &str) -> Taken {
    let value: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Taken {
        from: text("from").unwrap(),
        to: value["to"].as_array().unwrap().iter().map(|to| to.as_str().unwrap().to_owned()).collect(),
        data: text("data").unwrap(),
        user: text("user"),
    }
}
