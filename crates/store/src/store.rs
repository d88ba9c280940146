//! The store: how it is opened, read and written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use authz::{Action, Authorized, Scope};
use domain::{Secret, Timestamp};

use crate::{
    Audited, Commit, PostgresConfig, Sealer, SessionTx, StoreError, Tx, View,
    aggregate::idempotency::Claim,
    driver::{Driver, Mode},
    postgres::Postgres,
    sqlite::Sqlite,
    tx::Work,
};

/// How often a transaction is tried that gets in another's way. With [`backoff`], about two seconds.
const ATTEMPTS: u32 = 12;

/// The schema that lists heads of audit chains which are not sealed.
const UNSEALED_HEADS: u32 = 25;

/// A handle on the database. Clones share its connections.
///
/// Reads through it are confined to its scope: the whole platform at first, less after [`Store::within`].
#[derive(Clone)]
pub struct Store {
    driver: Arc<dyn Driver>,
    sealer: Arc<Sealer>,
    scope: Scope,
    statements: Arc<AtomicU64>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Store {
    /// On PostgreSQL 15 or newer. Connects at the first statement.
    ///
    /// # Errors
    /// [`StoreError::Configuration`] for an address or certificate that cannot be read.
    pub fn postgres(config: PostgresConfig, sealer: Sealer) -> Result<Self, StoreError> {
        Ok(Self::on(Arc::new(Postgres::new(config)?), sealer))
    }

    /// On a SQLite file, made when it is not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be opened or made.
    pub fn sqlite(path: &std::path::Path, sealer: Sealer) -> Result<Self, StoreError> {
        Ok(Self::on(Arc::new(Sqlite::open(path)?), sealer))
    }

    /// On a SQLite file in a temporary folder, gone with the last clone: the double for tests. A file, because in
    /// SQLite's own memory databases readers block the writer.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no temporary folder can be made.
    pub fn sqlite_in_memory(sealer: Sealer) -> Result<Self, StoreError> {
        Ok(Self::on(Arc::new(Sqlite::temporary()?), sealer))
    }

    fn on(driver: Arc<dyn Driver>, sealer: Sealer) -> Self {
        Self { driver, sealer: Arc::new(sealer), scope: Scope::Platform, statements: Arc::default() }
    }

    /// Brings the schema up to this release's. SQLite copies its file first.
    ///
    /// # Errors
    /// [`StoreError::SchemaNewer`] when a newer release was here, [`StoreError::Migration`] when a migration fails.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let found = self.driver.schema_version().await?;
        let known = self.driver.known_version();
        if found > known {
            return Err(StoreError::SchemaNewer { found, known });
        }
        self.driver.migrate().await?;
        if (1..UNSEALED_HEADS).contains(&found) {
            self.vouch_for_unsealed_heads().await?;
        }
        match self.seal_heads().await? {
            0 => {}
            sealed => tracing::warn!(audit.chains = sealed, "heads of audit chains of an older release were sealed"),
        }
        self.end_sealing().await
    }

    /// Takes away all that migrations have made, with what is in it: for a developer's machine. SQLite copies its file first.
    ///
    /// # Errors
    /// [`StoreError::SchemaNewer`] when a newer release was here, which has made what this one does not know;
    /// [`StoreError::Unavailable`].
    pub async fn migrate_down(&self) -> Result<(), StoreError> {
        let (found, known) = (self.driver.schema_version().await?, self.driver.known_version());
        if found > known {
            return Err(StoreError::SchemaNewer { found, known });
        }
        self.driver.migrate_down().await
    }

    /// The schema's version; 0 for an empty database.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn schema_version(&self) -> Result<u32, StoreError> {
        self.driver.schema_version().await
    }

    /// Whether this release can work on the database as it is. Asked once at start.
    ///
    /// # Errors
    /// [`StoreError::SchemaNewer`], [`StoreError::SchemaOlder`], [`StoreError::Unavailable`].
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let found = self.driver.schema_version().await?;
        let known = self.driver.known_version();
        match found.cmp(&known) {
            std::cmp::Ordering::Less => Err(StoreError::SchemaOlder { found, known }),
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(StoreError::SchemaNewer { found, known }),
        }
    }

    /// The same store, seeing only what lies in `scope`. (On SQLite, which has no row level security, only the
    /// statements' own predicates confine.)
    #[must_use]
    pub fn within(&self, scope: Scope) -> Self {
        Self { scope, ..self.clone() }
    }

    /// The same database over connections of its own, at most so many at once: whoever uses up the others leaves these
    /// alone. (SQLite has one writer, which everybody shares; readers are separate.)
    ///
    /// # Errors
    /// As [`Store::postgres`] and [`Store::sqlite`].
    pub fn separate(&self, connections: usize) -> Result<Self, StoreError> {
        Ok(Self { driver: self.driver.separate(connections)?, ..self.clone() })
    }

    /// How many statements were run through this handle and its clones, those that open and end transactions aside.
    pub fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// A consistent state of everything: all reads through the view see the same commit.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn view(&self) -> Result<View, StoreError> {
        self.begin(Mode::Read, self.scope).await
    }

    /// Changes configuration: all of it with its audit rows, facts and change-log rows, or nothing.
    ///
    /// `change` may run several times and must have no effects but through `tx`. Dropping the future rolls back.
    /// Inside [`Claim::during`] the transaction claims the request's idempotency key first.
    ///
    /// # Errors
    /// What `change` answers; [`StoreError::Serialization`] when other transactions got in the way too often;
    /// [`StoreError::Unaudited`] when a write inside was not audited; [`StoreError::Claimed`] when the request's
    /// idempotency key was claimed before.
    pub async fn write<A, T, E, F, Fut>(&self, by: &Authorized<A>, now: Timestamp, change: F) -> Result<(T, Commit), E>
    where
        A: Action,
        E: From<StoreError>,
        F: Fn(Tx) -> Fut,
        Fut: Future<Output = Result<Audited<T>, E>>,
    {
        let mut attempt = 0;
        let claim = Claim::open();
        loop {
            let begun = self.begin(Mode::Configuration, by.scope()).await?;
            let work = Work::begin(begun, now)?.for_readers();
            let tx = Tx::new(work.clone(), by.actor().clone(), by.origin().clone());
            let claimed = match &claim {
                Some(claim) => claim.make(&work).await.map_err(E::from),
                None => Ok(()),
            };
            let outcome = match claimed {
                Ok(()) => change(tx.clone()).await,
                Err(error) => Err(error),
            };
            let outcome = match outcome {
                Ok(done) => match tx.settled() {
                    Ok(()) => work.commit().await.map(|commit| (done.into_inner(), commit)).map_err(E::from),
                    Err(unaudited) => return Err(unaudited.into()),
                },
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if work.view.conflicted() => self.again(&mut attempt, error).await?,
                settled => {
                    if let (Some(claim), Ok(_)) = (&claim, &settled) {
                        claim.committed();
                    }
                    return settled;
                }
            }
        }
    }

    /// Changes session state: sessions, refresh tokens, counters, with their facts and security events; no revision.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn write_session<T, E, F, Fut>(&self, scope: Scope, now: Timestamp, change: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: Fn(SessionTx) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut attempt = 0;
        loop {
            let work = Work::begin(self.begin(Mode::State, scope).await?, now)?;
            let outcome = match change(SessionTx::new(work.clone())).await {
                Ok(done) => work.commit().await.map(|_| done).map_err(E::from),
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if work.view.conflicted() => self.again(&mut attempt, error).await?,
                settled => return settled,
            }
        }
    }

    /// Waits before the next attempt, or gives the error back when there were enough.
    pub(crate) async fn again<E>(&self, attempt: &mut u32, error: E) -> Result<(), E>
    where
        E: From<StoreError>,
    {
        *attempt += 1;
        if *attempt >= ATTEMPTS {
            return Err(error);
        }
        let [jitter] = self.sealer.bytes().map_err(StoreError::from)?;
        tracing::debug!(store.attempt = *attempt, "a transaction is tried again");
        tokio::time::sleep(backoff(*attempt, jitter)).await;
        Ok(())
    }

    /// Seals what a client keeps for us for `place`.
    ///
    /// # Errors
    /// [`StoreError::Seal`].
    pub fn seal_ticket(&self, place: &'static str, plain: &Secret<Vec<u8>>) -> Result<Vec<u8>, StoreError> {
        Ok(self.sealer.seal(place, plain.expose())?)
    }

    /// Opens what [`Store::seal_ticket`] sealed for this place; none for anything else.
    pub fn open_ticket(&self, place: &'static str, sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        self.sealer.open(place, sealed).ok()
    }

    pub(crate) async fn begin(&self, mode: Mode, scope: Scope) -> Result<View, StoreError> {
        let session = self.driver.begin(mode, scope).await?;
        Ok(View::new(session, Arc::clone(&self.sealer), Arc::clone(&self.statements)))
    }

    pub(crate) async fn begin_configuration(&self, now: Timestamp) -> Result<Work, StoreError> {
        Work::begin(self.begin(Mode::Configuration, Scope::Platform).await?, now)
    }

    pub(crate) async fn begin_state(&self) -> Result<View, StoreError> {
        self.begin(Mode::State, Scope::Platform).await
    }
}

/// 2 ms doubled up to 256 ms, and of that a random half to whole.
fn backoff(attempt: u32, jitter: u8) -> Duration {
    let ceiling = Duration::from_millis(1 << attempt.min(8));
    ceiling / 2 + (ceiling / 2).mul_f64(f64::from(jitter) / 255.0)
}
