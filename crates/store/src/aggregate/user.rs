//! Users.

use authz::{
    Authorized,
    action::{ManageOwnAccount, ManageUsers},
};
use domain::{
    ProjectId, Secret, TenantId, UserId,
    model::{MembershipStatus, NewUser, StorageQuota, User, UserStatus, Version, fold},
};

use super::{
    break_glass,
    decision::among,
    generation, in_project,
    list::{Filter, Listing, Sortable, Takes, folded, sealed::Cells},
    needed, one, own_password,
    page::Page,
    swap,
};
use crate::{
    SessionTx, StoreError, Tx, Unaudited,
    tx::{Reader, Work},
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT users.* FROM users";

pub(crate) fn read(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.at("id")?,
        project_id: row.at("project_id")?,
        email: row.at("email")?,
        username: row.at("username")?,
        first_name: row.at("first_name")?,
        last_name: row.at("last_name")?,
        phone: row.at("phone")?,
        external_id: row.at("external_id")?,
        quota: quota(row)?,
        status: row.word("status")?,
        password_hash: row.at::<Option<String>>("password_hash")?.map(Secret::new),
        password_changed_at: row.at("password_changed_at")?,
        must_change_password: row.at("must_change_password")?,
        email_verified_at: row.at("email_verified_at")?,
        is_break_glass: row.at("is_break_glass")?,
        last_login_at: row.at("last_login_at")?,
        created_at: row.at("created_at")?,
        updated_at: row.at("updated_at")?,
        version: Version(row.at("version")?),
    })
}

fn quota(row: &Row) -> Result<Option<StorageQuota>, StoreError> {
    let bytes: Option<u64> = row.at("quota_bytes")?;
    let quota = bytes.map(StorageQuota::try_from).transpose();
    quota.map_err(|error| StoreError::corrupt("quota_bytes", error.to_string()))
}

/// How people are searched for. A name that is not folded yet is found as the database lowers it.
pub(super) const CALLED: Filter = Filter::search(
    "Whose email, user name, first or last name holds this, in any case.",
    "(users.email_fold LIKE ? ESCAPE '!' OR users.username_fold LIKE ? ESCAPE '!'
         OR users.name_fold LIKE ? ESCAPE '!' OR users.name_fold = ''
             AND LOWER(users.first_name || ' ' || users.last_name) LIKE ? ESCAPE '!')",
);

/// The list of a tenant's members, whatever their state.
#[derive(Debug)]
pub enum UserList {}

impl Listing for UserList {
    type Item = User;
    type Of = TenantId;
    const FILTERS: &'static [Filter] = &[
        CALLED,
        Filter::new(
            "status",
            "In this state.",
            Takes::Word(&["invited", "active", "disabled", "locked", "suspended", "pending_deletion"]),
            "users.status = ?",
        ),
        Filter::new("email", "With this email, in any case.", Takes::Folded, "users.email_fold = ?"),
        Filter::new("external_id", "With this id in another system.", Takes::Text, "users.external_id = ?"),
        Filter::since("users.created_at >= ?"),
        Filter::until("users.created_at < ?"),
    ];
    const SORTS: &'static [Sortable] =
        &[Sortable::new("name", "users.name_fold"), Sortable::time("created_at", "users.created_at")];
    const ID: &'static str = "users.id";
    fn sql() -> String {
        format!("{SELECT} JOIN memberships ON memberships.user_id = users.id WHERE memberships.tenant_id = $1")
    }
    fn item(row: &Cells<'_>) -> Result<User, StoreError> {
        read(row.0)
    }
}

/// Reads of users.
pub trait Users: Reader {
    /// The user of this id.
    fn user(&self, id: UserId) -> impl Future<Output = Result<Option<User>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// Who signs in under this name in a project: a user name or an email, in any case.
    fn user_by_login(
        &self,
        project: ProjectId,
        name: &str,
    ) -> impl Future<Output = Result<Option<User>, StoreError>> + Send {
        async move {
            // Emails hold an `@`, user names do not (a rule of the schema), so one name is one user.
            let sql = format!("{SELECT} WHERE project_id = $1 AND (email_fold = $2 OR username_fold = $2)");
            self.view().await?.first(&sql, values![project, fold(name)], read).await
        }
    }

    /// Members of a tenant, whatever their state.
    fn users_of_tenant(
        &self,
        tenant: TenantId,
        page: Page,
    ) -> impl Future<Output = Result<Vec<User>, StoreError>> + Send {
        async move {
            let sql = format!(
                "{SELECT} JOIN memberships ON memberships.user_id = users.id
                 WHERE memberships.tenant_id = $1 AND users.id > $2 ORDER BY users.id LIMIT $3"
            );
            self.view().await?.all(&sql, values![tenant, page.start(), page.limit()], read).await
        }
    }

    /// Members of a tenant with one of these emails, in any case, and whether their membership counts.
    fn users_by_email(
        &self,
        tenant: TenantId,
        emails: &[String],
    ) -> impl Future<Output = Result<Vec<(User, MembershipStatus)>, StoreError>> + Send {
        async move {
            let sql = format!(
                "SELECT users.*, memberships.status AS membership FROM users
                 JOIN memberships ON memberships.user_id = users.id AND memberships.tenant_id = '{tenant}'
                 WHERE users.email_fold IN"
            );
            let emails = emails.iter().map(|email| Value::from(fold(email))).collect();
            let found = |row: &Row| Ok((read(row)?, row.word("membership")?));
            let mut found = among(&self.view().await?, &sql, emails, found).await?;
            found.sort_by_key(|(user, _)| user.id);
            Ok(found)
        }
    }

    /// A member of a tenant.
    fn user_of_tenant(
        &self,
        tenant: TenantId,
        id: UserId,
    ) -> impl Future<Output = Result<Option<User>, StoreError>> + Send {
        async move {
            let sql = format!(
                "{SELECT} JOIN memberships ON memberships.user_id = users.id
                 WHERE memberships.tenant_id = $1 AND users.id = $2"
            );
            self.view().await?.first(&sql, values![tenant, id], read).await
        }
    }
}
impl<R: Reader> Users for R {}

impl Tx {
    /// Makes a user.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] on `users(email_fold)`, `(username_fold)` or `(external_id)`; [`StoreError::Check`]
    /// for an email without or a user name with `@`.
    pub async fn insert_user(&self, by: &Authorized<ManageUsers>, new: NewUser) -> Result<Unaudited<User>, StoreError> {
        in_project(by, new.project_id)?;
        let now = self.work.now;
        let user = User {
            id: new.id,
            project_id: new.project_id,
            email: new.email,
            username: new.username,
            first_name: new.first_name,
            last_name: new.last_name,
            phone: new.phone,
            external_id: new.external_id,
            quota: None,
            status: new.status,
            password_changed_at: new.password_hash.as_ref().map(|_| now),
            password_hash: new.password_hash,
            must_change_password: new.must_change_password,
            email_verified_at: None,
            is_break_glass: new.is_break_glass,
            last_login_at: None,
            created_at: now,
            updated_at: now,
            version: Version(1),
        };
        let hash = user.password_hash.as_ref().map(|hash| hash.expose().clone());
        let mut all = values![user.id, user.project_id, hash, user.password_changed_at, user.is_break_glass, now];
        all.extend(columns(&user));
        self.work
            .view
            .execute(
                "INSERT INTO users (id, project_id, password_hash, password_changed_at, is_break_glass, created_at,
                     updated_at, email, email_fold, username, username_fold, first_name, last_name, phone, external_id,
                     status, must_change_password, email_verified_at, name_fold, version)
                 VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 1)",
                all,
            )
            .await?;
        Ok(self.unaudited(user))
    }

    /// Changes a user's profile and status; the password is [`Tx::set_password`]'s. Who is no longer active loses
    /// every token and session.
    ///
    /// # Errors
    /// As [`Tx::insert_user`]; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_user(
        &self,
        by: &Authorized<ManageUsers>,
        mut changed: User,
    ) -> Result<Unaudited<User>, StoreError> {
        let before = needed(self.user(changed.id).await?, "user")?;
        self.reaches(by, &before).await?;
        if before.status != changed.status {
            break_glass::keep(&self.work.view, changed.id).await?;
        }
        let mut all = columns(&changed);
        all.push(self.work.now.into());
        let assignments = "email = $3, email_fold = $4, username = $5, username_fold = $6, first_name = $7,
             last_name = $8, phone = $9, external_id = $10, status = $11, must_change_password = $12,
             email_verified_at = $13, name_fold = $14, updated_at = $15";
        let key = (changed.id.uuid(), changed.version);
        changed.version = swap(&self.work.view, "user", "users", key, assignments, all).await?;
        changed.updated_at = self.work.now;
        if before.status != changed.status {
            if changed.status != UserStatus::Active {
                generation::raise_everywhere(&self.work, changed.id).await?;
            }
            generation::bindings_changed_everywhere(&self.work, changed.id).await?;
        }
        Ok(self.unaudited(changed))
    }

    /// Says what a user may keep; none and nothing is said of them.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn set_user_quota(
        &self,
        by: &Authorized<ManageUsers>,
        (id, version): (UserId, Version),
        quota: Option<StorageQuota>,
    ) -> Result<Unaudited<User>, StoreError> {
        let before = needed(self.user(id).await?, "user")?;
        self.reaches(by, &before).await?;
        let all = values![quota.map(StorageQuota::bytes), self.work.now];
        let key = (id.uuid(), version);
        let version = swap(&self.work.view, "user", "users", key, "quota_bytes = $3, updated_at = $4", all).await?;
        Ok(self.unaudited(User { quota, version, updated_at: self.work.now, ..before }))
    }

    /// Changes the profile of whoever `by` is: first and last name, phone. Nothing else of `changed` is looked at.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for anybody else; [`StoreError::VersionMismatch`], [`StoreError::NotFound`].
    pub async fn update_own_profile(
        &self,
        by: &Authorized<ManageOwnAccount>,
        changed: User,
    ) -> Result<Unaudited<User>, StoreError> {
        if by.actor().id != Some(changed.id.uuid()) {
            return Err(StoreError::OutOfScope);
        }
        let before = needed(self.user(changed.id).await?, "user")?;
        let User { first_name, last_name, phone, .. } = changed;
        let mut all = vec![(&first_name).into(), (&last_name).into(), phone.as_ref().into(), self.work.now.into()];
        all.push(folded(&called(&first_name, &last_name)));
        let assignments = "first_name = $3, last_name = $4, phone = $5, updated_at = $6, name_fold = $7";
        let key = (changed.id.uuid(), changed.version);
        let version = swap(&self.work.view, "user", "users", key, assignments, all).await?;
        Ok(self.unaudited(User { first_name, last_name, phone, version, updated_at: self.work.now, ..before }))
    }

    /// Replaces a one-time password, whose hash is `old`, by whoever `by` is. None when another was first. There is no
    /// session to end: a one-time password opens none.
    ///
    /// # Errors
    /// [`StoreError::OutOfScope`] for anybody else.
    pub async fn complete_password(
        &self,
        by: &Authorized<ManageOwnAccount>,
        id: UserId,
        old: &Secret<String>,
        new: &Secret<String>,
    ) -> Result<Option<Unaudited<User>>, StoreError> {
        if by.actor().id != Some(id.uuid()) {
            return Err(StoreError::OutOfScope);
        }
        own_password::keep(&self.work.view, id, self.work.now).await?;
        let sql = "UPDATE users SET password_hash = $3, must_change_password = FALSE, password_changed_at = $4,
                       updated_at = $4, version = version + 1
                   WHERE id = $1 AND password_hash = $2 AND must_change_password RETURNING *";
        let values = values![id, old.expose(), new.expose(), self.work.now];
        let changed = self.work.view.first(sql, values, read).await?;
        Ok(changed.map(|user| self.unaudited(user)))
    }

    /// Sets a user's password. Every token and session from before is refused.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn set_password(
        &self,
        by: &Authorized<ManageUsers>,
        id: UserId,
        hash: &Secret<String>,
        must_change: bool,
    ) -> Result<Unaudited<User>, StoreError> {
        let before = needed(self.user(id).await?, "user")?;
        self.reaches(by, &before).await?;
        break_glass::keep(&self.work.view, id).await?;
        own_password::keep(&self.work.view, id, self.work.now).await?;
        let sql = "UPDATE users SET password_hash = $2, must_change_password = $3, password_changed_at = $4,
                       updated_at = $4, version = version + 1
                   WHERE id = $1 RETURNING *";
        let values = values![id, hash.expose(), must_change, self.work.now];
        let user = needed(self.work.view.first(sql, values, read).await?, "user")?;
        generation::raise_everywhere(&self.work, id).await?;
        Ok(self.unaudited(user))
    }

    /// Deletes a user with memberships, sessions and role bindings. Their tokens are refused.
    ///
    /// # Errors
    /// [`StoreError::Rule`] (`user_is_break_glass`) for the emergency administrator; [`StoreError::NotFound`].
    pub async fn delete_user(&self, by: &Authorized<ManageUsers>, id: UserId) -> Result<Unaudited<User>, StoreError> {
        let user = needed(self.user(id).await?, "user")?;
        self.reaches(by, &user).await?;
        if user.is_break_glass {
            return Err(StoreError::rule("user_is_break_glass", "the emergency administrator cannot be deleted"));
        }
        remove(&self.work, id).await?;
        Ok(self.unaudited(user))
    }

    /// A tenant's administrators reach the tenant's members only.
    pub(crate) async fn reaches(&self, by: &Authorized<ManageUsers>, user: &User) -> Result<(), StoreError> {
        in_project(by, user.project_id)?;
        match by.scope().tenant() {
            Some(tenant) => needed(self.user_of_tenant(tenant, user.id).await?, "user").map(|_| ()),
            None => Ok(()),
        }
    }
}

/// Deletes a user, with every token, session and right.
async fn remove(work: &Work, id: UserId) -> Result<(), StoreError> {
    generation::raise_everywhere(work, id).await?;
    generation::bindings_changed_everywhere(work, id).await?;
    let view = &work.view;
    let sql = "DELETE FROM role_bindings WHERE subject_kind = 'user' AND subject_id = $1";
    view.execute(sql, values![id]).await?;
    one(view, "user", "DELETE FROM users WHERE id = $1", values![id]).await
}

impl SessionTx {
    /// Notes a sign-in.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn note_login(&self, id: UserId) -> Result<(), StoreError> {
        let sql = "UPDATE users SET last_login_at = $2 WHERE id = $1";
        one(&self.work.view, "user", sql, values![id, self.work.now]).await
    }

    /// Replaces a password hash by one of the same password with stronger parameters. Nothing else changes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the hash was changed meanwhile.
    pub async fn upgrade_password_hash(
        &self,
        id: UserId,
        old: &Secret<String>,
        new: &Secret<String>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        one(&self.work.view, "user", sql, values![id, old.expose(), new.expose()]).await
    }
}

/// What somebody is called.
fn called(first_name: &str, last_name: &str) -> String {
    format!("{first_name} {last_name}")
}

/// From `email` to `name_fold`, in the order of the statements above.
fn columns(it: &User) -> Vec<Value> {
    vec![
        it.email.as_ref().into(),
        it.email.as_deref().map(fold).into(),
        it.username.as_ref().into(),
        it.username.as_deref().map(fold).into(),
        (&it.first_name).into(),
        (&it.last_name).into(),
        it.phone.as_ref().into(),
        it.external_id.as_ref().into(),
        Value::word(&it.status),
        it.must_change_password.into(),
        it.email_verified_at.into(),
        folded(&called(&it.first_name, &it.last_name)),
    ]
}
