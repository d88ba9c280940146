//! Turns: jobs that one replica does for all, once in a while.

use std::time::Duration;

use crate::{SessionTx, StoreError, value::values};

impl SessionTx {
    /// Takes the turn to do a job that is done every `pause`. Of any number who try at once one gets it. A next time that
    /// lies further ahead than any pause is none: somebody else set it.
    ///
    /// # Errors
    /// Of the database.
    pub async fn take_turn(&self, job: &str, pause: Duration) -> Result<bool, StoreError> {
        let now = self.work.now;
        let sql = "INSERT INTO turns (job, next_at) VALUES ($1, $3)
                   ON CONFLICT (job) DO UPDATE SET next_at = excluded.next_at
                       WHERE turns.next_at <= $2 OR turns.next_at > $3";
        Ok(self.work.view.execute(sql, values![job, now, now + pause]).await? == 1)
    }
}
