//! Redis servers of our own, to be killed, stopped and failed over.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use testkit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::process::{Process, free_port};

/// One server that keeps nothing on disk. Dropped, it is killed.
pub(crate) struct Redis {
    pub(crate) address: SocketAddr,
    folder: PathBuf,
    process: Option<Process>,
}

impl Redis {
    pub(crate) async fn start(folder: &Path) -> Self {
        let mut redis = Self { address: free_port(), folder: folder.to_owned(), process: None };
        redis.restart(&[]).await;
        redis
    }

    /// A replica that has what its primary has.
    pub(crate) async fn replica_of(primary: &Self) -> Self {
        let mut redis = Self { address: free_port(), folder: primary.folder.clone(), process: None };
        let port = primary.address.port().to_string();
        redis.restart(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]).await;
        eventually("the replica is in step", async || {
            redis.command("INFO replication").await.is_some_and(|info| info.contains("master_link_status:up"))
        })
        .await;
        redis
    }

    /// Makes a replica a primary of its own: what its old primary is told from now on is lost to it.
    pub(crate) async fn promote(&self) {
        assert_eq!(self.command("REPLICAOF NO ONE").await.as_deref(), Some("+OK\r\n"));
    }

    /// Ends it at once; it forgets everything.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again, empty, where it was.
    pub(crate) async fn restart(&mut self, arguments: &[&str]) {
        self.kill();
        let port = self.address.port().to_string();
        let folder = self.folder.display().to_string();
        let mut all =
            vec!["--dir", &folder, "--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        all.extend(["--maxmemory-policy", "noeviction", "--repl-diskless-sync-delay", "0"]);
        all.extend(arguments);
        self.process = Some(Process::run("redis-server", Path::new("redis-server"), &self.folder, &all, &[]));
        eventually("Redis answers", async || self.command("PING").await.as_deref() == Some("+PONG\r\n")).await;
    }

    /// Sends the server's process a signal.
    pub(crate) fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// What it answers to an inline command, as far as that comes in one piece.
    async fn command(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let mut answer = vec![0; 16 * 1024];
        let read = stream.read(&mut answer).await.ok()?;
        answer.truncate(read);
        String::from_utf8(answer).ok()
    }
}
