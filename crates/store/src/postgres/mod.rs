//! PostgreSQL: pooled connections, each transaction confined by row level security.
//!
//! Isolation: configuration is SERIALIZABLE, so that what is derived from several rows holds of what is saved; session
//! state and the tick are READ COMMITTED with row locks, because a tick must see, after it got the lock, everything
//! that was committed before; reads are REPEATABLE READ, READ ONLY.
//!
//! What a statement costs is mostly the waiting for it. So a read's `BEGIN` goes out with its first statement, nobody waits for its
//! `ROLLBACK`, and statements that are asked at once through one handle go out at once.

mod config;
mod convert;
mod migrate;

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use authz::Scope;
use deadpool_postgres::{Object, Pool};
use futures::future::{join, maybe_done};
use tokio::sync::{Mutex, OnceCell, RwLock};
use tokio_postgres::{Statement, types::ToSql};

pub use config::PostgresConfig;

use crate::{
    StoreError,
    driver::{Driver, Mode, Session},
    value::{Row, Value},
};

/// The role runtime transactions take. It owns nothing and cannot bypass row level security.
const RUNTIME_ROLE: &str = "portcullis_runtime";

/// A PostgreSQL database.
pub(crate) struct Postgres {
    pool: Pool,
    config: PostgresConfig,
    /// What was asked of the server once.
    server: OnceCell<Arc<Server>>,
}

/// What is asked of the server once.
struct Server {
    /// Whether transactions take [`RUNTIME_ROLE`].
    takes_role: bool,
    /// The columns of each unique index, by its name: errors under row level security do not name them.
    unique: HashMap<String, Vec<String>>,
}

impl Postgres {
    pub(crate) fn new(config: PostgresConfig) -> Result<Self, StoreError> {
        Ok(Self { pool: config.pool()?, config, server: OnceCell::new() })
    }

    async fn connection(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|e| StoreError::Unavailable(e.into()))
    }

    async fn server(&self, client: &Object) -> Result<Arc<Server>, StoreError> {
        let ask = || async {
            let (takes_role, unique) = (takes_role(client).await?, unique_columns(client).await?);
            Ok(Arc::new(Server { takes_role, unique }))
        };
        self.server.get_or_try_init(ask).await.cloned()
    }
}

/// Takes the role where it exists and we may. Without it the owner works under the same, forced, policies; an owner
/// whom policies do not bind is refused.
async fn takes_role(client: &Object) -> Result<bool, StoreError> {
    let row = client
        .query_one(
            "SELECT COALESCE((SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = $1), FALSE),
                    (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user)",
            &[&RUNTIME_ROLE],
        )
        .await
        .map_err(convert::error)?;
    let takes: bool = row.try_get(0).map_err(convert::error)?;
    let bypasses: bool = row.try_get(1).map_err(convert::error)?;
    if bypasses && !takes {
        return Err(StoreError::Configuration {
            reason: format!(
                "the database user bypasses row level security and role `{RUNTIME_ROLE}` is not there: run `migrate up`"
            ),
        });
    }
    Ok(takes)
}

async fn unique_columns(client: &Object) -> Result<HashMap<String, Vec<String>>, StoreError> {
    let rows = client
        .query(
            "SELECT class.relname::text, attribute.attname::text
             FROM pg_index AS index
             JOIN pg_class AS class ON class.oid = index.indexrelid
             JOIN pg_attribute AS attribute ON attribute.attrelid = index.indexrelid
             WHERE index.indisunique AND class.relnamespace = current_schema()::regnamespace
             ORDER BY class.relname, attribute.attnum",
            &[],
        )
        .await
        .map_err(convert::error)?;
    let mut unique: HashMap<String, Vec<String>> = HashMap::new();
    for row in rows {
        let index = row.try_get(0).map_err(convert::error)?;
        unique.entry(index).or_default().push(row.try_get(1).map_err(convert::error)?);
    }
    Ok(unique)
}

#[async_trait]
impl Driver for Postgres {
    async fn begin(&self, mode: Mode, scope: Scope) -> Result<Arc<dyn Session>, StoreError> {
        let client = self.connection().await?;
        let server = self.server(&client).await?;
        let role = if server.takes_role { format!("SET LOCAL ROLE {RUNTIME_ROLE};") } else { String::new() };
        let isolation = match mode {
            Mode::Read => "REPEATABLE READ READ ONLY",
            Mode::Configuration => "SERIALIZABLE",
            Mode::State => "READ COMMITTED",
        };
        let begin = format!("BEGIN ISOLATION LEVEL {isolation}; {role} {}", confine(scope));
        let transaction = Transaction {
            client: RwLock::new(Some(client)),
            server,
            turn: Mutex::new(Some(begin)),
            asked: AtomicUsize::new(0),
            conflicted: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        };
        // What changes something knows that it is confined before it does.
        if mode != Mode::Read {
            transaction.begun().await?;
        }
        Ok(Arc::new(transaction))
    }

    fn separate(&self, connections: usize) -> Result<Arc<dyn Driver>, StoreError> {
        Ok(Arc::new(Self::new(PostgresConfig { connections, ..self.config.clone() })?))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        migrate::forward(&mut *self.config.connect().await?).await
    }

    async fn migrate_down(&self) -> Result<(), StoreError> {
        migrate::down(&mut *self.config.connect().await?).await
    }

    async fn schema_version(&self) -> Result<u32, StoreError> {
        migrate::version(&*self.config.connect().await?).await
    }

    fn known_version(&self) -> u32 {
        migrate::known_version()
    }
}

/// What confines a transaction to a scope. The ids are UUIDs: nothing in them needs quoting.
fn confine(scope: Scope) -> String {
    let (name, project, tenant) = match scope {
        Scope::Platform => ("platform", String::new(), String::new()),
        Scope::Project(project) => ("project", project.to_string(), String::new()),
        Scope::Tenant(project, tenant) => ("tenant", project.to_string(), tenant.to_string()),
    };
    format!(
        "SELECT set_config('app.scope', '{name}', TRUE), set_config('app.project_id', '{project}', TRUE),
                set_config('app.tenant_id', '{tenant}', TRUE)"
    )
}

struct Transaction {
    /// None once it has ended. Statements share it: those that are asked at once are sent one behind the other, without waiting.
    client: RwLock<Option<Object>>,
    server: Arc<Server>,
    /// Held by whoever is sending, first come, first served; in it, what begins the transaction, until it was sent.
    turn: Mutex<Option<String>>,
    /// Statements that were sent and not answered.
    asked: AtomicUsize,
    conflicted: AtomicBool,
    /// A statement failed: the server would take `COMMIT` for `ROLLBACK` and call it a success.
    failed: AtomicBool,
}

/// Something that was sent: its answer, if it is there, else what waits for it.
async fn sent<'a, T: Send + 'a>(
    ask: impl Future<Output = Result<T, tokio_postgres::Error>> + Send + 'a,
) -> Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + Send + 'a>> {
    let mut answer: Pin<Box<dyn Future<Output = _> + Send + 'a>> = Box::pin(ask);
    // The driver sends when it is polled first.
    match poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await {
        Poll::Ready(done) => Box::pin(std::future::ready(done)),
        Poll::Pending => answer,
    }
}

impl Transaction {
    /// Runs something in its turn, behind what begins the transaction: should a part of that fail, the server refuses what comes
    /// behind. `prepare` may wait; what it gives is asked and, once it was sent, awaited beside that of others.
    async fn run<'a, P, Preparing, T, Asking>(
        &self,
        client: &'a Object,
        prepare: Preparing,
        ask: impl FnOnce(P) -> Asking,
    ) -> Result<T, StoreError>
    where
        Preparing: Future<Output = Result<P, tokio_postgres::Error>> + Send,
        Asking: Future<Output = Result<T, tokio_postgres::Error>> + Send + 'a,
        T: Send + 'a,
    {
        self.asked.fetch_add(1, Ordering::AcqRel);
        let mut turn = self.turn.lock().await;
        let begun = match turn.take() {
            Some(begin) => sent(async move { client.batch_execute(&begin).await }).await,
            None => Box::pin(std::future::ready(Ok(()))),
        };
        // Answers come in order, each to who waits for it: unless what came first is taken, nothing after it comes.
        let (mut begun, mut prepare) = (pin!(maybe_done(begun)), pin!(prepare));
        let prepared = poll_fn(|context| {
            _ = begun.as_mut().poll(context);
            prepare.as_mut().poll(context)
        });
        let answer = match prepared.await {
            Ok(prepared) => {
                let answer = sent(ask(prepared)).await;
                drop(turn);
                join(begun.as_mut(), answer).await.1
            }
            Err(error) => {
                begun.as_mut().await;
                Err(error)
            }
        };
        // Why it did not begin says more than that nothing can be asked then.
        let answer = begun.as_mut().take_output().unwrap_or(Ok(())).and(answer);
        // Should nobody wait to the end, it stays outstanding.
        self.asked.fetch_sub(1, Ordering::AcqRel);
        self.noted(answer)
    }

    /// Has it begun.
    async fn begun(&self) -> Result<(), StoreError> {
        let client = self.client.read().await;
        let client = client.as_ref().ok_or(StoreError::Finished)?;
        self.run(client, std::future::ready(Ok(())), |()| std::future::ready(Ok(()))).await
    }

    fn noted<T>(&self, answer: Result<T, tokio_postgres::Error>) -> Result<T, StoreError> {
        answer.map_err(|error| {
            self.failed.store(true, Ordering::Release);
            if let Some((table, index)) = convert::violated_index(&error) {
                let columns = self.server.unique.get(&index).cloned().unwrap_or_default();
                return StoreError::Conflict { table, columns };
            }
            let error = convert::error(error);
            if matches!(error, StoreError::Serialization) {
                self.conflicted.store(true, Ordering::Release);
            }
            error
        })
    }
}

fn borrowed(values: &[Value]) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

#[async_trait]
impl Session for Transaction {
    async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        let client = self.client.read().await;
        let client = client.as_ref().ok_or(StoreError::Finished)?;
        let values = &values;
        let ask = |statement: Statement| async move {
            let rows = client.query(&statement, &borrowed(values)).await?;
            Ok((statement, rows))
        };
        let (statement, rows) = self.run(client, client.prepare_cached(sql), ask).await?;
        convert::rows(&statement, &rows)
    }

    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        let client = self.client.read().await;
        let client = client.as_ref().ok_or(StoreError::Finished)?;
        let values = &values;
        let ask = |statement: Statement| async move { client.execute(&statement, &borrowed(values)).await };
        self.run(client, client.prepare_cached(sql), ask).await
    }

    async fn narrow(&self, scope: Scope) -> Result<(), StoreError> {
        let client = self.client.read().await;
        let client = client.as_ref().ok_or(StoreError::Finished)?;
        let ask = |sql: String| async move { client.batch_execute(&sql).await };
        self.run(client, std::future::ready(Ok(confine(scope))), ask).await
    }

    async fn commit(&self) -> Result<(), StoreError> {
        let mut held = self.client.write().await;
        let client = held.as_ref().ok_or(StoreError::Finished)?;
        // What nobody waited for may have failed as well: nobody is waiting now.
        if self.failed.load(Ordering::Acquire) || self.asked.load(Ordering::Acquire) != 0 {
            return Err(StoreError::Failed);
        }
        self.noted(client.batch_execute("COMMIT").await)?;
        // Back to the pool, whoever still holds a handle on this transaction.
        *held = None;
        Ok(())
    }

    fn conflicted(&self) -> bool {
        self.conflicted.load(Ordering::Acquire)
    }

    fn lock_suffix(&self) -> &'static str {
        " FOR UPDATE"
    }

    fn share_suffix(&self) -> &'static str {
        " FOR SHARE"
    }
}

/// Rolls back, and gives the connection back to the pool: at once where nothing is running on it, as whoever gets it next is answered
/// behind this; else behind what still runs. A connection that cannot even do that is closed, which rolls back too.
impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(client) = self.client.get_mut().take() else { return };
        if self.turn.get_mut().is_some() {
            return;
        }
        if *self.asked.get_mut() == 0 {
            let sent = pin!(client.batch_execute("ROLLBACK")).poll(&mut Context::from_waker(Waker::noop()));
            if matches!(sent, Poll::Ready(Err(_))) {
                drop(Object::take(client));
            }
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                _ = runtime.spawn(async move {
                    if client.batch_execute("ROLLBACK").await.is_err() {
                        drop(Object::take(client));
                    }
                })
            }
            Err(_) => drop(Object::take(client)),
        }
    }
}
