//! PostgreSQL: pooled connections, each transaction confined by row level security.
//!
//! Isolation: configuration is SERIALIZABLE, so that what is derived from several rows holds of what is saved; session
//! state and the tick are READ COMMITTED with row locks, because a tick must see, after it got the lock, everything
//! that was committed before; reads are REPEATABLE READ, READ ONLY.

mod config;
mod convert;
mod migrate;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use authz::Scope;
use deadpool_postgres::{Object, Pool};
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::types::ToSql;

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
        let (name, project, tenant) = match scope {
            Scope::Platform => ("platform", String::new(), String::new()),
            Scope::Project(project) => ("project", project.to_string(), String::new()),
            Scope::Tenant(project, tenant) => ("tenant", project.to_string(), tenant.to_string()),
        };
        let transaction = Transaction {
            client: Mutex::new(Some(client)),
            server,
            conflicted: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        };
        // The ids are UUIDs: nothing in them needs quoting.
        transaction
            .batch(&format!(
                "BEGIN ISOLATION LEVEL {isolation}; {role}
                 SELECT set_config('app.scope', '{name}', TRUE), set_config('app.project_id', '{project}', TRUE),
                        set_config('app.tenant_id', '{tenant}', TRUE)"
            ))
            .await?;
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

struct Transaction {
    /// None once it has ended.
    client: Mutex<Option<Object>>,
    server: Arc<Server>,
    conflicted: AtomicBool,
    /// A statement failed: the server would take `COMMIT` for `ROLLBACK` and call it a success.
    failed: AtomicBool,
}

impl Transaction {
    async fn batch(&self, sql: &str) -> Result<(), StoreError> {
        let client = self.client.lock().await;
        let client = client.as_ref().ok_or(StoreError::Finished)?;
        self.noted(client.batch_execute(sql).await)
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
        let client = self.client.lock().await;
        let client = client.as_ref().ok_or(StoreError::Finished)?;
        let statement = self.noted(client.prepare_cached(sql).await)?;
        let rows = self.noted(client.query(&statement, &borrowed(&values)).await)?;
        convert::rows(&statement, &rows)
    }

    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        let client = self.client.lock().await;
        let client = client.as_ref().ok_or(StoreError::Finished)?;
        let statement = self.noted(client.prepare_cached(sql).await)?;
        self.noted(client.execute(&statement, &borrowed(&values)).await)
    }

    async fn commit(&self) -> Result<(), StoreError> {
        let mut held = self.client.lock().await;
        let client = held.as_ref().ok_or(StoreError::Finished)?;
        if self.failed.load(Ordering::Acquire) {
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

/// Rolls back behind what is still running on the connection, then gives it back to the pool. A connection that cannot
/// even do that is closed, which rolls back too.
impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(client) = self.client.get_mut().take() else { return };
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
