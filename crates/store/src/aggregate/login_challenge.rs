//! Sign-ins that wait for their second factor. A client knows one by its id, of which the hash is kept; it is used by
//! deleting it, so of any number who use it one does.

use authz::Scope;
use domain::{
    AmrSet, UserId,
    model::{AuthMethod, LoginChallenge},
};

use crate::{
    SessionTx, Store, StoreError,
    tx::Reader,
    value::{Row, Value, values},
};

/// Most sign-ins of one user that wait at once, in all tenants; the oldest gives way.
const WAITING: u32 = 5;

const SELECT: &str = "SELECT * FROM login_challenges";

fn read(row: &Row) -> Result<LoginChallenge, StoreError> {
    let method: AuthMethod = row.word("method")?;
    // Those of an older release say no more than the method.
    let amr = row.at::<Option<String>>("amr")?.map_or(method.amr(), |words| AmrSet::read(words.split(' ')));
    Ok(LoginChallenge {
        hash: row.at("hash")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        user_id: row.at("user_id")?,
        system: row.at("is_system")?,
        method,
        approved_by: row.word_opt("approved_by")?,
        amr,
        provider_id: row.at("provider_id")?,
        purpose: row.word("purpose")?,
        user_generation: row.at("user_generation")?,
        tenant_generation: row.at("tenant_generation")?,
        attempts: row.at("attempts")?,
        created_at: row.at("created_at")?,
        expires_at: row.at("expires_at")?,
    })
}

/// Reads of waiting sign-ins.
pub trait LoginChallenges: Reader {
    /// The one of this hash, unless its time is over.
    fn login_challenge(
        &self,
        hash: [u8; 32],
        now: domain::Timestamp,
    ) -> impl Future<Output = Result<Option<LoginChallenge>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE hash = $1 AND expires_at > $2");
            self.view().await?.first(&sql, values![hash, now], read).await
        }
    }
}
impl<R: Reader> LoginChallenges for R {}

impl SessionTx {
    /// Keeps a sign-in that waits, in the place of the user's oldest where too many wait.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without its user or tenant.
    pub async fn insert_login_challenge(&self, new: &LoginChallenge) -> Result<(), StoreError> {
        let view = &self.work.view;
        let sql = "DELETE FROM login_challenges WHERE user_id = $1 AND (expires_at <= $2 OR hash NOT IN (
                       SELECT hash FROM login_challenges WHERE user_id = $1 ORDER BY created_at DESC, hash LIMIT $3))";
        view.execute(sql, values![new.user_id, self.work.now, WAITING - 1]).await?;
        let sql = "INSERT INTO login_challenges (hash, project_id, tenant_id, user_id, is_system, method, purpose,
                       user_generation, tenant_generation, attempts, created_at, expires_at, amr, approved_by,
                       provider_id)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
        let mut all = values![new.hash, new.project_id, new.tenant_id, new.user_id, new.system];
        all.extend([Value::word(&new.method), Value::word(&new.purpose)]);
        all.extend(values![new.user_generation, new.tenant_generation, new.attempts, new.created_at, new.expires_at]);
        all.extend(values![new.amr.to_string()]);
        all.push(Value::word(&new.approved_by));
        all.push(new.provider_id.into());
        view.execute(sql, all).await.map(|_| ())
    }

    /// Takes one of `most` attempts at a second factor, before it is looked at: guesses made at once are counted one by
    /// one, whichever replica they are made at. None when they are used up, or the sign-in waits no more.
    ///
    /// # Errors
    /// Of the database.
    pub async fn attempt_login_challenge(
        &self,
        hash: [u8; 32],
        most: u32,
    ) -> Result<Option<LoginChallenge>, StoreError> {
        let sql = "UPDATE login_challenges SET attempts = attempts + 1
                   WHERE hash = $1 AND expires_at > $2 AND attempts < $3 RETURNING *";
        self.work.view.first(sql, values![hash, self.work.now, most], read).await
    }

    /// Uses a waiting sign-in. None when another did, or it waits no more.
    ///
    /// # Errors
    /// Of the database.
    pub async fn use_login_challenge(&self, hash: [u8; 32]) -> Result<Option<LoginChallenge>, StoreError> {
        let sql = "DELETE FROM login_challenges WHERE hash = $1 AND expires_at > $2 RETURNING *";
        self.work.view.first(sql, values![hash, self.work.now], read).await
    }

    /// Ends every sign-in of a user's that waits.
    ///
    /// # Errors
    /// Of the database.
    pub async fn drop_login_challenges(&self, user: UserId) -> Result<(), StoreError> {
        let sql = "DELETE FROM login_challenges WHERE user_id = $1";
        self.work.view.execute(sql, values![user]).await.map(|_| ())
    }
}

impl Store {
    /// Forgets up to `limit` sign-ins that wait no more at `then`; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sweep_login_challenges(&self, then: domain::Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write_session(Scope::Platform, then, |tx| async move {
            let sql = "DELETE FROM login_challenges WHERE hash IN (
                           SELECT hash FROM login_challenges WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
            tx.work.view.execute(sql, values![then, limit]).await
        })
        .await
    }
}
