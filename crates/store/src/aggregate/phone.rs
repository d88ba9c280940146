//! Phone numbers that somebody showed to read. One is one account's in a project, for as long as the proof counts: numbers are given to
//! somebody else.

use domain::{PhoneNumber, ProjectId, Timestamp, UserId, model::User};

use super::{break_glass, credential, user};
use crate::{
    SessionTx, StoreError,
    tx::{Reader, Work},
    value::{Row, values},
};

/// What came of a proof.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PhoneProven {
    /// It is the user's.
    Now,
    /// The same; it was this one's, whose proof counted no more.
    Lapsed(UserId),
    /// It is another account's.
    Taken,
}

/// Reads of proven numbers.
pub trait PhoneNumbers: Reader {
    /// A user's number, and when it was proven.
    fn phone_of(
        &self,
        user: UserId,
    ) -> impl Future<Output = Result<Option<(PhoneNumber, Timestamp)>, StoreError>> + Send {
        async move {
            let sql = "SELECT number, verified_at FROM phone_numbers WHERE user_id = $1";
            let read = |row: &Row| Ok((row.parsed("number")?, row.at("verified_at")?));
            self.view().await?.first(sql, values![user], read).await
        }
    }

    /// Who showed to read a number, later than `since`.
    fn user_by_phone(
        &self,
        project: ProjectId,
        number: &PhoneNumber,
        since: Timestamp,
    ) -> impl Future<Output = Result<Option<User>, StoreError>> + Send {
        async move {
            let sql = "SELECT users.* FROM users JOIN phone_numbers ON phone_numbers.user_id = users.id
                       WHERE phone_numbers.project_id = $1 AND phone_numbers.number = $2 AND phone_numbers.verified_at > $3";
            self.view().await?.first(sql, values![project, number.as_str(), since], user::read).await
        }
    }
}
impl<R: Reader> PhoneNumbers for R {}

impl SessionTx {
    /// Notes that a user reads a number, in the place of the one before. What another showed until `since` counts no more.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without such a user; [`StoreError::Conflict`] on the number when another is quicker;
    /// [`StoreError::Rule`] (`user_is_break_glass`) for an emergency administrator.
    pub async fn prove_phone(
        &self,
        (project, user): (ProjectId, UserId),
        number: &PhoneNumber,
        since: Timestamp,
    ) -> Result<PhoneProven, StoreError> {
        let Work { view, now, .. } = &self.work;
        break_glass::keep(view, user).await?;
        let sql =
            "SELECT user_id, verified_at FROM phone_numbers WHERE project_id = $1 AND number = $2 AND user_id <> $3";
        let read = |row: &Row| Ok((row.at("user_id")?, row.at("verified_at")?));
        let other: Option<(UserId, Timestamp)> =
            view.first(&view.locking(sql), values![project, number.as_str(), user], read).await?;
        let proven = match other {
            None => PhoneProven::Now,
            Some((_, verified_at)) if verified_at > since => return Ok(PhoneProven::Taken),
            Some((other, _)) => {
                self.void_phone(other).await?;
                PhoneProven::Lapsed(other)
            }
        };
        let sql = "INSERT INTO phone_numbers (user_id, project_id, number, verified_at) VALUES ($1, $2, $3, $4)
                   ON CONFLICT (user_id) DO UPDATE SET number = excluded.number, verified_at = excluded.verified_at";
        view.execute(sql, values![user, project, number.as_str(), *now]).await?;
        Ok(proven)
    }

    /// Has a user have no proven number, who asks for it; whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`last_credential`) for who could sign in by nothing else.
    pub async fn drop_phone(&self, user: UserId) -> Result<bool, StoreError> {
        // Who takes away another way in at the same time waits here, or this for them.
        let has_another = credential::held(&self.work.view, user).await? > 0;
        let dropped = self.void_phone(user).await?;
        if dropped && !has_another {
            return Err(StoreError::rule("last_credential", "without it there would be no way to sign in"));
        }
        Ok(dropped)
    }

    /// Has a user have no proven number, whatever else they sign in with; whether there was one.
    ///
    /// # Errors
    /// Of the database.
    pub async fn void_phone(&self, user: UserId) -> Result<bool, StoreError> {
        Ok(self.work.view.execute("DELETE FROM phone_numbers WHERE user_id = $1", values![user]).await? > 0)
    }
}
