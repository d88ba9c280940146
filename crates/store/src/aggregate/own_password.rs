//! What people do to their own passwords and addresses, by what they know or read. It is session state: no gateway is told of a
//! password, and what ends with it is told by facts.

use domain::{
    Secret, UserId,
    model::{User, fold},
};

use super::{api_key, certificate_binding, federated_identity, generation, membership::Memberships, needed, user};
use crate::{
    SessionTx, StoreError, View,
    tx::{Reader, Work},
    value::values,
};

/// How a password that is replaced ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Replaced<'h> {
    /// If it is still this one.
    Known(&'h Secret<String>),
    /// Whatever it is: an address was shown to be read.
    Any,
}

/// Reads of passwords of before.
pub trait PasswordHistory: Reader {
    /// Up to `limit` hashes of passwords that a user had before the present one, the latest first.
    fn password_history(
        &self,
        user: UserId,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Secret<String>>, StoreError>> + Send {
        async move {
            let sql = "SELECT hash FROM password_history WHERE user_id = $1 ORDER BY replaced_at DESC, hash LIMIT $2";
            self.view().await?.all(sql, values![user, limit], |row| row.at::<String>("hash").map(Secret::new)).await
        }
    }
}
impl<R: Reader> PasswordHistory for R {}

/// Keeps the hash of the password somebody has, before it is replaced; of those that are kept, the latest.
pub(crate) async fn keep(view: &View, id: UserId, now: domain::Timestamp) -> Result<(), StoreError> {
    let sql = "INSERT INTO password_history (user_id, project_id, hash, replaced_at)
               SELECT id, project_id, password_hash, $2 FROM users WHERE id = $1 AND password_hash IS NOT NULL
               ON CONFLICT (user_id, hash) DO UPDATE SET replaced_at = excluded.replaced_at";
    view.execute(sql, values![id, now]).await?;
    let sql = "DELETE FROM password_history WHERE user_id = $1 AND hash NOT IN (
                   SELECT hash FROM password_history WHERE user_id = $1 ORDER BY replaced_at DESC, hash LIMIT $2)";
    view.execute(sql, values![id, u64::from(domain::model::login_policy::MAX_HISTORY)]).await.map(|_| ())
}

impl SessionTx {
    /// Gives somebody another password, and refuses every token and session from before. None when another was first.
    ///
    /// # Errors
    /// Of the database.
    pub async fn replace_password(
        &self,
        id: UserId,
        replaced: Replaced<'_>,
        new: &Secret<String>,
    ) -> Result<Option<User>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let lock = view.locking("SELECT * FROM users WHERE id = $1");
        let Some(before) = view.first(&lock, values![id], user::read).await? else { return Ok(None) };
        if let Replaced::Known(known) = replaced
            && before.password_hash.as_ref() != Some(known)
        {
            return Ok(None);
        }
        keep(view, id, *now).await?;
        let sql = "UPDATE users SET password_hash = $2, must_change_password = FALSE, password_changed_at = $3,
                       updated_at = $3, version = version + 1
                   WHERE id = $1 RETURNING *";
        let changed = view.first(sql, values![id, new.expose(), *now], user::read).await?;
        generation::raise_everywhere(&self.work, id).await?;
        Ok(changed)
    }

    /// Notes that somebody reads the address of an account, where nobody had shown that yet. Unless `kept`, that is the first to
    /// know who the account belongs to: what was set before them is void: password, second factors, passkeys, phone number, identities of
    /// providers, API keys, client certificates, every token and session, what was sent and waits. None when the account has another
    /// address by now, or was proven before.
    ///
    /// # Errors
    /// Of the database.
    pub async fn prove_email(&self, id: UserId, address: &str, kept: bool) -> Result<Option<User>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let lock = view.locking("SELECT * FROM users WHERE id = $1");
        let before = needed(view.first(&lock, values![id], user::read).await?, "user")?;
        let same = before.email.as_deref().map(fold) == Some(fold(address));
        if !same || before.email_verified_at.is_some() || before.is_break_glass {
            return Ok(None);
        }
        let void =
            if kept { "" } else { "password_hash = NULL, password_changed_at = NULL, must_change_password = FALSE," };
        let sql = format!(
            "UPDATE users SET {void} email_verified_at = $2, updated_at = $2, version = version + 1 WHERE id = $1
             RETURNING *"
        );
        let proven = view.first(&sql, values![id, *now], user::read).await?;
        if !kept {
            view.execute("DELETE FROM password_history WHERE user_id = $1", values![id]).await?;
            self.drop_totp(id).await?;
            self.drop_passkeys(id).await?;
            self.void_phone(id).await?;
            certificate_binding::unbind_all_of(&self.work, id).await?;
            federated_identity::drop_all(view, id).await?;
            for membership in view.memberships_of_user(id).await? {
                api_key::revoke_all_of(&self.work, membership.tenant_id, id).await?;
            }
            generation::raise_everywhere(&self.work, id).await?;
        }
        Ok(proven)
    }

    /// Gives an account another address, which its holder showed to read. Every token and session is refused. None when
    /// somebody else has the address.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn change_email(&self, id: UserId, address: &str) -> Result<Option<User>, StoreError> {
        let Work { view, now, .. } = &self.work;
        let lock = view.locking("SELECT * FROM users WHERE id = $1");
        let before = needed(view.first(&lock, values![id], user::read).await?, "user")?;
        let taken = "SELECT id FROM users WHERE project_id = $1 AND email_fold = $2 AND id <> $3";
        let folded = fold(address);
        if !view.query(taken, values![before.project_id, &folded, id]).await?.is_empty() {
            return Ok(None);
        }
        let sql = "UPDATE users SET email = $2, email_fold = $3, email_verified_at = $4, updated_at = $4,
                       version = version + 1
                   WHERE id = $1 RETURNING *";
        let changed = view.first(sql, values![id, address.trim(), folded, *now], user::read).await?;
        generation::raise_everywhere(&self.work, id).await?;
        Ok(changed)
    }
}
