//! Answers kept for 24 hours, so that a repeated create (`Idempotency-Key`) is answered and not done again.

use domain::Secret;

use crate::{
    StoreError, Tx,
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, values},
};

/// An answer that was given before.
#[derive(Clone, Debug)]
pub struct StoredResponse {
    /// SHA-256 of the request's body: another body under the same key is a mistake (422).
    pub body_hash: [u8; 32],
    /// Its status.
    pub status: u32,
    /// Its body. Sealed in the database: it may show a secret.
    pub body: Secret<Vec<u8>>,
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

/// Reads of stored answers.
pub trait Responses: Reader {
    /// What was answered to this principal for this path and key.
    fn stored_response(
        &self,
        principal: &str,
        path: &str,
        key: &str,
    ) -> impl Future<Output = Result<Option<StoredResponse>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let sql = "SELECT body_hash, status, response_enc FROM idempotency_keys
                       WHERE principal = $1 AND path = $2 AND key = $3";
            let read = |row: &Row| {
                let sealed: Vec<u8> = row.at("response_enc")?;
                let body = view.sealer().open(&place(principal, path, key), &sealed)?;
                Ok(StoredResponse { body_hash: row.at("body_hash")?, status: row.at("status")?, body })
            };
            view.first(sql, values![principal, path, key], read).await
        }
    }
}
impl<R: Reader> Responses for R {}

impl Tx {
    /// Keeps the answer of this transaction's change, in the same transaction: of two requests that carry one key at
    /// once, one is done.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `idempotency_keys(key)` when another was first.
    pub async fn remember_response(
        &self,
        principal: &str,
        path: &str,
        key: &str,
        response: &StoredResponse,
    ) -> Result<(), StoreError> {
        let view = &self.work.view;
        let sealed = view.sealer().seal(&place(principal, path, key), response.body.expose())?;
        view.execute(
            "INSERT INTO idempotency_keys (principal, path, key, body_hash, status, response_enc, at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            values![principal, path, key, response.body_hash, response.status, sealed, self.work.now],
        )
        .await?;
        Ok(())
    }
}
