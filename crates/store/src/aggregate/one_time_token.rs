//! Links that were sent to addresses: of a token its hash is kept, and of those who show it at once one has it.

use domain::{
    Timestamp, UserId,
    model::{OneTimeToken, TokenKind, fold},
};

use crate::{
    SessionTx, StoreError, Tx, View,
    tx::Reader,
    value::{Row, Value, values},
};

fn read(row: &Row) -> Result<OneTimeToken, StoreError> {
    Ok(OneTimeToken {
        hash: row.at("hash")?,
        project_id: row.at("project_id")?,
        kind: row.word("kind")?,
        user_id: row.at("user_id")?,
        email: row.at("email")?,
        payload: row.at("payload")?,
        expires_at: row.at("expires_at")?,
    })
}

/// Reads of links.
pub trait OneTimeTokens: Reader {
    /// The token of this kind and hash, expired or not, without using it up.
    fn one_time_token(
        &self,
        kind: TokenKind,
        hash: [u8; 32],
    ) -> impl Future<Output = Result<Option<OneTimeToken>, StoreError>> + Send {
        async move {
            let sql = "SELECT * FROM one_time_tokens WHERE hash = $1 AND kind = $2";
            self.view().await?.first(sql, vec![hash.into(), Value::word(&kind)], read).await
        }
    }
}
impl<R: Reader> OneTimeTokens for R {}

async fn take(
    view: &View,
    kind: TokenKind,
    hash: [u8; 32],
    now: Timestamp,
) -> Result<Option<OneTimeToken>, StoreError> {
    let sql = "DELETE FROM one_time_tokens WHERE hash = $1 AND kind = $2 AND expires_at > $3 RETURNING *";
    view.first(sql, vec![hash.into(), Value::word(&kind), now.into()], read).await
}

async fn insert(view: &View, new: &OneTimeToken, now: Timestamp) -> Result<(), StoreError> {
    let mut all = values![new.hash, new.project_id, new.user_id, &new.email, fold(&new.email)];
    all.extend([Value::word(&new.kind), Value::json(&new.payload)?]);
    all.extend(values![new.expires_at, now]);
    let sql = "INSERT INTO one_time_tokens (hash, project_id, user_id, email, email_fold, kind, payload, expires_at,
                   created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    view.execute(sql, all).await.map(|_| ())
}

impl Tx {
    /// Keeps a token.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without its project or user.
    pub async fn insert_one_time_token(&self, new: &OneTimeToken) -> Result<(), StoreError> {
        insert(&self.work.view, new, self.work.now).await
    }

    /// Uses a token up: of those who show it at once, one. None for one that is unknown, used, of another kind or too old.
    ///
    /// # Errors
    /// Of the database.
    pub async fn use_one_time_token(
        &self,
        kind: TokenKind,
        hash: [u8; 32],
    ) -> Result<Option<OneTimeToken>, StoreError> {
        take(&self.work.view, kind, hash, self.work.now).await
    }
}

impl SessionTx {
    /// Keeps a token.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without its project or user.
    pub async fn insert_one_time_token(&self, new: &OneTimeToken) -> Result<(), StoreError> {
        insert(&self.work.view, new, self.work.now).await
    }

    /// As [`Tx::use_one_time_token`].
    ///
    /// # Errors
    /// Of the database.
    pub async fn use_one_time_token(
        &self,
        kind: TokenKind,
        hash: [u8; 32],
    ) -> Result<Option<OneTimeToken>, StoreError> {
        take(&self.work.view, kind, hash, self.work.now).await
    }

    /// A user's tokens of a kind are worth nothing any more.
    ///
    /// # Errors
    /// Of the database.
    pub async fn drop_one_time_tokens(&self, user: UserId, kind: TokenKind) -> Result<(), StoreError> {
        let sql = "DELETE FROM one_time_tokens WHERE user_id = $1 AND kind = $2";
        self.work.view.execute(sql, vec![user.into(), Value::word(&kind)]).await.map(|_| ())
    }
}
