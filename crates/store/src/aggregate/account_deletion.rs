//! Accounts whose people asked that they be deleted. They wait, and whoever signs in meanwhile keeps theirs.

use authz::{Authorized, action::ManageOwnAccount};
use domain::{
    ProjectId, Timestamp, UserId,
    model::{User, UserStatus},
};

use super::{break_glass, generation, needed, user};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

/// Reads of accounts that wait for their end.
pub trait AccountDeletions: Reader {
    /// When an account is due; none for one that does not wait.
    fn account_deletion(&self, user: UserId) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send {
        async move {
            let sql = "SELECT due_at FROM account_deletions WHERE user_id = $1";
            self.view().await?.first(sql, values![user], |row| row.at("due_at")).await
        }
    }

    /// Up to `limit` accounts that are due, with their projects.
    fn due_account_deletions(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<(UserId, ProjectId)>, StoreError>> + Send {
        async move {
            let sql = "SELECT user_id, project_id FROM account_deletions WHERE next_at <= $1 ORDER BY next_at, user_id LIMIT $2";
            let read = |row: &Row| Ok((row.at("user_id")?, row.at("project_id")?));
            self.view().await?.all(sql, values![now, limit], read).await
        }
    }
}
impl<R: Reader> AccountDeletions for R {}

impl Tx {
    /// Puts the account of whoever `by` is on hold until it is due to be deleted. Every token and session is refused.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for anybody else's; [`StoreError::Rule`] for an emergency administrator's;
    /// [`StoreError::NotFound`] for one that is not active.
    pub async fn begin_account_deletion(
        &self,
        by: &Authorized<ManageOwnAccount>,
        id: UserId,
        due_at: Timestamp,
    ) -> Result<Unaudited<User>, StoreError> {
        if by.actor().id != Some(id.uuid()) {
            return Err(StoreError::OutOfScope);
        }
        let Work { view, now, .. } = &self.work;
        break_glass::keep(view, id).await?;
        let sql = "UPDATE users SET status = 'pending_deletion', updated_at = $2, version = version + 1
                   WHERE id = $1 AND status = $3 RETURNING *";
        let values = vec![id.into(), (*now).into(), Value::word(&UserStatus::Active)];
        let held = needed(view.first(sql, values, user::read).await?, "user")?;
        let sql =
            "INSERT INTO account_deletions (user_id, project_id, asked_at, due_at, next_at) VALUES ($1, $2, $3, $4, $4)
                   ON CONFLICT (user_id) DO UPDATE SET asked_at = excluded.asked_at, due_at = excluded.due_at,
                       next_at = excluded.next_at";
        view.execute(sql, values![id, held.project_id, *now, due_at]).await?;
        generation::raise_everywhere(&self.work, id).await?;
        generation::bindings_changed_everywhere(&self.work, id).await?;
        Ok(self.unaudited(held))
    }
}

impl SessionTx {
    /// Takes an account off hold: its holder signs in. None when it does not wait any more.
    ///
    /// # Errors
    /// Of the database.
    pub async fn cancel_account_deletion(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let sql = "DELETE FROM account_deletions WHERE user_id = $1 AND due_at > $2";
        if view.execute(sql, values![id, *now]).await? == 0 {
            return Ok(None);
        }
        let sql = "UPDATE users SET status = $3, updated_at = $2, version = version + 1
                   WHERE id = $1 AND status = 'pending_deletion' RETURNING *";
        let values = vec![id.into(), (*now).into(), Value::word(&UserStatus::Active)];
        let back = needed(view.first(sql, values, user::read).await?, "user")?;
        generation::bindings_changed_everywhere(&self.work, id).await?;
        Ok(Some(back))
    }

    /// An account could not be deleted now: not again before.
    ///
    /// # Errors
    /// Of the database.
    pub async fn put_off_account_deletion(&self, id: UserId, until: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE account_deletions SET next_at = $2 WHERE user_id = $1";
        self.work.view.execute(sql, values![id, until]).await.map(|_| ())
    }
}
