//! The seam between the two databases: a connection that runs statements in a transaction.
//!
//! Everything above it is written once, in SQL that both understand with `$1` placeholders. Where they must differ the
//! session has a named hook; nothing above asks which database it talks to.

use std::sync::Arc;

use async_trait::async_trait;
use authz::Scope;

use crate::{
    StoreError,
    value::{Row, Value},
};

/// What a transaction is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Reads one consistent state.
    Read,
    /// Changes configuration: serializable, so that what is derived from several rows (a snapshot entity, the absence
    /// of ties) is true of the state that is saved.
    Configuration,
    /// Changes session state or the log: read committed, each statement seeing what was committed before it, with
    /// explicit row locks.
    State,
}

/// A database.
#[async_trait]
pub(crate) trait Driver: Send + Sync + 'static {
    /// Begins a transaction that row level security confines to `scope`, where the database has it.
    async fn begin(&self, mode: Mode, scope: Scope) -> Result<Arc<dyn Session>, StoreError>;

    /// The same database over connections of its own, at most so many at once.
    fn separate(&self, connections: usize) -> Result<Arc<dyn Driver>, StoreError>;

    /// Brings the schema up to [`Driver::known_version`].
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Takes away all that migrations have made, with what is in it.
    async fn migrate_down(&self) -> Result<(), StoreError>;

    /// The schema's version; 0 for an empty database.
    async fn schema_version(&self) -> Result<u32, StoreError>;

    /// The newest schema this release knows.
    fn known_version(&self) -> u32;
}

/// A transaction. Dropped before it was committed, it is rolled back. Once a statement has failed, all that follow and
/// the commit answer [`StoreError::Failed`]. Statements that are asked at once run in the order in which they were asked.
#[async_trait]
pub(crate) trait Session: Send + Sync {
    /// Runs a statement that answers rows.
    async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError>;

    /// Runs a statement and says how many rows it touched.
    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError>;

    /// From here on, only what lies in `scope` is seen, where the database has row level security.
    async fn narrow(&self, scope: Scope) -> Result<(), StoreError>;

    /// Commits.
    async fn commit(&self) -> Result<(), StoreError>;

    /// Whether a statement failed because of a concurrent transaction: doing it all again may succeed.
    fn conflicted(&self) -> bool;

    /// What makes a `SELECT` lock its rows until the end of the transaction.
    fn lock_suffix(&self) -> &'static str;

    /// What makes a `SELECT` keep others from changing its rows until the end of the transaction.
    fn share_suffix(&self) -> &'static str;
}
