//! Refresh tokens: each is used once, by one.

use std::time::Duration;

use domain::{
    Timestamp,
    model::{NewRefreshToken, RefreshToken, Session},
};
use futures::try_join;

use super::{needed, one, session::Sessions};
use crate::{
    SessionTx, StoreError,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM refresh_tokens";

fn read(row: &Row) -> Result<RefreshToken, StoreError> {
    Ok(RefreshToken {
        hash: row.at("hash")?,
        sid: row.at("sid")?,
        expires_at: row.at("expires_at")?,
        jti: row.at("jti")?,
        jti_exp: row.at("jti_exp")?,
    })
}

/// What became of a refresh token that was shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Consumed {
    /// It is ours, unused and in time; now it is used. Whether its session is open is the caller's to judge.
    Fresh(RefreshToken, Session),
    /// It was used a moment ago: the same client asked twice. Refuse, and leave the session alone.
    Superseded(Session),
    /// It was used before: somebody has a copy. Revoke all the user's sessions.
    Replayed(Session),
    /// It has expired.
    Expired,
    /// It is not ours.
    Unknown,
}

/// Reads of refresh tokens.
pub trait RefreshTokens: Reader {
    /// The token of this hash, used or not.
    fn refresh_token(&self, hash: [u8; 32]) -> impl Future<Output = Result<Option<RefreshToken>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE hash = $1"), values![hash], read).await }
    }
}
impl<R: Reader> RefreshTokens for R {}

impl SessionTx {
    /// Stores a refresh token.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without its session.
    pub async fn insert_refresh(&self, new: &NewRefreshToken) -> Result<(), StoreError> {
        let sql = "INSERT INTO refresh_tokens (hash, sid, project_id, tenant_id, jti, jti_exp, expires_at)
                   SELECT $1, sid, project_id, tenant_id, $3, $4, $5 FROM sessions WHERE sid = $2";
        let values = values![new.hash, new.sid, new.jti, new.jti_exp, new.expires_at];
        one(&self.work.view, "session", sql, values).await
    }

    /// Uses a refresh token. Of any number of transactions that try at once, one gets [`Consumed::Fresh`]. A token
    /// used less than `grace` ago is [`Consumed::Superseded`]; zero makes every second use a replay.
    ///
    /// # Errors
    /// Of the database.
    pub async fn consume_refresh(&self, hash: [u8; 32], grace: Duration) -> Result<Consumed, StoreError> {
        let (view, now) = (&self.work.view, self.work.now);
        // Compare-and-swap: a second transaction waits for the first's commit here, and then finds it used.
        let sql = "UPDATE refresh_tokens SET consumed_at = $2
                   WHERE hash = $1 AND consumed_at IS NULL AND expires_at > $2 RETURNING *";
        let (fresh, session) = try_join!(view.first(sql, values![hash, now], read), self.session_of_refresh(hash))?;
        if let Some(token) = fresh {
            return Ok(Consumed::Fresh(token, needed(session, "session")?));
        }
        let used = |row: &Row| Ok((read(row)?, row.at::<Option<Timestamp>>("consumed_at")?));
        let Some((_, consumed)) = view.first(&format!("{SELECT} WHERE hash = $1"), values![hash], used).await? else {
            return Ok(Consumed::Unknown);
        };
        let Some(consumed) = consumed else { return Ok(Consumed::Expired) };
        let session = needed(session, "session")?;
        Ok(if now.since(consumed) < grace { Consumed::Superseded(session) } else { Consumed::Replayed(session) })
    }

    /// Stores the refresh token that follows a used one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] without its session.
    pub async fn replace_refresh(&self, used: [u8; 32], new: &NewRefreshToken) -> Result<(), StoreError> {
        let sql = "UPDATE refresh_tokens SET replaced_by = $2 WHERE hash = $1";
        let replaced = self.work.view.execute(sql, values![used, new.hash]);
        try_join!(self.insert_refresh(new), replaced).map(|_| ())
    }
}
