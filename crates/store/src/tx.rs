//! Transactions: what may be done in one, and why a write without its audit row does not compile.
//!
//! A write method answers `Unaudited<T>`. Only [`Tx::audit`] opens it, and [`Store::write`](crate::Store::write) takes
//! only `Audited<T>`. Should code throw an `Unaudited` away, the transaction notices and is not committed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use authz::Scope;
use domain::{
    Fact, Tag, Timestamp,
    audit::{Actor, AuditEntry, Origin},
    model::Subject,
};
use futures::future::BoxFuture;

use crate::{
    Sealer, Store, StoreError,
    aggregate::audit,
    driver::Session,
    log::facts,
    value::{Row, Value},
};

/// What reads go through: the store itself, a view, or a transaction. Sealed.
pub trait Reader: Send + Sync + sealed::Sealed {
    /// A consistent state to read: the transaction's own, or a fresh one.
    fn view(&self) -> BoxFuture<'_, Result<View, StoreError>>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Store {}
    impl Sealed for super::View {}
    impl Sealed for super::Tx {}
    impl Sealed for super::SessionTx {}
}

impl Reader for Store {
    fn view(&self) -> BoxFuture<'_, Result<View, StoreError>> {
        Box::pin(Self::view(self))
    }
}
impl Reader for View {
    fn view(&self) -> BoxFuture<'_, Result<View, StoreError>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}
impl Reader for Tx {
    fn view(&self) -> BoxFuture<'_, Result<View, StoreError>> {
        self.work.view.view()
    }
}
impl Reader for SessionTx {
    fn view(&self) -> BoxFuture<'_, Result<View, StoreError>> {
        self.work.view.view()
    }
}

/// One consistent state of the database. Clones see the same.
#[derive(Clone)]
pub struct View {
    session: Arc<dyn Session>,
    sealer: Arc<Sealer>,
    statements: Arc<AtomicU64>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl View {
    pub(crate) fn new(session: Arc<dyn Session>, sealer: Arc<Sealer>, statements: Arc<AtomicU64>) -> Self {
        Self { session, sealer, statements }
    }

    /// From here on it and its clones see only what lies in `scope`. (On SQLite, which has no row level security, only the statements'
    /// own predicates confine.)
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn narrow(&self, scope: Scope) -> Result<(), StoreError> {
        self.session.narrow(scope).await
    }

    pub(crate) async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.session.query(sql, values).await
    }

    /// All rows, each read by `read`.
    pub(crate) async fn all<T>(
        &self,
        sql: &str,
        values: Vec<Value>,
        read: impl Fn(&Row) -> Result<T, StoreError> + Send,
    ) -> Result<Vec<T>, StoreError> {
        self.query(sql, values).await?.iter().map(read).collect()
    }

    /// The first row, if any.
    pub(crate) async fn first<T>(
        &self,
        sql: &str,
        values: Vec<Value>,
        read: impl Fn(&Row) -> Result<T, StoreError> + Send,
    ) -> Result<Option<T>, StoreError> {
        self.query(sql, values).await?.first().map(read).transpose()
    }

    pub(crate) async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.session.execute(sql, values).await
    }

    /// `sql` so that it locks the rows it reads.
    pub(crate) fn locking(&self, sql: &str) -> String {
        format!("{sql}{}", self.session.lock_suffix())
    }

    /// `sql` so that nobody changes the rows it reads before this transaction ends.
    pub(crate) fn holding(&self, sql: &str) -> String {
        format!("{sql}{}", self.session.share_suffix())
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    pub(crate) fn conflicted(&self) -> bool {
        self.session.conflicted()
    }

    pub(crate) async fn commit(&self) -> Result<(), StoreError> {
        self.session.commit().await
    }
}

/// A transaction that is being written.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) view: View,
    pub(crate) now: Timestamp,
    pub(crate) tag: Tag,
    /// Rows it left for the change log.
    changes: Arc<AtomicUsize>,
    /// Whether it leaves only what every gateway that is there can read.
    for_readers: bool,
}

impl Work {
    pub(crate) fn begin(view: View, now: Timestamp) -> Result<Self, StoreError> {
        let tag = Tag(u64::from_ne_bytes(view.sealer().bytes()?));
        Ok(Self { view, now, tag, changes: Arc::default(), for_readers: false })
    }

    /// The same, that leaves only what every gateway that is there can read.
    pub(crate) fn for_readers(self) -> Self {
        Self { for_readers: true, ..self }
    }

    pub(crate) const fn is_for_readers(&self) -> bool {
        self.for_readers
    }

    pub(crate) async fn commit(&self) -> Result<Commit, StoreError> {
        self.view.commit().await?;
        Ok(Commit { tag: self.tag, changes: self.changes.load(Ordering::Relaxed) })
    }

    pub(crate) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Leaves a fact for the next tick to number.
    pub(crate) async fn insert_fact(&self, fact: &Fact) -> Result<(), StoreError> {
        self.insert_facts(std::slice::from_ref(fact)).await
    }

    /// Leaves facts, at most about a thousand, for the next tick to number.
    pub(crate) async fn insert_facts(&self, facts: &[Fact]) -> Result<(), StoreError> {
        facts::insert(&self.view, self.now, facts).await
    }
}

/// A transaction over configuration. Clones are the same transaction.
///
/// Its write methods stand with their aggregates; each takes the [`authz::Authorized`] of its own action.
#[derive(Clone, Debug)]
pub struct Tx {
    pub(crate) work: Work,
    actor: Actor,
    origin: Origin,
    unaudited: Arc<AtomicUsize>,
}

impl Tx {
    pub(crate) fn new(work: Work, actor: Actor, origin: Origin) -> Self {
        Self { work, actor, origin, unaudited: Arc::default() }
    }

    pub(crate) fn unaudited<T>(&self, value: T) -> Unaudited<T> {
        self.unaudited.fetch_add(1, Ordering::Relaxed);
        Unaudited { value }
    }

    pub(crate) fn settled(&self) -> Result<(), StoreError> {
        match self.unaudited.load(Ordering::Relaxed) {
            0 => Ok(()),
            writes => Err(StoreError::Unaudited { writes }),
        }
    }

    /// Writes the audit row of a change.
    ///
    /// # Errors
    /// Of the database.
    pub async fn audit<T>(&self, entry: AuditEntry, change: Unaudited<T>) -> Result<Audited<T>, StoreError> {
        audit::insert(&self.work, &self.actor, &self.origin, &entry).await?;
        self.unaudited.fetch_sub(1, Ordering::Relaxed);
        Ok(Audited { value: change.value })
    }

    /// Audits `{kind}.created`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn created<T: Subject>(&self, change: Unaudited<T>) -> Result<Audited<T>, StoreError> {
        self.audit(AuditEntry::created(&change.value), change).await
    }

    /// Audits `{kind}.updated`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn updated<T: Subject>(&self, change: Unaudited<T>) -> Result<Audited<T>, StoreError> {
        self.audit(AuditEntry::updated(&change.value), change).await
    }

    /// Audits `{kind}.deleted`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn deleted<T: Subject>(&self, change: Unaudited<T>) -> Result<Audited<T>, StoreError> {
        self.audit(AuditEntry::deleted(&change.value), change).await
    }

    /// Audits `{kind}.{verb}`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn done<T: Subject>(&self, verb: &str, change: Unaudited<T>) -> Result<Audited<T>, StoreError> {
        self.audit(AuditEntry::done(&change.value, verb), change).await
    }
}

/// A transaction over session state. Clones are the same transaction.
#[derive(Clone, Debug)]
pub struct SessionTx {
    pub(crate) work: Work,
}

impl SessionTx {
    pub(crate) fn new(work: Work) -> Self {
        Self { work }
    }

    /// Records a security event, such as a failed sign-in.
    ///
    /// # Errors
    /// Of the database.
    pub async fn record(&self, actor: &Actor, origin: &Origin, entry: &AuditEntry) -> Result<(), StoreError> {
        audit::insert(&self.work, actor, origin, entry).await.map(|_| ())
    }
}

/// Something that was written and whose audit row was not.
#[must_use = "a change must be audited: pass it to `Tx::audit`"]
#[derive(Debug)]
pub struct Unaudited<T> {
    value: T,
}

impl<T> Unaudited<T> {
    /// What was written.
    pub const fn peek(&self) -> &T {
        &self.value
    }
}

/// Something that was written together with its audit row.
#[derive(Clone, Debug)]
pub struct Audited<T> {
    value: T,
}

impl<T> Audited<T> {
    /// Something that was found as it should be: nothing was written.
    pub const fn unchanged(value: T) -> Self {
        Self { value }
    }

    /// What was written.
    pub const fn peek(&self) -> &T {
        &self.value
    }

    /// The same, seen otherwise.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Audited<U> {
        Audited { value: f(self.value) }
    }

    /// This and another.
    pub fn and<U>(self, other: Audited<U>) -> Audited<(T, U)> {
        Audited { value: (self.value, other.value) }
    }

    pub(crate) fn into_inner(self) -> T {
        self.value
    }
}

/// Names what a transaction left for the next tick, so that [`Store::revision_of`] can say which revision carries it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Commit {
    pub(crate) tag: Tag,
    pub(crate) changes: usize,
}

impl Commit {
    /// Whether the transaction changed anything gateways are told by the feed.
    pub const fn changes_snapshot(&self) -> bool {
        self.changes > 0
    }
}
