//! A key server over TLS that answers as it is told, badly if need be.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use testkit::TestCa;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// What the server answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A document, as JSON.
    Document(Value),
    /// These bytes, whatever they are.
    Raw(String),
    /// A head, and then a byte now and then.
    Drip,
    /// A head, and then bytes without end.
    Endless,
    /// Nothing.
    Silence,
}

impl Reply {
    /// A 200 of this media type.
    pub(crate) fn text(media: &str, body: &str) -> Self {
        Self::Raw(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ))
    }
}

/// What is answered at a path.
type Script = Box<dyn FnMut(&str) -> Reply + Send>;

/// Serves until it is dropped.
pub(crate) struct KeyServer {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) ca: PathBuf,
    replies: Arc<Mutex<Script>>,
    served: Arc<AtomicUsize>,
    task: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeyServer {
    pub(crate) async fn start() -> Self {
        Self::with(&TestCa::new(), None).await
    }

    /// With a certificate of another authority than the one that is trusted.
    pub(crate) async fn untrusted() -> Self {
        Self::with(&TestCa::new(), Some(&TestCa::new())).await
    }

    async fn with(trusted: &TestCa, signing: Option<&TestCa>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, trusted.ca_pem()).unwrap();
        let config = signing.unwrap_or(trusted).leaf(&["localhost", "127.0.0.1"]).server_config(&["http/1.1"]);
        let acceptor = TlsAcceptor::from(config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let replies: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_| Reply::Silence)));
        let served = Arc::new(AtomicUsize::new(0));
        let (script, count) = (Arc::clone(&replies), Arc::clone(&served));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (acceptor, script, count) = (acceptor.clone(), Arc::clone(&script), Arc::clone(&count));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let mut head = Vec::new();
                    let mut byte = [0];
                    while !head.ends_with(b"\r\n\r\n") {
                        if stream.read_exact(&mut byte).await.is_err() {
                            return;
                        }
                        head.push(byte[0]);
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap().to_owned();
                    let reply = script.lock().unwrap()(&path);
                    // Who was told enough hangs up: that is what is tested.
                    drop(answer(&mut stream, reply).await);
                    drop(stream.shutdown().await);
                });
            }
        });
        Self { address, ca, replies, served, task, _folder: folder }
    }

    /// From now on, what is answered at a path.
    pub(crate) fn answers(&self, reply: impl FnMut(&str) -> Reply + Send + 'static) {
        *self.replies.lock().unwrap() = Box::new(reply);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// Requests so far.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

async fn answer<S: tokio::io::AsyncWrite + Unpin>(stream: &mut S, reply: Reply) -> std::io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"keys\": [";
    match reply {
        Reply::Document(value) => {
            let Reply::Raw(text) = Reply::text("application/json; charset=utf-8", &value.to_string()) else {
                return Ok(());
            };
            stream.write_all(text.as_bytes()).await
        }
        Reply::Raw(text) => stream.write_all(text.as_bytes()).await,
        Reply::Drip => {
            stream.write_all(head).await?;
            loop {
                stream.write_all(b" ").await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Reply::Endless => {
            stream.write_all(head).await?;
            loop {
                stream.write_all(&[b' '; 4096]).await?;
            }
        }
        Reply::Silence => std::future::pending().await,
    }
}
