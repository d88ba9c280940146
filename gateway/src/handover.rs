//! A new process takes the place of an old one, and no connection is lost.
//!
//! ```text
//! old   serves ───── gives its sockets ── serves ──── serves ──── says "go" ── ends what it has, exits
//! new        asks ──┘    snapshot, proof of freshness ── says "ready" ──┘  └── accepts
//! ```
//!
//! Both have the *same* sockets, so that no connection waits in a queue that is closed. Until the new process says that
//! it is ready, the old one does as if nothing had happened: a new binary or configuration that is no good ends, and is
//! forgotten. One that was given up is not told to go, and ends: never do two processes accept.
//!
//! While both live they are one gateway to the control plane, which believes what a gateway reports. So the old process
//! reports no more, tells the new one how far it is, and the new one reports what *both* have applied: a call that revokes
//! waits for the slower of them.

mod wire;

use std::{
    fs, io,
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use authn::Lease;
use link::log::{GatewayStatus, LogFollower};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::watch,
    time::{sleep, timeout},
};

use crate::proxy::Shared;

/// What the two say to each other. A process that does not speak it is not taken over from.
const VERSION: u32 = 1;

/// What a successor says first, before it is given anything.
const TAKE_OVER: &str = "take-over";

/// What a successor says when it could accept connections.
const READY: &str = "ready";

/// What it is told then, and the old process accepts no more.
const GO: &str = "go";

/// How long a successor may take to get ready before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Longest time for a word that is expected at once.
const WORD: Duration = Duration::from_secs(5);

/// Longest time for the sockets: somebody who says nothing may be before us.
const SOCKETS: Duration = Duration::from_secs(30);

/// How often the old process says how far it is, when that has changed.
const TELLING: Duration = Duration::from_millis(20);

/// Why a place cannot be taken, or offered.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum HandoverError {
    #[error("no gateway offers its place at `{}`", path.display())]
    Nobody { path: PathBuf, source: io::Error },
    #[error("the gateway at `{}` does not give its sockets", path.display())]
    Refused { path: PathBuf, source: io::Error },
    #[error("the gateway at `{}` speaks version {theirs} of the hand-over; this one speaks {VERSION}", path.display())]
    Version { path: PathBuf, theirs: u32 },
    #[error("`{}` (`handover.socket`) cannot be listened on", path.display())]
    Offer { path: PathBuf, source: io::Error },
    #[error("the place of the running gateway is not taken: {0}")]
    NotReady(&'static str),
}

/// What the old process says first. The sockets come with it, in this order.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    version: u32,
    /// The configuration's key of each socket.
    listeners: Vec<String>,
    /// Whether it can prove now that it knows of every revocation.
    proven: bool,
    /// How far it is; none without a control plane.
    status: Option<GatewayStatus>,
}

/// What a process was given by the one whose place it takes.
#[derive(Debug)]
pub struct Inherited {
    listeners: Vec<(String, TcpListener)>,
    /// Whether the old process holds a lease.
    pub(crate) proven: bool,
    /// How far the old process is; none once it is gone.
    pub(crate) beside: watch::Receiver<Option<GatewayStatus>>,
    told_to_go: watch::Receiver<bool>,
    stream: tokio::net::unix::OwnedWriteHalf,
    path: PathBuf,
}

impl Inherited {
    /// Asks the gateway that offers its place at `path` for its sockets. It goes on serving.
    ///
    /// # Errors
    /// [`HandoverError`]: nobody is there, or it does not give them.
    pub async fn ask(path: &Path) -> Result<Self, HandoverError> {
        let refused = |source| HandoverError::Refused { path: path.into(), source };
        let nobody = |source| HandoverError::Nobody { path: path.into(), source };
        let mut stream = UnixStream::connect(path).await.map_err(nobody)?;
        if !is_ours(&stream).map_err(refused)? {
            return Err(refused(io::Error::new(io::ErrorKind::PermissionDenied, "it runs as another user")));
        }
        stream.write_all(format!("{TAKE_OVER}\n").as_bytes()).await.map_err(refused)?;
        let late = |_| refused(io::ErrorKind::TimedOut.into());
        let (words, sockets) = timeout(SOCKETS, wire::receive(&stream)).await.map_err(late)?.map_err(refused)?;
        let hello: Hello = serde_json::from_slice(&words).map_err(|error| refused(error.into()))?;
        if hello.version != VERSION {
            return Err(HandoverError::Version { path: path.into(), theirs: hello.version });
        }
        let (read, stream) = stream.into_split();
        let (told, beside) = watch::channel(hello.status);
        let (go, told_to_go) = watch::channel(false);
        tokio::spawn(async move {
            let mut lines = BufReader::new(read).lines();
            // Ends with the old process.
            while let Ok(Some(line)) = lines.next_line().await {
                if line == GO {
                    go.send_replace(true);
                } else if let Ok(status) = serde_json::from_str(&line) {
                    told.send_replace(Some(status));
                }
            }
            told.send_replace(None);
        });
        let listeners = hello.listeners.into_iter().zip(sockets).collect();
        Ok(Self { listeners, proven: hello.proven, beside, told_to_go, stream, path: path.into() })
    }

    /// The sockets of a listener; those that the configuration does not want any more are closed with this.
    pub(crate) fn sockets(&mut self, key: &str) -> Vec<TcpListener> {
        self.listeners.extract_if(.., |(of, _)| of == key).map(|(_, socket)| socket).collect()
    }

    /// Says that this process could accept connections, and returns when it may.
    ///
    /// # Errors
    /// It was given up: somebody else serves.
    pub(crate) async fn go(&mut self) -> Result<(), HandoverError> {
        // Where nobody hears it, nobody answers.
        let said = self.stream.write_all(format!("{READY}\n").as_bytes()).await;
        let go = timeout(WORD, self.told_to_go.wait_for(|go| *go)).await;
        if said.is_ok() && matches!(go, Ok(Ok(_))) {
            return Ok(());
        }
        if UnixStream::connect(&self.path).await.is_ok() {
            return Err(HandoverError::NotReady("the running gateway has given this one up"));
        }
        tracing::warn!("the process whose place this one takes has ended already");
        Ok(())
    }
}

/// Whether the other end of a connection may be trusted as much as this process: the same user, or the superuser.
fn is_ours(stream: &UnixStream) -> io::Result<bool> {
    let them = stream.peer_cred()?.uid();
    Ok(them == rustix::process::geteuid().as_raw() || them == 0)
}

/// Refuses a folder in which others may write: they could put another socket in this one's place, or keep it from being made.
fn folder_is_ours(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = fs::metadata(folder)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw() || found.uid() == 0;
    if ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may write in its folder"))
}

/// A gateway's sockets, each under the key of its listener.
pub(crate) type Listeners = Vec<(&'static str, TcpListener)>;

/// What a process tells the one that takes its place.
pub(crate) struct Estate {
    pub(crate) shared: Arc<Shared>,
    /// Set where there is a control plane.
    pub(crate) follower: Arc<OnceLock<Arc<LogFollower>>>,
}

/// The socket at which a place is offered, under another name until this process serves.
#[derive(Debug)]
pub(crate) struct Offer {
    listener: UnixListener,
    beside: PathBuf,
    path: PathBuf,
}

impl Offer {
    /// Listens beside `path`, where another process may still offer its own place.
    ///
    /// # Errors
    /// The folder is not there or not ours.
    pub(crate) fn new(path: &Path) -> Result<Self, HandoverError> {
        let fail = |source| HandoverError::Offer { path: path.into(), source };
        folder_is_ours(path).map_err(fail)?;
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        // Left by a process of this number that was killed, as in a container, where all have the same.
        drop(fs::remove_file(&beside));
        let listener = UnixListener::bind(&beside).map_err(fail)?;
        let offer = Self { listener, beside, path: path.into() };
        fs::set_permissions(&offer.beside, fs::Permissions::from_mode(0o600)).map_err(fail)?;
        Ok(offer)
    }

    /// Takes the name of the socket, waits for a successor, and says in `over` that one serves. Goes on for as long as
    /// this process: then the successor hears how far it is.
    pub(crate) async fn run(self, listeners: Listeners, estate: Estate, over: watch::Sender<bool>) {
        if let Err(error) = fs::rename(&self.beside, &self.path) {
            tracing::error!(%error, path = %self.path.display(), "nobody can take over");
            return;
        }
        let heir = loop {
            let heir = match self.listener.accept().await {
                Ok((heir, _)) => heir,
                Err(error) => {
                    tracing::error!(%error, "nobody can take over");
                    return;
                }
            };
            match estate.give(&listeners, heir).await {
                Ok(heir) => break heir,
                Err(error) => tracing::warn!(%error, "a process that was to take over does not; this one serves on"),
            }
        };
        // Else connections would wait here for nobody, were the successor to end.
        drop((listeners, self));
        over.send_replace(true);
        heir.keep_telling(estate.follower.get()).await;
    }
}

impl Drop for Offer {
    /// Of a process that never came to serve, nothing is left.
    fn drop(&mut self) {
        // Gone already where it has its name.
        drop(fs::remove_file(&self.beside));
    }
}

/// A successor that serves, and the silence of this process that goes with it.
struct Heir<'f> {
    write: tokio::net::unix::OwnedWriteHalf,
    _read: BufReader<tokio::net::unix::OwnedReadHalf>,
    told: Option<GatewayStatus>,
    _silence: Option<link::log::Silence<'f>>,
}

impl Estate {
    async fn give(&self, listeners: &Listeners, stream: UnixStream) -> io::Result<Heir<'_>> {
        if !is_ours(&stream)? {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it runs as another user"));
        }
        // Before anything is given, or falls silent: whoever connects and says nothing changes nothing.
        let mut stream = BufReader::new(stream);
        let mut word = String::new();
        timeout(WORD, stream.read_line(&mut word)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        if word.trim_end() != TAKE_OVER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not say what it wants"));
        }
        let stream = stream.into_inner();
        // From here on the other process reports for both.
        let follower = self.follower.get();
        let silence = match follower {
            Some(follower) => Some(follower.silence().await),
            None => None,
        };
        let status = follower.map(|follower| follower.status_of_all());
        let lease = self.shared.gate.mirror().lease(self.shared.clock.boot_now());
        let keys = listeners.iter().map(|(key, _)| (*key).to_owned()).collect();
        let proven = matches!(lease, Lease::Proven { .. });
        let hello = Hello { version: VERSION, listeners: keys, proven, status: status.clone() };
        let sockets: Vec<_> = listeners.iter().map(|(_, socket)| socket).collect();
        wire::send(&stream, &serde_json::to_vec(&hello)?, &sockets).await?;
        tracing::info!("another process is about to take over");
        let (read, mut write) = stream.into_split();
        let (mut read, mut told) = (BufReader::new(read), status);
        word.clear();
        {
            let mut heard = std::pin::pin!(timeout(PATIENCE, read.read_line(&mut word)));
            loop {
                tokio::select! {
                    biased;
                    heard = &mut heard => {
                        heard.map_err(|_| io::ErrorKind::TimedOut)??;
                        break;
                    }
                    tick = tell(&mut write, follower, &mut told) => tick?,
                }
            }
        }
        if word.trim_end() != READY {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before it was ready"));
        }
        write.write_all(format!("{GO}\n").as_bytes()).await?;
        Ok(Heir { write, _read: read, told, _silence: silence })
    }
}

impl Heir<'_> {
    async fn keep_telling(mut self, follower: Option<&Arc<LogFollower>>) {
        // A successor that is gone need not be told.
        while tell(&mut self.write, follower, &mut self.told).await.is_ok() {}
    }
}

/// Says how far this process is, a moment later, if that has changed.
async fn tell(
    write: &mut tokio::net::unix::OwnedWriteHalf,
    follower: Option<&Arc<LogFollower>>,
    told: &mut Option<GatewayStatus>,
) -> io::Result<()> {
    sleep(TELLING).await;
    let now = follower.map(|follower| follower.status_of_all());
    if now != *told
        && let Some(status) = &now
    {
        let mut line = serde_json::to_vec(status)?;
        line.push(b'\n');
        write.write_all(&line).await?;
        *told = now;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_place_is_offered_in_a_folder_in_which_others_may_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover.sock");
        for (mode, offered) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false), (0o1777, false)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Offer::new(&path).is_ok(), offered, "{mode:o}");
        }
    }
}
