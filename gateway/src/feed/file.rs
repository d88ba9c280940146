//! The snapshot from a declarative file, read again whenever the file, or one beside it, changes.
//!
//! A file with mistakes changes nothing: the last good state stays in force, and each mistake is logged with its line.
//! Authorities and revocation lists of client certificates are another matter: the last ones may believe what the new ones
//! do not, so that the hostname which needs them is not served until they can be read.
//! Files that lie outside the file's folder are read again on SIGHUP.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::{
    declarative::ReadAs,
    snapshot::{Change, Entity, EntityKey, READER},
};
use link::file::Mistakes;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::Applier;

/// A change is read once nothing changed for this long: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// Reads the file.
pub(crate) struct FileFeed {
    path: PathBuf,
    applier: Arc<Applier>,
    /// What is in force, as text, to tell what changed.
    known: HashMap<EntityKey, Option<String>>,
    revision: u64,
}

impl FileFeed {
    /// A feed that has read the file once.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn start(path: &Path, applier: Arc<Applier>) -> Result<Self, Mistakes> {
        let mut feed = Self { path: path.to_owned(), applier, known: HashMap::new(), revision: 0 };
        feed.read()?;
        Ok(feed)
    }

    /// Reads again whenever `changed` says so. Runs for as long as it is polled.
    pub(crate) async fn run(mut self, mut changed: mpsc::Receiver<()>) {
        while changed.recv().await.is_some() {
            while tokio::time::timeout(SETTLE, changed.recv()).await == Ok(Some(())) {}
            let (feed, read) = match tokio::task::spawn_blocking(move || {
                let read = self.read();
                (self, read)
            })
            .await
            {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(%error, "reading the declarative file failed; the last state serves on");
                    return;
                }
            };
            self = feed;
            match read {
                Ok(0) => {}
                Ok(changes) => tracing::info!(snapshot.revision = self.revision, changes, "the file was read again"),
                Err(mistakes) => {
                    self.applier.metrics().feed_failures.inc();
                    for mistake in mistakes.iter() {
                        tracing::error!(%mistake, "the file is refused; the last state serves on");
                    }
                }
            }
        }
    }

    /// Brings what changed into force, and says how much that is.
    fn read(&mut self) -> Result<usize, Mistakes> {
        let (declared, unserved) = link::declarative::load_served(&self.path, ReadAs::EdgeFile)?;
        for mistake in unserved.iter() {
            tracing::error!(%mistake, "a hostname is not served");
        }
        let next = self.revision + 1;
        let mut known = HashMap::with_capacity(declared.entities.len());
        let mut changes = Vec::new();
        for entity in declared.entities {
            let (key, text) = (entity.key(), text_of(&entity));
            let before = self.known.remove(&key);
            if text.is_none() || before.as_ref() != Some(&text) {
                changes.push(Change { revision: next, key: key.clone(), min_reader: READER, entity: Some(entity) });
            }
            known.insert(key, text);
        }
        let gone = std::mem::replace(&mut self.known, known);
        changes.extend(gone.into_keys().map(|key| Change { revision: next, key, min_reader: READER, entity: None }));
        let count = changes.len();
        if count > 0 || self.revision == 0 {
            self.revision = next;
            self.applier.apply(changes, next);
        } else {
            self.applier.confirmed();
        }
        Ok(count)
    }
}

/// An entity's text; what has none always counts as changed.
fn text_of(entity: &Entity) -> Option<String> {
    serde_json::to_string(entity).ok()
}

/// Tells `changed` of changes in the file's folder, for as long as it lives.
///
/// # Errors
/// When the folder cannot be watched.
pub(crate) fn watch(path: &Path, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
        // Reading is no change; it would wake us by our own reading.
        Ok(Event { kind: EventKind::Access(_), .. }) => {}
        // A full channel has told already.
        Ok(_) => _ = changed.try_send(()),
        Err(error) => tracing::warn!(%error, "changes of the declarative file may go unnoticed; send SIGHUP"),
    })?;
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    watcher.watch(folder, RecursiveMode::Recursive)?;
    Ok(watcher)
}
