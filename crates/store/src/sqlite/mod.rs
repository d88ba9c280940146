//! SQLite: one writer and a few readers, each a connection on a thread of its own.
//!
//! A statement is a job sent to the connection's thread. A transaction holds its connection; jobs run in the order they
//! were sent, so the rollback that a dropped transaction sends comes before the next one's `BEGIN`. WAL lets readers
//! read while the writer writes; `synchronous=FULL` keeps every commit that was acknowledged.

mod connection;
mod convert;
mod migrate;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use authz::Scope;
use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::{
    StoreError,
    driver::{Driver, Mode, Session},
    value::{Row, Value},
};
use connection::Connection;

/// Readers at once.
const READERS: usize = 4;

/// A SQLite database.
pub(crate) struct Sqlite {
    path: PathBuf,
    writer: Arc<tokio::sync::Mutex<Connection>>,
    readers: Arc<Readers>,
    /// Removed with the last store on it.
    _folder: Option<Arc<tempfile::TempDir>>,
}

struct Readers {
    free: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Sqlite {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let writer = Arc::new(tokio::sync::Mutex::new(Connection::open(path)?));
        Ok(Self { path: path.into(), writer, readers: Arc::new(Readers::open(path, READERS)?), _folder: None })
    }

    pub(crate) fn temporary() -> Result<Self, StoreError> {
        let folder = tempfile::tempdir().map_err(|e| StoreError::Unavailable(e.into()))?;
        let opened = Self::open(&folder.path().join("store.sqlite"))?;
        Ok(Self { _folder: Some(Arc::new(folder)), ..opened })
    }
}

impl Readers {
    fn open(path: &Path, count: usize) -> Result<Self, StoreError> {
        let free = (0..count).map(|_| Connection::open(path)).collect::<Result<_, _>>()?;
        Ok(Self { free: Mutex::new(free), permits: Arc::new(Semaphore::new(count)) })
    }
}

#[async_trait]
impl Driver for Sqlite {
    async fn begin(&self, mode: Mode, _: Scope) -> Result<Arc<dyn Session>, StoreError> {
        let (held, begin) = match mode {
            Mode::Read => {
                let permit = Arc::clone(&self.readers.permits).acquire_owned().await;
                let permit = permit.map_err(|e| StoreError::Unavailable(e.into()))?;
                let connection = self.readers.free.lock().pop().ok_or(StoreError::Finished)?;
                let readers = Arc::clone(&self.readers);
                (Held::Reader { connection: Some(connection), readers, _permit: permit }, "BEGIN")
            }
            Mode::Configuration | Mode::State => {
                (Held::Writer(Arc::clone(&self.writer).lock_owned().await), "BEGIN IMMEDIATE")
            }
        };
        let transaction = Transaction {
            held,
            finished: AtomicBool::new(false),
            conflicted: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        };
        transaction.execute(begin, Vec::new()).await?;
        Ok(Arc::new(transaction))
    }

    fn separate(&self, connections: usize) -> Result<Arc<dyn Driver>, StoreError> {
        Ok(Arc::new(Self {
            path: self.path.clone(),
            writer: Arc::clone(&self.writer),
            readers: Arc::new(Readers::open(&self.path, connections.min(READERS))?),
            _folder: self._folder.clone(),
        }))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.writer.lock().await.run(move |connection| migrate::forward(connection, &path)).await
    }

    async fn migrate_down(&self) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.writer.lock().await.run(move |connection| migrate::down(connection, &path)).await
    }

    async fn schema_version(&self) -> Result<u32, StoreError> {
        self.writer.lock().await.run(migrate::version).await
    }

    fn known_version(&self) -> u32 {
        migrate::known_version()
    }
}

/// The connection a transaction holds.
enum Held {
    Writer(OwnedMutexGuard<Connection>),
    Reader { connection: Option<Connection>, readers: Arc<Readers>, _permit: OwnedSemaphorePermit },
}

impl Held {
    fn connection(&self) -> Result<&Connection, StoreError> {
        match self {
            Self::Writer(connection) => Ok(connection),
            Self::Reader { connection, .. } => connection.as_ref().ok_or(StoreError::Finished),
        }
    }
}

/// A reader goes back to its shelf before its permit does: fields are dropped after this.
impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Reader { connection, readers, .. } = self
            && let Some(connection) = connection.take()
        {
            readers.free.lock().push(connection);
        }
    }
}

struct Transaction {
    held: Held,
    finished: AtomicBool,
    conflicted: AtomicBool,
    /// A statement failed. SQLite would go on; PostgreSQL would not, so neither do we.
    failed: AtomicBool,
}

impl Transaction {
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.finished.load(Ordering::Acquire) {
            return Err(StoreError::Finished);
        }
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed);
        }
        let answer = self.held.connection()?.run(job).await;
        if let Err(error) = &answer {
            self.failed.store(true, Ordering::Release);
            if matches!(error, StoreError::Serialization) {
                self.conflicted.store(true, Ordering::Release);
            }
        }
        answer
    }
}

#[async_trait]
impl Session for Transaction {
    async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let sql = convert::placeholders(sql);
        self.run(move |connection| convert::query(connection, &sql, values)).await
    }

    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        let sql = convert::placeholders(sql);
        self.run(move |connection| convert::execute(connection, &sql, values)).await
    }

    async fn narrow(&self, _: Scope) -> Result<(), StoreError> {
        Ok(())
    }

    async fn commit(&self) -> Result<(), StoreError> {
        self.execute("COMMIT", Vec::new()).await?;
        self.finished.store(true, Ordering::Release);
        Ok(())
    }

    fn conflicted(&self) -> bool {
        self.conflicted.load(Ordering::Acquire)
    }

    /// The writer is alone.
    fn lock_suffix(&self) -> &'static str {
        ""
    }

    /// The writer is alone.
    fn share_suffix(&self) -> &'static str {
        ""
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.finished.load(Ordering::Acquire)
            && let Ok(connection) = self.held.connection()
        {
            connection.roll_back();
        }
    }
}
