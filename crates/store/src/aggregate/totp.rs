//! Authenticators of people, and the codes that stand in for one that is lost. Secret and pepper are sealed; of a recovery
//! code its hash is kept.
//!
//! Each code is used once, by one: a time step moves forward only, and a recovery code is taken by compare-and-swap. Both
//! belong into the transaction that gives something for them.

use authz::{Authorized, Scope, action::ManageUsers};
use domain::{
    ProjectId, Secret, Timestamp, UserId,
    model::{Totp, User},
};

use super::{break_glass, federated_identity, generation, needed, user::Users};
use crate::{
    SessionTx, Store, StoreError, Tx, Unaudited, View,
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT user_id, project_id, secret_enc, pepper_enc, last_step, confirmed_at FROM totp_secrets";

fn secret_place(user: UserId) -> String {
    format!("totp_secrets.secret_enc:{user}")
}
fn pepper_place(user: UserId) -> String {
    format!("totp_secrets.pepper_enc:{user}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED_SECRET: SealedColumn = SealedColumn {
    table: "totp_secrets",
    column: "secret_enc",
    key: &["user_id"],
    place: |row| Ok(secret_place(row.at("user_id")?)),
};
/// The same.
pub(crate) const SEALED_PEPPER: SealedColumn = SealedColumn {
    table: "totp_secrets",
    column: "pepper_enc",
    key: &["user_id"],
    place: |row| Ok(pepper_place(row.at("user_id")?)),
};

async fn of(view: &View, sql: &str, user: UserId) -> Result<Option<Totp>, StoreError> {
    let sealed = |row: &Row| Ok((row.clone(), row.at::<Vec<u8>>("secret_enc")?, row.at::<Vec<u8>>("pepper_enc")?));
    let Some((row, secret, pepper)) = view.first(sql, values![user], sealed).await? else { return Ok(None) };
    Ok(Some(Totp {
        user_id: row.at("user_id")?,
        project_id: row.at("project_id")?,
        secret: view.sealer().open(&secret_place(user), &secret)?,
        pepper: view.sealer().open(&pepper_place(user), &pepper)?,
        last_step: row.at("last_step")?,
        confirmed_at: row.at("confirmed_at")?,
    }))
}

/// Reads of authenticators.
pub trait Authenticators: Reader {
    /// A user's, also while it is being set up.
    fn totp(&self, user: UserId) -> impl Future<Output = Result<Option<Totp>, StoreError>> + Send {
        async move { of(&self.view().await?, &format!("{SELECT} WHERE user_id = $1"), user).await }
    }

    /// Since when a user's sign-ins ask for a code; none where they do not.
    fn totp_since(&self, user: UserId) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send {
        async move {
            let sql = "SELECT confirmed_at FROM totp_secrets WHERE user_id = $1";
            let since = |row: &Row| row.at::<Option<Timestamp>>("confirmed_at");
            Ok(self.view().await?.first(sql, values![user], since).await?.flatten())
        }
    }

    /// How many recovery codes of a user's were not used yet.
    fn recovery_codes_left(&self, user: UserId) -> impl Future<Output = Result<u32, StoreError>> + Send {
        async move {
            let sql = "SELECT COUNT(*) AS left_over FROM recovery_codes WHERE user_id = $1 AND used_at IS NULL";
            Ok(self.view().await?.first(sql, values![user], |row| row.at("left_over")).await?.unwrap_or(0))
        }
    }
}
impl<R: Reader> Authenticators for R {}

impl SessionTx {
    /// Begins to set an authenticator up; one that was begun and not confirmed is replaced. False when there is one that
    /// sign-ins ask for already.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`user_is_break_glass`) for an emergency administrator, whose second factor stands elsewhere;
    /// [`StoreError::Reference`] without the user.
    pub async fn begin_totp(
        &self,
        user: &User,
        secret: &Secret<Vec<u8>>,
        pepper: &Secret<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let view = &self.work.view;
        break_glass::keep(view, user.id).await?;
        let secret = view.sealer().seal(&secret_place(user.id), secret.expose())?;
        let pepper = view.sealer().seal(&pepper_place(user.id), pepper.expose())?;
        let sql = "INSERT INTO totp_secrets (user_id, project_id, secret_enc, pepper_enc, last_step, created_at)
                   VALUES ($1, $2, $3, $4, 0, $5)
                   ON CONFLICT (user_id) DO UPDATE SET secret_enc = excluded.secret_enc,
                       pepper_enc = excluded.pepper_enc, created_at = excluded.created_at
                       WHERE totp_secrets.confirmed_at IS NULL";
        let values = values![user.id, user.project_id, secret, pepper, self.work.now];
        Ok(view.execute(sql, values).await? == 1)
    }

    /// A user's authenticator, which nobody else changes before this transaction ends.
    ///
    /// # Errors
    /// Of the database.
    pub async fn totp_alone(&self, user: UserId) -> Result<Option<Totp>, StoreError> {
        let view = &self.work.view;
        of(view, &view.locking(&format!("{SELECT} WHERE user_id = $1")), user).await
    }

    /// Keeps a user's sign-ins waiting until this transaction ends, in every tenant: they hold what is locked here while they
    /// read what they ask for. To be called before anything else is locked.
    ///
    /// # Errors
    /// Of the database.
    pub async fn hold_sign_ins(&self, user: UserId) -> Result<(), StoreError> {
        let view = &self.work.view;
        let sql = "INSERT INTO user_generations (tenant_id, user_id, project_id, generation)
                   SELECT tenant_id, user_id, project_id, 0 FROM memberships WHERE user_id = $1
                   ON CONFLICT (tenant_id, user_id) DO NOTHING";
        view.execute(sql, values![user]).await?;
        let sql = view.locking("SELECT generation FROM user_generations WHERE user_id = $1 ORDER BY tenant_id");
        view.query(&sql, values![user]).await.map(|_| ())
    }

    /// From now on sign-ins ask for it; the code of `step` is used up by this. False when they do so already.
    ///
    /// # Errors
    /// Of the database.
    pub async fn confirm_totp(&self, user: UserId, step: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE totp_secrets SET confirmed_at = $2, last_step = $3
                   WHERE user_id = $1 AND confirmed_at IS NULL";
        Ok(self.work.view.execute(sql, values![user, self.work.now, step]).await? == 1)
    }

    /// Uses up the code of a time step: of any number who show one code, one wins, and no code of an earlier step is good
    /// afterwards. False when it was used up.
    ///
    /// # Errors
    /// Of the database.
    pub async fn use_totp_step(&self, user: UserId, step: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE totp_secrets SET last_step = $2
                   WHERE user_id = $1 AND last_step < $2 AND confirmed_at IS NOT NULL";
        Ok(self.work.view.execute(sql, values![user, step]).await? == 1)
    }

    /// Uses up a recovery code: of any number who show it, one wins. False when it was used up or is none.
    ///
    /// # Errors
    /// Of the database.
    pub async fn use_recovery_code(&self, user: UserId, hash: [u8; 32]) -> Result<bool, StoreError> {
        let sql = "UPDATE recovery_codes SET used_at = $3 WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL";
        Ok(self.work.view.execute(sql, values![user, hash, self.work.now]).await? == 1)
    }

    /// Puts recovery codes in the place of all that a user has.
    ///
    /// # Errors
    /// [`StoreError::Reference`] for who has no authenticator.
    pub async fn replace_recovery_codes(
        &self,
        (user, project): (UserId, ProjectId),
        hashes: &[[u8; 32]],
    ) -> Result<(), StoreError> {
        let view = &self.work.view;
        view.execute("DELETE FROM recovery_codes WHERE user_id = $1", values![user]).await?;
        let sql = "INSERT INTO recovery_codes (user_id, project_id, code_hash) VALUES ($1, $2, $3)";
        for hash in hashes {
            view.execute(sql, values![user, project, *hash]).await?;
        }
        Ok(())
    }

    /// Takes a user's authenticator away, with its recovery codes. False when there was none that sign-ins asked for.
    ///
    /// # Errors
    /// Of the database.
    pub async fn drop_totp(&self, user: UserId) -> Result<bool, StoreError> {
        forget(&self.work.view, user).await
    }
}

impl Tx {
    /// Takes away what a user proves who they are with beside the password, identities of providers among it, and that they showed who they are: for who lost it. Every token and session from
    /// before is refused.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::OutOfScope`].
    pub async fn reset_factors(&self, by: &Authorized<ManageUsers>, id: UserId) -> Result<Unaudited<User>, StoreError> {
        let user = needed(self.user(id).await?, "user")?;
        self.reaches(by, &user).await?;
        forget(&self.work.view, id).await?;
        self.work.view.execute("DELETE FROM passkeys WHERE user_id = $1", values![id]).await?;
        federated_identity::drop_within(&self.work.view, by.scope(), id).await?;
        self.work.view.execute("DELETE FROM phone_numbers WHERE user_id = $1", values![id]).await?;
        self.void_identity_verifications(by, (id, None), "what they prove who they are with was taken away").await?;
        generation::raise_everywhere(&self.work, id).await?;
        Ok(self.unaudited(user))
    }
}

impl Store {
    /// Forgets up to `limit` authenticators that were begun before `then` and never confirmed; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sweep_begun_totp(&self, then: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write_session(Scope::Platform, then, |tx| async move {
            let sql = "DELETE FROM totp_secrets WHERE confirmed_at IS NULL AND user_id IN (
                           SELECT user_id FROM totp_secrets WHERE confirmed_at IS NULL AND created_at < $1 LIMIT $2)";
            tx.work.view.execute(sql, values![then, limit]).await
        })
        .await
    }
}

async fn forget(view: &View, user: UserId) -> Result<bool, StoreError> {
    view.execute("DELETE FROM recovery_codes WHERE user_id = $1", values![user]).await?;
    let sql = "DELETE FROM totp_secrets WHERE user_id = $1 AND confirmed_at IS NOT NULL";
    let dropped = view.execute(sql, values![user]).await? == 1;
    view.execute("DELETE FROM totp_secrets WHERE user_id = $1", values![user]).await?;
    Ok(dropped)
}
