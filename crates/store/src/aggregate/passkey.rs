//! Passkeys, and which challenges were answered. A challenge is kept by its client, sealed; only that it was used is kept
//! here, for as long as it would be good, so that begun sign-ins of strangers cost no row.

use authz::{
    Authorized, Scope,
    action::{ManageOwnAccount, ManageUsers},
};
use domain::{
    PasskeyId, ProjectId, Timestamp, UserId,
    model::{NewPasskey, Passkey, Version},
};

use super::{break_glass, credential, needed, swap};
use crate::{
    SessionTx, Store, StoreError, Tx, Unaudited, View,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM passkeys";

fn read(row: &Row) -> Result<Passkey, StoreError> {
    Ok(Passkey {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        user_id: row.at("user_id")?,
        rp_id: row.at("rp_id")?,
        credential_id: row.at("credential_id")?,
        credential: row.json("credential")?,
        name: row.at("name")?,
        sign_count: row.at("sign_count")?,
        backup_eligible: row.at("backup_eligible")?,
        backup_state: row.at("backup_state")?,
        created_at: row.at("created_at")?,
        last_used_at: row.at("last_used_at")?,
        version: Version(row.at("version")?),
    })
}

/// Reads of passkeys.
pub trait Passkeys: Reader {
    /// All of a user's, oldest first.
    fn passkeys(&self, user: UserId) -> impl Future<Output = Result<Vec<Passkey>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE user_id = $1 ORDER BY id");
            self.view().await?.all(&sql, values![user], read).await
        }
    }

    /// The one that an authenticator names so, at a hostname of a project's.
    fn passkey_by_credential(
        &self,
        (project, rp_id): (ProjectId, &str),
        credential: &[u8],
    ) -> impl Future<Output = Result<Option<Passkey>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE project_id = $1 AND rp_id = $2 AND credential_id = $3");
            self.view().await?.first(&sql, values![project, rp_id, credential.to_vec()], read).await
        }
    }
}
impl<R: Reader> Passkeys for R {}

/// None when the authenticator's is known.
async fn insert(view: &View, new: NewPasskey, now: Timestamp) -> Result<Option<Passkey>, StoreError> {
    let sql = "INSERT INTO passkeys (id, project_id, user_id, rp_id, credential_id, credential, name, sign_count,
                   backup_eligible, backup_state, created_at, version)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1)
               ON CONFLICT (project_id, rp_id, credential_id) DO NOTHING RETURNING *";
    let mut all = values![new.id, new.project_id, new.user_id, new.rp_id, new.credential_id];
    all.push(Value::Json(new.credential));
    all.extend(values![new.name, new.sign_count, new.backup_eligible, new.backup_state, now]);
    view.first(sql, all, read).await
}

impl SessionTx {
    /// Uses a challenge, by its hash: of any number who answer it, one wins. False when it was used.
    ///
    /// # Errors
    /// Of the database.
    pub async fn use_passkey_challenge(
        &self,
        project: ProjectId,
        hash: [u8; 32],
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = "INSERT INTO used_passkey_challenges (hash, project_id, expires_at) VALUES ($1, $2, $3)
                   ON CONFLICT (hash) DO NOTHING";
        Ok(self.work.view.execute(sql, values![hash, project, expires_at]).await? == 1)
    }

    /// Keeps whoever else changes a user's factors waiting until this transaction ends, so that what is read of them here holds. To
    /// be called after [`hold_sign_ins`](Self::hold_sign_ins), where that is.
    ///
    /// # Errors
    /// Of the database.
    pub async fn hold_factors(&self, user: UserId) -> Result<(), StoreError> {
        let view = &self.work.view;
        view.query(&view.locking("SELECT id FROM users WHERE id = $1"), values![user]).await.map(|_| ())
    }

    /// Keeps a passkey; a user has at most so many. None when there are as many, or the authenticator's is known.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`user_is_break_glass`) for an emergency administrator; [`StoreError::Reference`] without the
    /// user.
    pub async fn insert_passkey(&self, new: NewPasskey, most: u32) -> Result<Option<Passkey>, StoreError> {
        let Work { view, now, .. } = &self.work;
        break_glass::keep(view, new.user_id).await?;
        if self.passkeys_alone(new.user_id).await? >= most {
            return Ok(None);
        }
        insert(view, new, *now).await
    }

    /// Notes that a passkey signed its user in. False when it is gone, or its count has moved since `seen`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn note_passkey_used(
        &self,
        seen: &Passkey,
        sign_count: u32,
        backup_state: bool,
    ) -> Result<bool, StoreError> {
        let sql = "UPDATE passkeys SET sign_count = $3, backup_state = $4, last_used_at = $5
                   WHERE id = $1 AND sign_count = $2";
        let values = values![seen.id, seen.sign_count, sign_count, backup_state, self.work.now];
        Ok(self.work.view.execute(sql, values).await? == 1)
    }

    /// Takes one of a user's passkeys away. None when it is not theirs.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`last_credential`) for the last of who could sign in by nothing else.
    pub async fn delete_passkey(&self, user: UserId, id: PasskeyId) -> Result<Option<Passkey>, StoreError> {
        let view = &self.work.view;
        // Two at once are done one after the other: the second finds the last.
        let held = credential::held(view, user).await?;
        let sql = "DELETE FROM passkeys WHERE id = $1 AND user_id = $2 RETURNING *";
        let deleted = view.first(sql, values![id, user], read).await?;
        if deleted.is_some() && held <= 1 {
            return Err(StoreError::rule("last_credential", "without it there would be no way to sign in"));
        }
        Ok(deleted)
    }

    /// Takes all of a user's passkeys away; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn drop_passkeys(&self, user: UserId) -> Result<u64, StoreError> {
        self.work.view.execute("DELETE FROM passkeys WHERE user_id = $1", values![user]).await
    }

    /// How many passkeys a user has; nobody else adds or takes one before this transaction ends.
    async fn passkeys_alone(&self, user: UserId) -> Result<u32, StoreError> {
        self.hold_factors(user).await?;
        let view = &self.work.view;
        let held = view.query("SELECT id FROM passkeys WHERE user_id = $1", values![user]).await?;
        Ok(u32::try_from(held.len()).unwrap_or(u32::MAX))
    }
}

impl Tx {
    /// Keeps the passkey that an account is made with, in the transaction that makes it.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without the user; [`StoreError::Rule`] (`passkey_known`) for one that is kept already.
    pub async fn insert_first_passkey(
        &self,
        _by: &Authorized<ManageUsers>,
        new: NewPasskey,
    ) -> Result<Unaudited<Passkey>, StoreError> {
        let kept = insert(&self.work.view, new, self.work.now).await?;
        let kept =
            kept.ok_or_else(|| StoreError::rule("passkey_known", "the authenticator's passkey is registered"))?;
        Ok(self.unaudited(kept))
    }

    /// Renames a passkey of whoever `by` is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for anybody else's; [`StoreError::VersionMismatch`].
    pub async fn rename_passkey(
        &self,
        by: &Authorized<ManageOwnAccount>,
        id: PasskeyId,
        version: Option<Version>,
        name: String,
    ) -> Result<Unaudited<Passkey>, StoreError> {
        let view = &self.work.view;
        let found = view.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await?;
        let own = |it: &Passkey| by.actor().id == Some(it.user_id.uuid());
        let found = needed(found.filter(own), "passkey")?;
        let key = (id.uuid(), version.unwrap_or(found.version));
        let version = swap(view, "passkey", "passkeys", key, "name = $3", values![&name]).await?;
        Ok(self.unaudited(Passkey { name, version, ..found }))
    }
}

impl Store {
    /// Forgets up to `limit` used challenges that would not be good any more at `then`; answers how many there were.
    ///
    /// # Errors
    /// Of the database.
    pub async fn sweep_passkey_challenges(&self, then: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write_session(Scope::Platform, then, |tx| async move {
            let sql = "DELETE FROM used_passkey_challenges WHERE hash IN (
                           SELECT hash FROM used_passkey_challenges WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
            tx.work.view.execute(sql, values![then, limit]).await
        })
        .await
    }
}
