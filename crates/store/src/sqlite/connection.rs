//! A SQLite connection on a thread of its own, reached by jobs.

use std::{path::Path, sync::mpsc, thread};

use tokio::sync::oneshot;

use super::convert;
use crate::StoreError;

type Job = Box<dyn FnOnce(&mut rusqlite::Connection) + Send>;

/// Runs jobs one after the other, in the order they were sent. The thread ends with the connection's last handle.
pub(super) struct Connection {
    jobs: mpsc::Sender<Job>,
}

impl Connection {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = rusqlite::Connection::open(path).map_err(convert::error)?;
        connection
            .execute_batch(
                "PRAGMA busy_timeout = 5000;
                 PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA foreign_keys = ON;
                 PRAGMA trusted_schema = OFF;",
            )
            .map_err(convert::error)?;
        connection.set_prepared_statement_cache_capacity(256);
        let (jobs, inbox) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name("sqlite".into())
            .spawn(move || {
                for job in inbox {
                    job(&mut connection);
                }
            })
            .map_err(|e| StoreError::Unavailable(e.into()))?;
        Ok(Self { jobs })
    }

    /// Runs a job and waits for its answer. A job whose caller has gone still runs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut rusqlite::Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Box::new(move |connection| {
            // Nobody listening any more is the caller's choice.
            let _ = answer.send(job(connection));
        }))?;
        answered.await.map_err(|e| StoreError::Unavailable(e.into()))?
    }

    /// Rolls back whatever is open, after the jobs already sent.
    pub(super) fn roll_back(&self) {
        let sent = self.send(Box::new(|connection| {
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                tracing::error!(error = &error as &dyn std::error::Error, "a transaction could not be rolled back");
            }
        }));
        if sent.is_err() {
            tracing::error!("a transaction could not be rolled back: its connection is gone");
        }
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.send(job).map_err(|_| StoreError::Unavailable("the connection's thread has ended".into()))
    }
}
