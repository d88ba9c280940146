//! Changes that are asked for once (`Idempotency-Key`).
//!
//! A request that carries a key *claims* it in the transaction of its first change of configuration, which
//! [`Store::write`] does by itself inside [`Claim::during`]. So change and claim are there together or not at all, and of
//! two requests with one key, at whichever replicas, one is done. The other finds the claim when it comes to write, which
//! is after it was authorized and its body was read: [`StoreError::Claimed`]. The answer is kept beside the claim once it
//! is known; whoever asks in between, or after a process died in between, learns that the change was made.
//!
//! A claim and its answer are kept for 24 hours.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use authz::Scope;
use domain::{Secret, Timestamp};

use crate::{
    SessionTx, Store, StoreError, View,
    reseal::SealedColumn,
    tx::{Reader, Work},
    value::{Row, values},
};

tokio::task_local! {
    static CLAIM: Arc<Claim>;
}

/// The status of a claim whose answer is not there.
const UNANSWERED: u32 = 0;

/// A key that a request carries.
#[derive(Debug)]
pub struct Claim {
    principal: String,
    path: String,
    key: String,
    /// SHA-256 of the request's body: another body under the same key is a mistake.
    body_hash: [u8; 32],
    /// Whether this request has claimed it.
    taken: AtomicBool,
}

/// An answer that was given before.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// SHA-256 of the request's body.
    pub body_hash: [u8; 32],
    /// Its status.
    pub status: u32,
    /// Its body. Sealed in the database: it may name what only its reader may know.
    pub body: Secret<Vec<u8>>,
}

impl Claim {
    /// Of a principal, for a path.
    pub fn new(principal: &str, path: &str, key: &str, body_hash: [u8; 32]) -> Arc<Self> {
        let (principal, path, key) = (principal.to_owned(), path.to_owned(), key.to_owned());
        Arc::new(Self { principal, path, key, body_hash, taken: AtomicBool::new(false) })
    }

    /// Does some work, the first change of which claims the key. Work on other tasks claims nothing.
    pub async fn during<F: Future>(self: &Arc<Self>, work: F) -> F::Output {
        CLAIM.scope(Arc::clone(self), work).await
    }

    /// Whether the work changed something, and so claimed the key.
    pub fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// The claim that the next transaction has to make.
    pub(crate) fn open() -> Option<Arc<Self>> {
        CLAIM.try_with(Arc::clone).ok().filter(|claim| !claim.is_taken())
    }

    /// The transaction that made it was committed.
    pub(crate) fn committed(&self) {
        self.taken.store(true, Ordering::Release);
    }

    /// Makes it, as the first statement of a transaction.
    ///
    /// # Errors
    /// [`StoreError::Claimed`] when it was made before.
    pub(crate) async fn make(&self, work: &Work) -> Result<(), StoreError> {
        let view = &work.view;
        let sealed = view.sealer().seal(&self.place(), &[])?;
        let sql = "INSERT INTO idempotency_keys (principal, path, key, body_hash, status, response_enc, at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (principal, path, key) DO NOTHING";
        let all = values![&self.principal, &self.path, &self.key, self.body_hash, UNANSWERED, sealed, work.now];
        if view.execute(sql, all).await? == 1 {
            return Ok(());
        }
        let found = self.found(view).await?;
        Err(StoreError::Claimed { alike: found.is_some_and(|it| it.body_hash == self.body_hash) })
    }

    async fn found(&self, view: &View) -> Result<Option<StoredResponse>, StoreError> {
        let sql = "SELECT body_hash, status, response_enc FROM idempotency_keys
                   WHERE principal = $1 AND path = $2 AND key = $3";
        let read = |row: &Row| {
            let sealed: Vec<u8> = row.at("response_enc")?;
            let body = view.sealer().open(&self.place(), &sealed)?;
            Ok(StoredResponse { body_hash: row.at("body_hash")?, status: row.at("status")?, body })
        };
        view.first(sql, values![&self.principal, &self.path, &self.key], read).await
    }

    fn place(&self) -> String {
        place(&self.principal, &self.path, &self.key)
    }
}

fn place(principal: &str, path: &str, key: &str) -> String {
    format!("idempotency_keys.response_enc:{}:{principal}:{}:{path}:{key}", principal.len(), path.len())
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "idempotency_keys",
    column: "response_enc",
    key: &["principal", "path", "key"],
    place: |row| {
        let part = |name| row.at::<String>(name);
        Ok(place(&part("principal")?, &part("path")?, &part("key")?))
    },
};

/// What is kept of a claim's principal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeptClaims {
    /// How many keys.
    pub keys: u64,
    /// Bytes of their answers.
    pub bytes: u64,
    /// Whether this claim is one of them.
    pub this: bool,
}

/// Reads of stored answers.
pub trait Responses: Reader {
    /// What is kept of a claim's principal.
    fn kept_of(&self, claim: &Claim) -> impl Future<Output = Result<KeptClaims, StoreError>> + Send {
        async move {
            let sql = "SELECT COUNT(*) AS keys, COALESCE(SUM(LENGTH(response_enc)), 0) AS bytes,
                           COUNT(CASE WHEN path = $2 AND key = $3 THEN 1 END) AS this
                       FROM idempotency_keys WHERE principal = $1";
            let read = |row: &Row| {
                Ok(KeptClaims { keys: row.at("keys")?, bytes: row.at("bytes")?, this: row.at::<u64>("this")? > 0 })
            };
            let all = values![&claim.principal, &claim.path, &claim.key];
            Ok(self.view().await?.first(sql, all, read).await?.unwrap_or_default())
        }
    }

    /// What was answered to who claimed it; none while that is not known.
    fn stored_response(
        &self,
        claim: &Claim,
    ) -> impl Future<Output = Result<Option<StoredResponse>, StoreError>> + Send {
        async move { Ok(claim.found(&self.view().await?).await?.filter(|it| it.status != UNANSWERED)) }
    }
}
impl<R: Reader> Responses for R {}

impl Store {
    /// Keeps the answer to a request that claimed its key.
    ///
    /// # Errors
    /// Of the database.
    pub async fn keep_response(
        &self,
        claim: &Claim,
        status: u32,
        body: &Secret<Vec<u8>>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE idempotency_keys SET status = $4, response_enc = $5
                   WHERE principal = $1 AND path = $2 AND key = $3 AND status = 0";
        let write = |tx: SessionTx| async move {
            let view = &tx.work.view;
            let sealed = view.sealer().seal(&claim.place(), body.expose())?;
            view.execute(sql, values![&claim.principal, &claim.path, &claim.key, status, sealed]).await.map(|_| ())
        };
        self.within(Scope::Platform).write_session(Scope::Platform, now, write).await
    }

    /// Forgets a claim of a request that failed after it had changed something: it may be tried again.
    ///
    /// # Errors
    /// Of the database.
    pub async fn release_claim(&self, claim: &Claim, now: Timestamp) -> Result<(), StoreError> {
        let sql = "DELETE FROM idempotency_keys WHERE principal = $1 AND path = $2 AND key = $3 AND status = 0";
        let write = |tx: SessionTx| async move {
            let all = values![&claim.principal, &claim.path, &claim.key];
            tx.work.view.execute(sql, all).await.map(|_| ())
        };
        self.within(Scope::Platform).write_session(Scope::Platform, now, write).await
    }
}
