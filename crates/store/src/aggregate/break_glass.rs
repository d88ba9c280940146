//! Emergency administrators. Their password and the secret of their codes stand here and not with the users, so that no
//! other sign-in takes them; the secret is sealed.

use authz::{Authorized, Scope, action::ManageBreakGlass};
use domain::{
    CustomerId, Secret, UserId,
    model::{BreakGlass, NewBreakGlass},
};

use super::{generation, needed, one, within};
use crate::{
    SessionTx, StoreError, Tx, Unaudited, View,
    reseal::SealedColumn,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT customer_id, user_id, project_id, tenant_id, password_hash, last_step, disabled_at,
                          set_up_at, last_login_at
                      FROM break_glass";

fn read(row: &Row) -> Result<BreakGlass, StoreError> {
    Ok(BreakGlass {
        customer_id: row.at("customer_id")?,
        user_id: row.at("user_id")?,
        project_id: row.at("project_id")?,
        tenant_id: row.at("tenant_id")?,
        password_hash: Secret::new(row.at("password_hash")?),
        last_step: row.at("last_step")?,
        disabled_at: row.at("disabled_at")?,
        set_up_at: row.at("set_up_at")?,
        last_login_at: row.at("last_login_at")?,
    })
}

fn place(customer: CustomerId) -> String {
    format!("break_glass.totp_enc:{customer}")
}

/// What [`Store::reseal`](crate::Store::reseal) seals anew.
pub(crate) const SEALED: SealedColumn = SealedColumn {
    table: "break_glass",
    column: "totp_enc",
    key: &["customer_id"],
    place: |row| Ok(place(row.at("customer_id")?)),
};

/// Refuses what would take an emergency administrator's place away from them.
pub(crate) async fn keep(view: &View, user: UserId) -> Result<(), StoreError> {
    match view.break_glass_of_user(user).await? {
        Some(_) => Err(StoreError::rule("user_is_break_glass", "the emergency administrator stays as they are")),
        None => Ok(()),
    }
}

/// Reads of emergency administrators.
pub trait BreakGlasses: Reader {
    /// A customer's; none before one was set up.
    fn break_glass(&self, customer: CustomerId) -> impl Future<Output = Result<Option<BreakGlass>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE customer_id = $1"), values![customer], read).await }
    }

    /// The one that a user is, if they are one.
    fn break_glass_of_user(&self, user: UserId) -> impl Future<Output = Result<Option<BreakGlass>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE user_id = $1"), values![user], read).await }
    }

    /// The secret that a customer's codes are made of.
    fn break_glass_secret(
        &self,
        customer: CustomerId,
    ) -> impl Future<Output = Result<Option<Secret<Vec<u8>>>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let sql = "SELECT totp_enc FROM break_glass WHERE customer_id = $1";
            let sealed = view.first(sql, values![customer], |row| row.at::<Vec<u8>>("totp_enc")).await?;
            Ok(sealed.map(|sealed| view.sealer().open(&place(customer), &sealed)).transpose()?)
        }
    }
}
impl<R: Reader> BreakGlasses for R {}

impl Tx {
    /// Sets a customer's emergency administrator up, or up anew: password and secret are replaced, who was disabled may
    /// sign in again, and every token and session from before is refused.
    ///
    /// # Errors
    /// [`StoreError::Reference`] without user, tenant or customer; [`StoreError::OutOfScope`].
    pub async fn set_up_break_glass(
        &self,
        by: &Authorized<ManageBreakGlass>,
        new: NewBreakGlass,
    ) -> Result<Unaudited<BreakGlass>, StoreError> {
        within(by, Scope::Platform)?;
        let view = &self.work.view;
        let sealed = view.sealer().seal(&place(new.customer_id), new.totp_secret.expose())?;
        let sql = "INSERT INTO break_glass (customer_id, user_id, project_id, tenant_id, password_hash, totp_enc,
                       last_step, set_up_at)
                   VALUES ($1, $2, $3, $4, $5, $6, 0, $7)
                   ON CONFLICT (customer_id) DO UPDATE SET password_hash = excluded.password_hash,
                       totp_enc = excluded.totp_enc, last_step = 0, disabled_at = NULL, set_up_at = excluded.set_up_at";
        let hash = new.password_hash.expose();
        let values = values![new.customer_id, new.user_id, new.project_id, new.tenant_id, hash, sealed, self.work.now];
        view.execute(sql, values).await?;
        let sql = "UPDATE customers SET break_glass_user_id = $2, updated_at = $3, version = version + 1
                   WHERE id = $1 AND (break_glass_user_id IS NULL OR break_glass_user_id <> $2)";
        view.execute(sql, values![new.customer_id, new.user_id, self.work.now]).await?;
        let made = needed(self.break_glass(new.customer_id).await?, "break-glass")?;
        generation::raise_everywhere(&self.work, made.user_id).await?;
        Ok(self.unaudited(made))
    }

    /// Lets a customer's emergency administrator sign in, or no more: then every token and session is refused, too. None
    /// when it is so already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::OutOfScope`].
    pub async fn switch_break_glass(
        &self,
        by: &Authorized<ManageBreakGlass>,
        customer: CustomerId,
        on: bool,
    ) -> Result<Result<Unaudited<BreakGlass>, BreakGlass>, StoreError> {
        within(by, Scope::Platform)?;
        let mut it = needed(self.break_glass(customer).await?, "break-glass")?;
        if it.disabled_at.is_none() == on {
            return Ok(Err(it));
        }
        it.disabled_at = (!on).then_some(self.work.now);
        let sql = "UPDATE break_glass SET disabled_at = $2 WHERE customer_id = $1";
        one(&self.work.view, "break-glass", sql, values![customer, it.disabled_at]).await?;
        if !on {
            generation::raise_everywhere(&self.work, it.user_id).await?;
        }
        Ok(Ok(self.unaudited(it)))
    }
}

impl SessionTx {
    /// Uses up the code of a time step, in the transaction that opens the session: of any number who show one code, one
    /// wins, and no code of an earlier step is good afterwards. False when it was used up, or the administrator was
    /// disabled or set up anew since `seen`.
    ///
    /// # Errors
    /// Of the database.
    pub async fn use_break_glass_code(&self, seen: &BreakGlass, step: i64) -> Result<bool, StoreError> {
        let sql = "UPDATE break_glass SET last_step = $2, last_login_at = $3
                   WHERE customer_id = $1 AND last_step < $2 AND disabled_at IS NULL AND password_hash = $4";
        let hash = seen.password_hash.expose();
        let values = values![seen.customer_id, step, self.work.now, hash];
        Ok(self.work.view.execute(sql, values).await? == 1)
    }
}
